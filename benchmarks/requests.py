"""What a request costs above the same application without a session, as a part of what Flask-Session adds."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import redis
from flask import Flask, Response, session
from flask.sessions import SessionInterface
from flask_login import LoginManager, UserMixin
from flask_session.redis import RedisSessionInterface

from flask_picklesession import PickleSessionInterface
from flask_picklesession.cookie import CookieSigner, new_session_id
from tests.proxy import Proxy
from tests.servers import NAMES, Server, binary_of

from .measure import microseconds, table


@dataclass
class Line:
    """A line of the cart."""

    name: str
    price: Decimal
    quantity: int
    added: datetime


#: Session -> its content for ours, and for formats without objects.
CONTENTS: dict[str, tuple[Callable[[], dict[str, Any]], Callable[[], dict[str, Any]]]] = {
    "10 keys": (lambda: {f"key{n}": f"value {n}" for n in range(10)},) * 2,
    "100 keys": (lambda: {f"key{n}": f"value {n}" for n in range(100)},) * 2,
    "cart of 50": (
        lambda: {"key1": 1, "cart": [Line(f"Product {n}", Decimal(n), 1, datetime.now(UTC)) for n in range(50)]},
        lambda: {
            "key1": 1,
            "cart": [{"name": f"Product {n}", "price": str(n), "n": 1, "added": "x" * 25} for n in range(50)],
        },
    ),
    "100 KB of rows": (lambda: {"key1": 1, "rows": rows()},) * 2,
    "100 KB of text": (lambda: {"key1": 1, "texts": [f"{n:0100}" for n in range(1000)]},) * 2,
}


def rows() -> list[dict[str, Any]]:
    """Return what a search or a report leaves in a session: 100 KB in msgpack, 1,100 rows of eight small values."""
    return [
        {"id": n, "sku": f"A-{n:05}", "name": f"Product {n}", "price": f"{n}.90", "stock": n % 40, "rating": n % 5 / 2,
         "new": n % 7 == 0, "note": None}
        for n in range(1100)
    ]  # fmt: skip


#: Request -> session, round trips, target as a part of Flask-Session's time.
REQUESTS: dict[str, tuple[str, int, float | None]] = {
    "not used": ("10 keys", 0, 0.05),
    "forged cookie, used": ("10 keys", 0, 0.2),
    "one key read": ("10 keys", 1, 0.55),
    "one key changed": ("10 keys", 2, 1.1),
    "one key read of 100": ("100 keys", 1, None),
    "one key changed of 100": ("100 keys", 2, None),
    "cart read": ("cart of 50", 1, None),
    "small key read beside 100 KB of rows": ("100 KB of rows", 1, 0.2),
    "small key read beside 100 KB of text": ("100 KB of text", 1, None),
    "Flask-Login, session ignored": ("10 keys", 1, None),
}


class Nothing(dict[str, Any]):
    """What stands in a session's place."""

    accessed = modified = False


class NoSession(SessionInterface):
    """The application without a session."""

    def open_session(self, app: Flask, request: Any) -> Any:
        return None

    def make_null_session(self, app: Flask) -> Any:
        return Nothing()

    def is_null_session(self, obj: object) -> bool:
        return True


def make_app(kind: str, url: str, *, login: bool = False) -> Flask:
    """Return an application with one kind of session."""
    app = Flask(kind)
    app.config.update(
        SECRET_KEY="of the benchmark, and of nothing else", PICKLESESSION_URL=url, PICKLESESSION_ALLOW=[Line]
    )
    if kind == "ours":
        app.session_interface = PickleSessionInterface()
    elif kind == "flask-session":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            app.session_interface = RedisSessionInterface(app, redis.Redis.from_url(url))
    elif kind == "none":
        app.session_interface = NoSession()

    @app.get("/alone")
    @app.get("/ignore")
    def ignore() -> str:
        return "x"

    @app.get("/read")
    def read() -> str:
        return str(session.get("key1"))

    @app.get("/cart")
    def cart() -> str:
        return str(len(session.get("cart", ())))

    @app.get("/change")
    def change() -> str:
        session["key1"] = _next()
        return "x"

    @app.post("/fill/<name>")
    def fill(name: str) -> Response:
        session.update(CONTENTS[name][kind != "ours"]())
        return Response("x")

    if login and kind not in ("none", "stock"):
        manager = LoginManager(app)
        manager.user_loader(lambda user_id: UserMixin())
    return app


_count = 0


def _next() -> int:
    global _count
    _count += 1
    return _count


PATHS = {
    "not used": "/ignore",
    "forged cookie, used": "/read",
    "one key read": "/read",
    "one key changed": "/change",
    "one key read of 100": "/read",
    "one key changed of 100": "/change",
    "cart read": "/cart",
    "small key read beside 100 KB of rows": "/read",
    "small key read beside 100 KB of text": "/read",
    "Flask-Login, session ignored": "/ignore",
}


def prepared(kind: str, url: str, name: str) -> Callable[[], object]:
    """Return a call that makes one request of an application that has its session."""
    content, _round_trips, _target = REQUESTS[name]
    app = make_app(kind, url, login="Login" in name)
    path = "/alone" if kind in ("none", "stock") else PATHS[name]
    client = app.test_client(use_cookies=False)
    cookie = ""
    if kind not in ("none", "stock"):
        filled = client.post(f"/fill/{content}")
        cookie = filled.headers["Set-Cookie"].partition(";")[0]
    if "forged" in name and kind not in ("none", "stock"):
        forged = CookieSigner(["another key"]).sign(new_session_id(), "mark")
        cookie = f"session={forged}"
    environ = client.get(path, headers={"Cookie": cookie}).request.environ
    kept = {key: value for key, value in environ.items() if not key.startswith(("werkzeug", "flask"))}
    wsgi = app.wsgi_app

    def call() -> None:
        for _part in wsgi(dict(kept), _start_response):
            pass

    return call


def _start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
    if not status.startswith("200"):
        raise RuntimeError(status)


KINDS = ("none", "stock", "flask", "flask-session", "ours")


def measured(url: str, *, calls: int) -> list[list[str]]:
    """Return the rows of the table."""
    rows = []
    for name, (_content, round_trips, target) in REQUESTS.items():
        kinds = [kind for kind in KINDS if not (kind == "flask" and "100 KB" in name)]
        found = microseconds({kind: prepared(kind, url, name) for kind in kinds}, calls=calls)
        above = {kind: value - found["stock"] for kind, value in found.items()}
        strict = (found["ours"] - found["none"]) / (found["flask-session"] - found["none"])
        rows.append(
            [
                name,
                str(round_trips),
                f"{found['stock']:.0f}",
                f"{above['flask']:.0f}" if "flask" in above else "",
                f"{above['flask-session']:.0f}",
                f"{above['ours']:.0f}",
                f"{above['ours'] / above['flask-session']:.2f}",
                "" if target is None else f"{target:.2f}",
                f"{strict:.2f}",
            ]
        )
    return rows


#: The app alone is a Flask application as it comes, whose view leaves the session alone. Flask opens its own session
#: for it all the same, so that ours can cost less than nothing. The last column is the part above an application whose
#: session interface does nothing at all.
HEADER = [
    "us above the app alone",
    "round trips",
    "app alone",
    "cookie",
    "Flask-Session",
    "ours",
    "part",
    "at most",
    "above nothing",
]


def counted(server: Server) -> list[list[str]]:
    """Return what passes the wire, and what stays in memory, for one request of each kind."""
    rows = []
    with Proxy(server.port) as proxy, redis.Redis(port=server.port) as raw:
        for name in REQUESTS:
            for kind in ("flask-session", "ours"):
                call = prepared(kind, proxy.url, name)
                call()
                proxy.reset()
                call()
                counts = proxy.counts
                sizes = [raw.memory_usage(key) or 0 for key in raw.scan_iter("session:*")]
                rows.append(
                    [
                        name,
                        kind,
                        str(counts.round_trips),
                        " ".join(counts.commands),
                        str(counts.bytes_sent),
                        str(max(sizes)),
                    ]
                )
                raw.flushdb()
    return rows


def main() -> None:
    """Print the tables, on the first server that is installed: Redis, else Valkey."""
    # Where log lines go is the application's choice, and its cost.
    logging.getLogger("flask_picklesession").addHandler(logging.NullHandler())
    name = next(name for name in reversed(NAMES) if binary_of(name))
    with tempfile.TemporaryDirectory() as folder, Server(str(binary_of(name)), Path(folder)) as server:
        table(f"Requests over TCP loopback ({name})", HEADER, measured(server.url, calls=200))
        with Proxy(server.port, delay=0.0005) as proxy:
            table("The same behind 0.5 ms (reported, no target)", HEADER, measured(proxy.url, calls=20))
        header = ["request", "session", "round trips", "commands", "bytes sent", "bytes in Redis"]
        table("What passes the wire", header, counted(server))
