"""A user's sessions: listed, revoked, and kept to a number, whatever runs at the same time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import repeat
from threading import Barrier, Thread
from typing import Any

import pytest
from flask import Flask, session
from redis import Redis
from redis.exceptions import ResponseError

from flask_picklesession import (
    ConfigurationError,
    Drop,
    EndReason,
    PickleSession,
    SessionNotFoundError,
    SessionUnavailableError,
    session_dropped,
    session_ended,
    session_saved,
)
from flask_picklesession.cookie import handle_of
from flask_picklesession.exceptions import StoreUnavailableError
from flask_picklesession.storage.connection import ReplyTooLargeError
from flask_picklesession.storage.index import PAGE, UserIndex
from flask_picklesession.storage.record import Kind, now_ms
from flask_picklesession.user_sessions import MOST_PAGES, client_text

from .conftest import MakeApp
from .samples import Basket
from .support import Browser, recorded
from .test_renewal import EVERY, MoveClock, content, handle_in, put


@pytest.fixture(name="app")
def _app(make_app: MakeApp) -> Flask:
    return make_app()


@pytest.fixture(name="sessions")
def _sessions(app: Flask) -> PickleSession:
    return PickleSession(app)


def signed_in(app: Flask, user: int = 7, **headers: str) -> Browser:
    """Return a browser in which a user has signed in."""
    browser = Browser(app)
    browser.visit(put(user_id=user), headers=headers)
    return browser


@pytest.fixture(name="index_key")
def _index_key(app: Flask, sessions: PickleSession) -> bytes:
    state = app.extensions["picklesession"]
    return state.manager._users.key(state.user_digest("7"))  # type: ignore[no-any-return]


class TestList:
    def test_newest_first(self, app: Flask, sessions: PickleSession, move_clock: MoveClock) -> None:
        """Each with its times and size; those of others are not among them."""
        browsers = []
        for _device in range(3):
            browsers.append(signed_in(app))
            move_clock(0.01)
        signed_in(app, 8)
        before = datetime.now(UTC) + timedelta(seconds=1)

        found = sessions.sessions_of(7)

        assert [info.handle for info in found] == [handle_in(browser) for browser in reversed(browsers)]
        for info in found:
            assert before - timedelta(seconds=5) < info.created_at <= before
            assert info.last_seen is not None
            assert before - timedelta(seconds=5) < info.last_seen <= before
            assert info.expires_at is not None
            assert info.expires_at > before + timedelta(days=30)
            assert info.size > 0
            assert (info.user_agent, info.address) == (None, None)
        assert [info.handle for info in sessions.sessions_of("7")] == [info.handle for info in found]

    def test_what_is_over_is_not_listed(self, app: Flask, sessions: PickleSession) -> None:
        """Signed out, replaced, switched to another user."""
        gone, replaced, switched = (signed_in(app) for _device in range(3))
        gone.visit(lambda: session.clear())
        replaced.visit(lambda: session.regenerate())  # type: ignore[attr-defined]  # ours
        switched.visit(put(user_id=8))

        assert [info.handle for info in sessions.sessions_of(7)] == [handle_in(replaced)]

    def test_client_where_it_is_asked_for(self, make_app: MakeApp) -> None:
        """The address and what the browser says it is, at sign-in."""
        app = make_app(PICKLESESSION_REMEMBER_CLIENT=True)
        sessions = PickleSession(app)
        browser = signed_in(app, **{"User-Agent": "Lynx/2.9"})
        browser.visit(put(n=1), headers={"User-Agent": "another"})

        (info,) = sessions.sessions_of(7)

        assert (info.user_agent, info.address) == ("Lynx/2.9", "127.0.0.1")

    def test_client_is_cut(self) -> None:
        """Found in review: what came as an address of a megabyte was a 500 at sign-in."""
        assert client_text("1" * 1_000_000, "x" * 1_000_000) == "1" * 64 + "\n" + "x" * 200

    def test_client_of_the_first_megabytes_only(self, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
        """Found in review: a thousand planted sessions of 24,000 keys each took 18 seconds to list."""
        app = make_app(PICKLESESSION_REMEMBER_CLIENT=True)
        sessions = PickleSession(app)
        for _session in range(3):
            signed_in(app, **{"User-Agent": "Lynx/2.9"})
        (first, *_rest) = sessions.sessions_of(7)
        monkeypatch.setattr("flask_picklesession.user_sessions.MOST_LOOKED_INTO", first.size * 2)

        assert [info.user_agent for info in sessions.sessions_of(7)] == ["Lynx/2.9", None, None]

    def test_anonymous_sessions_remember_nothing(self, make_app: MakeApp) -> None:
        """Nobody signed in."""
        browser = Browser(make_app(PICKLESESSION_REMEMBER_CLIENT=True))
        browser.visit(put(n=1))

        assert content(browser) == {"n": 1}

    def test_client_that_cannot_be_restored(self, make_app: MakeApp) -> None:
        """A value of another type under our key is kept, and no reason to fail; a reader writes nothing."""
        newer = make_app(PICKLESESSION_ALLOW=[Basket])
        browser = signed_in(newer)
        browser.visit(put(_client=Basket([])))
        older = make_app(PICKLESESSION_REMEMBER_CLIENT=True)
        window = Browser(older)
        window.cookie = browser.cookie or ""
        with recorded(session_saved, older) as saved:
            assert window.visit(lambda: (session.get("user_id"), None)[1]).status_code == 200
        assert saved == []

        assert window.visit(put(user_id=8)).status_code == 200
        assert content(window)["user_id"] == 8

    def test_client_that_is_none(self, app: Flask, sessions: PickleSession, raw: Redis, prefix: str) -> None:
        """What an application or an attacker put there in another form is nobody's client."""
        browser = signed_in(app)
        browser.visit(put(_client=[1]))
        assert sessions.sessions_of(7)[0].user_agent is None
        state = app.extensions["picklesession"]
        key = (prefix + handle_in(browser)).encode()
        sealer = state.signers(app).record
        stored = raw.get(key)
        assert isinstance(stored, bytes)
        raw.set(key, sealer.seal(key, sealer.unseal(key, stored)[0]._replace(body=b"none")))

        info = sessions.sessions_of(7)[0]

        assert (info.user_agent, info.address) == (None, None)
        # Without a TTL nobody can tell when it was used.
        assert (info.last_seen, info.expires_at) == (None, None)

    def test_absolute_timeout_is_told(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """A session ends at its deadline, and is not listed any more."""
        app = make_app(PICKLESESSION_ABSOLUTE_TIMEOUT=60)
        sessions = PickleSession(app)
        signed_in(app)
        (info,) = sessions.sessions_of(7)
        assert info.expires_at is not None
        assert info.expires_at - info.created_at == timedelta(seconds=60)
        move_clock(61)

        assert sessions.sessions_of(7) == []

    def test_renewed_session_is_one(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """Under its new handle, from the first moment."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions = PickleSession(app)
        browser = signed_in(app)
        move_clock(EVERY)
        content(browser)

        assert [info.handle for info in sessions.sessions_of(7)] == [handle_in(browser)]

    def test_renewal_that_died_half_way_is_not_listed(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """Nobody can reach what it left; a revocation ends that, too."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions = PickleSession(app)
        browser = signed_in(app)
        store = app.extensions["picklesession"].store
        save = store.save
        move_clock(EVERY)

        def die(*arguments: Any, **options: Any) -> Any:
            raise StoreUnavailableError("killed")

        end, store.save, store.end = store.end, die, die
        assert browser.visit(put(n=1)).status_code == 503
        store.save, store.end = save, end

        assert [info.handle for info in sessions.sessions_of(7)] == [handle_in(browser)]
        assert sessions.revoke_user(7) == 2

    def test_planted_members_are_passed_over(
        self, app: Flask, sessions: PickleSession, raw: Redis, prefix: str, index_key: bytes
    ) -> None:
        """Who can write to Redis can put anything into the index, and lists nobody else's session by it."""
        mine, other = signed_in(app), signed_in(app, 8)
        raw.set(prefix + "f" * 43, b"forged")
        raw.lpush(prefix + "l" * 43, b"x")
        for member in ("", "x", "\xff" * 43, "f" * 43, "l" * 43, handle_in(other)):
            raw.zadd(index_key, {member: 1})

        assert [info.handle for info in sessions.sessions_of(7)] == [handle_in(mine)]

    def test_index_of_another_type(self, app: Flask, sessions: PickleSession, raw: Redis, index_key: bytes) -> None:
        """What is no index names nobody, and is replaced by the next write."""
        raw.set(index_key, b"x")
        assert sessions.sessions_of(7) == []
        browser = signed_in(app)
        assert len(sessions.sessions_of(7)) == 1
        raw.set(index_key, b"x")

        browser.visit(put(n=1))

        assert len(sessions.sessions_of(7)) == 1

    def test_lost_index_comes_back(self, app: Flask, sessions: PickleSession, raw: Redis, index_key: bytes) -> None:
        """With the next write of each session."""
        browser = signed_in(app)
        raw.delete(index_key)
        browser.visit(put(n=1))

        assert len(sessions.sessions_of(7)) == 1

    def test_read_within_a_transaction(self, app: Flask) -> None:
        """Found by an attack: without scripts a page that only read, and so set the time to live, was a conflict."""
        browser = signed_in(app)
        window, state = browser.copy(), app.extensions["picklesession"]
        state.store._has_scripts = False
        held = state.settings.link.held

        @contextmanager
        def watched(deadline: float) -> Iterator[Any]:
            with held(deadline) as connection:
                call = connection.call

                def first_read(*command: Any) -> Any:
                    if command[0] == "MULTI":
                        connection.call = call
                        window.ask(lambda: dict(session))
                    return call(*command)

                connection.call = first_read
                yield connection

        state.settings.link.held = watched

        def view() -> None:
            with session.atomic() as stored:  # type: ignore[attr-defined]  # ours
                stored["n"] = 2

        assert browser.visit(view).status_code == 200
        assert content(browser)["n"] == 2

    def test_transaction_that_never_comes_through(self, make_app: MakeApp) -> None:
        """Tried a few times; then it is an outage."""
        app = make_app()
        browser = signed_in(app)
        window, state = browser.copy(), app.extensions["picklesession"]
        state.store._has_scripts = False
        held = state.settings.link.held

        @contextmanager
        def watched(deadline: float) -> Iterator[Any]:
            with held(deadline) as connection:
                call = connection.call
                connection.call = lambda *command: (
                    window.ask(lambda: dict(session)) if command[0] == "MULTI" else None,
                    call(*command),
                )[1]
                yield connection

        state.settings.link.held = watched

        assert browser.visit(put(n=2)).status_code == 503

    def test_without_scripts(self, app: Flask, sessions: PickleSession, raw: Redis, index_key: bytes) -> None:
        """Where a save is a transaction, its entry in the index goes out before it."""
        browser = signed_in(app)
        raw.delete(index_key)
        app.extensions["picklesession"].store._has_scripts = False
        browser.visit(put(n=1))

        assert content(browser) == {"user_id": 7, "n": 1}
        assert len(sessions.sessions_of(7)) == 1

    def test_members_are_pruned_when_nothing_can_be_under_way(
        self, app: Flask, sessions: PickleSession, raw: Redis, prefix: str, index_key: bytes, move_clock: MoveClock
    ) -> None:
        """A young one without a record may be a sign-in that is just being stored."""
        browser = signed_in(app)
        raw.delete(prefix + handle_in(browser))
        assert sessions.sessions_of(7) == []
        assert raw.zcard(index_key) == 1
        move_clock(421)

        assert sessions.sessions_of(7) == []
        assert raw.zcard(index_key) == 0

    def test_index_ends_with_its_sessions(self, make_app: MakeApp, raw: Redis, prefix: str) -> None:
        """Where sessions have an absolute timeout, the index lives a little longer."""
        signed_in(make_app(PICKLESESSION_ABSOLUTE_TIMEOUT=60))

        (key,) = raw.keys(prefix + "user:*")
        assert 300 < int(raw.ttl(key)) <= 360

    def test_many_sessions_come_in_pages(
        self, app: Flask, sessions: PickleSession, raw: Redis, index_key: bytes
    ) -> None:
        """More than one page of members."""
        browser = signed_in(app)
        raw.zadd(index_key, {f"{n:043}": 10**15 + n for n in range(2500)})

        assert [info.handle for info in sessions.sessions_of(7)] == [handle_in(browser)]

    def test_two_sign_ins_in_one_millisecond(
        self, app: Flask, sessions: PickleSession, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two sessions, not one that is being renewed."""
        monkeypatch.setattr("flask_picklesession.save.now_ms", lambda: 1_790_000_000_000)
        signed_in(app)
        signed_in(app)

        assert len(sessions.sessions_of(7)) == 2

    def test_flood_of_planted_members(self, app: Flask, sessions: PickleSession, raw: Redis, index_key: bytes) -> None:
        """A list looks at ten thousand, whatever the index holds; a revocation looks at all."""
        browser = signed_in(app)
        raw.zadd(index_key, {f"{n:043}": 10**15 + n for n in range(MOST_PAGES * PAGE + 1)})

        assert sessions.sessions_of(7) == []
        assert sessions.revoke_user(7) == 1
        assert content(browser) == {}


def test_member_too_large_to_read(app: Flask, sessions: PickleSession, raw: Redis, index_key: bytes) -> None:
    """Found in review: one of two megabytes in the index made each listing, and each way to end sessions, a 503."""
    browser = signed_in(app)
    raw.zadd(index_key, {b"x" * 2_000_000: 1})

    assert sessions.sessions_of(7) == []
    assert sessions.revoke_user(7, scan=True) == 1
    assert browser.ask(lambda: session.get("user_id")) is None


def test_server_whose_every_reply_is_too_large(
    app: Flask, sessions: PickleSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read in review: removing the index asked to remove the index."""
    link = app.extensions["picklesession"].settings.link

    def call(_deadline: float, *_command: Any) -> Any:
        raise ReplyTooLargeError("the reply is too large")

    monkeypatch.setattr(link, "call", call)

    with pytest.raises(SessionUnavailableError):
        sessions.sessions_of(7)


class TestRevoke:
    def test_session_is_over(self, app: Flask, sessions: PickleSession) -> None:
        """At once, and told."""
        browser = signed_in(app)
        with recorded(session_ended, app) as ended:
            assert sessions.revoke(handle_in(browser)) is True

        assert content(browser) == {}
        assert [sent["reason"] for sent in ended] == [EndReason.REVOKED]
        assert sessions.revoke(handle_in(browser)) is False

    def test_request_in_flight_is_dropped(self, app: Flask, sessions: PickleSession) -> None:
        """A late write does not bring it back, and touches no cookie."""
        browser = signed_in(app)
        cookie = browser.cookie
        with recorded(session_dropped, app) as dropped:
            browser.visit(lambda: (put(n=1)(), sessions.revoke(session.handle or ""), None)[2])  # type: ignore[attr-defined]  # ours

        assert [sent["reason"] for sent in dropped] == [Drop.ENDED]
        assert browser.cookie == cookie
        assert content(browser) == {}

    def test_absent_session_cannot_begin(self, app: Flask, sessions: PickleSession) -> None:
        """An ended record stands where a create may be under way."""
        store = app.extensions["picklesession"].store
        create = store.create

        def revoked(storage_key: bytes, *arguments: Any, **options: Any) -> Any:
            sessions.revoke(storage_key[-43:].decode())
            return create(storage_key, *arguments, **options)

        store.create = revoked
        browser = signed_in(app)
        store.create = create

        assert browser.cookie is None
        assert sessions.sessions_of(7) == []

    @pytest.mark.parametrize("handle", ["", "x", "\u20ac" * 43, "user:" + "x" * 43])
    def test_what_is_no_handle_ends_nothing(
        self, app: Flask, sessions: PickleSession, raw: Redis, prefix: str, handle: str
    ) -> None:
        """It may come out of a form, and must not name another key."""
        signed_in(app)
        before = set(raw.keys(prefix + "*"))

        assert sessions.revoke(handle) is False
        with pytest.raises(SessionNotFoundError), sessions.open(handle):
            pass
        assert set(raw.keys(prefix + "*")) == before

    def test_owner_is_checked(self, app: Flask, sessions: PickleSession) -> None:
        """A form of one user cannot end another one's session."""
        browser = signed_in(app, 8)
        assert sessions.revoke(handle_in(browser), user_id=7) is False
        assert content(browser) == {"user_id": 8}

        assert sessions.revoke(handle_in(browser), user_id=8) is True
        assert content(browser) == {}

    def test_unreadable_session_ends(self, app: Flask, sessions: PickleSession, raw: Redis, prefix: str) -> None:
        """Whatever stands there: a forged record, another type, one that a newer version wrote."""
        raw.set(prefix + "f" * 43, b"forged")
        raw.lpush(prefix + "l" * 43, b"x")

        assert sessions.revoke("f" * 43) is True
        assert sessions.revoke("l" * 43) is True
        assert raw.type(prefix + "l" * 43) == b"string"

    def test_renewed_session_ends_with_its_successor(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """By its old handle."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions = PickleSession(app)
        browser = signed_in(app)
        old = handle_in(browser)
        move_clock(EVERY)
        content(browser)

        assert sessions.revoke(old) is True
        assert content(browser) == {}

    def test_renewed_record_that_names_nobody(
        self, make_app: MakeApp, raw: Redis, prefix: str, move_clock: MoveClock
    ) -> None:
        """Signed by whoever holds the key: it ends, and leads nowhere. That was no session."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions = PickleSession(app)
        browser = signed_in(app)
        old = handle_in(browser)
        move_clock(EVERY)
        content(browser)
        key = (prefix + old).encode()
        sealer = app.extensions["picklesession"].signers(app).record
        stored = raw.get(key)
        assert isinstance(stored, bytes)
        raw.set(key, sealer.seal(key, sealer.unseal(key, stored)[0]._replace(body=b"?")))

        assert sessions.revoke(old) is False
        assert sealer.unseal(key, raw.get(key))[0].kind == Kind.ENDED

    def test_circle_of_renewed_records_ends(self, app: Flask, sessions: PickleSession, raw: Redis, prefix: str) -> None:
        """Two that lead to each other, signed by whoever holds the key."""
        from flask_picklesession.renewal import renewed_record
        from flask_picklesession.storage.record import ANONYMOUS, new_record, now_ms

        sealer = app.extensions["picklesession"].signers(app).record
        before = new_record(now=now_ms(), nonce=b"n" * 8, deadline=0, user_digest=ANONYMOUS, body=b"")
        for number in range(40):
            key = (prefix + f"{number:043}").encode()
            following = f"{number + 1:043}"
            raw.set(key, sealer.seal(key, renewed_record(before, following, nonce=b"m" * 8, deadline=now_ms() + 10**6)))

        assert sessions.revoke(f"{0:043}") is False
        assert raw.exists(prefix + f"{39:043}") == 1


class TestRevokeUser:
    def test_all_but_one(self, app: Flask, sessions: PickleSession) -> None:
        """Sign out everywhere else."""
        here, *others = (signed_in(app) for _device in range(4))
        stranger = signed_in(app, 8)

        assert sessions.revoke_user(7, keep=handle_in(here)) == 3

        assert content(here) == {"user_id": 7}
        assert all(content(other) == {} for other in others)
        assert content(stranger) == {"user_id": 8}
        assert sessions.revoke_user(7, keep=handle_in(here)) == 0

    def test_kept_session_that_is_renewed(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """Kept by the handle that it had: its successor is the same session."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions = PickleSession(app)
        here = signed_in(app)
        old = handle_in(here)
        move_clock(EVERY)
        content(here)
        signed_in(app)

        assert sessions.revoke_user(7, keep=old) == 1
        assert content(here) == {"user_id": 7}

    def test_kept_session_that_leads_nowhere(
        self, make_app: MakeApp, raw: Redis, prefix: str, move_clock: MoveClock
    ) -> None:
        """A renewed record that names nobody, signed by whoever holds the key, keeps no revocation from its end."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions = PickleSession(app)
        here = signed_in(app)
        old = handle_in(here)
        move_clock(EVERY)
        content(here)
        key = (prefix + old).encode()
        sealer = app.extensions["picklesession"].signers(app).record
        stored = raw.get(key)
        assert isinstance(stored, bytes)
        raw.set(key, sealer.seal(key, sealer.unseal(key, stored)[0]._replace(body=b"?")))

        assert sessions.revoke_user(7, keep=old) == 1
        assert content(here) == {}

    def test_session_that_is_renewed_meanwhile(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """Between the look at it and its end: its successor ends, too."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions = PickleSession(app)
        browser = signed_in(app)
        move_clock(EVERY)
        store = app.extensions["picklesession"].store
        end = store.end

        def renew_first(*arguments: Any, **options: Any) -> Any:
            store.end = end
            content(browser)
            return end(*arguments, **options)

        store.end = renew_first
        assert sessions.revoke_user(7) == 1

        assert content(browser) == {}

    def test_sign_in_that_is_being_stored(self, app: Flask, sessions: PickleSession) -> None:
        """In the index, not stored yet: it ends before it begins."""
        store = app.extensions["picklesession"].store
        create = store.create

        def revoked(storage_key: bytes, *arguments: Any, **options: Any) -> Any:
            store.create = create
            store.send(options["before"], deadline=options["deadline"])
            sessions.revoke_user(7)
            return create(storage_key, *arguments, **options)

        store.create = revoked
        browser = signed_in(app)

        assert browser.cookie is None
        assert sessions.sessions_of(7) == []

    def test_sign_in_over_a_session_that_is_being_stored(self, app: Flask, sessions: PickleSession) -> None:
        """The same where an anonymous session was there before: that one stays, nobody is signed in."""
        browser = Browser(app)
        browser.visit(put(n=1))
        store = app.extensions["picklesession"].store
        create = store.create

        def revoked(storage_key: bytes, *arguments: Any, **options: Any) -> Any:
            store.create = create
            saved = create(storage_key, *arguments, **options)
            browser.copy().visit(put(b=2))
            sessions.revoke_user(7)
            return saved

        store.create = revoked
        browser.visit(put(user_id=7))

        assert content(browser) == {"n": 1, "b": 2}
        assert sessions.sessions_of(7) == []

    def test_sign_in_that_is_revoked_before_it_is_stored(self, app: Flask, sessions: PickleSession) -> None:
        """Over an anonymous session, which stays."""
        browser = Browser(app)
        browser.visit(put(n=1))
        store = app.extensions["picklesession"].store
        create = store.create

        def revoked(storage_key: bytes, *arguments: Any, **options: Any) -> Any:
            store.create = create
            store.send(options["before"], deadline=options["deadline"])
            sessions.revoke_user(7)
            return create(storage_key, *arguments, **options)

        store.create = revoked
        browser.visit(put(user_id=7))

        assert content(browser) == {"n": 1}

    def test_sign_in_that_is_revoked_when_its_base_is_gone(self, app: Flask, sessions: PickleSession) -> None:
        """Signed out in one window, signed in in the other, and revoked at once."""
        browser = Browser(app)
        browser.visit(put(n=1))
        store = app.extensions["picklesession"].store
        create = store.create

        def revoked(storage_key: bytes, *arguments: Any, **options: Any) -> Any:
            store.create = create
            saved = create(storage_key, *arguments, **options)
            browser.copy().visit(lambda: session.clear())
            sessions.revoke_user(7)
            return saved

        store.create = revoked
        with recorded(session_dropped, app) as dropped:
            browser.visit(put(user_id=7))

        assert [sent["reason"] for sent in dropped] == [Drop.ENDED]
        assert sessions.sessions_of(7) == []

    def test_members_that_are_gone_are_pruned(
        self, app: Flask, sessions: PickleSession, raw: Redis, prefix: str, index_key: bytes, move_clock: MoveClock
    ) -> None:
        """Nothing is left to end."""
        browser = signed_in(app)
        raw.delete(prefix + handle_in(browser))
        move_clock(421)

        assert sessions.revoke_user(7) == 0
        assert raw.zcard(index_key) == 0

    def test_session_that_goes_during_a_scan(self, app: Flask, sessions: PickleSession) -> None:
        """Seen by the scan, gone before it is read."""
        store = app.extensions["picklesession"].store
        store.load_many = lambda handles, deadline: [None] * len(handles)
        signed_in(app)

        assert sessions.revoke_all() == (0, 0)

    def test_after_the_loss_of_the_index(
        self, app: Flask, sessions: PickleSession, raw: Redis, prefix: str, index_key: bytes
    ) -> None:
        """scan=True looks at all sessions."""
        here, there, stranger = signed_in(app), signed_in(app), signed_in(app, 8)
        raw.set(prefix + "f" * 43, b"forged")
        raw.delete(index_key)
        assert sessions.revoke_user(7) == 0

        assert sessions.revoke_user(7, keep=handle_in(here), scan=True) == 1

        assert content(there) == {}
        assert content(here) == {"user_id": 7}
        assert content(stranger) == {"user_id": 8}

    def test_renewed_more_often_than_can_be_followed(
        self, make_app: MakeApp, move_clock: MoveClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A revocation that did not come to the end is an error."""
        monkeypatch.setattr("flask_picklesession.revocation.MOST_SUCCESSORS", 2)
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions, browser = PickleSession(app), Browser(app)
        browser.visit(put(n=1))
        kept = handle_in(browser)
        for _renewal in range(2):
            move_clock(EVERY)
            content(browser)
            content(browser)

        with pytest.raises(SessionUnavailableError):
            sessions.revoke(kept)

    def test_session_that_begins_while_it_is_revoked(self, app: Flask, sessions: PickleSession) -> None:
        """It was not there when the revocation looked, and is when it writes."""
        browser, store = signed_in(app), app.extensions["picklesession"].store
        load_many = store.load_many
        store.load_many = lambda handles, *, deadline: [None for _handle in handles]
        try:
            assert sessions.revoke(handle_in(browser))
        finally:
            store.load_many = load_many

        assert content(browser) == {}

    def test_second_identity_key_stays(self, app: Flask) -> None:
        """Who signs in by one key keeps what the other one holds."""
        browser = Browser(app)
        browser.visit(put(_user_id="5", user_id=9))
        browser.visit(put(_user_id="6"))

        assert content(browser) == {"_user_id": "6", "user_id": 9}

    def test_planted_member_ends_nobody_else(
        self, app: Flask, sessions: PickleSession, raw: Redis, index_key: bytes
    ) -> None:
        """Found in review: a handle of another user's in the index ended that one's session."""
        mine, stranger = signed_in(app, 7), signed_in(app, 6)
        raw.zadd(index_key, {handle_in(stranger): now_ms()})

        assert sessions.revoke_user(7) == 1
        assert content(mine) == {}
        assert content(stranger) == {"user_id": 6}

    @pytest.mark.parametrize("score", [float("inf"), float("-inf"), 1e300, -1.0, 10.0**15])
    def test_member_of_no_time(
        self, app: Flask, sessions: PickleSession, raw: Redis, index_key: bytes, score: float
    ) -> None:
        """Found in review: an infinite score made the listing and the revocation raise."""
        browser = signed_in(app)
        raw.zadd(index_key, {"A" * 43: score})

        assert [info.handle for info in sessions.sessions_of(7)] == [handle_in(browser)]
        assert sessions.revoke_user(7) == 1
        assert raw.zcard(index_key) == 1
        assert content(browser) == {}

    def test_session_that_lives_beyond_all_dates(
        self, app: Flask, sessions: PickleSession, raw: Redis, prefix: str
    ) -> None:
        """Redis takes times to live that no date can tell."""
        browser = signed_in(app)
        raw.expire(f"{prefix}{handle_in(browser)}", 9_000_000_000_000)

        (info,) = sessions.sessions_of(7)

        assert info.expires_at is None
        assert sessions.revoke(info.handle, user_id=7)

    def test_what_is_no_handle(self, sessions: PickleSession) -> None:
        """Nor a user: it may come out of a form, with surrogates that stand alone."""
        assert not sessions.revoke("\ud800" * 43)
        assert sessions.sessions_of("\ud800") == []

    def test_identity_of_any_text(self, app: Flask, sessions: PickleSession) -> None:
        """Found in review: a surrogate that stands alone was a 500."""
        browser = Browser(app)
        browser.visit(put(user_id="\ud800"))

        assert len(sessions.sessions_of("\ud800")) == 1
        assert content(browser) == {"user_id": "\ud800"}

    def test_signing_out_by_one_key_while_another_is_set(self, app: Flask, sessions: PickleSession) -> None:
        """Found in review: the other window's key went into the anonymous session, which no revocation found."""
        browser = signed_in(app, 5)
        other = browser.copy()
        browser.visit(lambda: (session.pop("user_id"), other.visit(put(_user_id="5", n=1)), session.update(m=2))[0:0])

        assert content(browser) == {"n": 1, "m": 2}
        sessions.revoke_user(5)

    def test_users_who_never_stop_signing_in(self, app: Flask, sessions: PickleSession) -> None:
        """Told, after some passes."""
        state = app.extensions["picklesession"]
        save = state.store.save
        signed_in(app)

        def sign_in_again(*arguments: Any, **options: Any) -> Any:
            state.store.save = save
            signed_in(app)
            state.store.save = sign_in_again
            return save(*arguments, **options)

        state.store.save = sign_in_again
        with pytest.raises(SessionUnavailableError):
            sessions.revoke_user(7)
        state.store.save = save

    def test_all_sessions(self, app: Flask, sessions: PickleSession, raw: Redis, prefix: str) -> None:
        """Everybody's; what cannot be read is counted and left."""
        browsers = [signed_in(app, user) for user in range(3)]
        anonymous = Browser(app)
        anonymous.visit(put(n=1))
        raw.set(prefix + "f" * 43, b"forged")

        assert sessions.revoke_all() == (4, 1)

        assert all(content(browser) == {} for browser in (*browsers, anonymous))

    def test_threads(self, make_app: MakeApp) -> None:
        """Sign-ins and revocations as fast as can be: when all is quiet, one revocation leaves nobody."""
        app = make_app(PICKLESESSION_TIMEOUT=30)
        sessions = PickleSession(app)
        barrier = Barrier(6)
        browsers: list[Browser] = []

        def sign_in() -> None:
            barrier.wait()
            browsers.extend(signed_in(app) for _turn in range(10))

        def revoke() -> None:
            barrier.wait()
            for _turn in range(10):
                sessions.revoke_user(7)

        threads = [Thread(target=sign_in) for _ in range(4)] + [Thread(target=revoke) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sessions.revoke_user(7)

        assert sessions.sessions_of(7) == []
        assert all(content(browser) == {} for browser in browsers)


class TestLimit:
    def test_oldest_makes_room(self, make_app: MakeApp) -> None:
        """The default: the newest sessions stay."""
        app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=2)
        with recorded(session_ended, app) as ended:
            first, second, third = (signed_in(app) for _device in range(3))

        assert content(first) == {}
        assert content(second) == content(third) == {"user_id": 7}
        assert [sent["reason"] for sent in ended] == [EndReason.EVICTED]

    def test_one_too_many_is_refused(self, make_app: MakeApp) -> None:
        """403, no cookie; a place that is freed can be taken."""
        app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=2, PICKLESESSION_ON_MAX_SESSIONS="reject")
        first, _second = signed_in(app), signed_in(app)
        third = Browser(app)
        assert third.visit(put(user_id=7)).status_code == 403
        assert third.cookie is None
        first.visit(lambda: session.clear())

        assert third.visit(put(user_id=7)).status_code == 200
        assert content(third) == {"user_id": 7}

    def test_sign_in_that_never_ends_blocks_nobody_for_ever(self, make_app: MakeApp, raw: Redis) -> None:
        """A newer one died between the index and its record: this one waits for it, and is refused at its deadline."""
        app = make_app(
            PICKLESESSION_MAX_SESSIONS_PER_USER=1, PICKLESESSION_ON_MAX_SESSIONS="reject", PICKLESESSION_TIMEOUT=0.5
        )
        PickleSession(app)
        state = app.extensions["picklesession"]
        key, send = state.manager._users.key(state.user_digest("7")), state.store.send

        def send_both(*arguments: Any, **options: Any) -> None:
            send(*arguments, **options)
            raw.zadd(key, {"n" * 43: now_ms() + 1000})

        state.store.send = send_both

        assert Browser(app).visit(put(user_id=7)).status_code == 403

    def test_renewal_is_no_sign_in(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """A renewed session counts once, also while it is being renewed."""
        app = make_app(
            PICKLESESSION_MAX_SESSIONS_PER_USER=1,
            PICKLESESSION_ON_MAX_SESSIONS="reject",
            PICKLESESSION_RENEW_EVERY=EVERY,
        )
        browser = signed_in(app)
        move_clock(EVERY)
        browser.visit(put(n=1))
        browser.visit(put(n=2))
        browser.visit(lambda: session.regenerate())  # type: ignore[attr-defined]  # ours

        assert content(browser) == {"n": 2, "user_id": 7}

    def test_eviction_during_a_renewal(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """Two sessions, of which one is being renewed when a third begins: that is three, not four."""
        app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=2, PICKLESESSION_RENEW_EVERY=EVERY)
        browser = signed_in(app)
        move_clock(EVERY)
        store = app.extensions["picklesession"].store
        save, others = store.save, []

        def sign_in_first(*arguments: Any, **options: Any) -> Any:
            store.save = save
            others.append(signed_in(app))
            return save(*arguments, **options)

        store.save = sign_in_first
        browser.visit(put(n=1))

        assert content(browser) == {"user_id": 7, "n": 1}
        assert content(others[0]) == {"user_id": 7}

    @pytest.mark.parametrize("policy", ["evict_oldest", "reject"])
    def test_sign_ins_at_once(self, make_app: MakeApp, policy: str) -> None:
        """Twenty threads sign the same user in: three sessions are left, whatever the order."""
        app = make_app(
            PICKLESESSION_MAX_SESSIONS_PER_USER=3, PICKLESESSION_ON_MAX_SESSIONS=policy, PICKLESESSION_TIMEOUT=30
        )
        sessions = PickleSession(app)
        barrier = Barrier(20)
        browsers = [Browser(app) for _device in range(20)]

        def sign_in(browser: Browser) -> None:
            barrier.wait()
            browser.visit(put(user_id=7))

        threads = [Thread(target=sign_in, args=(browser,)) for browser in browsers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        alive = [browser for browser in browsers if browser.cookie and content(browser)]
        assert len(alive) == len(sessions.sessions_of(7)) == 3

    def test_sign_in_that_is_too_many_at_once(self, make_app: MakeApp) -> None:
        """A newer one took the place before this one was stored: dropped, no cookie."""
        app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=1)
        PickleSession(app)
        state = app.extensions["picklesession"]
        create, newer = state.store.create, []

        def sign_in_first(*arguments: Any, **options: Any) -> Any:
            state.store.create = create
            created = create(*arguments, **options)
            newer.append(signed_in(app))
            return created

        state.store.create = sign_in_first
        browser = signed_in(app)

        assert browser.cookie is None
        assert content(newer[0]) == {"user_id": 7}


class TestFailures:
    def test_revoke_that_failed_is_an_error(self, make_app: MakeApp) -> None:
        """Never swallowed."""
        app = make_app(PICKLESESSION_URL="redis://127.0.0.1:1/0")
        sessions = PickleSession(app)

        for call in (
            lambda: sessions.revoke("h" * 43),
            lambda: sessions.revoke_user(7),
            lambda: sessions.sessions_of(7),
            lambda: sessions.revoke_all(),
        ):
            with pytest.raises(SessionUnavailableError):
                call()

    def test_refused_index_is_an_outage(self, prefix: str) -> None:
        """An ACL without sorted sets is told, not passed over."""

        class Refusing:
            bounds_replies = True

            def call(self, deadline: float, *command: Any) -> Any:
                raise ResponseError("NOPERM")

        index = UserIndex(Refusing(), prefix=prefix, absolute_timeout=None)  # type: ignore[arg-type]
        with pytest.raises(StoreUnavailableError):
            index.go_through(bytes(32), lambda page: (), deadline=lambda: 0)

    def test_index_of_another_shape_is_an_outage(self, prefix: str) -> None:
        """A ready client's server that answers with a member and no score."""

        class Odd:
            bounds_replies = False

            def call(self, deadline: float, *command: Any) -> Any:
                return [b"h" * 43]

        index = UserIndex(Odd(), prefix=prefix, absolute_timeout=None)  # type: ignore[arg-type]
        with pytest.raises(StoreUnavailableError, match="another type"):
            index.newest(bytes(32), deadline=0)

    def test_refused_index_at_sign_in(self, app: Flask, sessions: PickleSession) -> None:
        """Nobody signs in who could not be signed out."""
        link = app.extensions["picklesession"].settings.link
        pipeline = link.pipeline

        def refuse(deadline: float, commands: Any) -> Any:
            return [
                ResponseError("NOPERM") if command[0] == "ZADD" else reply
                for command, reply in zip(commands, pipeline(deadline, commands), strict=True)
            ]

        link.pipeline = refuse
        browser = Browser(app)
        assert browser.visit(put(user_id=7)).status_code == 503
        state = app.extensions["picklesession"]
        with pytest.raises(StoreUnavailableError):
            state.store.send([("ZADD", "k", 1, "x")], deadline=10**10)
        link.pipeline = pipeline

    def test_refused_create_behind_the_index(self, app: Flask, sessions: PickleSession) -> None:
        """The record could not be stored: 503, whatever the index says."""
        link = app.extensions["picklesession"].settings.link
        pipeline = link.pipeline

        def refuse(deadline: float, commands: Any) -> Any:
            return [
                ResponseError("OOM") if command[0] == "SET" else reply
                for command, reply in zip(commands, pipeline(deadline, commands), strict=True)
            ]

        link.pipeline = refuse
        assert Browser(app).visit(put(user_id=7)).status_code == 503
        link.pipeline = pipeline

    def test_without_an_application(self) -> None:
        """Told what to do."""
        with pytest.raises(RuntimeError, match="init_app"):
            PickleSession().sessions_of(7)

    def test_without_a_secret_key(self, make_app: MakeApp) -> None:
        """There are no sessions."""
        app = make_app(SECRET_KEY=None)
        with pytest.raises(ConfigurationError, match="SECRET_KEY"):
            PickleSession(app).sessions_of(7)

    def test_within_the_context_of_another_application(self, make_app: MakeApp) -> None:
        """One extension for several applications: the one whose context is there counts."""
        one, two = make_app(), make_app(PICKLESESSION_IDENTITY_KEYS=["account"])
        sessions = PickleSession()
        sessions.init_app(one)
        sessions.init_app(two)
        browser = signed_in(one)

        with one.app_context():
            assert [info.handle for info in sessions.sessions_of(7)] == [handle_in(browser)]

    def test_handle_of_a_session_is_no_id(self, app: Flask) -> None:
        """What lists and revokes does not log in."""
        browser = signed_in(app)
        assert handle_of((browser.cookie or "")[:43]) == handle_in(browser)
        assert handle_in(browser) not in (browser.cookie or "")


def behind(app: Flask, command: str, actions: Iterable[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen when a reply to a command of this name has come, each time the next of these."""
    link = app.extensions["picklesession"].settings.link
    call, left = link.call, iter(actions)

    def watched(deadline: float, *sent: Any) -> Any:
        reply = call(deadline, *sent)
        if sent[0] == command:
            next(left, bool)()
        return reply

    monkeypatch.setattr(link, "call", watched)


def sign_in_again() -> None:
    """Sign the user in as Flask's tutorial does."""
    session.clear()
    session["user_id"] = 7


class TestRevokeAtTheSameTime:
    """Found in review: the index was looked at, then something happened, then its sessions were."""

    @pytest.mark.parametrize(
        "view",
        [
            lambda: session.regenerate(),  # type: ignore[attr-defined]  # our own
            lambda: session.reauthenticated(),  # type: ignore[attr-defined]  # our own
            sign_in_again,
        ],
        ids=["regenerate", "reauthenticated", "sign in"],
    )
    def test_session_that_takes_a_new_id_ends(
        self, app: Flask, sessions: PickleSession, view: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its new id is not among those that were read; the old one is over by then."""
        browser = signed_in(app)
        behind(app, "ZREVRANGE", [lambda: browser.visit(view)], monkeypatch)

        assert sessions.revoke_user(7) == 1
        assert browser.ask(lambda: session.get("user_id")) is None
        assert sessions.sessions_of(7) == []

    def test_index_that_gets_shorter_hides_nothing(
        self,
        app: Flask,
        sessions: PickleSession,
        raw: Redis,
        index_key: bytes,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Each listing removes what is gone: what stood on the second page stands on the first one then."""
        browser = signed_in(app)
        begun = now_ms() - 4_000_000
        raw.zadd(index_key, {handle_in(browser): begun - 1})
        raw.zadd(index_key, {handle_of(str(number)): begun + number for number in range(150)})
        behind(app, "ZREVRANGE", [lambda: sessions.sessions_of(7)], monkeypatch)

        assert sessions.revoke_user(7) == 1
        assert browser.ask(lambda: session.get("user_id")) is None

    @pytest.mark.parametrize("times", [1, 3])
    @pytest.mark.parametrize("end", ["revoke_all", "revoke_user"])
    def test_session_that_takes_a_new_id_during_a_scan_ends(
        self,
        app: Flask,
        sessions: PickleSession,
        raw: Redis,
        index_key: bytes,
        monkeypatch: pytest.MonkeyPatch,
        times: int,
        end: str,
    ) -> None:
        """Found in review: the cursor had passed where the new id came."""
        browser = signed_in(app)
        raw.delete(index_key)
        take = [lambda: browser.visit(lambda: session.regenerate())] * times  # type: ignore[attr-defined]  # our own
        behind(app, "SCAN", take, monkeypatch)

        ended = sessions.revoke_all() if end == "revoke_all" else sessions.revoke_user(7, scan=True)

        assert ended in (1, (1, 0))
        assert browser.ask(lambda: session.get("user_id")) is None

    def test_session_that_takes_new_ids_all_the_time(
        self, app: Flask, sessions: PickleSession, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Then it is said that it is not over."""
        monkeypatch.setattr("flask_picklesession.revocation.MOST_PASSES", 3)
        browser = signed_in(app)
        take = repeat(lambda: browser.visit(lambda: session.regenerate()))  # type: ignore[attr-defined]  # our own
        behind(app, "SCAN", take, monkeypatch)

        with pytest.raises(SessionUnavailableError):
            sessions.revoke_all()
