"""What a save costs beside a plain SET of the same bytes, and twenty processes that all save one session at once."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from flask import Flask, session

from flask_picklesession import PickleSessionInterface
from flask_picklesession.interface import state_of
from flask_picklesession.storage.index import UserIndex
from flask_picklesession.storage.record import NONCE_SIZE, new_nonce, new_record
from flask_picklesession.storage.store import Store
from tests.servers import NAMES, Server, binary_of

from .measure import microseconds, progress, table

#: Bytes of a record -> what a save may cost at most, as a part of SET.
SIZES: dict[int, float | None] = {256: 1.25, 1024: 1.25, 4096: 1.25, 16_384: None, 65_536: 2.0}

PROCESSES = 20


def costs(url: str) -> list[list[str]]:
    """Return a row for each size."""
    app = Flask("saves")
    app.config.update(SECRET_KEY="of the benchmark, and of nothing else", PICKLESESSION_URL=url)
    link = state_of(app).settings.link
    rows = []
    for size, most in SIZES.items():
        found = microseconds(_alternatives(link, size), calls=200)
        part = found["save"] / found["SET"]
        rows.append(
            [
                str(size),
                *(f"{found[name]:.0f}" for name in ("SET", "save", "save of a user")),
                f"{part:.2f}",
                f"{found['save of a user'] / found['SET']:.2f}",
                "" if most is None else f"{most:.2f}",
            ]
        )
    link.close()
    return rows


def _alternatives(link: Any, size: int) -> dict[str, Any]:
    store, index = Store(link, prefix="saves:"), UserIndex(link, prefix="saves:", absolute_timeout=None)
    key, handle = store.storage_key("h" * 43), "h" * 43
    record = new_record(now=1, nonce=new_nonce(), deadline=0, user_digest=bytes(32), body=b"x" * (size - 170))
    # Signing costs the same wherever the bytes go.
    state = [bytes(32) + record.pack(), record]
    soon = time.monotonic() + 3600
    link.call(soon, "SET", key, state[0])

    def save(before: Any = ()) -> None:
        following = state[1].with_nonce(new_nonce())
        content = bytes(32) + following.pack()
        assert store.save(key, state[1].nonce, content, ttl=3600, deadline=soon, before=before).applied
        state[:] = content, following

    def plain() -> None:
        following = state[1].with_nonce(new_nonce())
        content = bytes(32) + following.pack()
        link.call(soon, "SET", key, content, "EX", 3600)
        state[:] = content, following

    assert len(record.nonce) == NONCE_SIZE
    return {"SET": plain, "save": save, "save of a user": lambda: save(index.adding(bytes(32), handle, born=1))}


def _write(url: str, cookie: str, number: int, barrier: Barrier, results: Any) -> None:
    """Load the session, wait for all others, and save a key of its own."""
    app = make_app(url)
    client = app.test_client()
    client.set_cookie("session", cookie)

    def view() -> str:
        session.get("start")
        barrier.wait()
        session[f"key{number}"] = number
        return "x"

    app.add_url_rule("/", view_func=view)
    started = time.perf_counter()
    status = client.get("/").status_code
    results.put((status, time.perf_counter() - started))


def make_app(url: str) -> Flask:
    """Return an application with the default settings."""
    app = Flask("saves")
    app.config.update(
        SECRET_KEY="of the benchmark, and of nothing else", PICKLESESSION_URL=url, PICKLESESSION_KEY_PREFIX="barrier:"
    )
    app.session_interface = PickleSessionInterface()
    return app


def barrier(url: str) -> list[list[str]]:
    """Return what came of processes that save at once."""
    app = make_app(url)
    app.add_url_rule("/fill", "fill", lambda: session.update(start=1) or "x")  # type: ignore[func-returns-value]
    app.add_url_rule("/count", "count", lambda: str(sum(key.startswith("key") for key in session)))
    client = app.test_client()
    client.get("/fill")
    cookie = client.get_cookie("session")
    assert cookie is not None
    context = multiprocessing.get_context("spawn")
    gate, results = context.Barrier(PROCESSES), context.Queue()
    processes = [
        context.Process(target=_write, args=(url, cookie.value, number, gate, results)) for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _process in processes]
    for process in processes:
        process.join()
    return [
        ["processes", str(PROCESSES)],
        ["answered 200", str(sum(status == 200 for status, _seconds in found))],
        ["keys that are there", client.get("/count").text],
    ]


def main() -> None:
    """Print both tables."""
    binary = next(found for found in map(binary_of, NAMES) if found)
    with tempfile.TemporaryDirectory() as folder, Server(binary, Path(folder)) as server:
        table(
            "A save beside a plain SET, in microseconds (each one round trip)",
            ["bytes", "SET", "save", "save of a user", "part", "part of a user", "at most"],
            costs(server.url),
        )
        progress("processes at a barrier")
        table("Processes that save one session at once, within TIMEOUT = 1 s", ["", ""], barrier(server.url))


if __name__ == "__main__":
    main()
