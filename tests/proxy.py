"""A TCP proxy before a Redis server: counts what passes, and breaks it where a test says so."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

#: What a proxy may do to a command, instead of passing it on and its reply back.
Fault = Callable[["Exchange"], None]


class Cut(Exception):
    """Ends a connection."""


@dataclass
class Counts:
    """What passed a proxy."""

    round_trips: int = 0
    commands: list[str] = field(default_factory=list)
    bytes_sent: int = 0
    bytes_received: int = 0


class Exchange:
    """One command on its way, and its reply."""

    def __init__(self, command: bytes, client: socket.socket, server: socket.socket) -> None:
        self.command = command
        self._client = client
        self._server = server
        self._reader = server.makefile("rb")

    def forward(self) -> bytes:
        """Send the command to the server and return the whole reply."""
        self._server.sendall(self.command)
        return self._read_reply()

    def answer(self, reply: bytes) -> None:
        """Send bytes to the client."""
        self._client.sendall(reply)

    def close(self) -> None:
        """Let go of the reader."""
        self._reader.close()

    def _read_reply(self) -> bytes:
        line = self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise Cut
        kind, count = line[:1], line[1:-2]
        if kind == b"$" and count != b"-1":
            return line + self._reader.read(int(count) + 2)
        # RESP 3, which redis-py's own clients speak, has maps, sets and pushes beside arrays.
        if kind in (b"*", b"%", b"~", b">") and count != b"-1":
            items = int(count) * (2 if kind == b"%" else 1)
            return line + b"".join(self._read_reply() for _item in range(items))
        return line


def cut_before(exchange: Exchange) -> None:
    """Close the connection; the server never sees the command."""
    raise Cut


def cut_after(exchange: Exchange) -> None:
    """Let the server carry the command out, and close the connection instead of answering."""
    exchange.forward()
    raise Cut


def half_reply(exchange: Exchange) -> None:
    """Send half of the reply and close the connection."""
    reply = exchange.forward()
    exchange.answer(reply[: len(reply) // 2])
    raise Cut


def drip(exchange: Exchange) -> None:
    """Send the reply byte by byte, each within any socket timeout, all together beyond any deadline."""
    for byte in exchange.forward():
        exchange.answer(bytes((byte,)))
        time.sleep(0.1)


def garbage(exchange: Exchange) -> None:
    """Answer what is no reply."""
    exchange.forward()
    exchange.answer(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def refuse(error: str) -> Fault:
    """Return a fault that answers an error, as a server does that refuses the command."""

    def fault(exchange: Exchange) -> None:
        exchange.answer(f"-{error}\r\n".encode())

    return fault


def first(action: Callable[[], object]) -> Fault:
    """Return a fault that does something before it passes the command on."""

    def fault(exchange: Exchange) -> None:
        action()
        exchange.answer(exchange.forward())

    return fault


class Proxy:
    """A proxy before the server on a port; a context manager.

    :param port: the server's port on this machine.
    :param delay: seconds by which each burst is delayed.
    """

    def __init__(self, port: int, *, delay: float = 0) -> None:
        self._server_port = port
        self._delay = delay
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.counts = Counts()
        self._faults: deque[tuple[str, Fault]] = deque()

    @property
    def url(self) -> str:
        """The URL of the server's first database, through the proxy."""
        return f"redis://127.0.0.1:{self.port}/0"

    def next(self, command: str, *faults: Fault) -> None:
        """Let the next commands of this name meet these faults, one each."""
        self._faults.extend((command, fault) for fault in faults)

    def reset(self) -> None:
        """Count from zero."""
        self.counts = Counts()

    def __enter__(self) -> Proxy:
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for sock in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(5)

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(client)
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets.append(server)
                self._pump(client, server)
        except (OSError, Cut):
            return

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        buffer = b""
        while received := client.recv(1 << 20):
            buffer += received
            commands, buffer = _split(buffer)
            if buffer or not commands:
                continue
            self.counts.round_trips += 1
            if self._delay:
                time.sleep(self._delay)
            for command in commands:
                self._pass(command, client, server)

    def _pass(self, command: bytes, client: socket.socket, server: socket.socket) -> None:
        name = command.split(b"\r\n", 3)[2].decode().upper()
        self.counts.commands.append(name)
        self.counts.bytes_sent += len(command)
        exchange = Exchange(command, client, server)
        try:
            if self._faults and self._faults[0][0] == name:
                self._faults.popleft()[1](exchange)
                return
            reply = exchange.forward()
            self.counts.bytes_received += len(reply)
            exchange.answer(reply)
        finally:
            exchange.close()


def _split(buffer: bytes) -> tuple[list[bytes], bytes]:
    """Split what a client sent into whole commands and the rest."""
    commands = []
    while buffer:
        end = _command_end(buffer)
        if end is None:
            break
        commands.append(buffer[:end])
        buffer = buffer[end:]
    return commands, buffer


def _command_end(buffer: bytes) -> int | None:
    position = buffer.find(b"\r\n") + 2
    if position < 2:
        return None
    for _argument in range(int(buffer[1 : position - 2])):
        line_end = buffer.find(b"\r\n", position) + 2
        if line_end < 2:
            return None
        position = line_end + int(buffer[position + 1 : line_end - 2]) + 2
    return position if position <= len(buffer) else None
