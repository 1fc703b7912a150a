"""RENEW_EVERY: the id changes by itself, and nobody is logged out or loses a write by it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
from flask import Flask, session
from redis import Redis

from flask_picklesession import (
    Drop,
    PickleSession,
    SessionNotFoundError,
    session_dropped,
    session_renewed,
    session_reused,
)
from flask_picklesession.cookie import handle_of
from flask_picklesession.exceptions import RecordError
from flask_picklesession.renewal import MOST_HOPS, SuccessorIds, renewed_record, successor_of
from flask_picklesession.storage.record import ANONYMOUS, SIGNATURE_SIZE, Kind, Record, new_record

from . import support
from .conftest import MakeApp
from .proxy import Proxy, cut_after
from .samples import Basket
from .servers import Server
from .support import Browser, recorded, set_cookies

MoveClock = Callable[[float], None]

#: Seconds after which the tests' applications renew.
EVERY = 100


def put(**values: Any) -> Callable[[], None]:
    """Return a view that assigns these keys."""
    return lambda: session.update(values)


def content(browser: Browser) -> dict[str, Any]:
    """Return what the next request finds."""
    found: dict[str, Any] = browser.ask(lambda: dict(session))
    return found


def handle_in(browser: Browser) -> str:
    """Return the handle of the cookie's id."""
    return handle_of((browser.cookie or "")[:43])


@pytest.fixture(name="app")
def _app(make_app: MakeApp) -> Flask:
    return make_app(PICKLESESSION_RENEW_EVERY=EVERY)


@pytest.fixture(name="browser")
def _browser(app: Flask) -> Browser:
    browser = Browser(app)
    browser.visit(put(n=1, user_id=7))
    return browser


@pytest.fixture(name="due")
def _due(browser: Browser, move_clock: MoveClock) -> Browser:
    """A browser whose next request renews."""
    move_clock(EVERY)
    return browser


@pytest.fixture(name="record_of")
def _record_of(raw: Redis, prefix: str) -> Callable[[str], Record]:
    def record_of(handle: str) -> Record:
        stored = raw.get(prefix + handle)
        assert isinstance(stored, bytes)
        return Record.unpack(stored[SIGNATURE_SIZE:])

    return record_of


RecordOf = Callable[[str], Record]


class TestRenewal:
    def test_id_changes_and_all_else_stays(self, app: Flask, due: Browser, record_of: RecordOf) -> None:
        """Also by a request that only reads; times and content are inherited."""
        before, old = due.cookie, record_of(handle_in(due))
        with recorded(session_renewed, app) as renewed:
            assert content(due) == {"n": 1, "user_id": 7}

        assert due.cookie != before
        assert content(due) == {"n": 1, "user_id": 7}
        new = record_of(handle_in(due))
        assert (new.born, new.authenticated, new.deadline, new.user_digest) == (
            old.born, old.authenticated, old.deadline, old.user_digest
        )  # fmt: skip
        assert [sent["handle"] for sent in renewed] == [handle_in(due)]

    def test_not_before_it_is_due(self, browser: Browser, move_clock: MoveClock) -> None:
        """A session keeps its id until then, and again after it."""
        before = browser.cookie
        move_clock(EVERY - 1)
        assert browser.visit(put(n=2)).status_code == 200
        assert browser.cookie == before
        move_clock(1)
        browser.visit(put(n=3))
        renewed = browser.cookie
        browser.visit(put(n=4))
        browser.visit(put(n=5))

        assert browser.cookie == renewed != before

    def test_renews_again_and_again(self, browser: Browser, move_clock: MoveClock) -> None:
        """Each successor has its own successor; the first id leads to the last."""
        first = browser.copy()
        for _turn in range(3):
            move_clock(EVERY)
            content(browser)
            content(browser)
        with recorded(session_reused, browser.app) as reused:
            assert content(first) == {}

        assert content(browser) == {"n": 1, "user_id": 7}
        assert [sent["handle"] for sent in reused] == [handle_in(browser)]

    def test_write_and_renewal_are_one(self, due: Browser) -> None:
        """What the request changed is in the successor."""
        due.visit(put(n=2))

        assert content(due)["n"] == 2

    def test_emptied_session_is_not_renewed(self, app: Flask, move_clock: MoveClock) -> None:
        """Nothing is left to go on."""
        browser = Browser(app)
        browser.visit(put(n=1))
        move_clock(EVERY)
        browser.visit(lambda: session.pop("n"))

        assert browser.cookie is None

    def test_record_keeps_no_content(self, due: Browser, record_of: RecordOf) -> None:
        """The old record holds a nonce and a handle, and lives one idle timeout at most."""
        old = handle_in(due)
        due.visit(put(n=2))

        record = record_of(old)
        assert record.kind == Kind.RENEWED
        assert successor_of(record) == handle_in(due)
        assert record.deadline > 0

    def test_absolute_timeout_is_inherited(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """A renewal does not make a session live longer."""
        browser = Browser(make_app(PICKLESESSION_RENEW_EVERY=EVERY, PICKLESESSION_ABSOLUTE_TIMEOUT=EVERY * 2))
        browser.visit(put(n=1))
        old = browser.copy()
        move_clock(EVERY)
        assert content(browser) == {"n": 1}
        move_clock(EVERY)

        assert content(browser) == {}
        assert content(old) == {}


class TestLostResponse:
    def test_new_id_is_offered_until_it_is_used(self, due: Browser) -> None:
        """The response with the new cookie is lost: the old id is offered it again, however late."""
        lost = due.copy()
        lost.visit(put(a=1))
        response = due.visit(put(b=2))

        assert set_cookies(response) != []
        assert due.cookie is not None
        assert lost.cookie is not None
        assert due.cookie[:43] == lost.cookie[:43]
        assert content(due) == {"n": 1, "user_id": 7, "a": 1, "b": 2}

    def test_offered_to_a_reader_too(self, due: Browser, move_clock: MoveClock) -> None:
        """A request that only reads gets it, too, long after the grace period."""
        due.copy().visit(put(a=1))
        move_clock(50)

        assert content(due) == {"n": 1, "user_id": 7, "a": 1}
        assert content(due) == {"n": 1, "user_id": 7, "a": 1}

    def test_confirmed_at_the_first_use(self, due: Browser, record_of: RecordOf) -> None:
        """From then on the old id is not offered it any more."""
        old = due.copy()
        content(due)
        assert record_of(handle_in(due)).confirmed == 0
        content(due)
        assert record_of(handle_in(due)).confirmed > 0

        assert set_cookies(old.visit(put(late=1))) == []
        assert content(due)["late"] == 1


class TestOldId:
    @pytest.fixture(name="old")
    def _old(self, due: Browser) -> Browser:
        """A window that still has the old id, after the new one was used."""
        old = due.copy()
        content(due)
        content(due)
        return old

    def test_within_the_grace_period(self, old: Browser, due: Browser) -> None:
        """Requests under way lose nothing, and set no cookie."""
        response = old.visit(put(late=1))

        assert set_cookies(response) == []
        assert content(due) == {"n": 1, "user_id": 7, "late": 1}

    def test_later_it_is_reuse(self, app: Flask, old: Browser, due: Browser, move_clock: MoveClock) -> None:
        """Told by a signal; the session goes on."""
        move_clock(11)
        with recorded(session_reused, app) as reused:
            assert content(old) == {}

        assert len(reused) == 1
        assert content(due) == {"n": 1, "user_id": 7}

    def test_late_request_does_not_replace_the_good_cookie(
        self, old: Browser, due: Browser, move_clock: MoveClock
    ) -> None:
        """It waited in a queue for longer than the grace period: its write is dropped, a sign-in is not."""
        move_clock(11)
        assert set_cookies(old.visit(put(late=1))) == []
        assert set_cookies(old.visit(put(user_id=9))) != []
        old.cookie = ""
        assert content(due) == {"n": 1, "user_id": 7}

    def test_request_that_loaded_in_time_writes_whenever_it_ends(self, due: Browser, move_clock: MoveClock) -> None:
        """Loaded before the renewal, saved long after it: the write is in the successor."""
        slow = due.copy()

        def view() -> None:
            session["slow"] = 1
            content(due)
            content(due)
            move_clock(60)

        assert set_cookies(slow.visit(view)) == []
        assert content(due) == {"n": 1, "user_id": 7, "slow": 1}

    @pytest.mark.parametrize(
        "end",
        [lambda: session.clear(), lambda: session.destroy(), lambda: session.pop("user_id")],  # type: ignore[attr-defined]  # ours
        ids=["clear", "destroy", "sign out"],
    )
    def test_ends_both(self, old: Browser, due: Browser, end: Callable[[], object]) -> None:
        """What ends a session through its old id ends the new one."""
        old.visit(end)

        assert "user_id" not in content(due)
        assert "user_id" not in content(old)

    def test_sign_in_through_the_old_id(self, old: Browser, due: Browser) -> None:
        """Another user: a new id that follows from nothing; both old ones are worth nothing."""
        attacker = old.copy()
        old.visit(put(user_id=8))

        assert content(old)["user_id"] == 8
        assert content(attacker) == {}
        assert content(due) == {}

    def test_regenerate_through_the_old_id(self, old: Browser, due: Browser) -> None:
        """The new id follows from nothing."""
        old.visit(lambda: session.regenerate())  # type: ignore[attr-defined]  # ours

        assert content(old) == {"n": 1, "user_id": 7}
        assert content(due) == {}

    def test_destroy_by_a_request_that_was_slow(self, due: Browser) -> None:
        """Loaded before the renewal, destroyed after it."""
        slow = due.copy()
        slow.visit(lambda: (session.get("n"), content(due), session.clear(), None)[3])

        assert content(due) == {}

    def test_sign_in_by_a_request_that_was_slow(self, due: Browser) -> None:
        """Loaded before the renewal, signed in after it: what the successor held goes along, the successor is over."""
        slow = due.copy()
        slow.visit(lambda: (session.get("n"), due.visit(put(b=2)), session.update(user_id=9), None)[3])

        assert content(slow) == {"n": 1, "b": 2, "user_id": 9}
        assert content(due) == {}

    @pytest.mark.parametrize(("policy", "others"), [("revoke", {"n": 5, "user_id": 7}), ("revoke_user", {})])
    def test_reuse_policies(
        self, make_app: MakeApp, move_clock: MoveClock, policy: str, others: dict[str, Any]
    ) -> None:
        """revoke ends the session, revoke_user all of that user."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY, PICKLESESSION_ON_REUSE=policy)
        other, browser = Browser(app), Browser(app)
        browser.visit(put(n=1, user_id=7))
        move_clock(EVERY)
        stolen = browser.copy()
        content(browser)
        content(browser)
        other.visit(put(n=5, user_id=7))
        move_clock(11)
        assert content(stolen) == {}

        assert content(browser) == {}
        assert content(other) == others


class TestRaces:
    def test_two_requests_renew_at_once(self, due: Browser) -> None:
        """Both go on under the same new id, and lose nothing."""
        other = due.copy()
        due.visit(lambda: (put(a=1)(), other.visit(put(b=2)), None)[2])

        assert due.cookie is not None
        assert other.cookie is not None
        assert due.cookie[:43] == other.cookie[:43]
        assert content(due) == {"n": 1, "user_id": 7, "a": 1, "b": 2}

    def test_many_requests_renew_at_once(self, due: Browser) -> None:
        """Twenty in flight, each with a key of its own: none is logged out, nothing is lost."""

        def nested(depth: int) -> Callable[[], None]:
            def view() -> None:
                session[f"key{depth}"] = depth
                if depth:
                    due.copy().visit(nested(depth - 1))

            return view

        due.visit(nested(19))

        assert len(content(due)) == 22

    def test_write_between_create_and_turn(self, app: Flask, due: Browser) -> None:
        """The successor that was made too early is taken back; the write is in the next one."""
        store = app.extensions["picklesession"].store
        create, other = store.create, due.copy()
        app.extensions["picklesession"].settings  # noqa: B018 - read before it is patched

        def interleave(*arguments: Any, **options: Any) -> Any:
            saved = create(*arguments, **options)
            store.create = create
            other.visit(put(b=2))
            return saved

        store.create = interleave
        due.visit(put(a=1))

        assert content(due) == {"n": 1, "user_id": 7, "a": 1, "b": 2}

    def test_turn_that_another_was_quicker_with(self, app: Flask, due: Browser) -> None:
        """Who made a successor and lost the turn takes it back, and writes into the other one."""
        store = app.extensions["picklesession"].store
        save, other = store.save, due.copy()
        calls: list[object] = []

        def interleave(*arguments: Any, **options: Any) -> Any:
            if not calls:
                calls.append(1)
                other.visit(put(b=2))
            return save(*arguments, **options)

        store.save = interleave
        due.visit(put(a=1))

        assert content(due) == {"n": 1, "user_id": 7, "a": 1, "b": 2}
        assert content(other) == content(due)

    def test_successor_that_ends_before_it_begins(self, app: Flask, due: Browser) -> None:
        """Somebody made room between its entry in the index and its record: the session goes on under its old id."""
        sessions = PickleSession(app)
        store = app.extensions["picklesession"].store
        create = store.create

        def ended(storage_key: bytes, *arguments: Any, **options: Any) -> Any:
            store.create = create
            sessions.revoke(storage_key[-43:].decode())
            return create(storage_key, *arguments, **options)

        store.create = ended
        due.visit(put(a=1))

        assert content(due) == {"n": 1, "user_id": 7, "a": 1}

    def test_reuse_is_bounded_by_the_request(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """What a reuse revokes, it revokes within the request's time."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY, PICKLESESSION_ON_REUSE="revoke_user", PICKLESESSION_TIMEOUT=2)
        browser = Browser(app)
        browser.visit(put(n=1, user_id=7))
        move_clock(EVERY)
        stolen = browser.copy()
        content(browser)
        content(browser)
        move_clock(11)
        store = app.extensions["picklesession"].store
        save, deadlines = store.save, []

        def note(*arguments: Any, **options: Any) -> Any:
            deadlines.append(options["deadline"])
            return save(*arguments, **options)

        store.save = note
        content(stolen)

        assert deadlines
        assert max(deadlines) < monotonic() + 2.5

    @pytest.mark.parametrize("handle", ["mine", "revoked"])
    def test_end_whose_reply_is_lost_follows_the_renewal(
        self, server: Server, prefix: str, move_clock: MoveClock, handle: str
    ) -> None:
        """Found in review: the command that was sent again found its own ended record, not where the old one led."""
        with Proxy(server.port) as proxy:
            app = support.make_app(proxy.url, prefix, PICKLESESSION_RENEW_EVERY=EVERY)
            sessions = PickleSession(app)
            browser = Browser(app)
            browser.visit(put(n=1, user_id=7))
            move_clock(EVERY)
            other = browser.copy()
            old = handle_in(browser)

            def renewed_and_lost(exchange: Any) -> None:
                content(other)
                content(other)
                cut_after(exchange)

            proxy.next("EVALSHA", renewed_and_lost)
            if handle == "mine":
                browser.visit(lambda: (session.get("n"), session.clear()))
            else:
                assert sessions.revoke(old)

            assert content(other) == {}
            support.close(app)

    def test_handle_of_long_ago_ends_the_session(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """Found in review: a revocation followed sixteen renewals, said that it was done, and the session lived."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions, browser = PickleSession(app), Browser(app)
        browser.visit(put(n=1))
        kept = handle_in(browser)
        for _renewal in range(18):
            move_clock(EVERY)
            content(browser)
            content(browser)
        assert handle_in(browser) != kept

        assert sessions.revoke(kept)
        assert content(browser) == {}

    def test_write_from_outside_between_create_and_turn(self, app: Flask, due: Browser) -> None:
        """The old record moved on, but was not renewed: a second successor takes the write along."""
        sessions, handle = PickleSession(app), handle_in(due)
        store = app.extensions["picklesession"].store
        create = store.create

        def interleave(*arguments: Any, **options: Any) -> Any:
            saved = create(*arguments, **options)
            store.create = create
            with sessions.open(handle) as opened:
                opened["b"] = 2
            return saved

        store.create = interleave
        due.visit(put(a=1))

        assert content(due) == {"n": 1, "user_id": 7, "a": 1, "b": 2}
        assert len(sessions.sessions_of(7)) == 1

    def test_record_of_somebody_else_between_create_and_turn(
        self, app: Flask, due: Browser, raw: Redis, prefix: str
    ) -> None:
        """Planted by whoever holds the key: the write belonged to another user, and is dropped."""
        state = app.extensions["picklesession"]
        create, key = state.store.create, (prefix + handle_in(due)).encode()
        sealer = state.signers(app).record

        def interleave(*arguments: Any, **options: Any) -> Any:
            saved = create(*arguments, **options)
            stored = raw.get(key)
            assert isinstance(stored, bytes)
            record = sealer.unseal(key, stored)[0].with_nonce(b"planted!")._replace(user_digest=b"x" * 32)
            raw.set(key, sealer.seal(key, record))
            return saved

        state.store.create = interleave
        with recorded(session_dropped, app) as dropped:
            due.visit(put(a=1))
        state.store.create = create

        assert [sent["reason"] for sent in dropped] == [Drop.IDENTITY]

    def test_value_that_cannot_be_restored_here(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """A newer worker wrote to the same key: theirs stands in the successor, mine is reported."""
        newer, older = make_app(PICKLESESSION_ALLOW=[Basket]), make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        browser = Browser(older)
        browser.visit(put(n=1))
        move_clock(EVERY)
        other = Browser(newer)
        other.cookie = browser.cookie or ""
        with recorded(session_dropped, older) as dropped:
            browser.visit(lambda: (put(item=1)(), other.visit(put(item=Basket([]))), None)[2])

        assert [(sent["reason"], sent["keys"]) for sent in dropped] == [(Drop.QUARANTINED, ("item",))]

    def test_payload_that_is_none_in_a_successor(self, app: Flask, due: Browser, raw: Redis, prefix: str) -> None:
        """Signed by whoever holds the key."""
        old = due.copy()
        content(due)
        key = (prefix + handle_in(due)).encode()
        sealer = app.extensions["picklesession"].signers(app).record
        stored = raw.get(key)
        assert isinstance(stored, bytes)
        raw.set(key, sealer.seal(key, sealer.unseal(key, stored)[0]._replace(body=b"none")))

        assert content(old) == {}

    def test_renewed_record_past_its_time(self, due: Browser, move_clock: MoveClock) -> None:
        """Neither its cookie nor its handle leads anywhere."""
        sessions, old = PickleSession(due.app), handle_in(due)
        content(due)
        move_clock(32 * 86_400)

        with pytest.raises(SessionNotFoundError), sessions.open(old):
            pass

    @pytest.mark.parametrize("stage", ["create", "save"])
    def test_sign_out_during_a_renewal(self, app: Flask, due: Browser, stage: str) -> None:
        """Delete wins: the renewal is dropped, and its successor is over."""
        store = app.extensions["picklesession"].store
        original, other = getattr(store, stage), due.copy()

        def interleave(*arguments: Any, **options: Any) -> Any:
            setattr(store, stage, original)
            other.visit(lambda: session.clear())
            return original(*arguments, **options)

        setattr(store, stage, interleave)
        with recorded(session_dropped, app) as dropped:
            due.visit(put(a=1))

        assert [sent["reason"] for sent in dropped] == [Drop.ENDED]
        assert content(due) == {}

    def test_switch_of_user_during_a_renewal(self, app: Flask, due: Browser) -> None:
        """The write belonged to somebody else: dropped."""
        store = app.extensions["picklesession"].store
        original, other = store.save, due.copy()

        def interleave(*arguments: Any, **options: Any) -> Any:
            store.save = original
            other.visit(put(user_id=8))
            return original(*arguments, **options)

        store.save = interleave
        due.visit(put(a=1))

        assert content(other) == {"n": 1, "user_id": 8}

    def test_successor_that_is_gone_is_never_made_again(
        self, app: Flask, due: Browser, raw: Redis, prefix: str
    ) -> None:
        """Evicted by the server: the old id leads nowhere."""
        old = due.copy()
        content(due)
        raw.delete(prefix + handle_in(due))

        assert content(old) == {}
        assert content(due) == {}

    def test_successor_that_is_gone_at_save(self, due: Browser, raw: Redis, prefix: str) -> None:
        """The same for a request that had loaded before."""
        slow = due.copy()

        def view() -> None:
            session["slow"] = 1
            content(due)
            raw.delete(prefix + handle_in(due))

        slow.visit(view)

        assert content(slow) == {}

    def test_successor_that_somebody_planted(self, due: Browser, raw: Redis, prefix: str) -> None:
        """Forged bytes in the successor's place are no session, at load and at save."""
        slow, old = due.copy(), due.copy()

        def view() -> None:
            session["slow"] = 1
            content(due)
            raw.set(prefix + handle_in(due), b"forged")

        assert slow.visit(view).status_code == 200
        assert content(old) == {}

    def test_taken_place_of_a_successor(self, app: Flask, due: Browser) -> None:
        """Nobody can know it before: who took it makes this an outage, and nothing is lost."""
        store = app.extensions["picklesession"].store
        create, link = store.create, app.extensions["picklesession"].settings.link

        def taken(storage_key: bytes, *arguments: Any, **options: Any) -> Any:
            link.call(options["deadline"], "SET", storage_key, "planted")
            return create(storage_key, *arguments, **options)

        store.create = taken
        assert due.visit(put(a=1)).status_code == 503
        store.create = create

        assert content(due) == {"n": 1, "user_id": 7}


class TestKeys:
    def test_rotation_between_renewal_and_use(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """The successor is found under whichever key derived it."""
        old_app = make_app(SECRET_KEY="an old key of this application", PICKLESESSION_RENEW_EVERY=EVERY)
        browser = Browser(old_app)
        browser.visit(put(n=1))
        move_clock(EVERY)
        late = browser.copy()
        content(browser)
        rotated = make_app(
            SECRET_KEY="a new key of this application",
            SECRET_KEY_FALLBACKS=["an old key of this application"],
            PICKLESESSION_RENEW_EVERY=EVERY,
        )
        between = Browser(rotated)
        between.cookie = late.cookie or ""

        assert content(between) == {"n": 1}

    def test_ids_follow_from_old_id_nonce_and_key(self) -> None:
        """Two that know all three agree; a reader of Redis, who knows the nonce alone, does not."""
        ids = SuccessorIds(["old", "new"])
        derived = ids.derive("a" * 43, b"nonce--1")

        assert ids.find("a" * 43, b"nonce--1", handle_of(derived)) == derived
        assert SuccessorIds(["new"]).derive("a" * 43, b"nonce--1") == derived
        assert ids.derive("a" * 43, b"nonce--2") != derived
        assert ids.derive("b" * 43, b"nonce--1") != derived
        older = SuccessorIds(["old"]).derive("a" * 43, b"nonce--1")
        assert ids.find("a" * 43, b"nonce--1", handle_of(older)) == older
        assert SuccessorIds(["other"]).find("a" * 43, b"nonce--1", handle_of(derived)) is None
        assert len(derived) == 43

    def test_dropped_key_leads_nowhere(self, app: Flask, due: Browser, make_app: MakeApp) -> None:
        """A successor that no key derives any more is not found."""
        old = due.copy()
        content(due)
        signers = app.extensions["picklesession"].signers(app)
        signers.successors = SuccessorIds(["another"])

        assert content(old) == {}

    def test_renewed_record_without_a_successor_is_refused(self) -> None:
        """Whoever holds the key can sign one."""
        before = new_record(now=1, nonce=b"n" * 8, deadline=0, user_digest=ANONYMOUS, body=b"")
        record = renewed_record(before, "h" * 43, nonce=b"m" * 8, deadline=9)
        assert successor_of(record) == "h" * 43

        for body in (b"", b"x" * 50, b"\xff" * 43):
            with pytest.raises(RecordError):
                successor_of(record._replace(body=body))

    def test_circle_of_renewed_records(self, app: Flask, due: Browser, raw: Redis, prefix: str) -> None:
        """Planted by whoever holds the key: followed for a while, then no session."""
        state = app.extensions["picklesession"]
        key = (prefix + handle_in(due)).encode()
        stored = raw.get(key)
        assert isinstance(stored, bytes)
        sealer, session_id = state.signers(app).record, (due.cookie or "")[:43]
        record = sealer.unseal(key, stored)[0]
        for _hop in range(20):
            following = state.signers(app).successors.derive(session_id, b"m" * 8)
            renewed = renewed_record(record, handle_of(following), nonce=b"m" * 8, deadline=record.born + 10**9)
            here = (prefix + handle_of(session_id)).encode()
            raw.set(here, sealer.seal(here, renewed))
            session_id = following

        assert content(due) == {}


def renew_often(browser: Browser, move_clock: MoveClock, every: float = EVERY) -> None:
    """Renew more often than a request follows."""
    for _renewal in range(MOST_HOPS + 4):
        move_clock(every + 1)
        content(browser)
        content(browser)


@pytest.mark.parametrize("policy", ["signal", "revoke", "revoke_user"])
def test_reuse_of_an_id_from_long_ago(make_app: MakeApp, move_clock: MoveClock, policy: str) -> None:
    """Found in review: behind sixteen renewals it was neither reported nor acted on."""
    app = make_app(PICKLESESSION_RENEW_EVERY=EVERY, PICKLESESSION_GRACE=10, PICKLESESSION_ON_REUSE=policy)
    browser = Browser(app)
    browser.visit(put(user_id=7))
    thief = browser.copy()
    renew_often(browser, move_clock)

    with recorded(session_reused, app) as reused:
        assert content(thief) == {}

    assert len(reused) == 1
    assert content(browser) == ({"user_id": 7} if policy == "signal" else {})


def test_slow_request_with_an_id_from_long_ago(make_app: MakeApp, move_clock: MoveClock) -> None:
    """Within the grace it is no reuse; so far behind it is no session, either."""
    app = make_app(PICKLESESSION_RENEW_EVERY=1, PICKLESESSION_GRACE=300)
    browser = Browser(app)
    browser.visit(put(user_id=7))
    slow = browser.copy()
    renew_often(browser, move_clock, every=1)

    with recorded(session_reused, app) as reused:
        assert content(slow) == {}

    assert reused == []
    assert content(browser) == {"user_id": 7}
