"""Who writes to Redis, and holds the secret key: each technique is planted, signed, and met by a real request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..servers import Server
from . import techniques

ROOT = Path(__file__).parent.parent.parent

#: Far above what any takes (see ``benchmarks/``), far below what a worker is killed for.
SECONDS, MEGABYTES = 5, 64


@pytest.fixture(name="met", scope="module")
def _met(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What happened to each technique, in a process with limits, in an empty folder."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.victim", server.url, f"hostile:{os.urandom(6).hex()}:"],
        cwd=tmp_path_factory.mktemp("victim"),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def unharmed(seen: Any) -> None:
    """Nothing ran, nothing changed, nothing hung."""
    assert seen["hit"] == []
    assert not seen["changed"]
    assert seen["seconds"] < SECONDS
    assert seen["megabytes"] < MEGABYTES


def is_fresh(seen: Any, reason: str) -> None:
    """The session is a new, empty one, with one log line and one signal."""
    unharmed(seen)
    assert seen["status"] == seen["wrote"] == 200
    assert seen["seen"] == [None, "builtins", [], True]
    assert seen["lines"] == [f"session rejected: {reason}"]
    assert seen["rejected"] == [reason]
    assert seen["quarantined"] == []


@pytest.mark.parametrize("name", techniques.REFUSED)
def test_key_is_quarantined(met: Any, name: str) -> None:
    """One key is set aside, with one log line and one signal; the others are there."""
    seen = met["segments"][name]

    unharmed(seen)
    assert seen["status"] == seen["wrote"] == 200
    assert seen["seen"] == [1, "builtins", ["cart"], False]
    assert len(seen["lines"]) == 1
    assert seen["lines"][0].startswith("session value quarantined: ")
    assert seen["quarantined"] == ["cart"]
    assert seen["rejected"] == []


@pytest.mark.parametrize("name", techniques.HARMLESS)
def test_value_is_an_allowed_one(met: Any, name: str) -> None:
    """What is accepted holds allowed values and costs little."""
    seen = met["harmless"][name]

    unharmed(seen)
    assert seen["status"] == seen["wrote"] == 200
    assert seen["seen"][2:] == [[], False]
    assert seen["lines"] == []


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        *(("containers", name) for name in techniques.CONTAINERS),
        *(("payloads", name) for name in techniques.REFUSED),
    ],
)
def test_payload_is_no_session(met: Any, layer: str, name: str) -> None:
    """A payload that is not one of ours, though it is signed."""
    is_fresh(met[layer][name], "payload")


@pytest.mark.parametrize("name", techniques.HEADERS)
def test_record_is_no_session(met: Any, name: str) -> None:
    """A record that cannot be one, though it is signed."""
    is_fresh(met["headers"][name], "record")


@pytest.mark.parametrize("name", techniques.NEWER)
def test_newer_record_is_an_outage(met: Any, name: str) -> None:
    """What a newer version may have written logs nobody out: 503, and the cookie is untouched."""
    seen = met["newer"][name]

    unharmed(seen)
    assert seen["status"] == seen["wrote"] == 503
    assert seen["cookie kept"]
    assert len(seen["lines"]) == 1


@pytest.mark.parametrize("name", techniques.COOKIES)
def test_cookie_is_no_session(met: Any, name: str) -> None:
    """A cookie that we did not sign."""
    is_fresh(met["cookies"][name], "cookie")
