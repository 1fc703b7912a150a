"""The record: what one Redis key holds, and its signature.

::

    signature 32 | format 1 | kind 1 | flags 1 | header length 2 | header | body

    header: nonces 8 x 8 | born 8 | authenticated 8 | confirmed 8 | deadline 8 | user digest 32 | (later fields)

Integers are big-endian, times are milliseconds since 1970, zero stands for "none". The signature covers
a domain, the storage key and everything after the signature, so that a record that is copied to another
key, or cut, or changed, is not a record. It comes first, at the same place and over the same domain in
every format, so that a worker can tell a *newer* record (an outage for it) from a *forged* one.

The newest nonce stands at a fixed offset (:data:`NONCE_START`), where a script on the server compares it
without reading the rest.
"""

from __future__ import annotations

import hmac
import secrets
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import IntEnum
from hashlib import sha256
from time import time
from typing import NamedTuple

from itsdangerous import Signer

from ..exceptions import NewerRecordError, RecordError

#: The only format that this version writes and reads.
FORMAT = 1

#: Bytes of an HMAC-SHA-256.
SIGNATURE_SIZE = 32

#: Bytes of the random name of one write: 64 bits, compared among the last few writes of one session.
NONCE_SIZE = 8

#: How many writes a record remembers, so that a retried write can tell that it was applied.
NONCES_KEPT = 8

#: Seconds for which an ended record stands: longer than any create that may still be under way.
ENDED_SECONDS = 300

_FIXED = struct.Struct(">BBBH")
_HEADER = struct.Struct(f">{NONCE_SIZE * NONCES_KEPT}sQQQQ32s")
_BODY_START = _FIXED.size + _HEADER.size

#: Where the newest nonce stands in a record, as offsets of its first and last byte.
NONCE_START = SIGNATURE_SIZE + _FIXED.size
NONCE_END = NONCE_START + NONCE_SIZE - 1

#: Flag: the body is encrypted.
ENCRYPTED = 1

#: The user digest of a session that belongs to nobody.
ANONYMOUS = bytes(32)

# The last millisecond that a datetime can hold.
_LAST_MS = 253_402_300_799_999

_DOMAIN = b"flask-picklesession.record\0"
_SALT = b"flask-picklesession.record"


class Kind(IntEnum):
    """What a record stands for."""

    #: A session.
    LIVE = 1
    #: A session that was renewed; the body tells its successor.
    RENEWED = 2
    #: A session that is over, kept so that a late write cannot bring it back. The body is an :class:`EndReason`, and
    #: behind it the handle under which the session of the same user goes on, if it does.
    ENDED = 3


_KINDS = frozenset(map(int, Kind))


class EndReason(IntEnum):
    """Why a session is over."""

    #: Logged out, emptied, or destroyed by the application.
    DESTROYED = 1
    #: Its id was replaced, since the identity changed or the application asked for it.
    REPLACED = 2
    #: Revoked from outside, by its user or an administrator.
    REVOKED = 3
    #: Its user signed in once more than may be.
    EVICTED = 4


_END_REASONS = {bytes((reason,)): reason for reason in EndReason}


class Record(NamedTuple):
    """A record without its signature."""

    kind: int
    #: The nonces of the last writes, newest first, padded with zero bytes.
    nonces: bytes
    #: When the session began, in milliseconds.
    born: int
    #: When its identity was last proven, in milliseconds; zero if never.
    authenticated: int
    #: Since when the browser is known to have this id, in milliseconds; zero for a successor that was not loaded by its
    #: own cookie yet.
    confirmed: int
    #: When the record counts as absent whatever its TTL says, in milliseconds; zero for never.
    deadline: int
    #: SHA-256 of the key prefix and the identity, or :data:`ANONYMOUS`.
    user_digest: bytes
    body: bytes
    #: Header bytes that a newer version added; skipped, and written back.
    later_fields: bytes = b""
    #: Whether the body is encrypted, as it is between Redis and :mod:`.sealing`.
    is_encrypted: bool = False
    #: Which key sealed it, from the newest on, as :mod:`.sealing` found out.
    sealed_by: int = 0

    @property
    def end_reason(self) -> EndReason | None:
        """Why an ended record is over, as far as it is known."""
        return _END_REASONS.get(self.body[:1]) if self.kind == Kind.ENDED else None

    @property
    def nonce(self) -> bytes:
        """The nonce of the newest write."""
        return self.nonces[:NONCE_SIZE]

    def written_by(self, nonce: bytes) -> bool:
        """Tell whether the write with this nonce is among the last ones."""
        return any(self.nonces[i : i + NONCE_SIZE] == nonce for i in range(0, len(self.nonces), NONCE_SIZE))

    @property
    def last_writes(self) -> frozenset[bytes]:
        """The nonces of the last writes. What goes on under another id begins with those of the record that it was."""
        found = {self.nonces[i : i + NONCE_SIZE] for i in range(0, len(self.nonces), NONCE_SIZE)}
        return frozenset(found - {bytes(NONCE_SIZE)})

    def with_nonce(self, nonce: bytes) -> Record:
        """Return the record as a further write leaves it."""
        return self._replace(nonces=nonce + self.nonces[:-NONCE_SIZE])

    def is_past(self, now: int) -> bool:
        """Tell whether the deadline has passed.

        :param now: milliseconds since 1970.
        """
        return 0 < self.deadline <= now

    def describe(self) -> list[str]:
        """Return lines for people: what kind of record it is, and its times."""
        lines = [f"kind: {Kind(self.kind).name.lower()}", f"born: {_shown(self.born)}"]
        if self.authenticated:
            lines.append(f"authenticated: {_shown(self.authenticated)}")
        if self.deadline:
            lines.append(f"deadline: {_shown(self.deadline)}")
        if self.end_reason is not None:
            lines.append(f"reason: {self.end_reason.name.lower()}")
        return lines

    def pack(self) -> bytes:
        """Return everything after the signature."""
        return self.pack_header() + self.body

    def pack_header(self) -> bytes:
        """Return what stands between the signature and the body."""
        header = _HEADER.pack(
            self.nonces, self.born, self.authenticated, self.confirmed, self.deadline, self.user_digest
        )
        length = len(header) + len(self.later_fields)
        flags = ENCRYPTED if self.is_encrypted else 0
        return b"".join((_FIXED.pack(FORMAT, self.kind, flags, length), header, self.later_fields))

    @classmethod
    def unpack(cls, content: bytes) -> Record:
        """Read what :meth:`pack` wrote. The signature must have been verified.

        :raises NewerRecordError: if a newer version wrote it.
        :raises RecordError: if it is too short.
        """
        if len(content) < _FIXED.size:
            raise RecordError("the record is too short")
        record_format, kind, flags, length = _FIXED.unpack_from(content)
        # Flags change how the body reads, kinds what it means: to pass over an unknown one would be a silent downgrade.
        if record_format != FORMAT or flags & ~ENCRYPTED or kind not in _KINDS:
            raise NewerRecordError(f"the record has format {record_format}, kind {kind}, flags {flags}")
        body_start = _FIXED.size + length
        if length < _HEADER.size or len(content) < body_start:
            raise RecordError("the record is too short")
        nonces, born, authenticated, confirmed, deadline, user_digest = _HEADER.unpack_from(content, _FIXED.size)
        if born > _LAST_MS or authenticated > _LAST_MS or confirmed > _LAST_MS or deadline > _LAST_MS:
            raise RecordError("a time of the record is beyond the year 9999")
        return cls(
            kind,
            nonces,
            born,
            authenticated,
            confirmed,
            deadline,
            user_digest,
            content[body_start:],
            content[_BODY_START:body_start],
            flags == ENCRYPTED,
        )


def _shown(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds // 1000, UTC).isoformat()


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return int(time() * 1000)


def new_nonce() -> bytes:
    """Return the name of a new write."""
    return secrets.token_bytes(NONCE_SIZE)


def new_record(*, now: int, nonce: bytes, deadline: int, user_digest: bytes, body: bytes) -> Record:
    """Return the first record of a session.

    :param now: milliseconds since 1970.
    :param nonce: the name of the write that creates it.
    :param deadline: milliseconds since 1970, or zero.
    :param user_digest: whose session it is, or :data:`ANONYMOUS`.
    :param body: the payload.
    """
    return Record(
        Kind.LIVE,
        nonce.ljust(NONCE_SIZE * NONCES_KEPT, b"\0"),
        now,
        0 if user_digest == ANONYMOUS else now,
        now,
        deadline,
        user_digest,
        body,
    )


def ended_record(before: Record, reason: EndReason, *, now: int, nonce: bytes, replacement: str = "") -> Record:
    """Return what stands in a session's place once it is over.

    :param before: the session's last record; its nonces stay, so that a retried write can be told apart.
    :param reason: why it is over.
    :param replacement: the handle under which the session of the same user goes on, if it does.
    :param now: milliseconds since 1970.
    :param nonce: the name of the write that ends it.
    """
    return before.with_nonce(nonce)._replace(
        kind=Kind.ENDED,
        deadline=now + ENDED_SECONDS * 1000,
        body=bytes((reason,)) + replacement.encode("ascii"),
        later_fields=b"",
    )


def ended_at(record: Record) -> int:
    """Return when an ended record was written, in milliseconds since 1970."""
    return record.deadline - ENDED_SECONDS * 1000


class RecordSigner:
    """Sign and verify records, bound to their storage keys.

    :param secrets: the secret keys, oldest to newest, as in itsdangerous: the last one signs, all verify.
    """

    def __init__(self, secrets: Sequence[str | bytes]) -> None:
        derived = [
            Signer(secret, salt=_SALT, key_derivation="hmac", digest_method=sha256).derive_key() for secret in secrets
        ]
        # The key and the domain are the same for all: set once, they cost nothing again.
        self._newest_first = tuple(hmac.new(key, _DOMAIN, sha256) for key in reversed(derived))

    def sign(self, storage_key: bytes, content: bytes, position: int = 0) -> bytes:
        """Return the record: the signature, then the content.

        :param storage_key: the Redis key that the record will stand at.
        :param content: what :meth:`Record.pack` returned.
        :param position: of the key, from the newest on.
        """
        return _digest(self._newest_first[position], storage_key, content) + content

    def unsign(self, storage_key: bytes, record: bytes) -> tuple[bytes, bool]:
        """Verify a record and return its content, and whether the newest key signed it.

        :param storage_key: the Redis key that the record stood at.
        :param record: the bytes found there.
        :raises RecordError: if no key signed these bytes for this storage key.
        """
        content, position = self.find(storage_key, record)
        return content, position == 0

    def find(self, storage_key: bytes, record: bytes) -> tuple[bytes, int]:
        """Verify a record and return its content, and the position of the key that signed it, from the newest on.

        :raises RecordError: if no key signed these bytes for this storage key.
        """
        signature, content = record[:SIGNATURE_SIZE], record[SIGNATURE_SIZE:]
        for position, begun in enumerate(self._newest_first):
            if hmac.compare_digest(signature, _digest(begun, storage_key, content)):
                return content, position
        raise RecordError("the record's signature does not match")


def _digest(begun: hmac.HMAC, storage_key: bytes, content: bytes) -> bytes:
    signature = begun.copy()
    # The length keeps "key" + "content" from being read as another pair with the border elsewhere.
    signature.update(len(storage_key).to_bytes(2, "big") + storage_key)
    signature.update(content)
    return signature.digest()
