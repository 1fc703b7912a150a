"""One user in several browsers: what is kept stays, what ends is over, and what is counted is right.

Whatever takes new ids meanwhile. Each of these was found by an attack on everything around the pickling boundary.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

import pytest
from flask import Flask, flash, got_request_exception, request_finished, session
from redis import Redis

from flask_picklesession import (
    EndReason,
    PickleSession,
    session_dropped,
    session_ended,
    session_regenerated,
    session_saved,
)
from flask_picklesession.exceptions import SessionDroppedError, SessionUnavailableError, StoreUnavailableError
from flask_picklesession.extension import _step_seconds
from flask_picklesession.report import Drop
from flask_picklesession.revocation import STEP_SECONDS, Revoker
from flask_picklesession.storage.connection import Command
from flask_picklesession.storage.record import Record, now_ms
from flask_picklesession.user_sessions import MOST_LOOKS, UserSessions

from .conftest import MakeApp
from .stepping import Stepped, SteppingLink
from .support import Browser, recorded, set_cookies
from .test_renewal import EVERY, MoveClock, content, handle_in, put
from .test_user_sessions import signed_in


def regenerate() -> None:
    session.regenerate()  # type: ignore[attr-defined]  # ours


def reauthenticate() -> None:
    session.reauthenticated()  # type: ignore[attr-defined]  # ours


def clear() -> None:
    session.clear()


def sign_in_again() -> None:
    session.clear()
    session["user_id"] = 7


def clear_and_flash() -> None:
    session.clear()
    flash("bye")


#: What ends a session and begins another one, and what stands in that.
ENDINGS: dict[str, Callable[[], object]] = {
    "flashed": clear_and_flash,
    "signed in again": sign_in_again,
    "identity taken out": lambda: session.pop("user_id"),
    "another user": put(user_id=8),
}
WHAT_IS_LEFT = {
    "flashed": {"_flashes": [("message", "bye")]},
    "signed in again": {"user_id": 7},
    "identity taken out": {"cart": 1},
    "another user": {"cart": 1, "user_id": 8},
}


def fail(*_arguments: Any, **_options: Any) -> Any:
    raise StoreUnavailableError("away")


def once(holder: Any, name: str, before: Callable[[], object]) -> None:
    """Let something happen before the next call of a method."""
    method = getattr(holder, name)

    def call(*arguments: Any, **options: Any) -> Any:
        setattr(holder, name, method)
        before()
        return method(*arguments, **options)

    setattr(holder, name, call)


def between_index_and_record(app: Flask, happens: Callable[[Callable[[], object]], object]) -> None:
    """Let something happen when the next new session is in the index, and its record is not stored yet.

    :param happens: is given a function that stores it.
    """
    link = app.extensions["picklesession"].settings.link
    pipeline = link.pipeline

    def apart(deadline: float, commands: Sequence[Command]) -> list[Any]:
        if commands[-1][0] != "SET":
            return pipeline(deadline, commands)  # type: ignore[no-any-return]  # the link's
        link.pipeline = pipeline
        replies = pipeline(deadline, commands[:-1])
        happens(lambda: pipeline(deadline, commands[-1:]))
        return [*replies, *pipeline(deadline, commands[-1:])]

    link.pipeline = apart


class TestKept:
    @pytest.mark.parametrize("scan", [False, True])
    def test_session_that_was_renewed_before(self, make_app: MakeApp, move_clock: MoveClock, scan: bool) -> None:
        """Sign out everywhere else, by the handle that the session has now: old ids of it lead to it."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions = PickleSession(app)
        here = signed_in(app)
        for _renewal in range(2):
            move_clock(EVERY)
            content(here)
            content(here)
        there = signed_in(app)

        assert sessions.revoke_user(7, keep=handle_in(here), scan=scan) == 1

        assert content(here) == {"user_id": 7}
        assert content(there) == {}

    @pytest.mark.parametrize("scan", [False, True])
    def test_session_that_is_just_being_renewed(self, make_app: MakeApp, move_clock: MoveClock, scan: bool) -> None:
        """Its successor is stored, and nothing leads to it yet."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions = PickleSession(app)
        here, there = signed_in(app), signed_in(app)
        old = handle_in(here)
        move_clock(EVERY)
        once(app.extensions["picklesession"].store, "save", lambda: sessions.revoke_user(7, keep=old, scan=scan))

        content(here)

        assert content(here) == {"user_id": 7}
        assert content(there) == {}

    def test_session_that_was_regenerated_through_an_old_id(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """Kept by an even older one."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions = PickleSession(app)
        here = signed_in(app)
        old = handle_in(here)
        move_clock(EVERY)
        here.copy().visit(lambda: str(session["user_id"]))
        here.visit(regenerate)

        assert sessions.revoke_user(7, keep=old) == 0
        assert content(here) == {"user_id": 7}

    @pytest.mark.parametrize("keep", ["", "x", "\u00e9" * 43, "a" * 44, None, 5])
    def test_what_is_no_handle_keeps_nothing(self, app: Flask, sessions: PickleSession, keep: Any) -> None:
        """It may come out of a form."""
        here = signed_in(app)

        assert not sessions.revoke(keep)
        assert sessions.revoke_user(7, keep=keep) == 1
        assert content(here) == {}

    def test_session_whose_new_id_meets_many_conflicts(self, app: Flask, sessions: PickleSession) -> None:
        """What is about to be its new id belongs to it, however often others have written meanwhile."""
        here, state = signed_in(app), app.extensions["picklesession"]
        old, window = handle_in(here), here.copy()
        save, left = state.store.save, iter(range(10))

        def after_another_write(*arguments: Any, **options: Any) -> Any:
            state.store.save = save
            number = next(left, None)
            if number is None:
                sessions.revoke_user(7, keep=old)
            else:
                window.visit(put(**{f"key{number}": number}))
                # Behind the conflict the new record is written again, and that is no write of the old one.
                state.store.save = lambda *again, **more: (
                    setattr(state.store, "save", after_another_write),
                    save(*again, **more),
                )[1]
            return save(*arguments, **options)

        state.store.save = after_another_write
        assert here.visit(regenerate).status_code == 200
        state.store.save = save

        assert content(here)["user_id"] == 7

    @pytest.mark.parametrize("scan", [False, True])
    @pytest.mark.parametrize("is_old", [False, True], ids=["its handle", "an old one"])
    def test_session_that_was_renewed_again_and_again(
        self, make_app: MakeApp, move_clock: MoveClock, monkeypatch: pytest.MonkeyPatch, scan: bool, is_old: bool
    ) -> None:
        """Each old id is gone through once, not once for each that is older."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions = PickleSession(app)
        here = signed_in(app)
        old = handle_in(here)
        for _turn in range(20):
            content(here)
            move_clock(EVERY)
        content(here)
        looked_at, look = [], Revoker._load
        monkeypatch.setattr(Revoker, "_load", lambda self, handle: (looked_at.append(handle), look(self, handle))[1])

        assert sessions.revoke_user(7, keep=old if is_old else handle_in(here), scan=scan) == 0

        # Of the kept session, for each page or record that is looked at, too.
        assert len([handle for handle in looked_at if handle != handle_in(here)]) <= 20 * (1 + scan)

    @pytest.mark.parametrize("change", [regenerate, reauthenticate])
    def test_session_whose_new_id_is_just_being_stored(
        self, app: Flask, sessions: PickleSession, change: Callable[[], None]
    ) -> None:
        """In the index, without a record: that id cannot begin, another one does, and nothing is lost."""
        here = signed_in(app)
        old = handle_in(here)
        between_index_and_record(app, lambda _store: sessions.revoke_user(7, keep=old))

        here.visit(lambda: (change(), session.update(paid=True), None)[2])

        assert content(here) == {"user_id": 7, "paid": True}
        assert handle_in(here) != old

    def test_session_that_cannot_begin_again_and_again(self, app: Flask) -> None:
        """Whoever ends each new id at once wins: the write is dropped, the session goes on as it was."""
        here = signed_in(app)
        state = app.extensions["picklesession"]
        create = state.store.create

        def ended_first(storage_key: bytes, record: bytes, **options: Any) -> Any:
            state.manager.revoker(state.signers(app)).end(storage_key.decode()[-43:], EndReason.REVOKED)
            return create(storage_key, record, **options)

        state.store.create = ended_first
        with recorded(session_dropped, app) as dropped:
            here.visit(regenerate)
        state.store.create = create

        assert len(dropped) == 1
        assert content(here) == {"user_id": 7}

    def test_session_whose_new_id_was_just_stored(self, app: Flask, sessions: PickleSession) -> None:
        """Between the look at the index and its end."""
        here = signed_in(app)

        def revoke_others(store_it: Callable[[], object]) -> None:
            once(app.extensions["picklesession"].store, "create", store_it)
            sessions.revoke_user(7, keep=handle_in(here))

        between_index_and_record(app, revoke_others)
        here.visit(regenerate)

        assert content(here) == {"user_id": 7}

    def test_session_that_was_regenerated_since(self, app: Flask, sessions: PickleSession) -> None:
        """Kept by the handle that it had when the page was made."""
        here, there = signed_in(app), signed_in(app)
        old = handle_in(here)
        here.visit(regenerate)

        assert sessions.revoke_user(7, keep=old) == 1

        assert content(here) == {"user_id": 7}
        assert content(there) == {}


@pytest.fixture(name="app")
def _app(make_app: MakeApp) -> Flask:
    return make_app()


@pytest.fixture(name="sessions")
def _sessions(app: Flask) -> PickleSession:
    return PickleSession(app)


class TestIndex:
    def test_new_id_of_an_old_session_is_not_pruned(
        self, app: Flask, sessions: PickleSession, move_clock: MoveClock
    ) -> None:
        """It is as old as the session was, but its record may only be about to be stored."""
        browser = signed_in(app)
        move_clock(3600)
        between_index_and_record(app, lambda _store: sessions.sessions_of(7))
        browser.visit(regenerate)

        assert sessions.revoke_user(7) == 1
        assert content(browser) == {}

    def test_timeout_that_is_taken_back(self, make_app: MakeApp, raw: Redis, prefix: str) -> None:
        """The index of a time when sessions ended soon does not end before those of now."""
        signed_in(make_app(PICKLESESSION_ABSOLUTE_TIMEOUT=60))
        signed_in(make_app())

        (key,) = raw.keys(prefix + "user:*")
        assert int(raw.ttl(key)) > 300_000_000

    def test_many_dead_members_are_pruned_page_by_page(
        self, app: Flask, sessions: PickleSession, raw: Redis, prefix: str
    ) -> None:
        """What one call could not do in its time, the next one need not do again."""
        browser = signed_in(app)
        (key,) = raw.keys(prefix + "user:*")
        raw.zadd(key, {f"{number:043}": number for number in range(350)})
        load_many, calls = app.extensions["picklesession"].store.load_many, []

        def away_at_the_third(handles: Sequence[str], *, deadline: float) -> Any:
            calls.append(handles)
            return fail() if len(calls) == 3 else load_many(handles, deadline=deadline)

        app.extensions["picklesession"].store.load_many = away_at_the_third
        with pytest.raises(Exception, match="session store"):
            sessions.revoke_user(7)
        assert raw.zcard(key) < 300

        assert sessions.revoke_user(7) == 0
        assert raw.zcard(key) == 1
        assert content(browser) == {}


def signed_in_status(app: Flask) -> int:
    """Return what became of a sign-in in a browser of its own."""
    return Browser(app).visit(put(user_id=7)).status_code


class TestBirth:
    """Two sign-ins of one user in the same millisecond."""

    def test_both_are_listed_while_one_takes_a_new_id(
        self, make_app: MakeApp, move_clock: MoveClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The new id, which its browser has not used, is not taken for the other one's."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions = PickleSession(app)
        now = time.time()
        with monkeypatch.context() as patch:
            patch.setattr("flask_picklesession.storage.record.time", lambda: now)
            one, two = signed_in(app), signed_in(app)
            content(one)
            content(two)
        move_clock(EVERY)
        one.copy().visit(lambda: str(session["user_id"]))
        content(two)
        content(two)

        assert len({session.created_at for session in sessions.sessions_of(7)}) == 1
        assert len(sessions.sessions_of(7)) == 2
        assert content(one) == content(two) == {"user_id": 7}


class TestEnd:
    @pytest.mark.parametrize("change", [regenerate, reauthenticate])
    def test_sign_out_while_the_id_changes(self, app: Flask, change: Callable[[], None]) -> None:
        """In a window that had loaded before: it is the same session."""
        browser = signed_in(app)
        window = browser.copy()

        def sign_out() -> None:
            dict(session)
            browser.visit(change)
            session.clear()

        window.visit(sign_out)

        assert content(browser) == {}

    @pytest.mark.parametrize("act", ENDINGS)
    @pytest.mark.parametrize("change", [regenerate, reauthenticate])
    def test_other_ways_out_while_the_id_changes(self, make_app: MakeApp, change: Callable[[], None], act: str) -> None:
        """Signing out with a message, or in anew, ends the session under its new id; what it goes on with is kept."""
        app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=1)
        browser = signed_in(app)
        window = browser.copy()

        def leave() -> None:
            dict(session)
            browser.visit(change)
            browser.visit(put(cart=1))
            ENDINGS[act]()

        assert window.visit(leave).status_code == 200

        assert content(browser) == {}
        assert content(window) == WHAT_IS_LEFT[act]
        with app.app_context():
            assert len(PickleSession(app).sessions_of(7)) == (act == "signed in again")

    def test_sign_out_while_the_id_changes_again_and_again(self, app: Flask) -> None:
        """Each id names the next one."""
        browser = signed_in(app)
        window = browser.copy()

        def leave() -> None:
            dict(session)
            for _turn in range(3):
                browser.visit(regenerate)
            ENDINGS["flashed"]()

        window.visit(leave)

        assert content(browser) == {}
        assert content(window) == WHAT_IS_LEFT["flashed"]

    @pytest.mark.parametrize("act", ENDINGS)
    def test_other_ways_out_behind_a_renewal_and_a_change_of_the_id(
        self, make_app: MakeApp, move_clock: MoveClock, act: str
    ) -> None:
        """Both in other windows, since this one has loaded."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        browser = signed_in(app)
        window = browser.copy()

        def leave() -> None:
            dict(session)
            move_clock(EVERY)
            browser.visit(put(cart=1))
            browser.visit(regenerate)
            ENDINGS[act]()

        assert window.visit(leave).status_code == 200

        assert content(browser) == {}
        assert content(window) == WHAT_IS_LEFT[act]

    def test_sign_out_behind_more_renewals_than_are_followed(
        self, make_app: MakeApp, move_clock: MoveClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While a slow request was under way: it follows from there on by handles."""
        monkeypatch.setattr("flask_picklesession.renewal.MOST_HOPS", 1)
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        browser = signed_in(app)
        window = browser.copy()

        def leave() -> None:
            dict(session)
            for _turn in range(2):
                move_clock(EVERY)
                content(browser)
                content(browser)
            session.pop("user_id")
            session["left"] = True

        window.visit(leave)

        assert content(browser) == {}

    def test_sign_out_behind_more_changes_of_the_id_than_are_followed(
        self, app: Flask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However many there are: it is over, and what was to begin is dropped."""
        monkeypatch.setattr("flask_picklesession.save.MOST_HOPS", 1)
        browser = signed_in(app)
        window = browser.copy()

        def leave() -> None:
            dict(session)
            browser.visit(regenerate)
            browser.visit(regenerate)
            clear_and_flash()

        with recorded(session_dropped, app) as dropped:
            window.visit(leave)

        assert [sent["reason"] for sent in dropped] == [Drop.ENDED]
        assert content(browser) == {}

    @pytest.mark.parametrize("change", [regenerate, lambda: None], ids=["with a new id", "without"])
    def test_what_ended_does_not_come_back_with_a_sign_in(self, app: Flask, change: Callable[[], None]) -> None:
        """A slow one, which loaded what was destroyed meanwhile, under whatever id."""
        browser = Browser(app)
        browser.visit(put(cart=1))
        window = browser.copy()

        def sign_in() -> None:
            dict(session)
            browser.visit(change)
            browser.visit(clear)
            session["user_id"] = 7

        window.visit(sign_in)

        assert content(window) == {"user_id": 7}

    def test_what_timed_out_does_not_come_back_with_a_sign_in(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """Under its new id, while the sign-in was under way."""
        app = make_app(PICKLESESSION_ABSOLUTE_TIMEOUT=50)
        browser = Browser(app)
        browser.visit(put(cart=1))
        window = browser.copy()

        def sign_in() -> None:
            dict(session)
            browser.visit(regenerate)
            move_clock(60)
            session["user_id"] = 7

        window.visit(sign_in)

        assert content(window) == {"user_id": 7}

    def test_sign_in_that_cannot_find_out_where_the_session_goes_on(self, app: Flask, sessions: PickleSession) -> None:
        """It is a 503, and taken back: no device is listed that nobody has."""
        browser = Browser(app)
        browser.visit(put(cart=1))
        window = browser.copy()
        store = app.extensions["picklesession"].store

        def sign_in() -> None:
            dict(session)
            browser.visit(regenerate)
            once(store, "load_many", fail)
            session["user_id"] = 7

        assert window.visit(sign_in).status_code == 503

        assert sessions.sessions_of(7) == []
        assert content(browser) == {"cart": 1}

    @pytest.mark.parametrize("fails_at", [1, 2])
    def test_revocation_that_fails_half_way(self, make_app: MakeApp, move_clock: MoveClock, fails_at: int) -> None:
        """The newest id ends first: until all are over, the older ones lead to what is left."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions, store = PickleSession(app), app.extensions["picklesession"].store
        browser = signed_in(app)
        old, window = handle_in(browser), browser.copy()
        move_clock(EVERY)
        content(browser)
        save, calls = store.save, iter(range(1, 99))
        store.save = lambda *arguments, **options: (fail if next(calls) >= fails_at else save)(*arguments, **options)

        with pytest.raises(SessionUnavailableError):
            sessions.revoke(old)
        store.save = save

        assert content(browser) == ({"user_id": 7} if fails_at == 1 else {})
        assert sessions.revoke(old) is (fails_at == 1)
        assert content(browser) == content(window) == {}

    def test_sessions_are_counted_and_not_their_ids(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """Found by an attack: "2 ended" of one session that had been renewed, and 1 where none was left."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions, browser = PickleSession(app), signed_in(app)
        for _renewal in range(5):
            move_clock(EVERY)
            content(browser)

        assert sessions.revoke_user(7) == 1
        assert sessions.revoke_user(7) == sessions.revoke_user(7, scan=True) == 0

    @pytest.mark.parametrize("there", ["nothing", "garbage", "a payload that cannot be read", "another user's"])
    def test_new_id_that_leads_to_no_session(self, app: Flask, raw: Redis, prefix: str, there: str) -> None:
        """There is nothing to end: the write is dropped."""
        browser = signed_in(app)
        window = browser.copy()

        def leave() -> None:
            dict(session)
            browser.visit(regenerate)
            if there == "a payload that cannot be read":
                key = (prefix + handle_in(browser)).encode()
                sealer = app.extensions["picklesession"].signers(app).record
                record, _is_current = sealer.unseal(key, raw.get(key))
                raw.set(key, sealer.seal(key, record._replace(body=b"no payload")))
            elif there == "another user's":
                browser.visit(put(user_id=8))
            elif there == "garbage":
                raw.set(prefix + handle_in(browser), b"garbage")
            else:
                raw.delete(prefix + handle_in(browser))
            ENDINGS["flashed"]()

        with recorded(session_dropped, app) as dropped:
            assert window.visit(leave).status_code == 200

        assert [sent["reason"] for sent in dropped] == [Drop.ENDED]
        assert content(browser) == ({"user_id": 8} if there == "another user's" else {})

    def test_sign_out_just_behind_a_change_of_the_id(self, app: Flask) -> None:
        """In a window that has not got the new one yet."""
        browser = signed_in(app)
        window = browser.copy()
        browser.visit(regenerate)

        with recorded(session_ended, app) as ended:
            assert len(set_cookies(window.visit(clear))) == 1

        assert [sent["reason"] for sent in ended] == [EndReason.DESTROYED]
        assert content(browser) == {}

    def test_sign_in_again_just_behind_a_change_of_the_id(self, app: Flask, sessions: PickleSession) -> None:
        """clear() and a user: the session that it was is over."""
        browser = signed_in(app)
        window = browser.copy()
        browser.visit(regenerate)

        window.visit(lambda: (session.clear(), session.update(user_id=7), None)[2])

        assert content(browser) == {}
        assert len(sessions.sessions_of(7)) == 1

    @pytest.mark.parametrize(("user", "left"), [(None, {"cart": 1}), (7, {}), (8, {"cart": 1, "user_id": 8})])
    def test_sign_in_just_behind_a_change_of_the_id(self, app: Flask, user: int | None, left: dict[str, Any]) -> None:
        """Without clear(): ends what another user is signed in to. Else it stays, with all that it holds."""
        browser = Browser(app)
        browser.visit(put(cart=1, **({"user_id": user} if user else {})))
        window = browser.copy()
        browser.visit(regenerate)

        window.visit(put(user_id=8))

        assert content(browser) == left
        assert content(window) == {"user_id": 8}

    @pytest.mark.parametrize("act", [*ENDINGS, "cleared"])
    @pytest.mark.parametrize("change", [regenerate, lambda: None], ids=["with a new id", "without"])
    @pytest.mark.parametrize("size", [2_000, 1_500_000], ids=["too large", "too large to look at"])
    def test_worker_that_cannot_read_it_any_more(
        self, make_app: MakeApp, act: str, change: Callable[[], None], size: int
    ) -> None:
        """Another one, whose limits are higher, writes between its load and its save."""
        roomy = make_app(PICKLESESSION_MAX_SIZE=4_000_000, PICKLESESSION_MAX_VALUE_SIZE=4_000_000)
        small = make_app(PICKLESESSION_MAX_SIZE=1000)
        browser = signed_in(roomy)
        window = Browser(small)
        window.cookie = browser.cookie

        def leave() -> None:
            dict(session)
            browser.visit(lambda: (change(), session.update(cart="x" * size), None)[-1])
            {**ENDINGS, "cleared": clear}[act]()

        assert window.visit(leave).status_code == 200

        assert list(content(browser)) == []

    @pytest.mark.parametrize("act", ["another user", "cleared before"])
    def test_sign_in_that_is_refused_ends_nothing(self, make_app: MakeApp, act: str) -> None:
        """Not what its browser was signed in to under another id, either."""
        app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=1, PICKLESESSION_ON_MAX_SESSIONS="reject")
        signed_in(app, 8)
        browser = signed_in(app)
        window = browser.copy()
        browser.visit(regenerate)

        def sign_in() -> None:
            if act == "cleared before":
                session.clear()
            session["user_id"] = 8

        assert window.visit(sign_in).status_code == 403
        assert content(browser) == {"user_id": 7}

    @pytest.mark.parametrize("fails", ["a policy", "a newer record"])
    def test_sign_in_that_fails_behind_another_write(
        self, make_app: MakeApp, raw: Redis, prefix: str, fails: str
    ) -> None:
        """It is taken back: no device is listed that nobody has."""

        def policy(*_sides: object) -> object:
            raise ZeroDivisionError

        app = make_app(PICKLESESSION_MERGE={"n": policy})
        sessions, browser = PickleSession(app), Browser(app)
        browser.visit(put(n=1))
        window, store = browser.copy(), app.extensions["picklesession"].store
        key = (prefix + handle_in(browser)).encode()

        def write() -> None:
            if fails == "a policy":
                window.visit(put(n=2))
            else:
                signer = app.extensions["picklesession"].signers(app).record.signer
                record = Record.unpack(signer.unsign(key, raw.get(key))[0]).with_nonce(b"12345678")
                raw.set(key, signer.sign(key, b"\xff" + record.pack()[1:]))

        once(store, "save", write)

        assert browser.visit(lambda: session.update(n=3, user_id=7)).status_code in (500, 503)
        assert sessions.sessions_of(7) == []

    @pytest.mark.parametrize("act", ["flashed", "another user", "cleared"])
    @pytest.mark.parametrize("is_renewed", [False, True])
    def test_worker_that_cannot_read_the_session(
        self, make_app: MakeApp, move_clock: MoveClock, act: str, is_renewed: bool
    ) -> None:
        """Its limits are lower: who signs out there, or in, ends the session all the same."""
        settings: dict[str, Any] = {"PICKLESESSION_RENEW_EVERY": EVERY}
        roomy, small = make_app(**settings), make_app(PICKLESESSION_MAX_SIZE=1000, **settings)
        browser = signed_in(roomy)
        browser.visit(put(cart="x" * 2000))
        window = Browser(small)
        window.cookie = browser.cookie
        if is_renewed:
            move_clock(EVERY)
            browser.copy().visit(lambda: str(session["user_id"]))

        assert content(window) == {}
        assert window.visit({**ENDINGS, "cleared": clear}[act]).status_code == 200

        assert content(browser) == {}

    def test_sign_out_by_the_id_from_before_a_sign_in_ends_nothing(self, app: Flask) -> None:
        """Who has that id may have put it there."""
        browser = Browser(app)
        browser.visit(put(n=1))
        window = browser.copy()
        browser.visit(put(user_id=7))

        window.visit(clear)

        assert content(browser) == {"n": 1, "user_id": 7}

    def test_listed_handle_ends_the_session_whatever_its_id_is_now(
        self, make_app: MakeApp, move_clock: MoveClock
    ) -> None:
        """A page "your devices" may be older than the session's id; only the user's own session ends."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions = PickleSession(app)
        regenerated, renewed = signed_in(app), signed_in(app)
        listed = [handle_in(regenerated), handle_in(renewed)]
        regenerated.visit(regenerate)
        move_clock(EVERY)
        content(renewed)

        assert [sessions.revoke(handle, user_id=8) for handle in listed] == [False, False]
        assert [sessions.revoke(handle, user_id=7) for handle in listed] == [True, True]
        assert content(regenerated) == content(renewed) == {}

    def test_records_that_replace_each_other(
        self, app: Flask, sessions: PickleSession, raw: Redis, prefix: str
    ) -> None:
        """Signed by whoever holds the key: the circle is gone through once."""
        from flask_picklesession.storage.record import ANONYMOUS, ended_record, new_record, now_ms

        sealer = app.extensions["picklesession"].signers(app).record
        before = new_record(now=now_ms(), nonce=b"n" * 8, deadline=0, user_digest=ANONYMOUS, body=b"")
        for here, there in (("a", "b"), ("b", "a")):
            key = (prefix + here * 43).encode()
            ended = ended_record(before, EndReason.REPLACED, now=now_ms(), nonce=b"m" * 8, replacement=there * 43)
            raw.set(key, sealer.seal(key, ended))

        assert sessions.revoke("a" * 43) is False

    def test_handle_of_a_trail_ends_the_session(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """Listed before it was renewed, and regenerated by a window that still had it."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions = PickleSession(app)
        browser = signed_in(app)
        listed = handle_in(browser)
        move_clock(EVERY)
        browser.copy().visit(lambda: str(session["user_id"]))
        browser.visit(regenerate)

        assert sessions.revoke(listed, user_id=8) is False
        assert sessions.revoke(listed, user_id=7) is True
        assert content(browser) == {}

    @pytest.mark.parametrize("planted", [b"", [b"a list"]], ids=["empty", "list"])
    def test_what_is_no_record_in_a_place_to_be(
        self, app: Flask, sessions: PickleSession, raw: Redis, prefix: str, planted: Any
    ) -> None:
        """In the place of a session that the index names, or that is about to be stored: never an error page."""
        signed_in(app)
        (key,) = raw.keys(prefix + "user:*")

        def plant(storage_key: str) -> None:
            raw.delete(storage_key)
            raw.set(storage_key, planted) if isinstance(planted, bytes) else raw.rpush(storage_key, *planted)

        raw.zadd(key, {"p" * 43: int(raw.zscore(key, raw.zrange(key, 0, 0)[0]) or 0) + 0.999})
        store, create = app.extensions["picklesession"].store, app.extensions["picklesession"].store.create

        def planted_first(storage_key: bytes, *arguments: Any, **options: Any) -> Any:
            plant(storage_key.decode())
            return create(storage_key, *arguments, **options)

        store.create = planted_first
        assert Browser(app).visit(put(user_id=7)).status_code == 503
        assert sessions.revoke_user(7) >= 1
        assert sessions.sessions_of(7) == []

    def test_page_that_only_reads_is_no_conflict(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """A renewal was due, and the session was signed out in another window meanwhile."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY, PICKLESESSION_ON_DROP="error")
        browser = signed_in(app)
        move_clock(EVERY)
        window = browser.copy()

        with recorded(session_dropped, app) as dropped:
            response = browser.visit(lambda: (str(session["user_id"]), window.visit(clear), "read")[2])

        assert (response.status_code, response.text, dropped) == (200, "read", [])


class TestLimit:
    @pytest.mark.parametrize("policy", ["evict_oldest", "reject"])
    def test_sign_in_that_fails_costs_no_place(self, make_app: MakeApp, policy: str) -> None:
        """The store fails when the session is to be stored: no other one ends, and the next try is let in."""
        app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=3, PICKLESESSION_ON_MAX_SESSIONS=policy)
        others = [signed_in(app) for _device in range(2)]
        store = app.extensions["picklesession"].store
        create, store.create = store.create, fail
        browser = Browser(app)
        assert [browser.visit(put(user_id=7)).status_code for _try in range(3)] == [503] * 3
        store.create = create

        assert browser.visit(put(user_id=7)).status_code == 200
        assert [content(one) for one in (*others, browser)] == [{"user_id": 7}] * 3

    def test_sign_in_that_cannot_be_taken_back_counts_for_half_a_minute(
        self, make_app: MakeApp, move_clock: MoveClock
    ) -> None:
        """The store was away for that, too."""
        app = make_app(
            PICKLESESSION_MAX_SESSIONS_PER_USER=1, PICKLESESSION_ON_MAX_SESSIONS="reject", PICKLESESSION_TIMEOUT=0.5
        )
        PickleSession(app)
        state = app.extensions["picklesession"]
        create, remove = state.store.create, state.manager._users.remove
        state.store.create = state.manager._users.remove = fail
        browser = Browser(app)
        assert browser.visit(put(user_id=7)).status_code == 503
        state.store.create, state.manager._users.remove = create, remove
        assert browser.visit(put(user_id=7)).status_code == 403

        move_clock(31)

        assert browser.visit(put(user_id=7)).status_code == 200

    @pytest.mark.parametrize("is_new", [True, False])
    def test_eviction_that_fails_keeps_the_new_session(self, make_app: MakeApp, is_new: bool) -> None:
        """It stands: its cookie comes with the 503, and the next sign-in ends what is too many."""
        app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=1)
        other, browser = signed_in(app), Browser(app)
        if not is_new:
            browser.visit(put(csrf="token"))
        users = app.extensions["picklesession"].manager._users
        go_through, users.go_through = users.go_through, fail
        assert browser.visit(put(user_id=7)).status_code == 503
        users.go_through = go_through

        assert content(other) == {"user_id": 7}
        assert content(browser)["user_id"] == 7
        third = signed_in(app)
        assert (content(other), content(browser), content(third)) == ({}, {}, {"user_id": 7})

    @pytest.mark.parametrize("policy", ["evict_oldest", "reject"])
    @pytest.mark.parametrize("is_away", [False, True], ids=["away once", "away for longer"])
    def test_sign_in_that_fails_at_its_last_step(
        self, make_app: MakeApp, move_clock: MoveClock, policy: str, is_away: bool
    ) -> None:
        """Over a session that it had: nobody else ends, and what is left behind counts for some minutes at most."""
        app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=2, PICKLESESSION_ON_MAX_SESSIONS=policy)
        other, browser = signed_in(app), Browser(app)
        browser.visit(put(csrf="token"))
        store = app.extensions["picklesession"].store
        save, end = store.save, store.end
        store.save = fail
        if is_away:
            store.end = fail
        assert browser.visit(put(user_id=7)).status_code == 503
        store.save, store.end = save, end
        if is_away:
            move_clock(421)

        assert browser.visit(put(user_id=7)).status_code == 200
        assert content(other) == {"user_id": 7}
        assert content(browser) == {"csrf": "token", "user_id": 7}

    def test_renewals_that_failed_take_no_place(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """Each is a page like any other; what they left behind is nobody's session, also after a sign-out."""
        app = make_app(
            PICKLESESSION_RENEW_EVERY=EVERY,
            PICKLESESSION_MAX_SESSIONS_PER_USER=1,
            PICKLESESSION_ON_MAX_SESSIONS="reject",
        )
        browser = signed_in(app)
        move_clock(EVERY)
        store = app.extensions["picklesession"].store
        save, end, store.save, store.end = store.save, store.end, fail, fail
        assert [browser.visit(lambda: str(session["user_id"])).status_code for _page in range(3)] == [200] * 3
        store.save, store.end = save, end
        browser.visit(clear)
        move_clock(421)

        assert browser.visit(put(user_id=7)).status_code == 200

    @pytest.mark.parametrize("policy", ["evict_oldest", "reject"])
    @pytest.mark.parametrize("change", [regenerate, lambda: str(session["user_id"])], ids=["regenerated", "renewed"])
    def test_session_that_takes_a_new_id_during_the_look(
        self, make_app: MakeApp, move_clock: MoveClock, policy: str, change: Callable[[], None]
    ) -> None:
        """Between the look at the index and the look at its record: it counts all the same."""
        app = make_app(
            PICKLESESSION_RENEW_EVERY=EVERY,
            PICKLESESSION_MAX_SESSIONS_PER_USER=1,
            PICKLESESSION_ON_MAX_SESSIONS=policy,
        )
        one, two = signed_in(app), Browser(app)
        content(one)
        move_clock(EVERY)
        once(app.extensions["picklesession"].store, "load_many_with_ttl", lambda: one.visit(change))

        status = two.visit(put(user_id=7)).status_code

        assert status == (200 if policy == "evict_oldest" else 403)
        assert (content(one), content(two)) == (({}, {"user_id": 7}) if status == 200 else ({"user_id": 7}, {}))

    @pytest.mark.parametrize("policy", ["evict_oldest", "reject"])
    @pytest.mark.parametrize("change", [regenerate, lambda: str(session["user_id"])], ids=["regenerated", "renewed"])
    def test_signing_in_again_while_the_id_changes(
        self, make_app: MakeApp, move_clock: MoveClock, policy: str, change: Callable[[], None]
    ) -> None:
        """In another window: it is the same session, and takes no further place."""
        app = make_app(
            PICKLESESSION_RENEW_EVERY=EVERY,
            PICKLESESSION_MAX_SESSIONS_PER_USER=2,
            PICKLESESSION_ON_MAX_SESSIONS=policy,
        )
        other, one = signed_in(app), signed_in(app)
        content(one)
        content(other)
        move_clock(EVERY)
        window = one.copy()

        def sign_in_again() -> None:
            dict(session)
            window.visit(change)
            session.clear()
            session["user_id"] = 7

        assert one.visit(sign_in_again).status_code == 200
        assert content(other) == {"user_id": 7}

    def test_session_whose_new_id_is_not_stored_yet(self, make_app: MakeApp) -> None:
        """It takes no further place: nobody is refused for it."""
        app = make_app(
            PICKLESESSION_MAX_SESSIONS_PER_USER=2, PICKLESESSION_ON_MAX_SESSIONS="reject", PICKLESESSION_TIMEOUT=1
        )
        one, two, state = signed_in(app), Browser(app), app.extensions["picklesession"]
        state.store._link = state.manager._users._link = SteppingLink(state.settings.link)
        change = Stepped(lambda: one.visit(reauthenticate))
        for _command in range(3):
            change.step()

        assert two.visit(put(user_id=7)).status_code == 200
        change.finish()
        assert content(one) == content(two) == {"user_id": 7}

    def test_sign_ins_in_the_same_millisecond(self, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
        """One is stored, another one is about to be, and both have one time of birth: the third waits for it."""
        app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=2, PICKLESESSION_ON_MAX_SESSIONS="reject")
        sessions, born, statuses = PickleSession(app), now_ms() - 1000, []
        three: list[Any] = []

        def meanwhile(store: Callable[[], object]) -> None:
            statuses.append(signed_in_status(app))
            monkeypatch.undo()
            stored = threading.Timer(0.1, store)
            stored.start()
            three.append(signed_in_status(app))
            stored.join()

        monkeypatch.setattr(UserSessions, "next_birth", lambda *_arguments, **_options: born)
        between_index_and_record(app, meanwhile)
        statuses.append(signed_in_status(app))

        assert statuses == [200, 200]
        assert three == [403]
        assert len(sessions.sessions_of(7)) == 2

    @pytest.mark.parametrize(("policy", "status"), [("evict_oldest", 200), ("reject", 403)])
    def test_session_that_takes_a_new_id_between_two_looks(self, make_app: MakeApp, policy: str, status: int) -> None:
        """The new id is in the index, and stored behind the look at it; the old one is over at the look at that."""
        app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=1, PICKLESESSION_ON_MAX_SESSIONS=policy)
        one, two, state = signed_in(app), Browser(app), app.extensions["picklesession"]
        state.store._link = state.manager._users._link = SteppingLink(state.settings.link)
        change = Stepped(lambda: one.visit(regenerate))
        # It is loaded, in the index, and about to be stored.
        for _command in range(3):
            change.step()
        look = state.store.load_many_with_ttl

        def look_twice(handles: list[str], **options: Any) -> list[Any]:
            before = look(handles, **options)
            change.finish()
            return [old if old[0] is None else new for old, new in zip(before, look(handles, **options), strict=True)]

        state.store.load_many_with_ttl = lambda *arguments, **options: (
            setattr(state.store, "load_many_with_ttl", look),
            look_twice(*arguments, **options),
        )[1]

        assert two.visit(put(user_id=7)).status_code == status
        assert sorted(map(len, (content(one), content(two)))) == [0, 1]

    @pytest.mark.parametrize("policy", ["evict_oldest", "reject"])
    def test_signing_in_again_when_the_session_was_evicted(self, make_app: MakeApp, policy: str) -> None:
        """Another device signs in at the same time, and takes its place: one of both is left."""
        app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=1, PICKLESESSION_ON_MAX_SESSIONS=policy)
        one, two = signed_in(app), Browser(app)

        def sign_in_again() -> None:
            dict(session)
            two.visit(put(user_id=7))
            session.clear()
            session["user_id"] = 7

        one.visit(sign_in_again)

        assert sorted(map(len, (content(one), content(two)))) == [0, 1]

    def test_scores_that_somebody_changed(self, make_app: MakeApp, raw: Redis, prefix: str) -> None:
        """The index lies: which session is the oldest, their records tell."""
        app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=1)
        first = signed_in(app)
        (key,) = raw.keys(prefix + "user:*")
        raw.zadd(key, {handle_in(first): 2 * 10**12})

        second = signed_in(app)

        assert content(first) == {}
        assert content(second) == {"user_id": 7}

    @pytest.mark.parametrize("policy", ["evict_oldest", "reject"])
    def test_more_members_than_are_looked_at(
        self, make_app: MakeApp, raw: Redis, prefix: str, monkeypatch: pytest.MonkeyPatch, policy: str
    ) -> None:
        """Somebody made them up, in front of the new session: it counts all the same."""
        monkeypatch.setattr("flask_picklesession.user_sessions.MOST_PAGES", 1)
        app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=1, PICKLESESSION_ON_MAX_SESSIONS=policy)
        signed_in(app)
        (key,) = raw.keys(prefix + "user:*")
        for number in range(100):
            raw.set(f"{prefix}{number:043}", "junk")
        raw.zadd(key, {f"{number:043}": 2 * 10**12 for number in range(100)})

        assert content(signed_in(app)) == {"user_id": 7}

    @pytest.mark.parametrize("policy", ["evict_oldest", "reject"])
    def test_signing_in_again_takes_no_further_place(self, make_app: MakeApp, policy: str) -> None:
        """The session that it replaces ends."""
        app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=2, PICKLESESSION_ON_MAX_SESSIONS=policy)
        one, two = signed_in(app), signed_in(app)

        response = two.visit(lambda: (session.clear(), session.update(user_id=7), None)[2])

        assert response.status_code == 200
        assert content(one) == content(two) == {"user_id": 7}

    @pytest.mark.parametrize("policy", ["evict_oldest", "reject"])
    def test_session_that_changes_its_id_takes_no_further_place(self, make_app: MakeApp, policy: str) -> None:
        """Stored under both for a moment, in which somebody signs in."""
        app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=2, PICKLESESSION_ON_MAX_SESSIONS=policy)
        one, two = signed_in(app), Browser(app)
        once(app.extensions["picklesession"].store, "save", lambda: two.visit(put(user_id=7)))

        one.visit(regenerate)

        assert content(one) == content(two) == {"user_id": 7}

    def test_clock_that_is_ahead(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """The worker of the first sign-in is three seconds ahead of that of the second: the second is newer."""
        app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=1)
        move_clock(3)
        first = signed_in(app)
        move_clock(-3)
        second = signed_in(app)

        assert content(first) == {}
        assert content(second) == {"user_id": 7}


class TestOldIds:
    @pytest.mark.parametrize("change", [regenerate, reauthenticate, put(user_id=8)])
    def test_new_id_is_known_although_old_ones_could_not_be_ended(
        self, make_app: MakeApp, move_clock: MoveClock, change: Callable[[], None]
    ) -> None:
        """The store fails when the new session stands, and the old one is over."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        browser = signed_in(app)
        move_clock(EVERY)
        window = browser.copy()
        window.visit(lambda: str(session["user_id"]))
        store = app.extensions["picklesession"].store
        load_many, store.load_many = store.load_many, fail

        response = browser.visit(change)
        store.load_many = load_many

        assert response.status_code == 503
        assert len(set_cookies(response)) == 1
        assert "user_id" in content(browser)

    def test_new_id_that_could_not_be_noted_as_used(self, app: Flask) -> None:
        """The store failed behind the last step that matters: the id is noted when it is used."""
        browser = signed_in(app)
        old, store = handle_in(browser), app.extensions["picklesession"].store
        save = store.save

        def then_away(*arguments: Any, **options: Any) -> Any:
            store.save = fail
            return save(*arguments, **options)

        store.save = then_away
        assert browser.visit(regenerate).status_code == 200
        store.save = save

        assert handle_in(browser) != old
        assert content(browser) == {"user_id": 7}

    def test_sign_in_that_could_not_be_noted_as_used(self, make_app: MakeApp) -> None:
        """It would be in no list and no count: it is a 503, which brings the new id."""
        app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=1)
        sessions, browser = PickleSession(app), Browser(app)
        browser.visit(put(cart=1))
        store = app.extensions["picklesession"].store
        save = store.save

        def then_away(*arguments: Any, **options: Any) -> Any:
            store.save = fail
            return save(*arguments, **options)

        store.save = then_away
        assert browser.visit(put(user_id=7)).status_code == 503
        store.save = save

        assert content(browser) == {"cart": 1, "user_id": 7}
        assert len(sessions.sessions_of(7)) == 1

    def test_renewal_whose_last_reply_was_lost(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """It may stand: what it leads to is left alone, and offered."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        browser = signed_in(app)
        old, store = handle_in(browser), app.extensions["picklesession"].store
        move_clock(EVERY)
        save = store.save

        def applied_and_lost(*arguments: Any, **options: Any) -> Any:
            store.save = save
            save(*arguments, **options)
            raise StoreUnavailableError("lost", maybe_applied=True)

        store.save = applied_and_lost
        assert set_cookies(browser.visit(lambda: str(session["user_id"]))) == []

        assert content(browser) == {"user_id": 7}
        assert handle_in(browser) != old

    def test_only_the_last_id_is_offered_the_new_one(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """Who took an id before two renewals gets no newer one, also where its cookie would be due."""
        app = make_app(PICKLESESSION_RENEW_EVERY=2, PERMANENT_SESSION_LIFETIME=20)
        browser = Browser(app)
        browser.visit(put(user_id=7, _permanent=True))
        taken = browser.copy()
        move_clock(2.5)
        content(browser)
        content(browser)
        # Used, and old enough for another cookie.
        assert set_cookies(taken.visit(lambda: str(session["user_id"]))) == []
        move_clock(2.5)
        content(browser)

        # A newer one that nobody has used yet.
        assert set_cookies(taken.visit(lambda: str(session["user_id"]))) == []

    def test_slow_request_with_an_old_id_is_not_offered_the_newest(
        self, make_app: MakeApp, move_clock: MoveClock
    ) -> None:
        """It had loaded before two renewals."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        browser = signed_in(app)
        taken = browser.copy()

        def slow() -> None:
            dict(session)
            for _renewal in range(2):
                move_clock(EVERY)
                content(browser)
                content(browser)
            move_clock(EVERY)
            content(browser)
            session["late"] = 1

        assert set_cookies(taken.visit(slow)) == []
        assert content(browser) == {"user_id": 7, "late": 1}


def test_client_of_each_sign_in(make_app: MakeApp) -> None:
    """The next user of a browser is not shown what the one before came with."""
    app = make_app(PICKLESESSION_REMEMBER_CLIENT=True)
    browser = signed_in(app, 7, **{"User-Agent": "Lynx/2.9"})
    browser.visit(lambda: session.pop("user_id"))
    browser.visit(put(user_id=8), headers={"User-Agent": "Firefox/140"})

    (info,) = PickleSession(app).sessions_of(8)

    assert info.user_agent == "Firefox/140"


class TestNobody:
    def test_none_is_nobody(self, app: Flask, sessions: PickleSession) -> None:
        """What a visitor's session holds under its identity key is no user, and not the user "None" either."""
        browser = signed_in(app, "None")  # type: ignore[arg-type]  # any identity

        assert sessions.sessions_of(None) == []
        assert sessions.revoke_user(None) == 0
        assert sessions.revoke(handle_in(browser), user_id=None) is False
        assert content(browser) == {"user_id": "None"}

    @pytest.mark.parametrize("user_id", [7.0, b"7", ("7",)])
    def test_what_is_no_identity_is_told(self, sessions: PickleSession, user_id: object) -> None:
        """It could not have been stored as one."""
        for call in (sessions.sessions_of, sessions.revoke_user, lambda user: sessions.revoke("h" * 43, user_id=user)):
            with pytest.raises(TypeError, match="a str, an int or a UUID"):
                call(user_id)  # type: ignore[operator]


def test_visitors_wait_no_longer_than_for_their_session(make_app: MakeApp) -> None:
    """One step of a list or a revocation takes TIMEOUT within a request, and ten seconds in a script."""
    app = make_app(PICKLESESSION_TIMEOUT=0.5)
    PickleSession(app)
    state = app.extensions["picklesession"]

    assert _step_seconds(state) == STEP_SECONDS
    with app.test_request_context():
        assert _step_seconds(state) == 0.5


@pytest.mark.parametrize("on_drop", ["signal", "error"])
def test_error_page_behind_a_dropped_write(make_app: MakeApp, on_drop: str) -> None:
    """The session goes on under another id: a new one for the message would take that one's cookie away."""
    app = make_app(PICKLESESSION_ON_DROP=on_drop)
    app.register_error_handler(Exception, lambda _error: (flash("Sorry"), ("Sorry", 500))[1])
    browser = Browser(app)
    browser.visit(put(cart=1))
    window = browser.copy()

    def broken(*_arguments: Any, **_options: Any) -> None:
        request_finished.disconnect(broken, app)
        raise RuntimeError

    def write() -> None:
        dict(session)
        browser.visit(put(user_id=7))
        session["late"] = True
        request_finished.connect(broken, app)

    response = window.visit(write)
    request_finished.disconnect(broken, app)

    assert response.status_code in (409, 500)
    assert set_cookies(response) == []
    assert content(browser) == {"cart": 1, "user_id": 7}


def test_error_page_behind_a_sign_in_that_is_refused(make_app: MakeApp) -> None:
    """Its message goes into the session as it was."""
    app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=1, PICKLESESSION_ON_MAX_SESSIONS="reject")
    app.register_error_handler(403, lambda _error: (flash("Too many"), ("Too many", 403))[1])
    browser = Browser(app)
    signed_in(app)
    browser.visit(put(cart=1))

    def broken(*_arguments: Any, **_options: Any) -> None:
        request_finished.disconnect(broken, app)
        raise RuntimeError

    request_finished.connect(broken, app)
    assert browser.visit(put(user_id=7)).status_code in (403, 500)
    assert content(browser)["cart"] == 1


@pytest.mark.parametrize("policy", ["evict_oldest", "reject"])
def test_sign_in_behind_an_atomic_end_is_counted(make_app: MakeApp, policy: str) -> None:
    """It goes on from nothing: no other record tells that it is there."""
    app = make_app(PICKLESESSION_MAX_SESSIONS_PER_USER=1, PICKLESESSION_ON_MAX_SESSIONS=policy)
    sessions, browser = PickleSession(app), Browser(app)
    browser.visit(put(cart=1))

    def sign_in() -> None:
        session.atomic(lambda stored: stored.clear())  # type: ignore[attr-defined]  # ours
        session["user_id"] = 7

    assert browser.visit(sign_in).status_code == 200
    assert len(sessions.sessions_of(7)) == 1


def test_error_page_behind_a_policy_that_failed(make_app: MakeApp) -> None:
    """The same for what is the application's own."""

    def policy(*_sides: object) -> object:
        raise ZeroDivisionError

    app = make_app(PICKLESESSION_MERGE={"n": policy})
    app.register_error_handler(500, lambda _error: (flash("Sorry"), ("Sorry", 500))[1])
    browser = signed_in(app)
    window = browser.copy()

    assert browser.visit(lambda: (dict(session), window.visit(put(n=1)), session.update(n=2))[2]).status_code == 500
    assert content(browser) == {"user_id": 7, "n": 1, "_flashes": [("message", "Sorry")]}


def test_error_page_that_writes_to_a_session_which_could_not_be_saved(app: Flask) -> None:
    """A value was refused: the page for that flashes a message into the session as it was, and not into a new one."""
    app.register_error_handler(500, lambda _error: (flash("Sorry"), ("Sorry", 500))[1])
    browser = signed_in(app)

    def change() -> None:
        session["list"] = []
        session["list"].append(object())

    assert browser.visit(change).status_code == 500
    assert content(browser) == {"user_id": 7, "_flashes": [("message", "Sorry")]}


def test_response_that_cannot_be_finished_keeps_the_cookie(app: Flask) -> None:
    """Flask makes another response, and saves again: the new id is in that one, too."""
    browser = signed_in(app)

    def broken(*_arguments: Any, **_options: Any) -> None:
        request_finished.disconnect(broken, app)
        raise RuntimeError

    errors: list[object] = []
    got_request_exception.connect(lambda _sender, exception: errors.append(exception), app, weak=False)
    request_finished.connect(broken, app)
    response = browser.visit(regenerate)

    assert response.status_code == 500
    assert len(errors) == 1
    assert content(browser) == {"user_id": 7}


@pytest.mark.parametrize("signal", [session_saved, session_regenerated, session_ended], ids=lambda signal: signal.name)
@pytest.mark.parametrize("view", [regenerate, clear], ids=["regenerate", "sign out"])
def test_receiver_that_fails(
    app: Flask, caplog: pytest.LogCaptureFixture, signal: Any, view: Callable[[], None]
) -> None:
    """The old id is over by then: the browser gets the new one, and others are told."""
    browser = signed_in(app)

    def broken(*_arguments: Any, **_options: Any) -> None:
        raise ZeroDivisionError

    with signal.connected_to(broken, app), recorded(signal, app) as told:
        response = browser.visit(view)

    is_sent = view is regenerate or signal is session_ended
    assert response.status_code == 200
    assert len(set_cookies(response)) == 1
    assert len(told) == is_sent
    assert (f"a receiver of the signal {signal.name} failed" in caplog.text) is is_sent
    assert content(browser) == ({"user_id": 7} if view is regenerate else {})


@pytest.mark.parametrize("guest", [None, "mallory"])
def test_identity_taken_out_twice(make_app: MakeApp, guest: str | None) -> None:
    """Found by an attack: clicked twice, "stop acting as bob" was taken for a sign-in with nothing in it."""
    app = make_app(PICKLESESSION_IDENTITY_KEYS=("acting_as", "user_id", "guest_id"))
    sessions, browser = PickleSession(app), Browser(app)
    browser.visit(put(user_id="admin", acting_as="bob", cart=1))
    window = browser.copy()

    def stop() -> None:
        session.pop("acting_as")
        if guest is not None:
            session["guest_id"] = guest

    def twice() -> None:
        stop()
        browser.visit(stop)

    response = window.visit(twice)

    assert set_cookies(response) == []
    assert content(browser)["user_id"] == "admin"
    assert content(browser)["cart"] == 1
    assert len(sessions.sessions_of("admin")) == 1


def test_identity_taken_out_is_no_proof(make_app: MakeApp, move_clock: MoveClock) -> None:
    """Found by an attack: whoever stopped acting as somebody else had just signed in, and its timeout began again."""
    app = make_app(PICKLESESSION_IDENTITY_KEYS=("acting_as", "user_id"), PICKLESESSION_ABSOLUTE_TIMEOUT=3600)
    browser = signed_in(app)
    move_clock(3000)
    browser.visit(put(acting_as="bob"))
    move_clock(200)
    browser.visit(lambda: (session.pop("acting_as"), "")[1])

    # Since it was said that it acts as bob.
    assert browser.ask(lambda: session.fresh_within(300)) is True  # type: ignore[attr-defined]  # ours
    move_clock(150)
    assert browser.ask(lambda: session.fresh_within(300)) is False  # type: ignore[attr-defined]  # ours


def test_sign_in_as_somebody_who_is_revoked_before_it_begins(app: Flask) -> None:
    """Found by an attack: the sign-out of whoever was there before went with it."""
    sessions, browser = PickleSession(app), signed_in(app)
    between_index_and_record(app, lambda _store: sessions.revoke_user(8))

    def switch() -> None:
        session.clear()
        session["user_id"] = 8

    browser.visit(switch)

    assert content(browser) == {}
    assert sessions.sessions_of(7) == sessions.sessions_of(8) == []


def test_sign_in_as_somebody_who_is_revoked_behind_another_write(app: Flask) -> None:
    """The same, where the new id was there already."""
    sessions, browser = PickleSession(app), signed_in(app)
    window = browser.copy()

    def revoked() -> None:
        window.visit(put(b=2))
        sessions.revoke_user(8)

    once(app.extensions["picklesession"].store, "save", revoked)
    browser.visit(put(user_id=8))

    assert content(browser) == {}
    assert sessions.sessions_of(7) == sessions.sessions_of(8) == []


def test_list_while_ids_change_all_the_time(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by an attack: it looked again and again, for as long as they did."""
    sessions, browser = PickleSession(app), signed_in(app)
    looks: list[object] = []
    look = UserSessions._look

    def change_behind(self: UserSessions, *arguments: Any, **options: Any) -> Any:
        once(self._store, "load_many", lambda: browser.visit(regenerate))
        looks.append(self)
        return look(self, *arguments, **options)

    monkeypatch.setattr(UserSessions, "_look", change_behind)
    sessions.sessions_of(7)

    assert 1 < len(looks) <= MOST_LOOKS


def test_fresh_in_the_request_that_signs_in(app: Flask, move_clock: MoveClock) -> None:
    """Found by an attack: not, where it signed in the same user; and yes, where it only took a key out."""
    browser = signed_in(app)
    browser.visit(put(_user_id=8))
    move_clock(1000)

    def again() -> bool:
        session.clear()
        session["user_id"] = 7
        return session.fresh_within(1)  # type: ignore[attr-defined, no-any-return]  # ours

    assert browser.copy().ask(lambda: (session.pop("_user_id"), session.fresh_within(1))[1]) is False  # type: ignore[attr-defined]
    assert signed_in(app).ask(lambda: (put(user_id=9)(), session.fresh_within(1))[1]) is True  # type: ignore[attr-defined, func-returns-value]
    assert browser.ask(again) is True


@pytest.mark.parametrize("view", [regenerate, lambda: str(session["user_id"])], ids=["regenerated", "renewed"])
def test_list_while_a_session_takes_a_new_id(
    make_app: MakeApp, move_clock: MoveClock, view: Callable[[], object]
) -> None:
    """Found by an attack: it was listed under neither id."""
    app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
    sessions, browser = PickleSession(app), signed_in(app)
    move_clock(EVERY)
    once(app.extensions["picklesession"].store, "load_many", lambda: browser.visit(view))

    assert len(sessions.sessions_of(7)) == 1


class Member(StrEnum):
    ADA = "ada"


class Shown(str):
    def __str__(self) -> str:
        return "shown"


@pytest.mark.parametrize("user", ["ada", Member.ADA, Shown("ada")], ids=["str", "StrEnum", "subclass"])
def test_user_by_a_text_of_another_class(app: Flask, user: str) -> None:
    """Found by an attack: what str() made of it was nobody."""
    sessions, browser = PickleSession(app), Browser(app)
    browser.visit(put(user_id="ada"))

    assert len(sessions.sessions_of(user)) == 1
    assert sessions.revoke_user(user) == 1


def test_atomic_change_under_an_id_that_was_just_replaced(app: Flask) -> None:
    """Found by an attack: it counted from nothing, and said that it had."""
    browser = signed_in(app)
    window = browser.copy()
    browser.visit(regenerate)

    def view() -> None:
        with pytest.raises(SessionDroppedError):
            session.atomic(lambda stored: stored.update(n=1))  # type: ignore[attr-defined]  # ours

    window.visit(view)

    assert content(browser) == {"user_id": 7}


@pytest.mark.parametrize("renewed", [False, True])
@pytest.mark.parametrize("change", [lambda: session.pop("user_id"), put(user_id="grace")], ids=["removed", "changed"])
def test_two_keys_that_name_a_user(
    make_app: MakeApp, move_clock: MoveClock, change: Callable[[], object], renewed: bool
) -> None:
    """Found by an attack: each window changed another one, and the record said another user than the session."""
    app = make_app(PICKLESESSION_RENEW_EVERY=EVERY if renewed else None)
    sessions, browser = PickleSession(app), Browser(app)
    browser.visit(put(user_id="ada", _user_id="ada"))
    window = browser.copy()
    if renewed:
        move_clock(EVERY)

    def view() -> None:
        change()
        window.visit(lambda: (session.pop("_user_id"), "")[1])

    browser.visit(view)

    assert content(browser).get("_user_id") == "ada"
    assert len(sessions.sessions_of("ada")) == 1
    assert sessions.sessions_of("grace") == []


def test_renewal_that_is_saved_twice_is_not_noted_as_used(make_app: MakeApp, move_clock: MoveClock) -> None:
    """Its response may get lost all the same: the old id is offered the new one, however late."""
    app = make_app(PICKLESESSION_RENEW_EVERY=EVERY, PICKLESESSION_GRACE=10, PICKLESESSION_ON_REUSE="revoke")
    browser = signed_in(app)
    window = browser.copy()
    move_clock(EVERY)

    def broken(*_arguments: Any, **_options: Any) -> None:
        request_finished.disconnect(broken, app)
        raise RuntimeError

    request_finished.connect(broken, app)
    assert window.visit(lambda: str(session["user_id"])).status_code == 500
    move_clock(EVERY / 2)

    assert content(browser) == {"user_id": 7}


class TestKeys:
    def test_worker_leaves_the_key_to_the_browser(self, make_app: MakeApp) -> None:
        """What it changes stays under the old key, as the cookie does: audit counts it until both are signed anew."""
        old, new = "an older secret key of the site", "the newest secret key of the site"
        browser = signed_in(make_app(SECRET_KEY=old))
        app = make_app(SECRET_KEY=new, SECRET_KEY_FALLBACKS=[old])
        sessions = PickleSession(app)
        with sessions.open(handle_in(browser)) as stored:
            str(stored.get("n"))
        with sessions.open(handle_in(browser)) as stored:
            stored["n"] = 1

        before = _audited(app)
        here = Browser(app)
        here.cookie = browser.cookie or ""

        assert content(here) == {"user_id": 7, "n": 1}
        assert (before, _audited(app)) == (1, 0)

    def test_encrypted_ones_too(self, make_app: MakeApp) -> None:
        """The body is encrypted under the key that signs."""
        old, new = "an older secret key of the site", "the newest secret key of the site"
        browser = signed_in(make_app(SECRET_KEY=old, PICKLESESSION_ENCRYPT=True))
        app = make_app(SECRET_KEY=new, SECRET_KEY_FALLBACKS=[old], PICKLESESSION_ENCRYPT=True)
        with PickleSession(app).open(handle_in(browser)) as stored:
            stored["n"] = 1

        again = Browser(make_app(SECRET_KEY=old, PICKLESESSION_ENCRYPT=True))
        again.cookie = browser.cookie or ""

        assert content(again) == {"user_id": 7, "n": 1}


def _audited(app: Flask) -> int:
    from flask_picklesession.audit import Audit

    state = app.extensions["picklesession"]
    audit = Audit(state.store, state.signers(app).record, frozenset(), state.settings.limits)
    for _records in audit.steps():
        pass
    return audit.report.outdated
