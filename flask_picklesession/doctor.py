"""Examine the server and the configuration: what works, and what an operator would want to know before users do."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from time import monotonic
from typing import Any, NamedTuple

from flask import Flask
from redis.exceptions import ResponseError

from .interface import AppState
from .keys import secret_keys, weak_keys
from .storage.record import ENDED_SECONDS, EndReason, ended_record, new_nonce, new_record, now_ms

#: Seconds that one question may take.
STEP_SECONDS = 10.0

#: Seconds that the record of the examination lives.
_SHORT = 10


class Finding(NamedTuple):
    """One thing that was looked at."""

    is_well: bool
    text: str


def examine(app: Flask, state: AppState) -> Iterator[Finding]:
    """Look at the server and the configuration; writes one record under a random handle, and ends it.

    :raises StoreUnavailableError: if the store does not answer.
    """
    if not app.secret_key:
        yield Finding(False, "There is no SECRET_KEY: this application has no sessions.")
        return
    yield from _secrets(app)
    yield from _server(state)
    yield from _round_trip(app, state)
    yield from _cookie(app)


def _secrets(app: Flask) -> Iterator[Finding]:
    found = list(weak_keys(secret_keys(app.config, app.secret_key or "")))
    for problem in found:
        yield Finding(False, problem)
    if not found:
        yield Finding(True, "The secret keys are long enough.")


def _server(state: AppState) -> Iterator[Finding]:
    version = _ask(state, "INFO", "server")
    name = _field(version, "redis_version") or "version not told"
    yield Finding(True, f"The server answers ({name}).")
    memory = _ask(state, "INFO", "memory")
    policy, limit = _field(memory, "maxmemory_policy"), _field(memory, "maxmemory")
    if limit not in (None, "0") and policy not in (None, "noeviction", "volatile-ttl"):
        yield Finding(
            False,
            f"maxmemory-policy is {policy}: the server may evict an ended record early, or any session. "
            "Set noeviction, or volatile-ttl.",
        )
    elif limit == "0":
        yield Finding(True, "maxmemory is not set: the server evicts nothing.")
    else:
        yield Finding(True, f"maxmemory-policy is {policy or 'not told'}.")
    persistence = _ask(state, "INFO", "persistence")
    if _field(persistence, "aof_enabled") == "0" and _field(persistence, "rdb_last_save_time") is not None:
        yield Finding(True, "No append-only file: what was written in the last minutes is lost with the server.")


def _round_trip(app: Flask, state: AppState) -> Iterator[Finding]:
    """Create, load, save and end a record, as sessions do."""
    sealer, store = state.signers(app).record, state.store
    handle = secrets.token_urlsafe(32)
    key, deadline = store.storage_key(handle), monotonic() + STEP_SECONDS
    record = new_record(now=now_ms(), nonce=new_nonce(), deadline=0, user_digest=bytes(32), body=b"")
    later = record.with_nonce(new_nonce())
    store.create(key, sealer.seal(key, record), ttl=_SHORT, deadline=deadline)
    store.load(key, ttl=_SHORT, deadline=deadline)
    saved = store.save(key, record.nonce, sealer.seal(key, later), ttl=_SHORT, deadline=deadline)
    ended = ended_record(later, EndReason.DESTROYED, now=now_ms() - ENDED_SECONDS * 1000, nonce=new_nonce())
    store.end(key, sealer.seal(key, ended), ttl=_SHORT, deadline=deadline)
    yield Finding(saved.applied, "A record was created, loaded, saved and ended.")
    yield Finding(
        store.has_scripts,
        "Scripts work: a save is one round trip."
        if store.has_scripts
        else "Scripts are not allowed (EVALSHA, EVAL): a save takes five round trips.",
    )


def _cookie(app: Flask) -> Iterator[Finding]:
    is_secure = bool(app.config["SESSION_COOKIE_SECURE"])
    yield Finding(
        is_secure,
        "The cookie is Secure." if is_secure else "SESSION_COOKIE_SECURE is off: set it where the site has HTTPS.",
    )


def _ask(state: AppState, *command: str) -> Any:
    try:
        return state.settings.link.call(monotonic() + STEP_SECONDS, *command)
    except ResponseError:
        # Managed servers often do not tell.
        return b""


def _field(info: Any, name: str) -> str | None:
    """Return a field of INFO, as bytes from a connection of ours or as a dict from redis-py's clients."""
    if isinstance(info, dict):
        found = info.get(name)
        return None if found is None else str(found)
    for line in info.decode("utf-8", "replace").splitlines():
        key, _colon, value = line.partition(":")
        if key == name:
            return str(value)
    return None
