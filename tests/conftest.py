from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask
from hypothesis import HealthCheck, settings

from flask_picklesession.storage.connection import Link, connect

from . import support
from .servers import NAMES, Server, binary_of

#: Set where a server was promised: then a missing one is a failure.
REDIS_REQUIRED = "PICKLESESSION_TEST_REDIS_REQUIRED"


# A busy machine is slow: that is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(name="server_binary", params=NAMES, scope="session")
def _server_binary(request: pytest.FixtureRequest) -> str:
    binary = binary_of(request.param)
    if binary is None:
        message = f"{request.param}-server is not installed"
        if os.environ.get(REDIS_REQUIRED):
            pytest.fail(message)
        pytest.skip(message)
    return binary


@pytest.fixture(name="server", scope="session")
def _server(server_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that all tests share; each keeps to its own prefix."""
    server = Server(server_binary, tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(name="own_server")
def _own_server(server_binary: str, tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, to stop, freeze and restart."""
    server = Server(server_binary, tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture(name="redis_url")
def _redis_url(server: Server) -> str:
    return server.url


@pytest.fixture(name="prefix")
def _prefix() -> str:
    return f"test:{secrets.token_hex(8)}:"


@pytest.fixture(name="raw")
def _raw(server: Server) -> Iterator[redis.Redis]:
    """A client to look at what stands in the server."""
    with redis.Redis(port=server.port) as client:
        yield client


@pytest.fixture(name="link")
def _link(redis_url: str) -> Iterator[Link]:
    link = connect(redis_url, timeout=5)
    yield link
    link.close()


MakeApp = Callable[..., Flask]


@pytest.fixture(name="make_app")
def _make_app(redis_url: str, prefix: str) -> Iterator[MakeApp]:
    """Makes applications that keep their sessions under one prefix."""
    made: list[Flask] = []

    def make_app(**config: Any) -> Flask:
        made.append(support.make_app(redis_url, prefix, **config))
        return made[-1]

    yield make_app
    for app in made:
        support.close(app)


@pytest.fixture(name="app")
def _app(make_app: MakeApp) -> Flask:
    return make_app()


@pytest.fixture(name="move_clock")
def _move_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock of the package forward; that of the server stays."""
    offset = 0.0
    real = time.time

    def move_clock(seconds: float) -> None:
        nonlocal offset
        offset += seconds

    for module in ("interface", "storage.record"):
        monkeypatch.setattr(f"flask_picklesession.{module}.time", lambda: real() + offset)
    return move_clock
