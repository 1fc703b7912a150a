"""The store away, hanging, refusing, breaking: nobody is logged out, nobody waits for long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from flask import Flask, Response, redirect, render_template_string, session
from flask_login import LoginManager, UserMixin, login_user
from redis import Redis
from werkzeug.exceptions import ServiceUnavailable

from flask_picklesession import (
    Drop,
    PickleSession,
    SessionUnavailableError,
    session_dropped,
    session_unavailable,
)
from flask_picklesession.cookie import handle_of
from flask_picklesession.exceptions import StoreUnavailableError
from flask_picklesession.storage.record import SIGNATURE_SIZE, Kind, Record

from . import support
from .conftest import MakeApp
from .proxy import Exchange, Fault, Proxy, cut_after, cut_before, drip, first, garbage, half_reply, refuse
from .servers import Server
from .support import Browser, grown, recorded, set_cookies


def put(**values: Any) -> Callable[[], None]:
    return lambda: session.update(values)


def read() -> str:
    return str(session.get("n"))


@pytest.fixture(name="proxy")
def _proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture(name="app")
def _app(proxy: Proxy, prefix: str) -> Iterator[Flask]:
    app = support.make_app(proxy.url, prefix, PICKLESESSION_TIMEOUT=1)
    yield app
    support.close(app)


@pytest.fixture(name="browser")
def _browser(app: Flask) -> Browser:
    browser = Browser(app)
    # A machine that is busy with other tests may take longer than the timeout.
    while browser.visit(put(n=1)).status_code != 200:
        pass
    return browser


def assert_unavailable(browser: Browser, response: Response | Any, cookie: str | None) -> None:
    """The response is a 503 that leaves the cookie alone."""
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert set_cookies(response) == []
    assert browser.cookie == cookie


class TestStopped:
    """A real server is stopped, frozen and started again."""

    @pytest.fixture(name="app")
    def _app(self, own_server: Server, prefix: str) -> Iterator[Flask]:
        app = support.make_app(own_server.url, prefix, PICKLESESSION_TIMEOUT=0.5)
        yield app
        support.close(app)

    @pytest.mark.parametrize("halt", [Server.stop, Server.freeze], ids=["stopped", "frozen"])
    @pytest.mark.parametrize("view", [read, put(n=2), lambda: session.clear()], ids=["read", "write", "clear"])
    def test_is_a_503_within_the_timeout_and_recovers(
        self, own_server: Server, browser: Browser, halt: Callable[[Server], None], view: Callable[[], object]
    ) -> None:
        """A used session is a 503 soon; the cookie stays, and the session is back with the server."""
        cookie = browser.cookie
        halt(own_server)
        started = time.monotonic()
        response = browser.visit(view)
        # A bound, not a measurement: redis-py alone would take ten seconds.
        assert time.monotonic() - started < 3
        assert_unavailable(browser, response, cookie)

        if halt is Server.stop:
            own_server.start()
        else:
            own_server.thaw()

        assert browser.ask(read_n) == 1

    def test_new_session_is_a_503(self, own_server: Server, app: Flask) -> None:
        """A write that begins a session fails the same way."""
        own_server.stop()
        browser = Browser(app)

        assert_unavailable(browser, browser.visit(put(n=1)), None)

    def test_requests_that_do_not_use_the_session_are_served(self, own_server: Server, browser: Browser) -> None:
        """An outage is not everybody's."""
        own_server.stop()

        assert browser.visit(lambda: "catalogue").text == "catalogue"

    def test_stops_between_load_and_save(self, own_server: Server, browser: Browser) -> None:
        """The view ran; its response is a 503 all the same, since its session was not saved."""
        cookie = browser.cookie
        response = browser.visit(lambda: (put(n=2)(), own_server.stop(), redirect("/elsewhere"))[2])
        assert_unavailable(browser, response, cookie)
        assert "Location" not in response.headers

        own_server.start()

        assert browser.ask(read_n) == 1

    def test_restart_between_requests_goes_unnoticed(self, own_server: Server, browser: Browser) -> None:
        """A held connection that a restarted server has closed costs nobody an error."""
        own_server.stop()
        own_server.start()
        assert browser.visit(read).text == "1"

        own_server.stop()
        own_server.start()
        assert browser.visit(put(n=2)).status_code == 200


def read_n() -> Any:
    return session["n"]


class TestBrokenReplies:
    @pytest.mark.parametrize(
        "fault", [cut_before, cut_after, half_reply, garbage], ids=["cut before", "cut after", "half", "garbage"]
    )
    def test_one_broken_read_is_repeated(self, proxy: Proxy, browser: Browser, fault: Fault) -> None:
        """A read is sent once more, as it changes nothing."""
        proxy.next("GETEX", fault)

        assert browser.visit(read).text == "1"

    @pytest.mark.parametrize(
        "fault", [cut_before, cut_after, half_reply, garbage], ids=["cut before", "cut after", "half", "garbage"]
    )
    def test_two_broken_reads_are_an_outage(self, proxy: Proxy, browser: Browser, fault: Fault) -> None:
        """Then it is a 503."""
        cookie = browser.cookie
        proxy.next("GETEX", fault, fault)

        assert_unavailable(browser, browser.visit(read), cookie)
        assert browser.visit(read).text == "1"

    def test_dripping_reply_ends_at_the_deadline(self, proxy: Proxy, browser: Browser) -> None:
        """A byte now and then keeps within every socket timeout, but not within the deadline."""
        proxy.next("GETEX", drip, drip)
        started = time.monotonic()

        response = browser.visit(read)

        assert response.status_code == 503
        assert time.monotonic() - started < 3

    @pytest.mark.parametrize(
        "fault", [cut_before, cut_after, half_reply, garbage], ids=["cut before", "cut after", "half", "garbage"]
    )
    def test_write_whose_reply_was_lost_is_applied_once(self, proxy: Proxy, browser: Browser, fault: Fault) -> None:
        """Whether the first sending was applied or not, the change stands once."""
        proxy.next("EVALSHA", fault)
        browser.visit(lambda: session.update(n=session["n"] + 1))

        assert browser.ask(read_n) == 2

    @pytest.mark.parametrize("fault", [cut_before, cut_after], ids=["cut before", "cut after"])
    def test_create_whose_reply_was_lost_is_applied_once(self, proxy: Proxy, app: Flask, fault: Fault) -> None:
        """A create that is sent again finds its own record, and knows it."""
        browser = Browser(app)
        proxy.next("SET", fault)
        browser.visit(put(n=5))

        assert browser.ask(read_n) == 5

    def test_lost_reply_and_others_on_top(self, proxy: Proxy, browser: Browser) -> None:
        """Applied, its reply lost, somebody else wrote on top: the repeat sees its nonce and keeps both."""
        other = browser.copy()
        proxy.next("EVALSHA", cut_after, first(lambda: other.visit(put(b=2))))
        browser.visit(lambda: session.update(n=session["n"] + 1))

        assert browser.ask(lambda: dict(session)) == {"n": 2, "b": 2}

    def test_not_applied_and_others_on_top(self, proxy: Proxy, browser: Browser) -> None:
        """Not applied, and somebody else wrote: the repeat merges."""
        other = browser.copy()
        proxy.next("EVALSHA", cut_before, first(lambda: other.visit(put(b=2))))
        browser.visit(lambda: session.update(n=session["n"] + 1))

        assert browser.ask(lambda: dict(session)) == {"n": 2, "b": 2}

    def test_lost_reply_and_too_many_on_top(self, proxy: Proxy, browser: Browser) -> None:
        """Where eight others wrote on top nobody can tell: a 503, and no second merge."""
        other = browser.copy()

        def others() -> None:
            for number in range(9):
                other.visit(put(b=number))

        cookie = browser.cookie
        proxy.next("EVALSHA", cut_after, first(others))

        assert_unavailable(browser, browser.visit(put(n=2)), cookie)

    def test_lost_reply_of_a_sign_in(self, proxy: Proxy, browser: Browser) -> None:
        """The old record's end was applied, its reply lost: the sign-in stands."""
        proxy.next("EVALSHA", cut_after)
        browser.visit(put(user_id=7))

        assert browser.ask(lambda: dict(session)) == {"n": 1, "user_id": 7}

    @pytest.mark.parametrize("command", ["ZREVRANGE", "GETRANGE", "PTTL", "ZREM", "SCAN"])
    def test_lists_and_revocations_ask_again(
        self, proxy: Proxy, app: Flask, browser: Browser, move_clock: Callable[[float], None], command: str
    ) -> None:
        """An idle connection that the server had closed, or one lost reply, fails none of them."""
        sessions = PickleSession(app)
        browser.visit(put(user_id=7))
        gone = Browser(app)
        gone.visit(put(user_id=7))
        app.extensions["picklesession"].settings.link.call(
            time.monotonic() + 5, "DEL", app.extensions["picklesession"].store.storage_key(handle_of(gone.cookie[:43]))
        )
        move_clock(1000)
        proxy.next(command, cut_before)

        assert len(sessions.sessions_of(7)) == 1
        assert sessions.revoke_user(7, scan=True) == 1

    @pytest.mark.parametrize("policy", ["reject", "evict_oldest"])
    def test_counted_sign_in_asks_again(self, proxy: Proxy, prefix: str, policy: str) -> None:
        """At whichever of its commands."""
        app = support.make_app(
            proxy.url, prefix, PICKLESESSION_MAX_SESSIONS_PER_USER=3, PICKLESESSION_ON_MAX_SESSIONS=policy
        )
        for command in ("ZREVRANGE", "ZADD", "GETRANGE"):
            proxy.next(command, cut_before)
            assert Browser(app).visit(put(user_id=7)).status_code == 200
        support.close(app)

    def test_sign_in_that_fails_half_way_leaves_the_old_session(self, proxy: Proxy, browser: Browser) -> None:
        """The new record was created, the old one could not be ended: a 503, and the old cookie is good."""
        cookie = browser.cookie
        proxy.next("EVALSHA", cut_before, cut_before)
        assert_unavailable(browser, browser.visit(put(user_id=7)), cookie)

        assert browser.ask(lambda: dict(session)) == {"n": 1}

    def test_regenerate_whose_end_nobody_can_tell(self, proxy: Proxy, browser: Browser) -> None:
        """Found in review: the old id was over, the reply lost twice, and the browser left with that id."""
        proxy.next("EVALSHA", cut_after, cut_before)
        response = browser.visit(lambda: session.regenerate())  # type: ignore[attr-defined]  # our own

        assert response.status_code == 503
        assert len(set_cookies(response)) == 1
        assert browser.ask(lambda: dict(session)) == {"n": 1}

    def test_regenerate_whose_end_nobody_can_tell_stays_permanent(self, proxy: Proxy, browser: Browser) -> None:
        """The cookie that comes with the 503 outlives the browser, as the one before it did."""
        browser.visit(put(_permanent=True))
        proxy.next("EVALSHA", cut_after, cut_before)
        (header,) = set_cookies(browser.visit(lambda: session.regenerate()))  # type: ignore[attr-defined]  # our own

        assert "; Expires=" in header

    def test_new_session_whose_place_is_taken(self, proxy: Proxy, app: Flask) -> None:
        """Somebody ended the session before it was created: a 503 rather than a cookie to an ended session."""
        proxy.next("SET", refuse_nil)
        browser = Browser(app)

        assert_unavailable(browser, browser.visit(put(n=1)), None)


def refuse_nil(exchange: Any) -> None:
    """Answer that SET NX found something."""
    exchange.answer(b"$-1\r\n")


#: Calls that read several records at once.
MANY: dict[str, Callable[[PickleSession, str], object]] = {
    "revoke": lambda sessions, handle: sessions.revoke(handle, user_id="ada"),
    "revoke_user": lambda sessions, handle: sessions.revoke_user("ada", keep=handle),
    "revoke_all": lambda sessions, _handle: sessions.revoke_all(),
    "sessions_of": lambda sessions, _handle: sessions.sessions_of("ada"),
}


class TestRefusedCommands:
    @pytest.mark.parametrize("error", ["READONLY x", "MISCONF x", "NOREPLICAS x", "OOM x"])
    def test_server_that_refuses_writes_is_read(self, proxy: Proxy, browser: Browser, error: str) -> None:
        """A replica, or a server that cannot persist, still answers reads: nobody is logged out."""
        proxy.next("GETEX", refuse(error))

        assert browser.visit(read).text == "1"
        assert proxy.counts.commands[-1] == "GETRANGE"

    @pytest.mark.parametrize("error", ["READONLY x", "MISCONF x", "NOREPLICAS x", "OOM x", "LOADING x", "ERR x"])
    def test_refused_write_is_a_503(self, proxy: Proxy, browser: Browser, error: str) -> None:
        """What could not be written is told."""
        cookie = browser.cookie
        proxy.next("EVALSHA", refuse(error), refuse(error))

        assert_unavailable(browser, browser.visit(put(n=2)), cookie)

    @pytest.mark.parametrize("error", ["READONLY x", "OOM x"])
    def test_refused_create_and_end_are_a_503(self, proxy: Proxy, app: Flask, browser: Browser, error: str) -> None:
        """A logout that could not be written is told, not swallowed."""
        cookie = browser.cookie
        proxy.next("EVALSHA", refuse(error))
        assert_unavailable(browser, browser.visit(lambda: session.clear()), cookie)

        proxy.next("SET", refuse(error))
        assert Browser(app).visit(put(n=1)).status_code == 503

    @pytest.mark.parametrize("due", ["renewal", "cookie"])
    def test_what_can_wait_is_no_outage(
        self, proxy: Proxy, prefix: str, move_clock: Callable[[float], None], due: str
    ) -> None:
        """A request that only reads, when a renewal or another cookie is due: it is served, and that comes later."""
        app = support.make_app(proxy.url, prefix, PICKLESESSION_RENEW_EVERY=100 if due == "renewal" else None)
        browser = Browser(app)
        browser.visit(put(n=1, _permanent=due == "cookie"))
        move_clock(10**6)
        proxy.next("EVALSHA", refuse("READONLY x"))

        response = browser.visit(read)

        assert (response.status_code, response.text) == (200, "1")
        assert len(set_cookies(browser.visit(read))) == 1
        support.close(app)

    @pytest.mark.parametrize("error", ["BUSY x", "LOADING x", "MASTERDOWN x", "CLUSTERDOWN x", "NOPERM x"])
    @pytest.mark.parametrize("call", MANY)
    def test_refused_read_of_many_is_told(self, proxy: Proxy, app: Flask, error: str, call: str) -> None:
        """Found by an attack: it passed for a session that is nobody's, so "nothing to revoke", and one to end."""
        sessions = PickleSession(app)
        browser = Browser(app)
        while browser.visit(put(user_id="ada")).status_code != 200:
            pass
        assert browser.cookie is not None
        proxy.next("GETRANGE", refuse(error), refuse(error))

        with pytest.raises(SessionUnavailableError):
            MANY[call](sessions, handle_of(browser.cookie[:43]))

        assert browser.ask(lambda: session["user_id"]) == "ada"

    @pytest.mark.parametrize("command", ["GETRANGE", "EVALSHA"])
    def test_failure_of_an_atomic_change(self, proxy: Proxy, browser: Browser, command: str) -> None:
        """Found by an attack: to the request, the store had not failed. A view that goes on is a 503 all the same."""
        cookie = browser.cookie

        def view() -> str:
            proxy.next(command, refuse("BUSY x"), refuse("BUSY x"))
            with suppress(SessionUnavailableError), session.atomic() as stored:  # type: ignore[attr-defined]  # ours
                stored["n"] = 2
            session["n"] = 3
            return str(session.get("n"))

        assert_unavailable(browser, browser.visit(view), cookie)
        assert browser.ask(lambda: dict(session)) == {"n": 1}

    @pytest.mark.parametrize("command", ["GETRANGE", "EVALSHA"])
    def test_failure_of_an_atomic_change_within_another_one(self, proxy: Proxy, browser: Browser, command: str) -> None:
        """Found by an attack: the outer one went on with nothing, and the response was a new, empty session."""
        cookie = browser.cookie

        def view() -> None:
            with suppress(SessionUnavailableError), session.atomic() as stored:  # type: ignore[attr-defined]  # ours
                proxy.next(command, refuse("BUSY x"), refuse("BUSY x"))
                with suppress(SessionUnavailableError):
                    stored.atomic(lambda inner: inner.update(n=2))
            session["n"] = 3

        assert_unavailable(browser, browser.visit(view), cookie)
        assert browser.ask(lambda: dict(session)) == {"n": 1}

    def test_failure_of_an_atomic_change_in_an_opened_session(self, proxy: Proxy, app: Flask, browser: Browser) -> None:
        """A worker that goes on behind it is told at the end that nothing was stored."""
        sessions, gone_on = PickleSession(app), []
        assert browser.cookie is not None

        def work() -> None:
            with sessions.open(handle_of((browser.cookie or "")[:43])) as opened:
                proxy.next("EVALSHA", refuse("BUSY x"), refuse("BUSY x"))
                with suppress(SessionUnavailableError):
                    opened.atomic(lambda stored: stored.update(n=2))
                opened["n"] = 3
                gone_on.append(True)

        with pytest.raises(SessionUnavailableError):
            work()

        assert gone_on
        assert browser.ask(lambda: dict(session)) == {"n": 1}

    @pytest.mark.parametrize(
        "header", ["X-Sendfile", "X-Accel-Redirect", "X-Lighttpd-Send-File", "Refresh", "Clear-Site-Data"]
    )
    def test_what_acts_on_a_response_is_dropped(self, proxy: Proxy, browser: Browser, header: str) -> None:
        """A front server would send a file in place of the error page; the browser, drop its cookie."""

        def view() -> Response:
            session["n"] = 2
            return Response(headers={header: "x"})

        proxy.next("EVALSHA", refuse("ERR x"))

        response = browser.visit(view)

        assert response.status_code == 503
        assert header not in response.headers

    @pytest.mark.parametrize("error", ["LOADING x", "ERR x", "NOAUTH x", "BUSY x"])
    def test_refused_read_is_a_503(self, proxy: Proxy, browser: Browser, error: str) -> None:
        """Another refusal is an outage."""
        cookie = browser.cookie
        proxy.next("GETEX", refuse(error), refuse(error))

        assert_unavailable(browser, browser.visit(read), cookie)

    @pytest.mark.parametrize("error", ["ERR unknown command 'GETEX'", "NOPERM this user has no permissions"])
    def test_server_without_getex(self, proxy: Proxy, browser: Browser, error: str) -> None:
        """Found by its answer: GET and EXPIRE in one round trip take its place, from then on."""
        proxy.next("GETEX", refuse(error))
        assert browser.visit(read).text == "1"
        proxy.reset()

        assert browser.visit(read).text == "1"
        assert (proxy.counts.commands, proxy.counts.round_trips) == (["GETRANGE", "EXPIRE"], 1)

    @pytest.mark.parametrize("error", ["ERR unknown command 'EVALSHA'", "NOPERM this user has no permissions"])
    def test_server_without_scripts(self, proxy: Proxy, browser: Browser, error: str) -> None:
        """Found by its answer: WATCH, MULTI and EXEC take the script's place, with the same outcome."""
        proxy.next("EVALSHA", refuse(error))
        browser.visit(put(n=2))
        other = browser.copy()
        browser.visit(lambda: (put(a=1)(), other.visit(put(b=2)), None)[2])
        proxy.next("EXEC", first(lambda: other.visit(put(c=3))))
        browser.visit(put(d=4))

        assert browser.ask(lambda: dict(session)) == {"n": 2, "a": 1, "b": 2, "c": 3, "d": 4}
        assert "EXEC" in proxy.counts.commands

    @pytest.mark.parametrize("error", ["ERR unknown command 'EVALSHA'", "NOPERM this user has no permissions"])
    def test_end_without_scripts(self, proxy: Proxy, browser: Browser, error: str) -> None:
        """A logout then compares and sets in a transaction."""
        stolen = browser.copy()
        proxy.next("EVALSHA", refuse(error))
        browser.visit(lambda: session.clear())

        assert stolen.ask(lambda: session.new) is True
        assert proxy.counts.commands[-3:] == ["SET", "EXEC", "GETEX"]

    def test_end_without_scripts_that_is_refused(self, proxy: Proxy, browser: Browser) -> None:
        """Told, not swallowed."""
        cookie = browser.cookie
        proxy.next("EVALSHA", refuse("NOPERM x"))
        proxy.next("SET", refuse("OOM x"))

        assert_unavailable(browser, browser.visit(lambda: session.clear()), cookie)

    @pytest.mark.parametrize("error", ["OOM x", "NOPERM x", "READONLY x"])
    def test_write_that_is_refused_within_a_transaction(
        self, app: Flask, proxy: Proxy, browser: Browser, error: str
    ) -> None:
        """Found in review: the connection went on to be used with its transaction open, and queued what came next."""
        other = Browser(app)
        other.visit(put(n=5))
        cookies = browser.cookie, other.cookie
        proxy.next("EVALSHA", refuse("NOPERM x"))
        proxy.next("SET", refuse(error))
        assert_unavailable(browser, browser.visit(put(n=2)), cookies[0])

        assert other.ask(read_n) == 5
        signed_in = Browser(app)
        signed_in.visit(put(user_id=7))
        assert signed_in.ask(lambda: session["user_id"]) == 7
        assert (browser.cookie, other.cookie) == cookies

    def test_write_that_is_refused_within_a_transaction_of_a_client(self, proxy: Proxy, prefix: str) -> None:
        """A ready client's connection, too."""
        client = Redis(port=proxy.port)
        app = support.make_app("", prefix, PICKLESESSION_URL=None, PICKLESESSION_CLIENT=client)
        browser, other = Browser(app), Browser(app)
        browser.visit(put(n=1))
        other.visit(put(n=5))
        proxy.next("EVALSHA", refuse("NOPERM x"))
        proxy.next("SET", refuse("OOM x"))

        assert browser.visit(put(n=2)).status_code == 503
        assert other.ask(read_n) == 5
        assert browser.ask(read_n) == 1
        support.close(app)

    @pytest.mark.parametrize("error", ["ERR unknown command 'EVALSHA'", "NOPERM this user has no permissions"])
    def test_revocation_of_what_is_not_there_without_scripts(self, proxy: Proxy, app: Flask, error: str) -> None:
        """It reads and writes in one pipeline; the session may be about to begin."""
        sessions = PickleSession(app)
        proxy.next("EVALSHA", refuse(error))

        assert sessions.revoke("A" * 43) is False
        assert proxy.counts.commands[-2:] == ["GETRANGE", "SET"]
        assert sessions.revoke("B" * 43) is False

    @pytest.mark.parametrize("faults", [{"EVALSHA": "OOM x"}, {"EVALSHA": "NOPERM x", "SET": "OOM x"}], ids=str)
    def test_revocation_that_is_refused(self, proxy: Proxy, app: Flask, faults: dict[str, str]) -> None:
        """Told, not swallowed."""
        sessions = PickleSession(app)
        for command, error in faults.items():
            proxy.next(command, refuse(error))

        with pytest.raises(SessionUnavailableError):
            sessions.revoke("A" * 43)

    def test_forgotten_script_is_sent_again(self, proxy: Proxy, browser: Browser, server: Server) -> None:
        """A server that lost its scripts (a restart, SCRIPT FLUSH) is told again."""
        proxy.next("EVALSHA", refuse("NOSCRIPT No matching script"))
        browser.visit(put(n=2))

        assert browser.ask(read_n) == 2
        assert "EVAL" in proxy.counts.commands

    def test_error_within_the_fallback_read(self, proxy: Proxy, browser: Browser) -> None:
        """An error of one command in the pipeline is an error."""
        cookie = browser.cookie
        proxy.next("GETEX", refuse("ERR unknown command"))
        proxy.next("GETRANGE", refuse("ERR x"))

        assert_unavailable(browser, browser.visit(read), cookie)


class TestHandlers:
    def test_errorhandler_renders_the_outage_at_load(self, app: Flask, proxy: Proxy) -> None:
        """``errorhandler(503)`` is asked, and Retry-After is there although the handler drops it."""
        app.register_error_handler(503, lambda error: ("the store is away", 503))
        browser = signed(app)
        proxy.next("GETEX", cut_before, cut_before)

        response = browser.visit(read)

        assert (response.status_code, response.text) == (503, "the store is away")
        assert "Retry-After" in response.headers

    def test_errorhandler_renders_the_outage_at_save(self, app: Flask, proxy: Proxy) -> None:
        """The same handler at save, where Flask itself would answer 500."""
        app.register_error_handler(503, lambda error: ("the store is away", 503))
        browser = signed(app)
        proxy.next("EVALSHA", cut_before, cut_before)

        response = browser.visit(put(n=2))

        assert (response.status_code, response.text) == (503, "the store is away")
        assert "Retry-After" in response.headers

    def test_errorhandler_for_our_class(self, app: Flask, proxy: Proxy) -> None:
        """A handler can be registered for the error itself."""
        app.register_error_handler(SessionUnavailableError, lambda error: ("ours", 503))
        browser = signed(app)
        proxy.next("EVALSHA", cut_before, cut_before)

        assert browser.visit(put(n=2)).text == "ours"

    @pytest.mark.parametrize(
        "handler",
        [lambda error: ("fine", 200), lambda error: redirect("/"), lambda error: 1 / 0, lambda error: streamed()],
        ids=["200", "redirect", "raises", "streams"],
    )
    def test_handler_that_answers_otherwise_is_passed_over(
        self, app: Flask, proxy: Proxy, handler: Callable[[Exception], Any]
    ) -> None:
        """An outage is a 503 whatever a handler makes of it."""
        app.register_error_handler(ServiceUnavailable, handler)
        browser = signed(app)
        cookie = browser.cookie
        proxy.next("EVALSHA", cut_before, cut_before)

        response = browser.visit(put(n=2))

        assert_unavailable(browser, response, cookie)
        assert "Location" not in response.headers

    def test_view_that_swallows_the_error_is_a_503(self, browser: Browser, proxy: Proxy) -> None:
        """A response that was made without the session is not sent."""

        def view() -> str:
            try:
                return read()
            except Exception:
                return "as if nothing were stored"

        cookie = browser.cookie
        proxy.next("GETEX", cut_before, cut_before)

        assert_unavailable(browser, browser.visit(view), cookie)

    def test_session_is_quiet_after_a_failure(self, browser: Browser, proxy: Proxy) -> None:
        """After the first failure nothing waits again: reads find nothing, writes go nowhere, nothing raises."""
        seen: list[Any] = []

        def view() -> str:
            with pytest.raises(SessionUnavailableError):
                session["n"]
            seen.append((dict(session), session.get("n"), session.new))
            session["n"] = 5
            session.clear()
            return ""

        proxy.next("GETEX", cut_before, cut_before)
        assert browser.visit(view).status_code == 503

        assert seen == [({}, None, True)]
        assert browser.ask(read_n) == 1

    def test_headers_of_the_lost_response_are_dropped(self, browser: Browser, proxy: Proxy) -> None:
        """What describes the body that is not sent, and other cookies, do not go out; the rest stays."""

        def view() -> Response:
            session["n"] = 2
            response = Response(iter(["body"]), headers={"ETag": '"x"', "X-Frame-Options": "DENY"})
            response.set_cookie("other", "1")
            return response

        proxy.next("EVALSHA", cut_before, cut_before)
        response = browser.visit(view)

        assert response.status_code == 503
        assert "ETag" not in response.headers
        assert "Set-Cookie" not in response.headers
        assert response.headers["X-Frame-Options"] == "DENY"
        assert "body" not in response.text

    def test_body_of_the_lost_response_is_closed(self, browser: Browser, proxy: Proxy) -> None:
        """A file that was being sent is closed."""
        closed: list[bool] = []

        class Body:
            def __iter__(self) -> Iterator[bytes]:
                return iter([b"x"])

            def close(self) -> None:
                closed.append(True)

        proxy.next("EVALSHA", cut_before, cut_before)
        browser.visit(lambda: (put(n=2)(), Response(Body(), direct_passthrough=True))[1])

        assert closed

    def test_one_signal_and_one_log_line(
        self, app: Flask, browser: Browser, proxy: Proxy, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An outage is told once a request, without address, id or payload."""
        proxy.next("GETEX", cut_before, cut_before)
        with recorded(session_unavailable, app) as sent:
            browser.visit(lambda: (session.get("n"), None)[1])

        lines = [record.getMessage() for record in caplog.records if record.name == "flask_picklesession"]
        assert len(sent) == len(lines) == 1
        assert str(proxy.port) not in lines[0]


def signed(app: Flask) -> Browser:
    """Return a browser with a session."""
    browser = Browser(app)
    browser.visit(put(n=1))
    return browser


def streamed() -> Response:
    return Response(iter(["x"]), status=503)


class TestFlaskLogin:
    @pytest.fixture(name="app")
    def _app(self, proxy: Proxy, prefix: str) -> Iterator[Flask]:
        app = support.make_app(proxy.url, prefix, PICKLESESSION_TIMEOUT=0.5)
        manager = LoginManager(app)

        class User(UserMixin):
            id = "7"

        manager.user_loader(lambda user_id: User())
        app.login_test_user = User()  # type: ignore[attr-defined]  # for the tests below
        app.register_error_handler(503, lambda error: (render_template_string("{{ current_user.is_anonymous }}"), 503))
        yield app
        support.close(app)

    def test_outage_is_a_503_under_flask_login(self, app: Flask, browser: Browser, proxy: Proxy) -> None:
        """Flask-Login asks the session after each response, and the error page asks for the user: still a 503."""
        browser.visit(lambda: str(login_user(app.login_test_user)))  # type: ignore[attr-defined]  # set above
        cookie = browser.cookie
        proxy.next("GETEX", cut_before, cut_before)

        assert_unavailable(browser, browser.visit(lambda: "a view that ignores the session"), cookie)

    def test_outage_at_save_is_a_503_under_flask_login(self, app: Flask, browser: Browser, proxy: Proxy) -> None:
        """The same at save."""
        browser.visit(lambda: str(login_user(app.login_test_user)))  # type: ignore[attr-defined]  # set above
        cookie = browser.cookie
        proxy.next("EVALSHA", cut_before, cut_before)

        assert_unavailable(browser, browser.visit(put(n=2)), cookie)

    def test_sign_in_with_flask_login_replaces_the_id(self, app: Flask, browser: Browser) -> None:
        """login_user() is a change of identity."""
        cookie = browser.cookie
        browser.visit(lambda: str(login_user(app.login_test_user)))  # type: ignore[attr-defined]  # set above

        assert browser.cookie != cookie
        assert browser.ask(read_n) == 1


class TestRecords:
    """What stands in the record's place, whoever put it there."""

    def key(self, browser: Browser, prefix: str) -> str:
        assert browser.cookie is not None
        return prefix + handle_of(browser.cookie[:43])

    @pytest.mark.parametrize(
        "planted",
        [b"x", b"\x80\x05N.", b"\0" * 200, b"x" * 300_000, b"x" * 3_000_000],
        ids=["x", "pickle", "zeros", "big", "huge"],
    )
    def test_planted_bytes_are_a_new_session(
        self, browser: Browser, raw: Any, prefix: str, planted: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Bytes that we did not sign are no session: never a 500, one log line, none of the bytes in it."""
        raw.set(self.key(browser, prefix), planted)

        assert browser.ask(lambda: (dict(session), session.new)) == ({}, True)
        lines = [record.getMessage() for record in caplog.records if record.name == "flask_picklesession"]
        assert lines == ["session rejected: record"]

    def test_empty_value_is_nothing(self, browser: Browser, raw: Any, prefix: str) -> None:
        """As an absent one."""
        raw.set(self.key(browser, prefix), b"")

        assert browser.ask(lambda: session.new) is True

    def test_another_type_is_a_new_session(self, browser: Browser, raw: Any, prefix: str) -> None:
        """A list or hash in the record's place is no session."""
        key = self.key(browser, prefix)
        raw.delete(key)
        raw.lpush(key, "x")

        assert browser.ask(lambda: session.new) is True
        raw.delete(key)

    def test_another_type_at_save_drops_the_write(self, browser: Browser, raw: Any, prefix: str) -> None:
        """Put there during the request: to a save, it is gone."""
        key = self.key(browser, prefix)
        response = browser.visit(lambda: (put(n=2)(), raw.delete(key), raw.lpush(key, "x"), "")[3])

        assert response.status_code == 200
        raw.delete(key)

    def test_planted_during_a_request_drops_the_write(self, browser: Browser, raw: Any, prefix: str) -> None:
        """Forged bytes are no base to merge with."""
        key = self.key(browser, prefix)
        browser.visit(lambda: (put(n=2)(), raw.set(key, b"forged"), "")[2])

        assert raw.get(key) == b"forged"

    def test_record_of_another_session_is_a_new_session(
        self, app: Flask, browser: Browser, raw: Any, prefix: str
    ) -> None:
        """A correctly signed record that was copied to another key is refused."""
        other = Browser(app)
        other.visit(put(user_id=1))
        raw.set(self.key(browser, prefix), raw.get(self.key(other, prefix)))

        assert browser.ask(lambda: dict(session)) == {}

    def test_record_of_a_newer_version_is_an_outage(self, app: Flask, browser: Browser, raw: Any, prefix: str) -> None:
        """A newer worker's record logs nobody out: the older worker answers 503."""
        key = self.key(browser, prefix)
        content = bytearray(raw.get(key)[SIGNATURE_SIZE:])
        content[0] = 2
        signer = app.extensions["picklesession"].signers(app).record.signer
        cookie = browser.cookie
        raw.set(key, signer.sign(key.encode(), bytes(content)))

        assert_unavailable(browser, browser.visit(read), cookie)

    @pytest.mark.parametrize("call", ["revoke", "revoke_user", "revoke_all", "scan"])
    def test_newer_version_is_no_reason_to_say_that_nothing_is_there(
        self, app: Flask, browser: Browser, raw: Any, prefix: str, call: str
    ) -> None:
        """Found by an attack: an older worker told that all was over, while the newer one went on with the session."""
        sessions, other = PickleSession(app), Browser(app)
        for one in (browser, other):
            one.visit(put(user_id="ada"))
        key = self.key(browser, prefix)
        handle = key.removeprefix(prefix)
        content = bytearray(raw.get(key)[SIGNATURE_SIZE:])
        content[0] = 2
        newer = app.extensions["picklesession"].signers(app).record.signer.sign(key.encode(), bytes(content))
        raw.set(key, newer)
        calls = {**MANY, "scan": lambda sessions, _handle: sessions.revoke_user("ada", scan=True)}

        with pytest.raises(SessionUnavailableError):
            calls[call](sessions, handle)

        assert raw.get(key) == newer
        # Those that can be read are over where they were to end.
        assert bool(other.ask(lambda: dict(session))) == (call not in ("scan", "revoke_all"))

    @pytest.mark.parametrize("policy", ["evict_oldest", "reject"])
    def test_newer_version_keeps_nobody_from_signing_in(self, app: Flask, raw: Any, prefix: str, policy: str) -> None:
        """Who can write to Redis may put any newer session in a user's index: lists and limits leave it out."""
        app.config.update(PICKLESESSION_MAX_SESSIONS_PER_USER=2, PICKLESESSION_ON_MAX_SESSIONS=policy)
        sessions, browser, other = PickleSession(app), Browser(app), Browser(app)
        browser.visit(put(user_id="ada"))
        key = self.key(browser, prefix)
        content = bytearray(raw.get(key)[SIGNATURE_SIZE:])
        content[0] = 2
        raw.set(key, app.extensions["picklesession"].signers(app).record.signer.sign(key.encode(), bytes(content)))

        assert other.visit(put(user_id="ada")).status_code == 200
        assert len(sessions.sessions_of("ada")) == 1

    @pytest.mark.parametrize("scan", [False, True])
    @pytest.mark.parametrize("is_renewed", [False, True])
    def test_newer_version_is_told_behind_all_others(
        self, app: Flask, raw: Any, prefix: str, move_clock: Callable[[float], None], is_renewed: bool, scan: bool
    ) -> None:
        """What can be ended is, also where only the old id of a session can be read."""
        app.config["PICKLESESSION_RENEW_EVERY"] = 100
        sessions, browser, other = PickleSession(app), Browser(app), Browser(app)
        for one in (other, browser):
            one.visit(put(user_id="ada"))
        if is_renewed:
            move_clock(101)
            browser.visit(read)
        key = self.key(browser, prefix)
        content = bytearray(raw.get(key)[SIGNATURE_SIZE:])
        content[0] = 2
        raw.set(key, app.extensions["picklesession"].signers(app).record.signer.sign(key.encode(), bytes(content)))

        for _turn in range(2):
            with pytest.raises(SessionUnavailableError):
                sessions.revoke_user("ada", scan=scan)

        assert other.ask(lambda: dict(session)) == {}

    def test_signed_record_with_a_payload_that_is_none(
        self, app: Flask, browser: Browser, raw: Any, prefix: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Even with the secret key only what the verifier passes becomes a session."""
        key = self.key(browser, prefix)
        record = Record.unpack(raw.get(key)[SIGNATURE_SIZE:])
        signer = app.extensions["picklesession"].signers(app).record.signer
        hostile = b"cos\nsystem\n(S'touch /nowhere'\ntR."
        raw.set(key, signer.sign(key.encode(), record._replace(body=hostile).pack()))

        assert browser.ask(lambda: dict(session)) == {}
        assert "session rejected: payload" in caplog.text
        assert record.kind == Kind.LIVE

    def test_signed_payload_that_is_none_at_save(self, app: Flask, browser: Browser, raw: Any, prefix: str) -> None:
        """The same where it appears during a request: the write is dropped."""
        key = self.key(browser, prefix)

        def plant() -> None:
            record = Record.unpack(raw.get(key)[SIGNATURE_SIZE:])
            signer = app.extensions["picklesession"].signers(app).record.signer
            raw.set(key, signer.sign(key.encode(), record.with_nonce(b"12345678")._replace(body=b"x").pack()))

        response = browser.visit(lambda: (put(n=2)(), plant(), "")[2])

        assert response.status_code == 200
        assert set_cookies(response) == []


class TestHugeValues:
    """Half a gigabyte in a session's place, which a writer has for one command. Not through the proxy: it reads all."""

    @pytest.fixture(name="direct")
    def _direct(self, make_app: MakeApp) -> Browser:
        browser = Browser(make_app(PICKLESESSION_TIMEOUT=5))
        browser.visit(put(n=1))
        return browser

    @pytest.fixture(name="key")
    def _key(self, direct: Browser, prefix: str, raw: Any) -> Iterator[str]:
        key = prefix + handle_of((direct.cookie or "")[:43])
        yield key
        raw.delete(key)

    def test_is_no_session_and_not_read(self, direct: Browser, raw: Any, key: str) -> None:
        """It costs no worker its memory."""
        raw.setrange(key, 400_000_000, b"x")

        with grown() as bytes_taken:
            assert direct.ask(lambda: session.new) is True

        assert bytes_taken() < 20_000_000

    def test_put_there_during_a_request_drops_the_write(self, direct: Browser, raw: Any, key: str) -> None:
        """The server is asked for no more of it than a record can have."""

        def view() -> None:
            session["n"] = 2
            # Not over the record: its nonce would stand, and the write would replace it.
            raw.delete(key)
            raw.setrange(key, 400_000_000, b"x")

        with grown() as bytes_taken, recorded(session_dropped, direct.app) as dropped:
            assert direct.visit(view).status_code == 200

        assert [sent["reason"] for sent in dropped] == [Drop.ENDED]
        assert bytes_taken() < 20_000_000


def add_one() -> None:
    session["n"] += 1


class TestReadyClient:
    """Found in review: redis-py's clients send again by themselves, ten times. Nothing is sent twice for us."""

    @pytest.fixture(name="app")
    def _app(self, proxy: Proxy, prefix: str) -> Iterator[Flask]:
        client = Redis(port=proxy.port)
        app = support.make_app(None, prefix, PICKLESESSION_CLIENT=client, PICKLESESSION_MERGE={"n": "counter"})
        yield app
        support.close(app)
        client.close()

    def test_lost_reply_counts_once(self, app: Flask, browser: Browser, proxy: Proxy) -> None:
        """The write was applied; its second sending is not another request's."""
        browser.visit(put(n=2))
        proxy.next("EVALSHA", cut_after)

        assert browser.visit(add_one).status_code == 200
        assert browser.ask(read_n) == 3

    def test_lost_reply_logs_nobody_out(self, app: Flask, browser: Browser, proxy: Proxy) -> None:
        """The old id was over when it was ended again."""
        browser.visit(put(user_id=7))
        proxy.next("EVALSHA", cut_after)
        browser.visit(lambda: session.regenerate())  # type: ignore[attr-defined]  # our own

        assert browser.ask(lambda: session["user_id"]) == 7


class TestNoReplies:
    @pytest.mark.parametrize("reply", [b"-ASK x\r\n", b"-MOVED\r\n", b":5\r\n", b"*1\r\n:1\r\n"], ids=repr)
    @pytest.mark.parametrize("command", ["EVALSHA", "GETEX"])
    def test_reply_of_another_kind_is_an_outage(
        self, browser: Browser, proxy: Proxy, reply: bytes, command: str
    ) -> None:
        """Found in review: redis-py fails to read some, and others went further in than they should."""

        def answer(exchange: Exchange) -> None:
            exchange.answer(reply)

        cookie = browser.cookie
        proxy.next(command, answer, answer)

        assert_unavailable(browser, browser.visit(put(n=2)), cookie)

    def test_record_of_another_kind_is_an_outage_among_many(self, browser: Browser, proxy: Proxy) -> None:
        """What is not bytes is the reply to another command."""

        def answer(exchange: Exchange) -> None:
            exchange.answer(b":5\r\n")

        proxy.next("GETRANGE", answer, answer)
        store = browser.app.extensions["picklesession"].store

        with pytest.raises(StoreUnavailableError):
            store.load_many(["x" * 43], deadline=time.monotonic() + 5)
        assert store.load_many(["x" * 43], deadline=time.monotonic() + 5) == [None]
