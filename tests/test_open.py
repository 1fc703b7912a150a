"""Outside of a request, and within one: open(), atomic(), dropped writes as errors, and when a user was proven."""

from __future__ import annotations

from threading import Barrier, Thread
from typing import Any

import pytest
from flask import Flask, session
from redis import Redis

from flask_picklesession import (
    OpenedSessionError,
    PickleSession,
    SessionConflictError,
    SessionDroppedError,
    SessionNotFoundError,
    SessionUnavailableError,
    session_dropped,
)

from .conftest import MakeApp
from .support import Browser, recorded, set_cookies
from .test_renewal import EVERY, MoveClock, content, handle_in, put

ours: Any = session


@pytest.fixture(name="sessions")
def _sessions(app: Flask) -> PickleSession:
    return PickleSession(app)


@pytest.fixture(name="browser")
def _browser(app: Flask) -> Browser:
    browser = Browser(app)
    browser.visit(put(n=1, cart=[1], user_id=7))
    return browser


class TestOpen:
    def test_reads_and_writes(self, sessions: PickleSession, browser: Browser) -> None:
        """From a worker: what it changes is there in the next request."""
        with sessions.open(handle_in(browser)) as opened:
            assert opened["n"] == 1
            opened["cart"].append(2)
            opened["done"] = True

        assert content(browser) == {"n": 1, "cart": [1, 2], "user_id": 7, "done": True}

    def test_merges_with_requests(self, sessions: PickleSession, browser: Browser) -> None:
        """The same rules as for two requests."""
        with sessions.open(handle_in(browser)) as opened:
            opened["worker"] = 1
            browser.visit(put(request=2))

        assert content(browser) == {"n": 1, "cart": [1], "user_id": 7, "worker": 1, "request": 2}

    def test_is_no_activity(self, sessions: PickleSession, browser: Browser, raw: Redis, prefix: str) -> None:
        """Neither reading nor writing lets it live longer."""
        key = prefix + handle_in(browser)
        raw.expire(key, 100)
        with sessions.open(handle_in(browser)) as opened:
            opened["done"] = True

        assert 90 < int(raw.ttl(key)) <= 100

    def test_nothing_changed_is_nothing_written(
        self, sessions: PickleSession, browser: Browser, raw: Redis, prefix: str
    ) -> None:
        """As in a request."""
        before = raw.get(prefix + handle_in(browser))
        with sessions.open(handle_in(browser)) as opened:
            assert len(opened) == 3

        assert raw.get(prefix + handle_in(browser)) == before

    @pytest.mark.parametrize("stored", [None, b"forged"])
    def test_no_session(self, sessions: PickleSession, browser: Browser, raw: Redis, prefix: str, stored: Any) -> None:
        """Nothing, or nothing of ours."""
        raw.delete(prefix + handle_in(browser))
        if stored:
            raw.set(prefix + handle_in(browser), stored)

        with pytest.raises(SessionNotFoundError), sessions.open(handle_in(browser)):
            pass

    def test_ended_session(self, sessions: PickleSession, browser: Browser) -> None:
        """It is over."""
        handle = handle_in(browser)
        browser.visit(lambda: session.clear())

        with pytest.raises(SessionNotFoundError), sessions.open(handle):
            pass

    def test_payload_that_is_none(
        self, app: Flask, sessions: PickleSession, browser: Browser, raw: Redis, prefix: str
    ) -> None:
        """Signed by whoever holds the key."""
        key = (prefix + handle_in(browser)).encode()
        sealer = app.extensions["picklesession"].signers(app).record
        stored = raw.get(key)
        assert isinstance(stored, bytes)
        raw.set(key, sealer.seal(key, sealer.unseal(key, stored)[0]._replace(body=b"none")))

        with pytest.raises(SessionNotFoundError), sessions.open(handle_in(browser)):
            pass

    def test_renewed_session(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """By its old handle; also where it is renewed while it is open."""
        app = make_app(PICKLESESSION_RENEW_EVERY=EVERY)
        sessions = PickleSession(app)
        browser = Browser(app)
        browser.visit(put(n=1))
        old = handle_in(browser)
        move_clock(EVERY)
        with sessions.open(old) as opened:
            opened["a"] = 1
            content(browser)
        with sessions.open(old) as opened:
            assert opened.handle == handle_in(browser)
            opened["b"] = 2

        assert content(browser) == {"n": 1, "a": 1, "b": 2}

    def test_ends_while_it_is_open(self, sessions: PickleSession, browser: Browser) -> None:
        """Told, as nobody reads a signal in a script."""
        with pytest.raises(SessionDroppedError) as caught, sessions.open(handle_in(browser)) as opened:  # noqa: PT012 - the end of the block raises
            opened["late"] = 1
            browser.visit(lambda: session.clear())

        assert caught.value.reason == "ended"
        assert caught.value.keys == ("late",)

    def test_destroy(self, sessions: PickleSession, browser: Browser) -> None:
        """May be done from outside."""
        with sessions.open(handle_in(browser)) as opened:
            opened.destroy()

        assert content(browser) == {}

    @pytest.mark.parametrize(
        "change",
        [
            lambda opened: opened.update(user_id=8),
            lambda opened: opened.pop("user_id"),
            lambda opened: opened.regenerate(),
            lambda opened: (opened.clear(), opened.update(n=1)),
            lambda opened: opened.reauthenticated(),
        ],
        ids=["other identity", "no identity", "regenerate", "filled again", "reauthenticated"],
    )
    def test_what_needs_a_browser(self, sessions: PickleSession, browser: Browser, change: Any) -> None:
        """A new id would reach nobody."""
        with pytest.raises(OpenedSessionError), sessions.open(handle_in(browser)) as opened:
            change(opened)

        assert content(browser) == {"n": 1, "cart": [1], "user_id": 7}

    def test_error_within_saves_nothing(self, sessions: PickleSession, browser: Browser) -> None:
        """As in a request that fails before its end."""
        with pytest.raises(ZeroDivisionError), sessions.open(handle_in(browser)) as opened:
            opened["n"] = 1 / 0

        assert content(browser)["n"] == 1

    def test_store_that_is_away(self, make_app: MakeApp) -> None:
        """An error, not an empty session."""
        sessions = PickleSession(make_app(PICKLESESSION_URL="redis://127.0.0.1:1/0"))

        with pytest.raises(SessionUnavailableError), sessions.open("h" * 43):
            pass


class TestAtomic:
    def test_function_is_called_again(self, browser: Browser) -> None:
        """Another request is quicker: read again, changed again, nothing lost."""
        calls: list[int] = []

        def take(stored: Any) -> int:
            calls.append(stored["n"])
            if len(calls) == 1:
                browser.copy().visit(put(n=10))
            stored["n"] += 1
            return int(stored["n"])

        assert browser.ask(lambda: (session["n"], ours.atomic(take), session["n"])) == (1, 11, 11)
        assert calls == [1, 10]
        assert content(browser)["n"] == 11

    def test_block_is_one_attempt(self, browser: Browser) -> None:
        """Python cannot run it again: another request's write is a conflict."""

        def view() -> str:
            try:
                with ours.atomic() as stored:
                    stored["n"] += 1
                    browser.copy().visit(put(n=10))
            except SessionConflictError:
                return "conflict"
            return "done"

        assert browser.ask(view) == "conflict"
        assert content(browser)["n"] == 10

    def test_block_without_a_conflict(self, browser: Browser) -> None:
        """Stored before the block's end."""

        def view() -> None:
            with ours.atomic() as stored:
                stored["n"] += 1
            assert content(browser.copy())["n"] == 2
            session["after"] = 1

        browser.ask(view)
        assert content(browser) == {"n": 2, "cart": [1], "user_id": 7, "after": 1}

    @pytest.mark.parametrize(("is_changed", "expected"), [(True, [1, "theirs"]), (False, [1, "mine"])])
    def test_value_that_was_fetched_before(self, browser: Browser, is_changed: bool, expected: list[Any]) -> None:
        """Is the session's no longer where the store's had changed, as docs/session.md says; else it is."""

        def view() -> None:
            cart = session["cart"]
            if is_changed:
                browser.copy().visit(lambda: session["cart"].append("theirs"))
            ours.atomic(lambda stored: stored.update(n=5))
            cart.append("mine")

        browser.ask(view)

        assert (content(browser)["n"], content(browser)["cart"]) == (5, expected)

    def test_request_goes_on_from_its_result(self, browser: Browser) -> None:
        """What the request has changed itself stays on top; what others did in between is seen."""

        def view() -> dict[str, Any]:
            session["mine"] = 1
            session["cart"].append("mine")
            del session["n"]
            browser.copy().visit(put(theirs=3, gone=1))
            browser.copy().visit(lambda: session.pop("gone"))

            def change(stored: Any) -> None:
                stored["stock"] = 5
                stored["n"] = 7

            ours.atomic(change)
            return dict(session)

        assert browser.ask(view) == {"mine": 1, "cart": [1, "mine"], "user_id": 7, "theirs": 3, "stock": 5}
        assert content(browser) == {"mine": 1, "cart": [1, "mine"], "user_id": 7, "theirs": 3, "stock": 5}

    def test_keys_that_others_removed(self, browser: Browser) -> None:
        """Gone after it, unless the request has changed them."""

        def view() -> dict[str, Any]:
            assert session["cart"] == [1]
            browser.copy().visit(lambda: session.pop("cart"))
            ours.atomic(lambda stored: stored.update(a=1))
            return dict(session)

        assert browser.ask(view) == {"n": 1, "user_id": 7, "a": 1}

    def test_new_session(self, app: Flask) -> None:
        """Nobody else knows it yet."""
        browser = Browser(app)
        browser.visit(lambda: ours.atomic(lambda stored: stored.update(n=1)))

        assert content(browser) == {"n": 1}

    def test_ended_session(self, browser: Browser) -> None:
        """It cannot be written to, and says so."""

        def view() -> None:
            session["n"]
            browser.copy().visit(lambda: session.clear())
            ours.atomic(lambda stored: stored.update(a=1))

        with recorded(session_dropped, browser.app) as dropped:
            assert browser.visit(view).status_code == 409
        assert [sent["reason"] for sent in dropped] == ["ended"]

    def test_emptied(self, app: Flask) -> None:
        """An atomic change may end the session."""
        browser = Browser(app)
        browser.visit(put(n=1))
        browser.visit(lambda: (session.get("n"), ours.atomic(lambda stored: stored.pop("n")), None)[2])

        assert content(browser) == {}

    def test_conflicts_for_ever_end_with_the_timeout(self, make_app: MakeApp) -> None:
        """Bounded by the request's time, not by a count."""
        browser = Browser(make_app(PICKLESESSION_TIMEOUT=0.3))
        browser.visit(put(n=1))
        others: list[int] = []

        def change(stored: Any) -> None:
            others.append(1)
            browser.copy().visit(put(n=100 + len(others)))
            stored["n"] = 0

        def view() -> None:
            ours.atomic(change)

        assert browser.visit(view).status_code in (409, 503)
        assert len(others) > 1

    def test_no_time_is_left_for_another_attempt(self, browser: Browser) -> None:
        """The conflict is told."""
        calls: list[int] = []

        def change(stored: Any) -> None:
            calls.append(1)
            browser.copy().visit(put(n=100))
            stored.budget._left = 0.1
            stored["n"] = 0

        def view() -> None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(type(ours.budget), "is_left", False)
                with pytest.raises(SessionConflictError):
                    ours.atomic(change)

        browser.ask(view)
        assert len(calls) == 1

    def test_renewed_meanwhile(self, make_app: MakeApp, move_clock: MoveClock) -> None:
        """Another request renews the session between the load and the change."""
        browser = Browser(make_app(PICKLESESSION_RENEW_EVERY=EVERY))
        browser.visit(put(n=1))
        move_clock(EVERY - 1)
        other = browser.copy()

        def view() -> int:
            session["mine"] = session["n"]
            move_clock(1)
            content(browser)
            ours.atomic(lambda stored: stored.update(n=stored["n"] + 1))
            return int(session["n"])

        assert other.ask(view) == 2
        assert content(browser) == {"n": 2, "mine": 1}

    def test_counts_exactly(self, make_app: MakeApp) -> None:
        """Ten threads take from one stock."""
        browser = Browser(make_app(PICKLESESSION_TIMEOUT=30))
        browser.visit(put(stock=50))
        barrier = Barrier(10)

        def take(stored: Any) -> None:
            stored["stock"] -= 1

        def buy() -> None:
            window = browser.copy()
            barrier.wait()
            for _turn in range(5):
                window.visit(lambda: ours.atomic(take))

        threads = [Thread(target=buy) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert content(browser)["stock"] == 0


class TestOnDrop:
    @pytest.fixture(name="strict")
    def _strict(self, make_app: MakeApp) -> Browser:
        browser = Browser(make_app(PICKLESESSION_ON_DROP="error"))
        browser.visit(put(n=1, user_id=7))
        return browser

    def test_dropped_write_is_a_409(self, strict: Browser) -> None:
        """The cookie stays as it is."""
        response = strict.visit(lambda: (put(a=1)(), strict.copy().visit(lambda: session.clear()), "done")[2])

        assert response.status_code == 409
        assert "done" not in response.text
        assert "Retry-After" not in response.headers
        assert set_cookies(response) == []

    def test_application_renders_it(self, strict: Browser) -> None:
        """Through its error handlers."""
        strict.app.error_handler_spec[None][409][SessionDroppedError] = lambda error: (f"sorry: {error.reason}", 409)
        response = strict.visit(lambda: (put(a=1)(), strict.copy().visit(put(user_id=8)), None)[2])

        assert response.text == "sorry: ended"

    def test_write_of_another_identity(self, strict: Browser) -> None:
        """The session belongs to somebody else now: dropped as ended, since the id was replaced."""
        assert strict.visit(lambda: (put(a=1)(), strict.copy().visit(put(user_id=8)), None)[2]).status_code == 409

    def test_acknowledged_write_is_not(self, strict: Browser) -> None:
        """All else is as before."""
        assert strict.visit(put(a=1)).status_code == 200
        assert content(strict) == {"n": 1, "user_id": 7, "a": 1}


class TestFresh:
    def test_clock_begins_at_sign_in(self, browser: Browser, move_clock: MoveClock) -> None:
        """And does not move with use."""
        assert browser.ask(lambda: ours.fresh_within(60)) is True
        move_clock(50)
        browser.visit(put(n=2))
        assert browser.ask(lambda: ours.fresh_within(60)) is True
        move_clock(11)

        assert browser.ask(lambda: ours.fresh_within(60)) is False

    def test_proven_again(self, browser: Browser, move_clock: MoveClock) -> None:
        """A password at the checkout: fresh at once, and under a new id."""
        move_clock(100)
        before, stolen = browser.cookie, browser.copy()

        def view() -> tuple[bool, bool]:
            stale = ours.fresh_within(60)
            ours.reauthenticated()
            return stale, ours.fresh_within(60)

        assert browser.ask(view) == (False, True)
        assert browser.cookie != before
        assert browser.ask(lambda: ours.fresh_within(60)) is True
        assert content(stolen) == {}
        assert content(browser) == {"n": 1, "cart": [1], "user_id": 7}

    def test_in_the_request_that_signs_in(self, app: Flask) -> None:
        """Proven just now."""
        assert Browser(app).ask(lambda: (put(user_id=7)(), ours.fresh_within(1))[1]) is True

    def test_regenerate_is_no_proof(self, browser: Browser, move_clock: MoveClock) -> None:
        """The clock is inherited."""
        move_clock(100)
        browser.visit(lambda: ours.regenerate())

        assert browser.ask(lambda: ours.fresh_within(60)) is False

    def test_nobody_is_never_fresh(self, app: Flask) -> None:
        """And cannot be proven."""
        browser = Browser(app)
        browser.visit(put(n=1))
        assert browser.ask(lambda: ours.fresh_within(10**6)) is False

        def view() -> None:
            with pytest.raises(RuntimeError, match="sign in"):
                ours.reauthenticated()

        browser.ask(view)
