"""Walk all sessions of an application, and say what deserves a look. Reads only; no session lives longer for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from .exceptions import NewerRecordError, RecordError
from .pickling import Limits
from .pickling.inspector import Node, inspect_payload, refusals, type_names
from .storage.record import ANONYMOUS, Kind, now_ms
from .storage.sealing import RecordSealer
from .storage.store import Store

#: A session is near its limit from this part of it on.
NEAR_LIMIT = 0.8

#: Sessions near the limit that are listed; all are counted.
LISTED = 20

#: Seconds that one step may take.
STEP_SECONDS = 10.0


@dataclass(slots=True)
class AuditReport:
    """What an audit has found so far."""

    #: Live sessions that were read.
    sessions: int = 0
    #: Ended sessions, which stand for a while.
    ended: int = 0
    #: Old ids of renewed sessions, which lead to the new ones for a while.
    renewed: int = 0
    #: Why records could not be read -> how many.
    unreadable: Counter[str] = field(default_factory=Counter)
    #: Live sessions that are still under an old secret key, or plain where they should be encrypted.
    outdated: int = 0
    #: Live sessions that belong to somebody.
    signed_in: int = 0
    #: The digests of those whose they are.
    users: set[bytes] = field(default_factory=set)
    #: Bytes of all live payloads.
    size: int = 0
    #: Type -> values of it.
    types: Counter[str] = field(default_factory=Counter)
    #: Type that is not on the allow-list -> sessions with it.
    missing: Counter[str] = field(default_factory=Counter)
    #: Other parts that would be refused -> sessions with them.
    refused: Counter[str] = field(default_factory=Counter)
    #: How many sessions are near the limit of size.
    near_limit: int = 0
    #: Handle -> bytes, of some of them.
    largest: dict[str, int] = field(default_factory=dict)
    #: Where to go on; ``"0"`` when all was seen.
    cursor: str = "0"

    def as_json(self) -> dict[str, Any]:
        """Return it as what :func:`json.dumps` takes."""
        found = {name: getattr(self, name) for name in self.__slots__} | {"users": len(self.users)}
        return found | {"allow": [allow_line(n) for n in self.missing]}


def allow_line(name: str) -> str:
    """Return the line of configuration that allows a type."""
    module, separator, qualname = name.partition(":")
    # What stands within a function is found by nobody from outside.
    if separator and module and qualname and "<" not in qualname:
        return f'PICKLESESSION_ALLOW = [..., "{name}"]'
    return f'@allow(name="{name}")'


class Audit:
    """Audit the sessions of one application, step by step.

    :param store: where the records are.
    :param sealer: verifies and decrypts them.
    :param allowed: the names of the allow-list.
    :param limits: the application's limits.
    :param cursor: where an earlier audit stopped.
    """

    def __init__(
        self, store: Store, sealer: RecordSealer, allowed: frozenset[str], limits: Limits, *, cursor: str = "0"
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._allowed = allowed
        self._limits = limits
        self.report = AuditReport(cursor=cursor)

    def keys(self) -> int:
        """Return how many keys the server has, sessions or not.

        :raises StoreUnavailableError: if the store failed.
        """
        return self._store.count_keys(deadline=monotonic() + STEP_SECONDS)

    def steps(self, *, count: int = 200) -> Iterator[int]:
        """Go on until all sessions were seen; yield after each step how many records it looked at.

        :param count: about how many keys the server looks at in one step.
        :raises StoreUnavailableError: if the store failed; :attr:`report` tells where to go on.
        """
        while True:
            deadline = monotonic() + STEP_SECONDS
            following, handles = self._store.scan(self.report.cursor, count=count, deadline=deadline)
            records = self._store.load_many(handles, deadline=deadline)
            for handle, stored in zip(handles, records, strict=True):
                self._look_at(handle, stored)
            self.report.cursor = following
            yield len(handles)
            if following == "0":
                return

    def _look_at(self, handle: str, stored: bytes | RecordError | None) -> None:
        if stored is None:
            return
        try:
            if isinstance(stored, RecordError):
                raise stored
            record, is_current = self._sealer.unseal(self._store.storage_key(handle), stored)
        except (RecordError, NewerRecordError) as error:
            self.report.unreadable[str(error)] += 1
            return
        if record.is_past(now_ms()):
            return
        if record.kind == Kind.ENDED:
            self.report.ended += 1
            return
        if record.kind == Kind.RENEWED:
            self.report.renewed += 1
            return
        self.report.sessions += 1
        self.report.outdated += not is_current
        if record.user_digest != ANONYMOUS:
            self.report.signed_in += 1
            self.report.users.add(record.user_digest)
        self._look_into(handle, record.body)

    def _look_into(self, handle: str, payload: bytes) -> None:
        report = self.report
        report.size += len(payload)
        if len(payload) > self._limits.max_size * NEAR_LIMIT:
            report.near_limit += 1
            if len(report.largest) < LISTED:
                report.largest[handle] = len(payload)
        tree = inspect_payload(payload, allowed=self._allowed)
        report.types += type_names(tree)
        for reason in refusals(tree):
            name, separator, why = reason.rpartition(": ")
            if separator and why == "not on the allow-list":
                report.missing[name] += 1
            else:
                report.refused[reason] += 1

    def tree_of(self, handle: str) -> tuple[list[str], Node | None]:
        """Return what is known of one session: lines about its record, and the tree of its payload.

        Shows what it can of anything that stands there, whoever wrote it.

        :raises StoreUnavailableError: if the store failed.
        """
        (stored,) = self._store.load_many([handle], deadline=monotonic() + STEP_SECONDS)
        if stored is None:
            return ["There is no session with this handle."], None
        if isinstance(stored, RecordError):
            return [f"UNREADABLE: {stored}"], None
        try:
            record, is_current = self._sealer.unseal(self._store.storage_key(handle), stored)
        except (RecordError, NewerRecordError) as error:
            return [f"UNREADABLE: {error}", f"{len(stored)} bytes"], inspect_payload(stored, allowed=self._allowed)
        lines = record.describe()
        if not is_current:
            lines.append("under an old secret key, or plain where it should be encrypted")
        if record.kind != Kind.LIVE:
            return lines, None
        return lines, inspect_payload(record.body, allowed=self._allowed)
