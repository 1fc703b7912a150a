"""The way to a server: URL or client in, one command or one pipeline a call, bounded by a deadline.

For single servers the connections are redis-py's, held in a list of our own: the pool of redis-py retries behind the
caller's back, which cannot be bounded. Sentinel, Cluster and ready clients go through redis-py's clients, whose
timeouts bound each read but not a whole reply.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from time import monotonic
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from redis import Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.exceptions import InvalidResponse, RedisClusterException, RedisError, ResponseError
from redis.retry import Retry
from redis.sentinel import Sentinel

from ..exceptions import StoreUnavailableError
from .embedded import EmbeddedServer

Command = tuple[bytes | str | int, ...]

#: Bytes of one reply beyond which it is not read on: no record is as large. Who can write to Redis can put half a
#: gigabyte in a session's place, which each request would take into memory.
LARGEST_REPLY = 1 << 20

SCHEMES = (
    "redis://host:port/db",
    "rediss://host:port/db",
    "unix:///path/to/socket?db=0",
    "redis+sentinel://host:port,host:port/service/db",
    "redis+cluster://host:port,host:port",
    "embedded://[folder]",
)


class ReplyTooLargeError(ResponseError):
    """A reply is larger than what is read. The connection was closed."""


class Held(Protocol):
    """One connection, for commands that belong together."""

    def call(self, *command: bytes | str | int) -> Any:
        """Send a command and return its reply."""


class Link(Protocol):
    """The way to a server.

    Each method raises :exc:`~redis.exceptions.ResponseError` for what the server answered with an error, and
    :exc:`~flask_picklesession.exceptions.StoreUnavailableError` for all else. Nothing is ever sent twice.
    """

    #: Whether a reply that is too large raises :exc:`ReplyTooLargeError`. Otherwise the server must be asked for parts.
    bounds_replies: bool

    def prepare(self) -> None:
        """Make sure that the server runs where it is our own to start. Knows no deadline."""

    def call(self, deadline: float, *command: bytes | str | int) -> Any:
        """Send a command and return its reply.

        :param deadline: on the clock of :func:`time.monotonic`.
        """

    def pipeline(self, deadline: float, commands: Sequence[Command]) -> list[Any]:
        """Send several commands in one round trip; return the replies, errors among them as objects."""

    def scan(self, deadline: float, cursor: str, pattern: bytes, count: int) -> tuple[str, list[bytes]]:
        """Return some keys that match a glob pattern, and the cursor to go on with: ``"0"`` when all were seen.

        :param cursor: ``"0"`` to begin.
        :param count: about how many keys the server looks at.
        """

    def held(self, deadline: float) -> AbstractContextManager[Held]:
        """Return one connection for several commands."""

    def close(self) -> None:
        """Close the connections."""


def connect(url: str, *, timeout: float, largest_reply: int = LARGEST_REPLY) -> Link:
    """Return the way to the server that a URL names. Connects at the first use.

    :param url: one of :data:`SCHEMES`.
    :param timeout: seconds that a read may take where redis-py's clients are used.
    :param largest_reply: bytes of one reply that are read at most; redis-py's clients know no bound.
    :raises ValueError: if the URL is none of these; never quotes it, as it may hold a password.
    """
    scheme, separator, rest = url.partition("://")
    if separator:
        if scheme in ("redis", "rediss", "unix"):
            return _single(url, largest_reply)
        if scheme == "redis+sentinel":
            return ClientLink(_sentinel(url, timeout))
        if scheme == "redis+cluster":
            return ClientLink(_cluster(url, timeout))
        if scheme == "embedded":
            server = EmbeddedServer(rest)
            return HeldLink(
                lambda: _CONNECTIONS[UnixDomainSocketConnection](path=server.socket_path, **_OPTIONS),
                ensure=server.ensure,
                largest_reply=largest_reply,
            )
    raise ValueError("the URL must be of one of the forms " + ", ".join(SCHEMES))


def from_client(client: object) -> Link:
    """Return the way through a ready client.

    :param client: a :class:`redis.Redis` or :class:`redis.RedisCluster`.
    :raises ValueError: if it is something else, decodes replies, or sends commands again and cannot be copied.
    """
    if not isinstance(client, Redis | RedisCluster):
        raise ValueError(
            f"must be a redis.Redis or redis.RedisCluster, not {type(client).__module__}.{type(client).__qualname__}"
        )
    if client.get_encoder().decode_responses:
        raise ValueError("must return bytes: make the client without decode_responses=True")
    own = _without_retries(client)
    return ClientLink(lambda: own)


def _without_retries(client: Any) -> Any:
    """Return a client with the same options that sends nothing twice; redis-py's own do so ten times by default.

    A write whose reply was lost was applied: sent again by somebody who does not know that, it counts as another's.
    """
    once = Retry(NoBackoff(), 0)
    if isinstance(client, RedisCluster):
        retry = client.retry
    elif type(client.connection_pool) is ConnectionPool:
        pool = client.connection_pool
        options = {name: value for name, value in pool.connection_kwargs.items() if not name.startswith("maint_")}
        make: Any = ConnectionPool
        own = make(pool.connection_class, pool.max_connections, **{**options, "retry": once})
        return _like(client, own)
    else:
        retry = client.connection_pool.connection_class(**client.connection_pool.connection_kwargs).retry
    if retry.get_retries():
        raise ValueError("must send nothing twice: make the client with retry=Retry(NoBackoff(), 0)")
    return client


def _like(client: Any, pool: Any) -> Any:
    """Return a client of the same class over another pool: a subclass may have a constructor of its own."""
    try:
        own = type(client)(connection_pool=pool)
    except TypeError:
        own = None
    if getattr(own, "connection_pool", None) is not pool:
        raise ValueError(
            "must be a client that can be made anew over other connections: let the __init__ of "
            f"{type(client).__qualname__} take connection_pool and hand it on, or make a redis.Redis"
        )
    return own


# -- single servers


class _DeadlineSocket:
    """A socket whose every read and write ends at its connection's deadline.

    A timeout bounds one read. A server that sends a byte now and then keeps a reader for ever: only the time that is
    left, looked at before each read, bounds a reply.
    """

    def __init__(self, sock: socket.socket, connection: _WithDeadline) -> None:
        self._sock = sock
        self._connection = connection
        #: Whether a read takes what is there and waits for nothing.
        self._is_look = False

    def _left(self) -> float:
        left = self._connection.deadline - monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left

    def _count(self, received: int) -> None:
        connection = self._connection
        connection.received += received
        if connection.received > connection.most_received:
            raise ReplyTooLargeError("the reply is too large")

    def recv_into(self, *arguments: Any) -> int:
        self._sock.settimeout(self._left())
        received = self._sock.recv_into(*arguments)
        self._count(received)
        return received

    def recv(self, *arguments: Any) -> bytes:
        self._sock.settimeout(0 if self._is_look else self._left())
        found = self._sock.recv(*arguments)
        self._count(len(found))
        return found

    def sendall(self, data: Any) -> None:
        self._sock.settimeout(self._left())
        self._sock.sendall(data)

    def settimeout(self, timeout: float | None) -> None:
        """Wait for nothing where it is 0, as redis-py's own parser does to look for data; else the deadline decides."""
        self._is_look = timeout == 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _KernelTimedSocket(_DeadlineSocket):
    """The same by a timeout in the kernel, which stays set from one command to the next.

    Python's own timeout costs two system calls more for each read and write: a fifth of a command's time on one
    machine. Not for TLS: Python's SSL object asks a blocking socket again and again.
    """

    def __init__(self, sock: socket.socket, connection: _WithDeadline) -> None:
        super().__init__(sock, connection)
        sock.settimeout(None)
        self._timeout = 0.0

    def _bound(self) -> None:
        left = self._left()
        # A shorter one than what is left is good: whoever it wakes looks at the deadline and waits again.
        if not left / 4 < self._timeout <= left:
            self._timeout = left
            # Zero would be "for ever".
            timeval = struct.pack("@ll", int(left), int(left % 1 * 1e6) or 1)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)

    def recv_into(self, *arguments: Any) -> int:
        while True:
            self._bound()
            try:
                received = self._sock.recv_into(*arguments)
            except BlockingIOError:
                continue
            self._count(received)
            return received

    def recv(self, *arguments: Any) -> bytes:
        if self._is_look:
            return self._sock.recv(arguments[0], socket.MSG_DONTWAIT)
        while True:
            self._bound()
            try:
                found = self._sock.recv(*arguments)
            except BlockingIOError:
                continue
            self._count(len(found))
            return found

    def sendall(self, data: Any) -> None:
        # Not the socket's own sendall: when it is interrupted, nobody knows how much was sent.
        rest = memoryview(data)
        while rest:
            self._bound()
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                continue


class _WithDeadline:
    """Makes a redis-py connection end each operation at :attr:`deadline`, and each reply at :attr:`most_received`."""

    deadline = 0.0
    #: Bytes of the reply that is being read.
    received = 0
    #: Bytes of one reply that are read at most.
    most_received = LARGEST_REPLY

    def _connect(self) -> Any:
        left = self.deadline - monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        # Bounds connecting, and each read of a TLS handshake.
        self.socket_connect_timeout = self.socket_timeout = left
        connect: Any = super()
        sock = connect._connect()
        return (_KernelTimedSocket if _is_plain(sock) else _DeadlineSocket)(sock, self)


def _is_plain(sock: socket.socket) -> bool:
    """Tell whether a socket waits in the kernel: that of TLS does not, nor those of gevent and eventlet."""
    return type(sock).__module__ == "socket"


def _bounded(connection_class: type, **attributes: object) -> Any:
    return type(connection_class.__name__, (_WithDeadline, connection_class), attributes)


_CONNECTIONS: dict[type, Any] = {
    **{cls: _bounded(cls) for cls in (Connection, SSLConnection)},
    # redis-py counts failures by these, which it does not set: an AttributeError instead of a timeout.
    UnixDomainSocketConnection: _bounded(UnixDomainSocketConnection, host=None, port=None),
}

# RESP 2 needs no handshake. Retries are the caller's: only it knows whether a command may be sent twice.
_OPTIONS: dict[str, Any] = {"protocol": 2, "retry": Retry(NoBackoff(), 0)}


# Instead of what was raised, which quotes parts of the URL, such as a password in which "/" is not escaped.
_UNREADABLE = (
    "the URL cannot be read: a port is a number, and in a password / ? # @ : and [ are written %2F %3F %23 %40 %3A %5B"
)
_UNKNOWN_OPTION = (
    "an option of the URL is not one that redis-py knows, or has a wrong value. Neither is shown, as they may be part "
    "of a password: in one ? # & and = are written %3F %23 %26 %3D"
)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(_UNREADABLE) from None
    if "@" in parts.path + parts.query + parts.fragment:
        # What stands before it was meant as a password.
        raise ValueError(_UNREADABLE)
    return parts


def _single(url: str, largest_reply: int) -> HeldLink:
    try:
        options = parse_url(url)  # type: ignore[no-untyped-call]  # redis-py's
    except ValueError as error:
        if str(error).startswith("Invalid value for"):
            # Names an option that redis-py knows, and no value.
            raise
        raise ValueError(_UNREADABLE) from None
    # None where it was an option of the URL: then nothing can be made with it.
    connection_class: Any = _CONNECTIONS.get(options.pop("connection_class", Connection))
    if "decode_responses" in options:
        raise ValueError("decode_responses cannot be set: sessions are bytes")
    options |= _OPTIONS

    def make() -> Any:
        return connection_class(**options)

    try:
        make()
    except (TypeError, ValueError, RedisError):
        raise ValueError(_UNKNOWN_OPTION) from None
    return HeldLink(make, largest_reply=largest_reply)


class HeldLink:
    """A way to one server, over connections that are held between requests.

    :param make: returns a new, unconnected redis-py connection.
    :param ensure: called before each connect; makes sure that the server runs.
    :param largest_reply: bytes of one reply that are read at most.
    """

    bounds_replies = True

    def __init__(
        self,
        make: Callable[[], Any],
        *,
        ensure: Callable[[], None] | None = None,
        largest_reply: int = LARGEST_REPLY,
    ) -> None:
        self._make = make
        self._largest_reply = largest_reply
        self._ensure = ensure
        # Last in, first out: list.pop and list.append are atomic, and the newest connection is the least stale one.
        self._idle: list[Any] = []
        self._pid = os.getpid()

    def prepare(self) -> None:
        if self._ensure is not None:
            try:
                self._ensure()
            except OSError as error:
                raise _lost(error, maybe_applied=False) from error

    def call(self, deadline: float, *command: bytes | str | int) -> Any:
        with _CheckedOut(self, deadline) as connection:
            return self._exchange(connection, command)

    def pipeline(self, deadline: float, commands: Sequence[Command]) -> list[Any]:
        with _CheckedOut(self, deadline) as connection:
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            return [self._reply_or_error(connection, command) for command in commands]

    def scan(self, deadline: float, cursor: str, pattern: bytes, count: int) -> tuple[str, list[bytes]]:
        following, keys = self.call(deadline, "SCAN", cursor, "MATCH", pattern, "COUNT", count)
        return following.decode("ascii"), keys

    @contextmanager
    def held(self, deadline: float) -> Iterator[Held]:
        # What was refused in it may have left a transaction open, in which the next command would only be queued.
        with _CheckedOut(self, deadline, is_kept_when_refused=False) as connection:
            yield _HeldConnection(connection)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().disconnect()

    @staticmethod
    def _exchange(connection: Any, command: Command) -> Any:
        connection.received = 0
        connection.send_packed_command(connection.pack_command(*command), check_health=False)
        return _reply(connection, command)

    @staticmethod
    def _reply_or_error(connection: Any, command: Command) -> Any:
        connection.received = 0
        try:
            return _reply(connection, command)
        except ReplyTooLargeError:
            raise
        except ResponseError as error:
            return error

    def take(self, deadline: float) -> Any:
        """Return an idle connection, or a new connected one."""
        if self._pid != os.getpid():
            # After a fork: the parent goes on using its connections.
            self._idle, self._pid = [], os.getpid()
        connection = self._take_idle()
        if connection is None:
            connection = self._make()
            if self._ensure is not None:
                started = monotonic()
                self._ensure()
                # Starting a server is not part of the request's time.
                deadline += monotonic() - started
            connection.deadline = deadline
            connection.most_received = self._largest_reply
            connection.connect()
        else:
            connection.deadline = deadline
        connection.received = 0
        return connection

    def _take_idle(self) -> Any:
        """Return an idle connection on which nothing has come, or ``None``."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if _is_quiet(connection):
                return connection
            connection.disconnect()

    def give_back(self, connection: Any) -> None:
        """Keep a connection that has read all replies."""
        self._idle.append(connection)


def _is_quiet(connection: Any) -> bool:
    """Tell whether an idle connection is open, and nothing has come that nobody asked for.

    A doubled reply would be read as that to the next command, and so on for ever: the session of somebody else.
    """
    connection.received = 0
    try:
        return not connection.can_read(timeout=0)
    except (RedisError, OSError):
        # Closed by the server.
        return False


def _reply(connection: Any, command: Command) -> Any:
    """Read the reply to a command. Whatever else comes ends the connection, and the idle ones with it."""
    try:
        reply = connection.read_response(disable_decoding=True, disconnect_on_error=False)
    except (ValueError, TypeError, RecursionError) as error:
        # What is no reply at all makes redis-py's parsers fail in these ways.
        raise InvalidResponse(f"a reply that cannot be read ({type(error).__name__})") from None
    is_answer = _IS_ANSWER.get(command[0])
    if is_answer is not None and not is_answer(reply):
        raise InvalidResponse("a reply of another type than the command has")
    return reply


def _of(*types: type) -> Callable[[Any], bool]:
    return lambda reply: isinstance(reply, types)


def _is_scan(reply: Any) -> bool:
    """Tell whether this is a cursor with keys."""
    return isinstance(reply, list) and len(reply) == 2 and _is_number(reply[0]) and _are_bytes(reply[1])


def _are_scored(reply: Any) -> bool:
    """Tell whether these are members of a sorted set with their scores."""
    return _are_bytes(reply) and len(reply) % 2 == 0 and all(map(_is_number, reply[1::2]))


def _are_bytes(reply: Any) -> bool:
    return isinstance(reply, list) and all(isinstance(part, bytes) for part in reply)


def _is_number(reply: Any) -> bool:
    return isinstance(reply, bytes) and _REPLIED_NUMBER.fullmatch(reply) is not None


_REPLIED_NUMBER = re.compile(rb"-?(?:inf|[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?)")

# What tells the replies to the commands that are sent here from those to others. A script's: see the store's.
_IS_ANSWER: dict[bytes | str | int, Callable[[Any], bool]] = {
    **dict.fromkeys(("GETRANGE", "INFO", "WATCH", "MULTI", "UNWATCH"), _of(bytes)),
    **dict.fromkeys(("GETEX", "SET"), _of(bytes, type(None))),
    **dict.fromkeys(("EVALSHA", "EVAL"), _of(bytes, int, type(None))),
    **dict.fromkeys(("DBSIZE", "DEL", "EXPIRE", "PTTL", "ZADD", "ZREM"), _of(int)),
    "EXEC": _of(list, type(None)),
    "SCAN": _is_scan,
    "ZREVRANGE": _are_scored,
}


class _CheckedOut:
    """Takes a connection for a with-block and gives it back, unless a reply may still be under way."""

    __slots__ = ("_connection", "_deadline", "_is_kept_when_refused", "_link")

    def __init__(self, link: HeldLink, deadline: float, *, is_kept_when_refused: bool = True) -> None:
        self._link = link
        self._deadline = deadline
        self._is_kept_when_refused = is_kept_when_refused

    def __enter__(self) -> Any:
        try:
            self._connection = self._link.take(self._deadline)
        except (RedisError, OSError) as error:
            raise _lost(error, maybe_applied=False) from error
        return self._connection

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        is_refusal = isinstance(error, ResponseError)
        if error is None or (is_refusal and self._is_kept_when_refused and not isinstance(error, ReplyTooLargeError)):
            self._link.give_back(self._connection)
            return
        self._connection.disconnect()
        if is_refusal:
            return
        # What closed one connection (a restart, a failover) has most likely closed the others.
        self._link.close()
        if isinstance(error, RedisError | OSError):
            raise _lost(error, maybe_applied=True) from error


class _HeldConnection:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def call(self, *command: bytes | str | int) -> Any:
        return HeldLink._exchange(self._connection, command)


def _lost(error: BaseException, *, maybe_applied: bool) -> StoreUnavailableError:
    # The type only: messages of redis-py name hosts, and those of the server can quote arguments.
    return StoreUnavailableError(f"no answer from the server ({type(error).__name__})", maybe_applied=maybe_applied)


# -- redis-py's clients


class ClientLink:
    """A way through a redis-py client: a ready one, Sentinel's or Cluster's.

    Bounded by the client's own timeouts: a reply that drips in can take longer than the deadline.

    :param make: returns the client, at the first use: a Cluster's asks its nodes at once.
    """

    bounds_replies = False

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def prepare(self) -> None:
        """Do nothing: the server is somebody else's."""

    @cached_property
    def _client(self) -> Any:
        return self._make()

    def call(self, deadline: float, *command: bytes | str | int) -> Any:
        with _translated(deadline):
            return self._client.execute_command(*command)

    def pipeline(self, deadline: float, commands: Sequence[Command]) -> list[Any]:
        with _translated(deadline):
            pipeline = self._client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            replies: list[Any] = pipeline.execute(raise_on_error=False)
            for reply in replies:
                # A Cluster's client has what was not answered among them, too.
                if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
                    raise reply
            return replies

    def scan(self, deadline: float, cursor: str, pattern: bytes, count: int) -> tuple[str, list[bytes]]:
        with _translated(deadline):
            if isinstance(self._client, RedisCluster):
                return self._scan_nodes(cursor, pattern, count)
            following, keys = self._client.execute_command("SCAN", cursor, "MATCH", pattern, "COUNT", count)
            return str(following), keys

    def _scan_nodes(self, cursor: str, pattern: bytes, count: int) -> tuple[str, list[bytes]]:
        """Go through a Cluster's primaries one after the other: the cursor is that of a node, behind its position."""
        nodes = sorted(self._client.get_primaries(), key=lambda node: str(node.name))
        position, _, within = cursor.partition("-")
        if not _NUMBER.fullmatch(position) or int(position) >= len(nodes):
            # As a single server says it.
            raise ResponseError("invalid cursor")
        # Answered with the cursor of each node that was asked.
        cursors, keys = self._client.execute_command(
            "SCAN", within or "0", "MATCH", pattern, "COUNT", count, target_nodes=nodes[int(position)]
        )
        (following,) = cursors.values()
        if following:
            return f"{position}-{following}", keys
        return ("0" if int(position) + 1 >= len(nodes) else f"{int(position) + 1}-0"), keys

    @contextmanager
    def held(self, deadline: float) -> Iterator[Held]:
        with _translated(deadline):
            # The first look makes it, and a Cluster's asks its nodes then.
            is_cluster = isinstance(self._client, RedisCluster)
        if is_cluster:
            raise StoreUnavailableError("Redis Cluster without scripts is not supported; allow EVALSHA")
        with _translated(deadline), self._client.client() as client:
            try:
                yield _HeldClient(client)
            except ResponseError:
                # It may have left a transaction open, in which the next command would only be queued.
                client.connection.disconnect()
                raise

    def close(self) -> None:
        if "_client" in vars(self):
            self._client.close()


class _HeldClient:
    def __init__(self, client: Any) -> None:
        self._client = client

    def call(self, *command: bytes | str | int) -> Any:
        return self._client.execute_command(*command)


@contextmanager
def _translated(deadline: float) -> Iterator[None]:
    if monotonic() >= deadline:
        raise StoreUnavailableError("the deadline has passed")
    try:
        yield
    except ResponseError:
        raise
    except (RedisError, OSError, RedisClusterException, ValueError, TypeError) as error:
        # RedisClusterException is none of redis-py's RedisErrors. The last two are raised by its parsers, and by what
        # turns replies into numbers, where they are no replies to what was asked.
        raise _lost(error, maybe_applied=True) from error


def _sentinel(url: str, timeout: float) -> Callable[[], Any]:
    parts = _split(url)
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("redis+sentinel:// needs the service's name: redis+sentinel://host:port/service/db")
    if database and not _NUMBER.fullmatch(database):
        raise ValueError("the database in a redis+sentinel:// URL is a number")
    credentials = _credentials(parts.username, parts.password)
    bounds: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
    }
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]  # redis-py's
        _hosts(parts.netloc, 26379), sentinel_kwargs=bounds, **bounds
    )
    return lambda: sentinel.master_for(service, db=int(database or 0), **credentials)


def _cluster(url: str, timeout: float) -> Callable[[], Any]:
    parts = _split(url)
    make_node: Any = ClusterNode
    nodes = [make_node(host, port) for host, port in _hosts(parts.netloc, 6379)]
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
    }
    options |= _credentials(parts.username, parts.password)
    return lambda: RedisCluster(startup_nodes=nodes, **options)


def _credentials(username: str | None, password: str | None) -> dict[str, str]:
    found = {"username": username, "password": password}
    return {name: unquote(value) for name, value in found.items() if value}


def _hosts(netloc: str, default_port: int) -> list[tuple[str, int]]:
    hosts = []
    for part in netloc.rpartition("@")[2].split(","):
        host, _, port = part.strip().partition(":")
        if not host or (port and not _is_port(port)):
            raise ValueError("the URL's hosts are written host:port,host:port, with ports from 1 to 65535")
        hosts.append((host, int(port or default_port)))
    return hosts


def _is_port(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and 0 < int(text) < 1 << 16


# Not str.isdigit: that takes digits of which int() makes nothing.
_NUMBER = re.compile("[0-9]{1,5}")
