"""Several workers under load: what was acknowledged is there, what was revoked is not, counters are exact.

Gunicorn with 2 workers of 8 threads, 64 clients of one session each four, for a minute. ``python -m benchmarks.load``;
``--seconds`` for another time.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from flask import Flask, Response, request, session

from flask_picklesession import PickleSession
from tests.servers import NAMES, Server, binary_of, free_port

from .measure import table

ROOT = Path(__file__).parent.parent

#: Clients that share a session's cookie, and how many sessions there are.
CLIENTS, SESSIONS = 4, 16


def create_app() -> Flask:
    """Return the application that the workers serve."""
    app = Flask("load")
    app.config.update(
        SECRET_KEY="of the load test, and of nothing else",
        PICKLESESSION_URL=os.environ["LOAD_URL"],
        PICKLESESSION_TIMEOUT=10,
        PICKLESESSION_MERGE={"count": "counter"},
        PICKLESESSION_ON_DROP="error",
    )
    sessions = PickleSession(app)
    local: Any = session

    @app.post("/sign-in/<user>")
    def sign_in(user: str) -> str:
        session["user_id"] = user
        return "x"

    @app.post("/write/<key>")
    def write(key: str) -> str:
        session[key] = 1
        return "x"

    @app.post("/count")
    def count() -> str:
        session["count"] = session.get("count", 0) + 1
        return "x"

    @app.get("/all")
    def everything() -> Response:
        return Response(json.dumps(dict(session)), mimetype="application/json")

    @app.post("/revoke-others")
    def revoke_others() -> str:
        return str(sessions.revoke_user(session["user_id"], keep=local.handle))

    @app.get("/who")
    def who() -> str:
        return str(session.get("user_id"))

    @app.post("/clear")
    def clear() -> str:
        session.clear()
        return request.path

    return app


class Client:
    """A browser of one session.

    :param port: of the workers.
    :param cookie: the session cookie, where another browser has it already.
    """

    def __init__(self, port: int, cookie: str | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.cookie = cookie

    def send(self, method: str, path: str) -> tuple[int, bytes]:
        """Make a request, and return its status and body."""
        headers = {} if self.cookie is None else {"Cookie": f"session={self.cookie}"}
        try:
            self._connection.request(method, path, headers=headers)
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0, b""
        found = response.headers.get("Set-Cookie")
        if found:
            self.cookie = found.partition(";")[0].partition("=")[2] or None
        return response.status, body


class Writer:
    """What one thread does to a session that lives: writes keys of its own, and counts."""

    numbers = itertools.count()

    def __init__(self, port: int, cookie: str | None) -> None:
        self.client = Client(port, cookie)
        self.written: list[str] = []
        self.counted = self.uncertain = 0
        self.statuses: Counter[int] = Counter()

    def run(self, until: float) -> None:
        """Go on until then."""
        while time.monotonic() < until:
            is_write = random.random() < 0.5  # noqa: S311 - no secret
            if is_write and len(self.written) < 200:
                key = f"key{next(self.numbers)}"
                status = self.client.send("POST", f"/write/{key}")[0]
                if status == 200:
                    self.written.append(key)
            else:
                status = self.client.send("POST", "/count")[0]
                self.counted += status == 200
                self.uncertain += status != 200
            self.statuses[status] += 1


class Revoker:
    """Two devices of one user: one signs the other out while that one writes, and looks whether it stays out."""

    def __init__(self, port: int, user: str) -> None:
        self._port = port
        self._user = user
        self.revocations = self.accepted = 0

    def run(self, until: float) -> None:
        """Go on until then."""
        while time.monotonic() < until:
            here, there = Client(self._port), Client(self._port)
            here.send("POST", f"/sign-in/{self._user}")
            there.send("POST", f"/sign-in/{self._user}")
            stolen = there.cookie
            late = threading.Thread(target=there.send, args=("POST", "/write/late"))
            late.start()
            status, _count = here.send("POST", "/revoke-others")
            late.join()
            if status == 200:
                self.revocations += 1
                for cookie in (stolen, there.cookie):
                    self.accepted += Client(self._port, cookie).send("GET", "/who")[1] == self._user.encode()


def run(seconds: float) -> list[list[str]]:
    """Run the load, and return the rows of the table."""
    binary = next(found for found in map(binary_of, NAMES) if found)
    with tempfile.TemporaryDirectory() as folder, Server(binary, Path(folder)) as server:
        port = free_port()
        workers = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-w", "2", "--threads", "8", "-b", f"127.0.0.1:{port}", "--log-level",
             "error", "benchmarks.load:create_app()"],
            cwd=ROOT,
            env={**os.environ, "LOAD_URL": server.url},
        )  # fmt: skip
        try:
            _wait(port)
            return _measured(port, seconds)
        finally:
            workers.terminate()
            workers.wait(10)


def _wait(port: int) -> None:
    deadline = time.monotonic() + 20
    while Client(port).send("GET", "/who")[0] != 200:
        if time.monotonic() > deadline:
            raise RuntimeError("the workers do not answer")
        time.sleep(0.1)


def _measured(port: int, seconds: float) -> list[list[str]]:
    first = [Client(port) for _session in range(SESSIONS)]
    for client in first:
        client.send("POST", "/count")
    groups = [[Writer(port, client.cookie) for _client in range(CLIENTS - 1)] for client in first]
    revokers = [Revoker(port, f"user{number}") for number in range(SESSIONS)]
    everybody: list[Any] = [*itertools.chain(*groups), *revokers]
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=one.run, args=(until,)) for one in everybody]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    written = lost = counted = wrong = 0
    statuses: Counter[int] = Counter()
    for client, group in zip(first, groups, strict=True):
        found = json.loads(Client(port, client.cookie).send("GET", "/all")[1])
        keys = [key for writer in group for key in writer.written]
        written += len(keys)
        lost += sum(key not in found for key in keys)
        certain = 1 + sum(writer.counted for writer in group)
        uncertain = sum(writer.uncertain for writer in group)
        counted += certain
        wrong += not certain <= found["count"] <= certain + uncertain
        for writer in group:
            statuses += writer.statuses
    return [
        ["clients", str(len(everybody))],
        ["requests that wrote", str(statuses.total())],
        ["statuses", ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))],
        ["acknowledged writes of keys of their own", str(written)],
        ["of these lost", str(lost)],
        ["counts", str(counted)],
        ["sessions whose counter is wrong", str(wrong)],
        ["revocations while the other device wrote", str(sum(one.revocations for one in revokers))],
        ["revoked sessions that were accepted", str(sum(one.accepted for one in revokers))],
    ]


def main(arguments: list[str]) -> int:
    """Print the table; return 1 if anything was lost, wrong or accepted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load")
    parser.add_argument("--seconds", type=float, default=60)
    rows = run(parser.parse_args(arguments).seconds)
    table("Two workers of eight threads under load", ["", ""], rows)
    bad = ("of these lost", "sessions whose counter is wrong", "revoked sessions that were accepted")
    return int(any(count != "0" for name, count in rows if name in bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
