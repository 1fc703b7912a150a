from __future__ import annotations

import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from flask import Flask, session
from redis._parsers import _HiredisParser, _RESP2Parser
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection
from redis.exceptions import ResponseError
from redis.retry import Retry

from flask_picklesession import PickleSession
from flask_picklesession.exceptions import StoreUnavailableError
from flask_picklesession.storage import connection
from flask_picklesession.storage.connection import (
    Command,
    HeldLink,
    Link,
    ReplyTooLargeError,
    connect,
    from_client,
)
from flask_picklesession.storage.store import Store

from .. import support
from ..proxy import Cut, Exchange, Proxy, cut_after, cut_before
from ..servers import Server, binary_of, free_port
from ..support import Browser, grown

Start = Callable[[Server], Server]


def soon() -> float:
    return time.monotonic() + 5


class TestHeldLink:
    def test_sends_and_replies(self, link: Link, prefix: str) -> None:
        """Commands go out as they are; replies are bytes and ints."""
        assert link.call(soon(), "SET", prefix + "k", b"\x00\xff", "EX", 60) == b"OK"
        assert link.call(soon(), "GET", prefix + "k") == b"\x00\xff"
        assert link.call(soon(), "GET", prefix + "absent") is None

    def test_server_error_keeps_the_connection(self, link: HeldLink, prefix: str) -> None:
        """An error is an answer."""
        with pytest.raises(ResponseError):
            link.call(soon(), "LPUSH", prefix)

        assert len(link._idle) == 1

    def test_pipeline_is_one_round_trip(self, server: Server, prefix: str) -> None:
        """Replies come in order, errors among them as objects."""
        with Proxy(server.port) as proxy:
            link = connect(proxy.url, timeout=5)
            link.call(soon(), "PING")
            proxy.reset()
            replies = link.pipeline(soon(), [("SET", prefix, "1"), ("LPUSH", prefix, "x"), ("GET", prefix)])
            link.close()

        assert replies[0] == b"OK"
        assert isinstance(replies[1], ResponseError)
        assert replies[2] == b"1"
        assert proxy.counts.round_trips == 1

    def test_reply_that_is_too_large_is_not_read_on(self, redis_url: str, prefix: str) -> None:
        """In a pipeline, too; the connection is closed, the next one serves."""
        link = connect(redis_url, timeout=5, largest_reply=100_000)
        link.call(soon(), "SET", prefix, "x" * 150_000, "EX", 60)
        link.call(soon(), "SET", prefix + "small", "x" * 60_000, "EX", 60)

        with pytest.raises(ReplyTooLargeError):
            link.call(soon(), "GET", prefix)
        with pytest.raises(ReplyTooLargeError):
            link.pipeline(soon(), [("GET", prefix + "small"), ("GET", prefix)])
        assert len(link.pipeline(soon(), [("GET", prefix + "small")] * 3)) == 3
        link.close()

    def test_held_is_one_connection(self, link: HeldLink, prefix: str) -> None:
        """Commands that belong together go over one connection."""
        with link.held(soon()) as held:
            held.call("WATCH", prefix)
            link.call(soon(), "SET", prefix, "1")
            held.call("MULTI")
            held.call("SET", prefix, "2")
            assert held.call("EXEC") is None

    def test_passed_deadline_sends_nothing(self, link: Link, prefix: str) -> None:
        """Neither on a new connection nor on an idle one."""
        with pytest.raises(StoreUnavailableError) as caught:
            link.call(time.monotonic() - 1, "SET", prefix, "1")
        assert not caught.value.maybe_applied
        link.call(soon(), "PING")

        with pytest.raises(StoreUnavailableError):
            link.call(time.monotonic() - 1, "SET", prefix, "1")
        assert link.call(soon(), "GET", prefix) is None

    def test_one_stale_connection_drops_the_others(self, server: Server) -> None:
        """What closed one has most likely closed all."""
        with Proxy(server.port) as proxy:
            link = connect(proxy.url, timeout=5)
            assert isinstance(link, HeldLink)
            with link.held(soon()) as one, link.held(soon()) as other:
                one.call("PING")
                other.call("PING")
            assert len(link._idle) == 2
            proxy.next("GET", cut_before)
            with pytest.raises(StoreUnavailableError) as caught:
                link.call(soon(), "GET", "x")

            assert caught.value.maybe_applied
            assert link._idle == []

    def test_interrupted_reply_is_never_read_by_another(self, link: HeldLink, prefix: str) -> None:
        """A connection with a reply under way is closed, whatever interrupted it."""
        with pytest.raises(KeyboardInterrupt), link.held(soon()):
            raise KeyboardInterrupt

        assert link._idle == []

    def test_fork_leaves_the_parents_connections(self, link: HeldLink, prefix: str) -> None:
        """A child makes connections of its own; the parent goes on using the held ones."""
        link.call(soon(), "SET", prefix, "parent")
        child = os.fork()
        if child == 0:
            link.call(soon(), "APPEND", prefix, " and child")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0

        assert link.call(soon(), "GET", prefix) == b"parent and child"

    def test_other_process_takes_no_held_connection(self, link: HeldLink, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a parent holds is not used under another process id."""
        link.call(soon(), "PING")
        (held,) = link._idle
        monkeypatch.setattr(connection.os, "getpid", lambda: -1)

        assert link.call(soon(), "PING") == b"PONG"

        assert held not in link._idle
        held.disconnect()

    def test_without_hiredis(self, server: Server, prefix: str) -> None:
        """redis-py's own parser is bounded by the deadline, too."""
        make = connection._CONNECTIONS[Connection]
        link = HeldLink(lambda: make(port=server.port, parser_class=_RESP2Parser, **connection._OPTIONS))

        assert link.call(soon(), "SET", prefix, "x" * 200_000) == b"OK"
        assert len(link.call(soon(), "GET", prefix)) == 200_000
        link.close()

    def test_unix_socket_password_and_database(self, start: Start, server_binary: str, tmp_path: Path) -> None:
        """The URL's path, password and database are used."""
        socket_path = tmp_path / "s"
        server = start(Server(server_binary, tmp_path, "--unixsocket", str(socket_path)))
        with redis.Redis(port=server.port) as client:
            client.config_set("requirepass", "secret")
        link = connect(f"unix://:secret@{socket_path}?db=3", timeout=5)
        link.call(soon(), "SET", "k", "in three")
        with redis.Redis(port=server.port, password="secret", db=3) as client:
            assert client.get("k") == b"in three"
        without = connect(f"unix://{socket_path}?db=3", timeout=5)

        with pytest.raises((StoreUnavailableError, ResponseError)) as caught:
            without.call(soon(), "GET", "k")
        assert "secret" not in str(caught.value)
        for each in (link, without):
            each.close()

    def test_unix_socket_without_time_to_connect(self, start: Start, server_binary: str, tmp_path: Path) -> None:
        """An outage like any other: redis-py counts a timeout by a port, which such a connection has not."""
        start(Server(server_binary, tmp_path, "--unixsocket", str(tmp_path / "s")))
        link = connect(f"unix://{tmp_path / 's'}", timeout=5)

        with pytest.raises(StoreUnavailableError):
            link.call(time.monotonic(), "PING")

    @pytest.mark.parametrize("parser", [_HiredisParser, _RESP2Parser])
    def test_tls(self, start: Start, tmp_path: Path, parser: type) -> None:
        """rediss:// speaks TLS with the authority that its URL names, whichever parser reads the replies."""
        # The embedded server is built without TLS.
        server_binary = binary_of("redis")
        if server_binary is None:
            pytest.skip("redis-server is not installed")
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        issued.private_key_pem.write_to_path(tmp_path / "key.pem")
        issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        tls_port = free_port()
        start(
            Server(
                server_binary,
                tmp_path,
                *("--tls-port", str(tls_port), "--tls-auth-clients", "no"),
                *("--tls-cert-file", str(tmp_path / "cert.pem"), "--tls-key-file", str(tmp_path / "key.pem")),
                *("--tls-ca-cert-file", str(tmp_path / "ca.pem")),
            )
        )
        options = {"port": tls_port, "host": "localhost", "ssl_ca_certs": str(tmp_path / "ca.pem")}
        make = connection._CONNECTIONS[SSLConnection]
        link = HeldLink(lambda: make(parser_class=parser, **options, **connection._OPTIONS))
        untrusting = connect(f"rediss://localhost:{tls_port}", timeout=5)

        assert link.call(soon(), "SET", "k", "x" * 200_000) == b"OK"
        (first,) = link._idle
        assert len(link.call(soon(), "GET", "k")) == 200_000
        assert link._idle == [first]
        # Its reply is one that nobody reads.
        first.send_command("PING", check_health=False)
        time.sleep(0.2)
        assert link.call(soon(), "ECHO", "x") == b"x"
        assert first._sock is None
        with pytest.raises(StoreUnavailableError):
            link.call(time.monotonic(), "GET", "k")
        with pytest.raises(StoreUnavailableError):
            untrusting.call(soon(), "PING")
        link.close()

    def test_tls_to_a_server_without(self, start: Start, server_binary: str, tmp_path: Path) -> None:
        """A server that speaks no TLS is unavailable, within the deadline."""
        server = start(Server(server_binary, tmp_path))
        link = connect(server.url.replace("redis://", "rediss://"), timeout=5)

        with pytest.raises(StoreUnavailableError):
            link.call(time.monotonic() + 1, "PING")


class TestKernelTimedSocket:
    @pytest.fixture(name="pair")
    def _pair(self) -> Iterator[tuple[Any, socket.socket]]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            owner: Any = type("Owner", (connection._WithDeadline,), {"deadline": soon()})
            yield connection._KernelTimedSocket(ours, owner), theirs

    @pytest.mark.parametrize(
        "read", [lambda sock: sock.recv(9), lambda sock: sock.recv_into(bytearray(9))], ids=["recv", "into"]
    )
    def test_short_timeout_is_no_deadline(self, pair: tuple[Any, socket.socket], read: Callable[[Any], Any]) -> None:
        """A timeout left over from an earlier command wakes the reader, who waits on for a later deadline."""
        ours, theirs = pair
        ours._connection.deadline = time.monotonic() + 0.1
        ours.sendall(b"sets the timeout")
        ours._connection.deadline = time.monotonic() + 0.35
        late = threading.Timer(0.2, theirs.sendall, [b"reply"])
        late.start()

        assert read(ours) in (b"reply", 5)
        late.join()

    def test_reader_who_takes_nothing(self, pair: tuple[Any, socket.socket]) -> None:
        """A peer that reads slowly gets all; one that reads nothing is given up at the deadline."""
        ours, theirs = pair
        ours._connection.deadline = time.monotonic() + 0.3

        with pytest.raises(TimeoutError):
            ours.sendall(bytes(20_000_000))
        ours._connection.deadline = time.monotonic() + 0.6
        with pytest.raises(TimeoutError):
            ours.sendall(b"more")
        assert theirs.recv(1) == b"\0"


class TestUrls:
    @pytest.mark.parametrize(
        "url",
        [
            "",
            "localhost",
            "http://localhost",
            "redis://localhost?decode_responses=True",
            "redis://localhost?no_such_option=1",
            "redis://localhost?socket_timeout=x",
            "redis+sentinel://localhost",
            "redis+sentinel://localhost/service/x",
            "redis+sentinel:///service",
            "redis://localhost?connection_class=x",
            "redis://localhost?socket_read_size=-1",
            "rediss://localhost?ssl_cert_reqs=x",
            "redis+cluster://host:port",
            "redis+cluster://host:65536",
            "redis+cluster://host:0",
            "redis+sentinel://host:65536/service",
            "redis+sentinel://host:\u00b2/service",
            "redis+sentinel://host/service/\u00b2",
        ],
    )
    def test_wrong_url_is_a_value_error(self, url: str) -> None:
        """With a sentence that helps, at start-up."""
        with pytest.raises(ValueError, match=r"\w+ \w+"):
            connect(url, timeout=1)

    def test_password_is_never_quoted(self) -> None:
        """A wrong URL is not shown."""
        with pytest.raises(ValueError, match="forms") as caught:
            connect("reddis://:hunter2@localhost", timeout=1)

        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize("client", [object(), "redis://localhost", redis.asyncio.Redis()], ids=range(3))
    def test_client_of_another_kind(self, client: object) -> None:
        """Only redis-py's synchronous clients can be used."""
        with pytest.raises(ValueError, match=r"must be a redis\.Redis"):
            from_client(client)


@pytest.fixture(name="start")
def _start() -> Iterator[Callable[[Server], Server]]:
    """Starts servers that are stopped after the test."""
    with ExitStack() as stack:
        yield stack.enter_context


@pytest.fixture(name="close")
def _close() -> Iterator[Callable[[Flask], Flask]]:
    made: list[Flask] = []

    def close(app: Flask) -> Flask:
        made.append(app)
        return app

    yield close
    for app in made:
        support.close(app)


def shop_at(app: Flask) -> None:
    """Read, write, merge and end sessions of an application."""
    browser = Browser(app)
    browser.visit(lambda: session.update(n=1, cart=[1]))
    other = browser.copy()
    browser.visit(lambda: (session["cart"].append(2), other.visit(lambda: session.update(m=2)), None)[2])
    assert browser.ask(lambda: dict(session)) == {"n": 1, "cart": [1, 2], "m": 2}
    browser.visit(lambda: session.update(user_id=7))
    assert browser.ask(lambda: session["cart"]) == [1, 2]
    with app.app_context():
        (info,) = PickleSession().sessions_of(7)
        assert PickleSession().revoke_user(7, keep=info.handle) == 0
    other.visit(lambda: session.update(user_id=7))
    with app.app_context():
        assert PickleSession().revoke_user(7, keep=info.handle) == 1
    assert browser.ask(lambda: session["cart"]) == [1, 2]
    browser.visit(lambda: session.clear())
    assert browser.cookie is None


class TestClients:
    def test_ready_client(self, raw: redis.Redis, redis_url: str, prefix: str, close: Any) -> None:
        """A client of the application's own."""
        shop_at(close(support.make_app(redis_url, prefix, PICKLESESSION_URL=None, PICKLESESSION_CLIENT=raw)))

    def test_without_scripts_and_getex(
        self, raw: redis.Redis, redis_url: str, prefix: str, close: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A client whose server has neither goes through transactions and pipelines."""
        execute = raw.execute_command

        def refuse(*command: Any) -> Any:
            if command[0] in ("EVALSHA", "GETEX"):
                raise ResponseError("unknown command")
            return execute(*command)

        monkeypatch.setattr(raw, "execute_command", refuse)
        shop_at(close(support.make_app(redis_url, prefix, PICKLESESSION_URL=None, PICKLESESSION_CLIENT=raw)))

    def test_client_whose_server_is_away(self, redis_url: str, prefix: str, close: Any) -> None:
        """The client's errors are an outage."""
        with redis.Redis(port=1, socket_timeout=0.2, retry=None) as client:
            app = close(support.make_app(redis_url, prefix, PICKLESESSION_URL=None, PICKLESESSION_CLIENT=client))
            assert Browser(app).visit(lambda: session.update(n=1)).status_code == 503

    def test_huge_value_is_not_read(self, raw: redis.Redis, redis_url: str, prefix: str, close: Any) -> None:
        """redis-py's clients read all that comes, so the server is asked for no more than a record can have."""
        app = close(support.make_app(redis_url, prefix, PICKLESESSION_URL=None, PICKLESESSION_CLIENT=raw))
        browser = Browser(app)
        browser.visit(lambda: session.update(n=1))
        (key,) = raw.keys(prefix + "*")
        raw.setrange(key, 400_000_000, b"x")

        with grown() as bytes_taken:
            assert browser.ask(lambda: session.new) is True

        assert bytes_taken() < 20_000_000
        raw.delete(key)

    def test_passed_deadline(self, raw: redis.Redis) -> None:
        """Nothing is sent any more."""
        with pytest.raises(StoreUnavailableError):
            from_client(raw).call(time.monotonic() - 1, "PING")

    def test_client_that_decodes_later(self, raw: redis.Redis, prefix: str) -> None:
        """A reply that is no bytes is told, not guessed at."""
        from flask_picklesession.storage.store import Store

        class Decoding:
            bounds_replies = True

            def call(self, deadline: float, *command: Any) -> str:
                return "text"

        with pytest.raises(StoreUnavailableError, match="decodes"):
            Store(Decoding(), prefix=prefix).load(b"k", ttl=None, deadline=soon())  # type: ignore[arg-type]

    def test_sentinel(self, start: Start, server_binary: str, tmp_path: Path, prefix: str, close: Any) -> None:
        """A real Sentinel tells where the server is."""
        server = start(Server(server_binary, tmp_path))
        folder = tmp_path / "sentinel"
        folder.mkdir()
        config = folder / "sentinel.conf"
        config.write_text(f"sentinel monitor shop 127.0.0.1 {server.port} 1\n")
        sentinel = start(Server(server_binary, folder, "--sentinel", config=config))
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/shop/2"

        shop_at(close(support.make_app(url, prefix, PICKLESESSION_TIMEOUT=5)))

        with redis.Redis(port=server.port, db=2) as client:
            assert client.dbsize() > 0

    def test_scan(self, raw: redis.Redis, redis_url: str, prefix: str) -> None:
        """A ready client goes through its server's keys."""
        raw.mset({f"{prefix}{n}": n for n in range(50)})

        assert scanned(from_client(raw), prefix) == {f"{prefix}{n}".encode() for n in range(50)}

    def test_cluster(self, start: Start, server_binary: str, tmp_path: Path, prefix: str, close: Any) -> None:
        """A real Cluster of two nodes. Without scripts it is unavailable: it has no WATCH for us."""
        nodes = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            # The bus port is ten thousand above by default: too high for half of the free ports.
            bus = free_port()
            options = ("--cluster-enabled", "yes", "--cluster-port", str(bus))
            nodes.append((start(Server(server_binary, tmp_path / name, *options)), bus))
        (first, _bus), (second, second_bus) = nodes
        with redis.Redis(port=first.port) as one, redis.Redis(port=second.port) as two:
            one.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
            two.execute_command("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
            two.execute_command("CLUSTER", "SET-CONFIG-EPOCH", 2)
            one.execute_command("CLUSTER", "MEET", "127.0.0.1", second.port, second_bus)
            wait_for_cluster(one, two)
        app = close(
            support.make_app(
                f"redis+cluster://127.0.0.1:{first.port}",
                prefix,
                PICKLESESSION_TIMEOUT=5,
                PICKLESESSION_MAX_SESSIONS_PER_USER=3,
            )
        )
        shop_at(app)

        with pytest.raises(ValueError, match="must send nothing twice"):
            from_client(redis.RedisCluster(host="127.0.0.1", port=first.port))
        from_client(redis.RedisCluster(host="127.0.0.1", port=first.port, retry=Retry(NoBackoff(), 0))).close()

        link = app.extensions["picklesession"].settings.link
        keys = {f"{prefix}scan{n}".encode() for n in range(50)}
        for key in keys:
            link.call(soon(), "SET", key, "x")
        assert scanned(link, f"{prefix}scan") == keys
        for cursor in ("5-0", "x", "", "0-x"):
            with pytest.raises(ResponseError, match="invalid cursor"):
                link.scan(soon(), cursor, b"*", 5)
        with pytest.raises(StoreUnavailableError, match="EVALSHA"), link.held(soon()):
            pass

        browser = Browser(app)
        browser.visit(lambda: session.update(n=1))
        for right in ("-evalsha", "+evalsha"):
            for node, _bus in nodes:
                with redis.Redis(port=node.port) as one:
                    one.execute_command("ACL", "SETUSER", "default", right)
            # Found by an attack: once refused, each later write of this worker was.
            assert browser.visit(lambda: session.update(n=2)).status_code == (503 if right == "-evalsha" else 200)

    def test_lost_reply_in_a_cluster(
        self, start: Start, server_binary: str, tmp_path: Path, prefix: str, close: Any
    ) -> None:
        """redis-py's Cluster client would send again by itself, and count twice."""
        options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
        node = start(Server(server_binary, tmp_path, *options))
        with Proxy(node.port) as proxy, redis.Redis(port=node.port) as raw:
            raw.config_set("cluster-announce-port", proxy.port)
            raw.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_for_cluster(raw)
            url = f"redis+cluster://127.0.0.1:{proxy.port}"
            app = close(support.make_app(url, prefix, PICKLESESSION_MERGE={"n": "counter"}))
            browser = Browser(app)
            # The second teaches the server the script.
            assert [browser.ask(count), browser.ask(count)] == [1, 2]
            proxy.next("EVALSHA", cut_after)

            assert browser.ask(count) == 3
            assert browser.ask(count) == 4

    def test_reply_to_another_command(self, server: Server, prefix: str) -> None:
        """Found by an attack: redis-py, which makes a number of it, raised what is none of its errors."""
        with Proxy(server.port) as proxy, redis.Redis(port=proxy.port, protocol=2) as client:
            link = from_client(client)
            proxy.next("ZADD", lambda exchange: exchange.answer(b"$3\r\nabc\r\n"))

            with pytest.raises(StoreUnavailableError):
                link.call(soon(), "ZADD", f"{prefix}user:ada", "1", "a", "INCR")

    @pytest.mark.parametrize("command", ["SET", "GETRANGE", "PTTL"])
    def test_lost_pipeline_in_a_cluster(
        self, start: Start, server_binary: str, tmp_path: Path, prefix: str, command: str
    ) -> None:
        """redis-py's Cluster client returns a lost connection as a reply, which passed for that to a write."""
        options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
        node = start(Server(server_binary, tmp_path, *options))
        with Proxy(node.port) as proxy, redis.Redis(port=node.port) as raw:
            raw.config_set("cluster-announce-port", proxy.port)
            raw.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_for_cluster(raw)
            store = Store(connect(f"redis+cluster://127.0.0.1:{proxy.port}", timeout=5), prefix=prefix)
            indexing: list[Command] = [("ZADD", f"{prefix}user:ada", 1, "a" * 43)]
            assert store.load_many_with_ttl(["a" * 43], deadline=soon()) == [(None, None)]
            proxy.next(command, *[cut_before] * 8)

            def use() -> object:
                if command != "SET":
                    return store.load_many_with_ttl(["a" * 43], deadline=soon())
                key = store.storage_key("a" * 43)
                return store.create(key, b"record", ttl=60, deadline=soon(), before=indexing)

            with pytest.raises(StoreUnavailableError):
                use()

            store.close()


def wait_for_cluster(*nodes: redis.Redis) -> None:
    deadline = time.monotonic() + 20
    while any(node.execute_command("CLUSTER INFO")["cluster_state"] != "ok" for node in nodes):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def count() -> int:
    session["n"] = session.get("n", 0) + 1
    return int(session["n"])


def scanned(link: Link, prefix: str) -> set[bytes]:
    """Return all keys with a prefix, found in small steps."""
    found: set[bytes] = set()
    cursor = "0"
    while True:
        cursor, keys = link.scan(soon(), cursor, prefix.encode() + b"*", 5)
        found.update(keys)
        if cursor == "0":
            return found


class GreenSocket(socket.socket):
    """As gevent and eventlet put one in the place of Python's."""


@pytest.mark.parametrize(("cls", "is_kernel_timed"), [(socket.socket, True), (GreenSocket, False)])
def test_only_plain_sockets_are_left_to_the_kernel(
    server: Server, monkeypatch: pytest.MonkeyPatch, cls: type[socket.socket], is_kernel_timed: bool
) -> None:
    """Found in review: those of gevent and eventlet wait in a loop of their own, and would for ever."""

    def connected(_self: Connection) -> socket.socket:
        sock = cls()
        sock.connect(("127.0.0.1", server.port))
        return sock

    monkeypatch.setattr(Connection, "_connect", connected)
    link = connect(server.url, timeout=5)
    assert isinstance(link, HeldLink)
    held = link.take(time.monotonic() + 5)
    try:
        assert isinstance(held._sock, connection._KernelTimedSocket) is is_kernel_timed
    finally:
        held.disconnect()


@pytest.mark.parametrize("scheme", ["redis", "redis+sentinel", "redis+cluster"])
@pytest.mark.parametrize("password", ["hunter2/abc", "hunter2?x", "hunter2\u2100"])
def test_password_is_not_quoted(scheme: str, password: str) -> None:
    """Found in review: of a password that is not escaped, the error showed what it took for a port."""
    with pytest.raises(ValueError, match=r"URL|redis\+") as caught:
        connect(f"{scheme}://:{password}@127.0.0.1:6379/service/0", timeout=1)

    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        "unix:///s.sock?password=abc&HUNTER2=1",
        "redis://:?hunter2=9@localhost",
        "redis://:?connection_class=hunter2@localhost",
        "rediss://:?ssl_cert_reqs=hunter2@localhost",
        "redis+cluster://u:12\u00b2/hunter2@localhost",
        "redis+cluster://u:12/hunter2@localhost",
        "redis+sentinel://u:12/hunter2@localhost",
        "redis+sentinel://u:12?hunter2@localhost",
    ],
)
def test_what_may_be_a_password_is_not_quoted(url: str) -> None:
    """Found in review: of one with & or ? the error showed what it took for an option, or a value of one."""
    with pytest.raises(ValueError, match="URL") as caught:
        connect(url, timeout=1)

    shown = "".join(traceback.format_exception(caught.value)).lower()
    assert "hunter2" not in shown
    assert "12\u00b2" not in shown


def test_option_of_a_url_is_named() -> None:
    """What redis-py says of it quotes no value."""
    with pytest.raises(ValueError, match="Invalid value for 'socket_timeout'"):
        connect("redis://localhost/0?socket_timeout=soon", timeout=1)


def test_ready_clients_that_send_again(server: Server) -> None:
    """A pool that we cannot make a like of is used as it is, where it sends nothing twice."""
    pool = redis.BlockingConnectionPool(port=server.port, retry=Retry(NoBackoff(), 3))
    with pytest.raises(ValueError, match="must send nothing twice"):
        from_client(redis.Redis(connection_pool=pool))

    once = redis.BlockingConnectionPool(port=server.port, retry=Retry(NoBackoff(), 0))
    link = from_client(redis.Redis(connection_pool=once))
    assert link.call(time.monotonic() + 5, "PING") in (True, b"PONG")
    link.close()


class Named(redis.Redis):
    """A client with options of its own, and those of Redis."""

    def __init__(self, name: str = "", **options: Any) -> None:
        super().__init__(**options)


class Fixed(redis.Redis):
    """A client that knows its server."""

    def __init__(self, port: int) -> None:
        super().__init__(port=port)


class Careless(redis.Redis):
    """A client that takes whatever it is given, and goes by none of it."""

    def __init__(self, **_options: Any) -> None:
        super().__init__(port=1)


def test_client_of_a_class_of_its_own(server: Server) -> None:
    """Found in review: one with another constructor was a raw TypeError, or kept its retries without a word."""
    link = from_client(Named(name="ours", port=server.port))
    assert link.call(soon(), "PING") in (True, b"PONG")
    link.close()

    for client in (Fixed(server.port), Careless()):
        with client, pytest.raises(ValueError, match=f"__init__ of {type(client).__name__} take connection_pool"):
            from_client(client)


def twice(exchange: Exchange) -> None:
    """Answer two times over."""
    reply = exchange.forward()
    exchange.answer(reply + reply)


def late_again(exchange: Exchange) -> None:
    """Answer, and once more a little later."""
    reply = exchange.forward()
    exchange.answer(reply)
    time.sleep(0.05)
    exchange.answer(reply)


def and_closed(exchange: Exchange) -> None:
    """Answer, and hang up."""
    exchange.answer(exchange.forward())
    raise Cut


class TestIdleConnections:
    @pytest.mark.parametrize("parser", [_HiredisParser, _RESP2Parser])
    @pytest.mark.parametrize("is_green", [False, True], ids=["plain", "green"])
    @pytest.mark.parametrize("fault", [twice, late_again, and_closed])
    def test_what_nobody_asked_for_is_not_read(
        self, server: Server, monkeypatch: pytest.MonkeyPatch, parser: type, is_green: bool, fault: Any
    ) -> None:
        """Found in review: after a doubled reply each request read what another one had asked for, for ever."""
        if is_green:
            monkeypatch.setattr(connection, "_is_plain", lambda _sock: False)
        make = connection._CONNECTIONS[Connection]
        with Proxy(server.port) as proxy:
            link = HeldLink(lambda: make(port=proxy.port, parser_class=parser, **connection._OPTIONS))
            link.call(soon(), "PING")
            (first,) = link._idle
            assert link.call(soon(), "ECHO", "mine") == b"mine"
            assert link._idle == [first]
            proxy.next("ECHO", fault)

            assert link.call(soon(), "ECHO", "another's") == b"another's"
            time.sleep(0.2)
            assert [link.call(soon(), "ECHO", text) for text in ("a", "b", "c")] == [b"a", b"b", b"c"]
            assert first._sock is None
            link.close()

    def test_doubled_reply_is_nobody_elses_session(self, server: Server, prefix: str, close: Any) -> None:
        """The same, seen by users."""
        with Proxy(server.port) as proxy:
            app = close(support.make_app(proxy.url, prefix))
            browsers = [Browser(app) for _user in range(3)]
            for number, browser in enumerate(browsers):
                browser.visit(lambda number=number: session.update(user_id=number))
            proxy.next("GETEX", twice)

            for _round in range(2):
                assert [browser.ask(lambda: session["user_id"]) for browser in browsers] == [0, 1, 2]


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        (("GETEX", "k", "EX", 5), b":5\r\n"),
        (("GETRANGE", "k", 0, 5), b"$-1\r\n"),
        (("SET", "k", "x"), b"*0\r\n"),
        (("PTTL", "k"), b"$1\r\nx\r\n"),
        (("EVAL", "return 1", 0), b"*0\r\n"),
        (("SCAN", "0"), b":5\r\n"),
        (("SCAN", "0"), b"*1\r\n:1\r\n"),
        (("SCAN", "0"), b"*2\r\n$3\r\n\xff\xff\xff\r\n*0\r\n"),
        (("SCAN", "0"), b"*2\r\n:0\r\n*0\r\n"),
        (("SCAN", "0"), b"*2\r\n$1\r\n0\r\n*1\r\n:5\r\n"),
        (("ZREVRANGE", "k", 0, 1, "WITHSCORES"), b"*1\r\n$1\r\nx\r\n"),
        (("ZREVRANGE", "k", 0, 1, "WITHSCORES"), b"*2\r\n$1\r\nx\r\n$3\r\nxyz\r\n"),
    ],
    ids=repr,
)
def test_reply_of_another_type(server: Server, command: tuple[Any, ...], reply: bytes) -> None:
    """It is the reply to another command, or none of Redis': no connection is used again, whoever asked."""
    with Proxy(server.port) as proxy:
        link = connect(proxy.url, timeout=5)
        assert isinstance(link, HeldLink)
        for send in (
            lambda: link.call(soon(), *command),
            lambda: link.pipeline(soon(), [command]),
            lambda: held_call(link, *command),
        ):
            with link.held(soon()) as one, link.held(soon()) as other:
                one.call("PING")
                other.call("PING")
            proxy.next(command[0], lambda exchange: exchange.answer(reply))

            with pytest.raises(StoreUnavailableError, match="InvalidResponse") as caught:
                send()

            assert caught.value.maybe_applied
            assert link._idle == []
        link.close()


def held_call(link: Link, *command: Any) -> None:
    with link.held(soon()) as held:
        held.call(*command)


@pytest.mark.parametrize("score", ["-inf", "+inf", "1.5", "1e300", "-1e-300", "1764256082123", "0.1"])
def test_scores_of_all_kinds_are_answers(link: Link, prefix: str, score: str) -> None:
    """However Redis writes a number."""
    link.call(soon(), "ZADD", prefix, score, "member")

    member, found = link.call(soon(), "ZREVRANGE", prefix, 0, 1, "WITHSCORES")

    assert (member, float(found)) == (b"member", float(score))


def test_cluster_away_is_an_outage() -> None:
    """Found in review: the error of redis-py's Cluster client is none of its RedisErrors."""
    link = connect(f"redis+cluster://127.0.0.1:{free_port()}", timeout=1)
    deadline = time.monotonic() + 5

    with pytest.raises(StoreUnavailableError):
        link.call(deadline, "PING")
    with pytest.raises(StoreUnavailableError):
        link.pipeline(deadline, [("PING",)])
    with pytest.raises(StoreUnavailableError):
        link.scan(deadline, "0", b"*", 10)
    with pytest.raises(StoreUnavailableError), link.held(deadline):
        pass
    # Nothing is open, and nothing is opened for it.
    link.close()
