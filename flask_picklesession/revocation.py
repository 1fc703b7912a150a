"""End sessions from outside: by handle, by user, all of them. An ended record stands in each one's place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import monotonic

from .exceptions import NewerRecordError, RecordError, StoreUnavailableError
from .renewal import successor_of
from .report import Reporter
from .storage.index import Member, UserIndex
from .storage.record import (
    ANONYMOUS,
    END_REASONS,
    ENDED_SECONDS,
    EndReason,
    Kind,
    Record,
    ended_at,
    ended_record,
    new_nonce,
    new_record,
    now_ms,
)
from .storage.sealing import RecordSealer
from .storage.store import Store

#: Seconds that one step may take. Each call of a revocation is many steps.
STEP_SECONDS = 10.0

#: Renewals that a revocation follows, from whichever handle somebody has kept: one an hour for a year are 8,760.
MOST_SUCCESSORS = 10_000

#: Passes over a user's sessions before a revocation gives up: each finds only what was created during the last one.
MOST_PASSES = 50

#: Milliseconds by which the clocks of two machines may differ.
CLOCKS_DIFFER_MS = 5_000


class Revoker:
    """End sessions of one application.

    :param store: where the records are.
    :param sealer: from records to what stands in Redis, and back.
    :param users: the index of users.
    :param report: told what ended.
    """

    def __init__(self, store: Store, sealer: RecordSealer, users: UserIndex, report: Reporter) -> None:
        self._store = store
        self._sealer = sealer
        self._users = users
        self._report = report

    def end(
        self,
        handle: str,
        reason: EndReason,
        *,
        known: Record | None = None,
        deadline: float | None = None,
        is_quiet: bool = False,
    ) -> bool:
        """End a session whatever stands there, and what it was renewed to. Also where nothing stands yet.

        :param known: what stood there when the caller looked, if it did.
        :param deadline: on the clock of :func:`time.monotonic`.
        :param is_quiet: whether the caller reports it.
        :return: whether a session, or something that cannot be read, stood there.
        :raises StoreUnavailableError: if the store failed: the session may not be over.
        """
        was_there = False
        for _hop in range(MOST_SUCCESSORS):
            before, was_something = self._end_one(handle, reason, known, deadline)
            known = None
            if before is None:
                return was_there or was_something
            was_there = was_there or not before.is_past(now_ms())
            if before.kind == Kind.LIVE:
                if not is_quiet:
                    self._report.ended(handle, reason)
                return was_there
            try:
                handle = successor_of(before)
            except RecordError:
                return True
        raise StoreUnavailableError("the session was renewed more often than can be followed")

    def _end_one(
        self, handle: str, reason: EndReason, known: Record | None, deadline: float | None
    ) -> tuple[Record | None, bool]:
        """End what stands behind one handle.

        A record that can be read is replaced by compare-and-set: then it is known what stood there, and where it led,
        also if a reply is lost and the command sent again.

        :return: the live or renewed record that was ended, or ``None``; and whether something that cannot be read was.
        """
        storage_key = self._store.storage_key(handle)
        deadline = deadline or monotonic() + STEP_SECONDS
        if known is None:
            (stored,) = self._store.load_many([handle], deadline=deadline)
            known = self._read(storage_key, stored)
        while known is not None:
            if known.kind == Kind.ENDED:
                return None, False
            sealed = self._ended(storage_key, reason)
            saved = self._store.save(storage_key, known.nonce, sealed, ttl=ENDED_SECONDS, deadline=deadline)
            if saved.applied or saved.current == sealed:
                return known, False
            known = self._read(storage_key, saved.current)
        before = self._store.end(storage_key, self._ended(storage_key, reason), ttl=ENDED_SECONDS, deadline=deadline)
        record = self._read(storage_key, before)
        if record is None or record.kind == Kind.ENDED:
            return None, before is not None and record is None
        return record, False

    def _ended(self, storage_key: bytes, reason: EndReason) -> bytes:
        return self._sealer.seal(storage_key, ended_record(_NOTHING, reason, now=now_ms(), nonce=new_nonce()))

    def end_user(self, user_digest: bytes, *, keep: str | None = None, deadline: float | None = None) -> int:
        """End all sessions of a user, again and again until a pass finds nothing to end.

        :param keep: the handle of a session that goes on, and what it was renewed to.
        :param deadline: on the clock of :func:`time.monotonic`, where a request waits for it.
        :return: how many ended.
        :raises StoreUnavailableError: if the store failed, or sessions were made faster than they could be ended.
        """
        count = 0
        seen: set[str] = set()
        for _pass in range(MOST_PASSES):
            kept = self._with_successors(keep)
            known = set(seen)
            found = [member for member in self._unended(user_digest, seen, deadline) if member.handle not in kept]
            # One may have been renewed since it was kept: its successor is the session to keep.
            kept = self._with_successors(keep)
            ended = [
                self.end(member.handle, EndReason.REVOKED, deadline=deadline)
                for member in found
                if member.handle not in kept
            ]
            # A session may have taken a new id between the look at the index and the look at its record.
            if not ended and seen <= known:
                return count
            count += sum(ended)
        raise StoreUnavailableError("the user's sessions were made faster than they could be ended")

    def scan(self) -> Iterator[tuple[str, Record | None]]:
        """Yield the handle and the record of each stored session; ``None`` where it cannot be read.

        :raises StoreUnavailableError: if the store failed.
        """
        cursor = "0"
        while True:
            deadline = monotonic() + STEP_SECONDS
            cursor, handles = self._store.scan(cursor, count=200, deadline=deadline)
            records = self._store.load_many(handles, deadline=deadline)
            for handle, stored in zip(handles, records, strict=True):
                if stored is not None:
                    yield handle, self._read(self._store.storage_key(handle), stored)
            if cursor == "0":
                return

    def end_scanned(self, user_digest: bytes | None = None, *, keep: str | None = None) -> tuple[int, int]:
        """Go through all stored sessions and end those of a user, or all. For the loss of an index.

        Again, while sessions of users take new ids meanwhile.

        :param user_digest: whose, or ``None`` for everybody's.
        :param keep: the handle of a session that goes on.
        :return: how many ended, and how many records could not be read and were left.
        :raises StoreUnavailableError: if the store failed, or sessions took new ids faster than they could be ended.
        """
        count = 0
        replaced: set[str] = set()
        for _pass in range(MOST_PASSES):
            since = now_ms() - CLOCKS_DIFFER_MS
            kept = self._with_successors(keep)
            unread, is_over = 0, True
            for handle, record in self.scan():
                if record is None:
                    unread += 1
                elif handle in kept or user_digest not in (None, record.user_digest):
                    continue
                elif record.kind != Kind.ENDED:
                    was_ended = self.end(handle, EndReason.REVOKED)
                    count += was_ended
                    is_over = is_over and was_ended
                elif handle not in replaced and _was_replaced(record, since):
                    # Its new id may have come where the cursor had been: SCAN promises what is there all the time only.
                    replaced.add(handle)
                    is_over = False
            if is_over:
                return count, unread
        raise StoreUnavailableError("sessions took new ids faster than they could be ended")

    def _unended(self, user_digest: bytes, seen: set[str], deadline: float | None) -> Iterable[Member]:
        """Return the members that a revocation has to end: all but those that are over for sure.

        :param seen: takes the handles of all members.
        """
        found: list[Member] = []
        gone: list[str] = []
        deadline = deadline or monotonic() + STEP_SECONDS
        for page in self._users.pages(user_digest, deadline=deadline):
            seen.update(member.handle for member in page)
            records = self._store.load_many([member.handle for member in page], deadline=deadline)
            for member, stored in zip(page, records, strict=True):
                record = self._read(self._store.storage_key(member.handle), stored)
                if stored is None and is_settled(member):
                    gone.append(member.handle)
                elif record is not None and record.kind != Kind.ENDED and record.user_digest != user_digest:
                    # Somebody else's, which the index names only because somebody put it there.
                    gone.append(member.handle)
                elif record is None or record.kind != Kind.ENDED:
                    found.append(member)
        self._users.remove(user_digest, gone, deadline=deadline)
        return found

    def _with_successors(self, handle: str | None) -> set[str]:
        kept: set[str] = set()
        while handle is not None and handle not in kept and len(kept) < MOST_SUCCESSORS:
            kept.add(handle)
            storage_key = self._store.storage_key(handle)
            (stored,) = self._store.load_many([handle], deadline=monotonic() + STEP_SECONDS)
            record = self._read(storage_key, stored)
            try:
                handle = successor_of(record) if record is not None and record.kind == Kind.RENEWED else None
            except RecordError:
                handle = None
        return kept

    def _read(self, storage_key: bytes, stored: bytes | RecordError | None) -> Record | None:
        if not isinstance(stored, bytes):
            return None
        try:
            return self._sealer.unseal(storage_key, stored)[0]
        except (RecordError, NewerRecordError):
            return None


def is_settled(member: Member) -> bool:
    """Tell whether no create of this session can be under way any more."""
    # One that begins later than any clock may go was put there by somebody who wants it to be looked for.
    return abs(now_ms() - member.born) > ENDED_SECONDS * 1000


def _was_replaced(record: Record, since: int) -> bool:
    """Tell whether a user's session took a new id lately. What begins with a sign-in is another session."""
    return (
        record.user_digest != ANONYMOUS
        and END_REASONS.get(record.body) is EndReason.REPLACED
        and ended_at(record) >= since
    )


_NOTHING = new_record(now=0, nonce=b"", deadline=0, user_digest=ANONYMOUS, body=b"")
