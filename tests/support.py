"""A site whose requests run whatever a test hands them, and browsers that visit it.

A view may itself let another browser visit: that request then runs from beginning to end while the first one
is in flight, which makes every interleaving of two requests a plain function call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blinker import Signal
from flask import Flask, request
from flask.testing import FlaskClient
from werkzeug.http import parse_cookie
from werkzeug.test import TestResponse

from flask_picklesession import PickleSessionInterface
from flask_picklesession.cookie import handle_of
from flask_picklesession.interface import EXTENSION_KEY, state_of

View = Callable[[], object]


def make_app(url: str, prefix: str, **config: Any) -> Flask:
    """Return an application with a drop-in session interface and one route that runs a test's view."""
    app = Flask("site")
    app.config.update(
        SECRET_KEY="a secret key for tests",
        PICKLESESSION_URL=url,
        PICKLESESSION_KEY_PREFIX=prefix,
        # A busy machine is no outage.
        PICKLESESSION_TIMEOUT=20,
    )
    app.config.update(config)
    app.session_interface = PickleSessionInterface()

    @app.route("/")
    def run() -> object:
        result = request.environ["tests.view"]()
        return "" if result is None else result

    return app


def close(app: Flask) -> None:
    """Close the connections of an application that was used."""
    state = app.extensions.get(EXTENSION_KEY)
    if state is not None:
        state.store.close()


class Browser:
    """A browser with its cookies."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self._client: FlaskClient = app.test_client()

    def visit(self, view: View, **kwargs: Any) -> TestResponse:
        """Make one request that runs the view."""
        return self._client.get("/", environ_overrides={"tests.view": view}, **kwargs)

    def ask(self, view: Callable[[], Any]) -> Any:
        """Make one request and return what the view returned, as an object."""
        results: list[Any] = []

        def remember() -> str:
            results.append(view())
            return ""

        response = self.visit(remember)
        assert response.status_code == 200, response.text
        return results[0]

    @property
    def cookie(self) -> str | None:
        """The session cookie's value."""
        cookie = self._client.get_cookie("session")
        return None if cookie is None else cookie.value

    @cookie.setter
    def cookie(self, value: str) -> None:
        self._client.set_cookie("session", value)

    def copy(self) -> Browser:
        """Return a second window of the same browser."""
        other = Browser(self.app)
        if self.cookie is not None:
            other.cookie = self.cookie
        return other


def set_cookies(response: TestResponse) -> list[str]:
    """Return the response's Set-Cookie headers for the session cookie."""
    return [header for header in response.headers.getlist("Set-Cookie") if "session" in parse_cookie(header)]


@contextmanager
def grown() -> Iterator[Callable[[], int]]:
    """Tell how many bytes the process took at its peak since the beginning of the with-block."""
    # Resets the peak (Linux, proc(5)).
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    yield lambda: _peak() - before


def _peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


@contextmanager
def recorded(signal: Signal, app: Flask) -> Iterator[list[dict[str, Any]]]:
    """Collect what a signal sends."""
    sent: list[dict[str, Any]] = []

    def receive(sender: Flask, **data: Any) -> None:
        sent.append(data)

    with signal.connected_to(receive, app):
        yield sent


def plant(app: Flask, browser: Browser, **values: Any) -> None:
    """Put a payload into a browser's session, as who holds the secret key and writes to Redis can.

    :param values: what stands in the payload: scalars, and bytes as segments.
    """
    state, deadline = state_of(app), time.monotonic() + 5
    signers = state.signers(app)
    cookie = signers.cookie.unsign(browser.cookie or "")
    assert cookie is not None
    key = state.store.storage_key(handle_of(cookie.session_id))
    stored = state.store.load(key, ttl=None, deadline=deadline)
    assert stored is not None
    record, _is_current = signers.record.unseal(key, stored)
    forged = signers.record.seal(key, record._replace(body=state.serializer.dump_container(values)))
    state.settings.link.call(deadline, "SET", key, forged, "KEEPTTL")
