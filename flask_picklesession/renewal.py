"""Renewal: a session goes on under the id that follows from its old one, so that no id is ever stored.

A renewed record names its successor by handle. Its own nonce is what the successor's id was derived from: who has the
old id, and a secret key, finds the new one; who reads Redis finds nothing. Two requests that renew at once derive two
ids, of which the record that stands names one: were they the same, a request that is late could make a successor anew
that was gone already.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from itsdangerous import Signer

from .cookie import handle_of
from .exceptions import RecordError
from .storage.record import EndReason, Kind, Record, now_ms
from .storage.sealing import RecordSealer
from .storage.store import Store, is_handle

#: Renewals that are followed from one record. A request that is so late has lost its session.
MOST_HOPS = 16

_SALT = b"flask-picklesession.successor"


class SuccessorIds:
    """Derive the id that a session goes on under.

    :param secrets: the secret keys, oldest to newest: the last one derives.
    """

    def __init__(self, secrets: Sequence[str | bytes]) -> None:
        derived = [
            Signer(secret, salt=_SALT, key_derivation="hmac", digest_method=sha256).derive_key() for secret in secrets
        ]
        self._newest_first = tuple(reversed(derived))

    def derive(self, session_id: str, nonce: bytes) -> str:
        """Return the successor's id.

        :param session_id: the old id.
        :param nonce: the nonce of the write that turns the old record to renewed.
        """
        return _derive(self._newest_first[0], session_id, nonce)

    def find(self, session_id: str, nonce: bytes, handle: str) -> str | None:
        """Return the id with this handle, derived under whichever key is still known, or ``None``."""
        for key in self._newest_first:
            found = _derive(key, session_id, nonce)
            if handle_of(found) == handle:
                return found
        return None


def _derive(key: bytes, session_id: str, nonce: bytes) -> str:
    digest = hmac.digest(key, session_id.encode("ascii") + nonce, sha256)
    return base64.urlsafe_b64encode(digest)[:-1].decode("ascii")


def renewed_record(before: Record, handle: str, *, nonce: bytes, deadline: int) -> Record:
    """Return what stands in a renewed session's place.

    :param before: the record that is renewed.
    :param handle: the successor's.
    :param nonce: the name of the write, from which the successor's id was derived.
    :param deadline: until when the old id leads to the new one, in milliseconds since 1970.
    """
    return before.with_nonce(nonce)._replace(kind=Kind.RENEWED, deadline=deadline, body=handle.encode("ascii"))


def successor_of(record: Record) -> str:
    """Return the handle of the successor that a renewed record names.

    :raises RecordError: if it names none.
    """
    if not is_handle(record.body):
        raise RecordError("a renewed record that names no successor")
    return record.body.decode("ascii")


def next_handle(record: Record) -> str | None:
    """Return the handle under which a session goes on that was renewed, or replaced for the same user."""
    named = record.body if record.kind == Kind.RENEWED else record.body[1:] if record.kind == Kind.ENDED else b""
    return named.decode("ascii") if is_handle(named) else None


class Found(NamedTuple):
    """The record that a trail of renewals leads to."""

    #: ``None`` where the trail was followed by handle.
    session_id: str | None
    handle: str
    storage_key: bytes
    record: Record
    #: Whether the newest key sealed it.
    is_current: bool
    #: The handles that led to it, oldest first.
    trail: tuple[str, ...]
    #: When the first one on the trail was first loaded by its own cookie, in milliseconds; zero if not.
    first_confirmed: int


class Lost(NamedTuple):
    """Nothing live stands at the end of the trail."""

    #: Why it ended, where an ended record tells.
    reason: EndReason | None = None
    record: Record | None = None


class Further(NamedTuple):
    """The trail goes on further than a request follows it."""

    handle: str
    record: Record
    #: When the first successor was first used, in milliseconds since 1970.
    first_confirmed: int


def follow(
    store: Store,
    sealer: RecordSealer,
    successors: SuccessorIds | None,
    record: Record,
    *,
    session_id: str | None,
    handle: str,
    ttl: int | None,
    deadline: float,
) -> Found | Lost | Further:
    """Follow renewed records to the live one.

    An absent successor is over: it is never created again.

    :param successors: finds ids, or ``None`` to go by handles alone.
    :param record: a renewed record.
    :param session_id: its id, or ``None`` to go by handles alone.
    :param handle: its handle.
    :param ttl: seconds that each record lives on from now, or ``None`` to leave that as it is.
    :raises RecordError: if a record on the way is none of ours.
    :raises StoreUnavailableError: if the store failed.
    """
    trail: list[str] = []
    first_confirmed, is_current, storage_key = 0, True, store.storage_key(handle)
    while record.kind == Kind.RENEWED and len(trail) < MOST_HOPS:
        if record.is_past(now_ms()):
            return Lost()
        trail.append(handle)
        handle = successor_of(record)
        if session_id is not None and successors is not None:
            session_id = successors.find(session_id, record.nonce, handle)
            if session_id is None:
                # The key that derived it was dropped.
                return Lost()
        storage_key = store.storage_key(handle)
        stored = store.load(storage_key, ttl=ttl, deadline=deadline)
        if stored is None:
            return Lost()
        record, is_current = sealer.unseal(storage_key, stored)
        first_confirmed = first_confirmed if len(trail) > 1 else record.confirmed
    if record.kind == Kind.RENEWED and not record.is_past(now_ms()):
        return Further(handle, record, first_confirmed)
    if record.kind != Kind.LIVE or record.is_past(now_ms()):
        return Lost(record.end_reason, record)
    return Found(session_id, handle, storage_key, record, is_current, tuple(trail), first_confirmed)
