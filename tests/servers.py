"""Real servers for the tests: Valkey out of the embedded wheel, and Debian's Redis where it is installed."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import redis

from flask_picklesession.storage.embedded import EmbeddedServer

#: The servers that the tests run on.
NAMES = ("valkey", "redis")


def binary_of(name: str) -> str | None:
    """Return the path of a server's binary, or ``None`` if it is not installed."""
    if name == "redis":
        return shutil.which("redis-server")
    return str(EmbeddedServer.find_binary())


class Server:
    """One server process on a TCP port of this machine.

    :param binary: the server's binary.
    :param folder: where it keeps its data.
    :param options: further command line options.
    :param config: a configuration file, such as Sentinel wants.
    """

    def __init__(self, binary: str, folder: Path, *options: str, config: Path | None = None) -> None:
        self._binary = binary
        self._config = [str(config)] if config else []
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            [
                self._binary,
                *self._config,
                *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)),
                *("--logfile", str(self._folder / "log")),
                *(() if self._config else ("--save", "", "--appendonly", "yes")),
                *self._options,
            ]
        )
        deadline = time.monotonic() + 10
        with redis.Redis(port=self.port) as client:
            while True:
                try:
                    client.ping()
                except redis.RedisError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)
                else:
                    return

    def stop(self) -> None:
        """Stop it; its data stay."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def freeze(self) -> None:
        """Let it answer nothing, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def free_port() -> int:
    """Return a TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
