"""What a session interface keeps when requests run at once: the same scenarios for any of them.

``python -m benchmarks.conformance`` prints the table of Flask's cookie sessions, Flask-Session and ours.
``--write FILE`` writes it as a page. ``--interface module:function`` adds one of yours: the function takes an
application and the URL of a Redis server, and installs its session interface.

Each scenario asks the interface through real requests only, and counts. Requests that are to run at once have all
loaded their session before the first of them is saved.
"""

from __future__ import annotations

import argparse
import importlib
import pickle
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import redis
from flask import Flask, flash, get_flashed_messages, request, session
from flask_session.redis import RedisSessionInterface

from flask_picklesession import PickleSession
from tests.servers import NAMES, Server, binary_of

from .measure import progress, table

Install = Callable[[Flask, str], None]
View = Callable[[], object]

#: How many requests run at once, and how often a race is run.
TIMES = 20


def cookie(app: Flask, url: str) -> None:
    """Flask's own sessions, in a signed cookie."""


def flask_session(app: Flask, url: str) -> None:
    """Flask-Session with its defaults on Redis."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        app.session_interface = RedisSessionInterface(app, redis.Redis.from_url(url))


def ours(app: Flask, url: str) -> None:
    """These sessions."""
    app.config.update(
        PICKLESESSION_URL=url,
        PICKLESESSION_TIMEOUT=30,
        PICKLESESSION_ALLOW=[Line],
        PICKLESESSION_MERGE={"count": "counter", "seen": "union"},
    )
    PickleSession(app)


INTERFACES: dict[str, Install] = {"Flask's cookie": cookie, "Flask-Session 0.8": flask_session, "ours": ours}


@dataclass
class Line:
    """A value of an application's own class."""

    name: str
    price: Decimal


@dataclass
class Browser:
    """A browser with its session cookie."""

    cookie: str | None


class Site:
    """An application with one interface, and browsers that visit it.

    :param install: installs the interface.
    :param url: the server.
    """

    def __init__(self, install: Install, url: str) -> None:
        self.app = Flask("conformance")
        self.app.secret_key = "of the conformance kit, and of nothing else"
        install(self.app, url)
        self.url = url

        @self.app.route("/")
        def run() -> object:
            result = request.environ["kit.view"]()
            return result if isinstance(result, str) else ""

    def browser(self, of: Browser | None = None) -> Browser:
        """Return a new browser, or a copy of one: with the cookie that it has now."""
        return Browser(None if of is None else of.cookie)

    def visit(self, browser: Browser, view: View) -> int:
        """Make a request, and return its status. Windows of a browser share its cookie: the last response counts."""
        client = self.app.test_client()
        if browser.cookie is not None:
            client.set_cookie("session", browser.cookie)
        response = client.get("/", environ_overrides={"kit.view": view})
        if "Set-Cookie" in response.headers:
            found = client.get_cookie("session")
            browser.cookie = None if found is None else found.value
        return response.status_code

    def ask(self, browser: Browser, view: View) -> Any:
        """Make a request, and return what its view returned; ``None`` where that failed."""
        found: list[Any] = []

        def keep() -> None:
            found.append(view())

        self.visit(browser, keep)
        return found[0] if found else None

    def started(self) -> Browser:
        """Return a browser that has a session."""
        browser = self.browser()
        self.visit(browser, lambda: session.update(start=1))
        return browser

    def at_once(self, browser: Browser, views: list[View]) -> list[int]:
        """Make requests in threads that have all loaded the session before one of them is saved."""
        barrier = threading.Barrier(len(views))
        codes: list[int] = []

        def make(view: View) -> None:
            def wait() -> None:
                session.get("start")
                barrier.wait()
                view()

            codes.append(self.visit(browser, wait))

        threads = [threading.Thread(target=make, args=(view,)) for view in views]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return codes


# -- the scenarios: each returns how often it went well, of how often


def put(**values: Any) -> View:
    """Return a view that assigns these keys."""
    return lambda: session.update(values)


def writers(site: Site) -> tuple[int, int]:
    """20 requests at once, each with a key of its own: how many keys are there."""
    browser = site.started()
    site.at_once(browser, [put(**{f"key{n}": n}) for n in range(TIMES)])
    found = site.ask(browser, lambda: dict(session)) or {}
    return sum(f"key{n}" in found for n in range(TIMES)), TIMES


def deleters(site: Site) -> tuple[int, int]:
    """20 requests at once, each of which deletes a key: how many are gone."""
    browser = site.browser()
    site.visit(browser, lambda: session.update({f"key{n}": n for n in range(TIMES)}, start=1))
    site.at_once(browser, [lambda n=n: session.pop(f"key{n}") for n in range(TIMES)])  # type: ignore[misc]
    found = site.ask(browser, lambda: dict(session)) or {}
    return sum(f"key{n}" not in found for n in range(TIMES)), TIMES


def counters(site: Site) -> tuple[int, int]:
    """20 requests at once count one up: what is counted (ours with the policy ``counter``)."""
    browser = site.started()
    site.visit(browser, put(count=0))
    site.at_once(browser, [lambda: session.update(count=session["count"] + 1)] * TIMES)
    return int(site.ask(browser, lambda: session.get("count", 0)) or 0), TIMES


def flashes(site: Site) -> tuple[int, int]:
    """20 requests at once flash a message: how many are shown."""
    browser = site.started()
    site.at_once(browser, [lambda n=n: flash(f"message {n}") for n in range(TIMES)])  # type: ignore[misc]
    return len(site.ask(browser, lambda: list(get_flashed_messages())) or ()), TIMES


def readers(site: Site) -> tuple[int, int]:
    """A request that only reads, while another one writes: how often the write stands."""
    well = 0
    for _turn in range(TIMES):
        browser = site.started()

        def read(browser: Browser = browser) -> None:
            session.get("start")
            site.visit(browser, put(written=1))

        site.visit(browser, read)
        well += site.ask(browser, lambda: session.get("written")) == 1
    return well, TIMES


def logout_in_flight(site: Site) -> tuple[int, int]:
    """A request writes while another one signs out: how often the session stays over."""
    well = 0
    for _turn in range(TIMES):
        browser = site.browser()
        site.visit(browser, put(user_id=7))
        stolen = site.browser(browser)

        def write(browser: Browser = browser) -> None:
            session["late"] = 1
            site.visit(browser, lambda: session.clear())

        site.visit(browser, write)
        well += site.ask(stolen, lambda: session.get("user_id")) is None
    return well, TIMES


def logout(site: Site) -> tuple[int, int]:
    """A copy of the cookie after signing out: how often it is worth nothing."""
    well = 0
    for _turn in range(TIMES):
        browser = site.browser()
        site.visit(browser, put(user_id=7))
        stolen = site.browser(browser)
        site.visit(browser, lambda: session.clear())
        well += site.ask(stolen, lambda: session.get("user_id")) is None
    return well, TIMES


def fixation(site: Site) -> tuple[int, int]:
    """A cookie from before the sign-in: how often it does not reach the signed-in session."""
    well = 0
    for _turn in range(TIMES):
        browser = site.started()
        planted = site.browser(browser)
        site.visit(browser, put(user_id=7))
        well += site.ask(planted, lambda: session.get("user_id")) is None
    return well, TIMES


def write_during_login(site: Site) -> tuple[int, int]:
    """A write that was acknowledged while a sign-in was under way: how often it is there after it."""
    well = 0
    for _turn in range(TIMES):
        browser = site.started()

        def sign_in(browser: Browser = browser) -> None:
            session["user_id"] = 7
            site.visit(browser, put(written=1))

        site.visit(browser, sign_in)
        found = site.ask(browser, lambda: dict(session)) or {}
        well += found.get("written") == 1 and found.get("user_id") == 7
    return well, TIMES


def nested_changes(site: Site) -> tuple[int, int]:
    """A change within a stored list, without ``session.modified``: how often it is kept."""
    well = 0
    for _turn in range(TIMES):
        browser = site.browser()
        site.visit(browser, put(items=[1]))
        site.visit(browser, lambda: session["items"].append(2))
        well += site.ask(browser, lambda: session.get("items")) == [1, 2]
    return well, TIMES


VALUES: list[Any] = [
    (1, 2),
    {1, 2},
    frozenset("ab"),
    b"bytes",
    {1: "one"},
    Decimal("9.90"),
    datetime(2026, 1, 1, tzinfo=UTC),
    UUID(int=7),
    1 + 2j,
    Line("Beans", Decimal("9.90")),
]


def types(site: Site) -> tuple[int, int]:
    """Ten values of different types: how many come back equal and of the same type."""
    well = 0
    for value in VALUES:
        browser = site.browser()
        if site.visit(browser, put(value=value)) == 200:
            found = site.ask(browser, lambda: session.get("value"))
            well += type(found) is type(value) and found == value
    return well, len(VALUES)


class _Touch:
    """A pickle of it makes a file when it is loaded without an allow-list."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self._path,)


def planted_pickles(site: Site) -> tuple[int, int]:
    """Pickles in the place of sessions, put there by who can write to Redis: how often no code of theirs runs."""
    well = 0
    with tempfile.TemporaryDirectory() as folder, redis.Redis.from_url(site.url) as raw:
        for turn in range(TIMES):
            before = set(raw.keys("*"))
            browser, marker = site.started(), Path(folder) / str(turn)
            for key in set(raw.keys("*")) - before:
                raw.set(key, pickle.dumps(_Touch(marker)))
            site.visit(browser, lambda: session.get("start"))
            well += not marker.exists()
    return well, TIMES


SCENARIOS: dict[str, Callable[[Site], tuple[int, int]]] = {
    "parallel writers whose key survives": writers,
    "parallel deletions that stay": deleters,
    "parallel counts that are counted": counters,
    "parallel flashed messages that are shown": flashes,
    "writes that a slow reader does not undo": readers,
    "sign-outs that a request in flight does not undo": logout_in_flight,
    "signed-out cookies that are worth nothing": logout,
    "cookies from before a sign-in that are worth nothing": fixation,
    "writes during a sign-in that survive it": write_during_login,
    "nested changes that are kept": nested_changes,
    "values that come back with their type": types,
    "planted pickles that run nothing": planted_pickles,
}


@contextmanager
def server() -> Iterator[str]:
    """Run a server of the kit's own, and yield its URL."""
    binary = next(found for found in map(binary_of, NAMES) if found)
    with tempfile.TemporaryDirectory() as folder, Server(binary, Path(folder)) as started:
        yield started.url


def results(interfaces: dict[str, Install]) -> list[list[str]]:
    """Return a row for each scenario, with what each interface reached."""
    rows = []
    with server() as url:
        for name, scenario in SCENARIOS.items():
            row = [name]
            for kind, install in interfaces.items():
                progress(f"{name}: {kind}")
                well, times = scenario(Site(install, url))
                row.append(f"{well} of {times}")
            rows.append(row)
    return rows


PAGE = """# What survives

The same scenarios, through real requests, for each session interface. Made by `python -m benchmarks.conformance --write
docs/conformance.md`; `--interface module:function` adds yours.

"""


def page(header: list[str], rows: list[list[str]]) -> str:
    """Return the table as a page, with what each scenario does."""
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    about = [f"* **{name}**: {scenario.__doc__}" for name, scenario in SCENARIOS.items()]
    return PAGE + "\n".join(lines) + "\n\n" + "\n".join(about) + "\n"


def main(arguments: list[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conformance")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--interface", action="append", default=[])
    options = parser.parse_args(arguments)
    interfaces = dict(INTERFACES)
    for name in options.interface:
        module, _colon, function = name.partition(":")
        interfaces[name] = getattr(importlib.import_module(module), function)
    header, rows = ["scenario", *interfaces], results(interfaces)
    table("What survives", header, rows)
    if options.write:
        options.write.write_text(page(header, rows))


if __name__ == "__main__":
    main(sys.argv[1:])
