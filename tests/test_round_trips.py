"""What each kind of request costs at the store, counted at a proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask, session

from flask_picklesession.cookie import CookieSigner, new_session_id

from . import support
from .proxy import Proxy
from .servers import Server
from .support import Browser


@pytest.fixture(name="proxy")
def _proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture(name="app")
def _app(proxy: Proxy, prefix: str) -> Iterator[Flask]:
    app = support.make_app(proxy.url, prefix)
    yield app
    support.close(app)


@pytest.fixture(name="browser")
def _browser(app: Flask, proxy: Proxy) -> Browser:
    browser = Browser(app)
    browser.visit(lambda: session.update(n=1, cart=[1]))
    # Loads the script, and connects.
    browser.visit(lambda: session.update(n=2))
    proxy.reset()
    return browser


@pytest.mark.parametrize(
    ("view", "commands"),
    [
        pytest.param(lambda: None, [], id="not used"),
        pytest.param(lambda: str(session["n"]), ["GETEX"], id="one key read"),
        pytest.param(lambda: str(dict(session)), ["GETEX"], id="all keys read"),
        pytest.param(lambda: session.update(n=2), ["GETEX"], id="assigned, not changed"),
        pytest.param(lambda: session.update(n=3), ["GETEX", "EVALSHA"], id="changed"),
        pytest.param(lambda: session["cart"].append(2), ["GETEX", "EVALSHA"], id="nested change"),
        pytest.param(lambda: session.clear(), ["GETEX", "EVALSHA"], id="ended"),
        pytest.param(lambda: session.update(user_id=7), ["GETEX", "ZADD", "EXPIRE", "SET", "EVALSHA"], id="signed in"),
    ],
)
def test_commands_of_a_request(browser: Browser, proxy: Proxy, view: Callable[[], object], commands: list[str]) -> None:
    """Each request sends these commands, one a round trip; the index goes along with a write."""
    browser.visit(view)

    assert proxy.counts.commands == commands
    assert proxy.counts.round_trips == len(commands) - commands.count("ZADD") - commands.count("EXPIRE")


def test_new_session_is_one_round_trip(app: Flask, browser: Browser, proxy: Proxy) -> None:
    """There is nothing to read for a new session."""
    Browser(app).visit(lambda: session.update(n=1))

    assert proxy.counts.commands == ["SET"]


@pytest.mark.parametrize(
    "cookie",
    ["", "nonsense", pytest.param(CookieSigner(["another key"]).sign(new_session_id(), "mark"), id="of another key")],
)
def test_forged_cookie_costs_nothing(app: Flask, browser: Browser, proxy: Proxy, cookie: str) -> None:
    """What we did not sign never reaches the store."""
    forger = Browser(app)
    forger.cookie = cookie
    forger.visit(lambda: str(session.get("n")))

    assert proxy.counts.commands == []


def test_index_adds_no_round_trip(browser: Browser, proxy: Proxy) -> None:
    """A signed-in user's reads do not touch the index; writes take it along."""
    browser.visit(lambda: session.update(user_id=7))
    proxy.reset()
    browser.visit(lambda: str(session["n"]))
    assert proxy.counts.commands == ["GETEX"]
    proxy.reset()

    browser.visit(lambda: session.update(n=9))

    assert proxy.counts.commands == ["GETEX", "ZADD", "EXPIRE", "EVALSHA"]
    assert proxy.counts.round_trips == 2


def test_lost_race_is_one_more(browser: Browser, proxy: Proxy) -> None:
    """The reply to a lost race holds what is needed for the next attempt."""
    other = browser.copy()
    browser.visit(lambda: (session.update(a=1), other.visit(lambda: session.update(b=1)), None)[2])

    assert proxy.counts.commands == ["GETEX", "GETEX", "EVALSHA", "EVALSHA", "EVALSHA"]
