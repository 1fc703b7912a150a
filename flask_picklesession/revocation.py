"""End sessions from outside: by handle, by user, all of them. An ended record stands in each one's place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import NamedTuple

from .exceptions import NewerRecordError, RecordError, StoreUnavailableError
from .renewal import next_handle
from .report import Reporter
from .storage.index import Member, UserIndex
from .storage.record import (
    ANONYMOUS,
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

#: Seconds that one step may take, outside of requests.
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
    :param step_seconds: how long one step may take. Each call of a revocation is many steps.
    """

    def __init__(
        self, store: Store, sealer: RecordSealer, users: UserIndex, report: Reporter, *, step_seconds: float
    ) -> None:
        self._step_seconds = step_seconds
        self._store = store
        self._sealer = sealer
        self._users = users
        self._report = report

    def belongs_to(self, handle: str, user_digest: bytes | None) -> bool:
        """Tell whether a session is a user's, or was before it went on under another id.

        :raises StoreUnavailableError: if the store failed.
        """
        record = self._load(handle)
        return record is not None and record.user_digest == user_digest

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

        The newest id first: should that fail half-way, the older ones still lead to what is left.

        :param known: what stood there when the caller looked, if it did.
        :param deadline: on the clock of :func:`time.monotonic`.
        :param is_quiet: whether the caller reports it.
        :return: whether a session, or something that cannot be read, stood there, or where that led.
        :raises StoreUnavailableError: if the store failed: the session may not be over.
        """
        trail: dict[str, Record] = {}
        newest: str | None = handle
        was_there = False
        while newest is not None and newest not in trail:
            if len(trail) >= MOST_SUCCESSORS:
                raise StoreUnavailableError("the session was renewed more often than can be followed")
            before, was_something = self._end_one(newest, reason, known, deadline, is_lead_left=True)
            known = None
            if before is None:
                was_there = was_something
                break
            if before.kind == Kind.LIVE:
                was_there = not before.is_past(now_ms())
                if not is_quiet:
                    self._report.ended(newest, reason)
                break
            trail[newest] = before
            newest = next_handle(before)
        for older, before in reversed(trail.items()):
            self._end_one(older, reason, before, deadline)
        return was_there

    def end_one(self, handle: str, reason: EndReason, *, replacement: str, deadline: float) -> None:
        """End what stands behind one handle, and not what it leads to.

        :param replacement: the handle under which the session goes on, if it does.
        :param deadline: on the clock of :func:`time.monotonic`.
        :raises StoreUnavailableError: if the store failed.
        """
        self._end_one(handle, reason, None, deadline, replacement)

    def _end_one(
        self,
        handle: str,
        reason: EndReason,
        known: Record | None,
        deadline: float | None,
        replacement: str = "",
        *,
        is_lead_left: bool = False,
    ) -> tuple[Record | None, bool]:
        """End what stands behind one handle.

        A record that can be read is replaced by compare-and-set: then it is known what stood there, and where it led,
        also if a reply is lost and the command sent again.

        :param is_lead_left: whether a record that leads to another one is left as it is.
        :return: the record that stood there, or ``None``; and whether something that cannot be read did.
        """
        storage_key = self._store.storage_key(handle)
        deadline = deadline or self._step()
        if known is None:
            (stored,) = self._store.load_many([handle], deadline=deadline)
            known = self._read(storage_key, stored)
        while known is not None:
            if known.kind == Kind.ENDED or (is_lead_left and known.kind == Kind.RENEWED):
                return known, False
            sealed = self._ended(storage_key, reason, replacement, known.user_digest)
            saved = self._store.save(storage_key, known.nonce, sealed, ttl=ENDED_SECONDS, deadline=deadline)
            if saved.applied or saved.current == sealed:
                return known, False
            known = self._read(storage_key, saved.current)
        sealed = self._ended(storage_key, reason, replacement)
        before = self._store.end(storage_key, sealed, ttl=ENDED_SECONDS, deadline=deadline)
        record = self._read(storage_key, before)
        return record, before is not None and record is None

    def _ended(
        self, storage_key: bytes, reason: EndReason, replacement: str = "", user_digest: bytes = ANONYMOUS
    ) -> bytes:
        # Whose it was, is asked when its user ends it once more, by a handle that it had.
        before = _NOTHING._replace(user_digest=user_digest)
        ended = ended_record(before, reason, now=now_ms(), nonce=new_nonce(), replacement=replacement)
        return self._sealer.seal(storage_key, ended)

    def end_user(self, user_digest: bytes, *, keep: str | None = None, deadline: float | None = None) -> int:
        """End all sessions of a user, again and again until a pass finds nothing to end.

        :param keep: the handle of a session that goes on, and what it was renewed to.
        :param deadline: on the clock of :func:`time.monotonic`, where a request waits for it.
        :return: how many ended.
        :raises StoreUnavailableError: if the store failed, or sessions were made faster than they could be ended.
        :raises NewerRecordError: behind all others, if a newer version wrote some, which only that can end.
        """
        count = 0
        seen: set[str] = set()
        newer: list[NewerRecordError] = []
        kept = _Kept(self._load, keep)
        for _pass in range(MOST_PASSES):
            known, found = len(seen), 0

            def look(page: list[Member]) -> list[str]:
                nonlocal found, count
                sorted_out = self._sort_out(page, user_digest, deadline or self._step())
                newer.extend(sorted_out.newer)
                kept.follow()
                seen.update({member.handle for member in page}.difference(sorted_out.gone, kept.handles))
                for handle in sorted_out.absent:
                    # Stored meanwhile, it is looked at in the next pass: the kept one may go on under it.
                    found += not self._end_absent(handle, deadline or self._step())
                for handle, record in sorted_out.unended:
                    if not kept.holds(handle, record):
                        try:
                            count += self.end(handle, EndReason.REVOKED, deadline=deadline)
                        except NewerRecordError as error:
                            newer.append(error)
                        else:
                            found += 1
                return sorted_out.gone

            self._users.go_through(user_digest, look, deadline=lambda: deadline or self._step())
            # A session may have taken a new id between the look at the index and the look at its record.
            if not found and len(seen) == known:
                if newer:
                    raise newer[0]
                return count
        raise StoreUnavailableError("the user's sessions were made faster than they could be ended")

    def scan(self) -> Iterator[tuple[str, Record | NewerRecordError | None]]:
        """Yield the handle and the record of each stored session; ``None`` where it is nobody's.

        :raises StoreUnavailableError: if the store failed.
        """
        cursor = "0"
        while True:
            deadline = self._step()
            cursor, handles = self._store.scan(cursor, count=200, deadline=deadline)
            records = self._store.load_many(handles, deadline=deadline)
            for handle, stored in zip(handles, records, strict=True):
                if stored is not None:
                    yield handle, self._read_or_newer(handle, stored)
            if cursor == "0":
                return

    def end_scanned(self, user_digest: bytes | None = None, *, keep: str | None = None) -> tuple[int, int]:
        """Go through all stored sessions and end those of a user, or all. For the loss of an index.

        Again, while sessions of users take new ids meanwhile.

        :param user_digest: whose, or ``None`` for everybody's.
        :param keep: the handle of a session that goes on.
        :return: how many ended, and how many records could not be read and were left.
        :raises StoreUnavailableError: if the store failed, or sessions took new ids faster than they could be ended.
        :raises NewerRecordError: behind all others, if a newer version wrote some, which only that can end.
        """
        count = 0
        replaced: set[str] = set()
        kept = _Kept(self._load, keep)
        for _pass in range(MOST_PASSES):
            since = now_ms() - CLOCKS_DIFFER_MS
            unread, is_over = 0, True
            newer: NewerRecordError | None = None
            for handle, record in self.scan():
                if isinstance(record, NewerRecordError):
                    newer = record
                elif record is None:
                    unread += 1
                elif user_digest not in (None, record.user_digest):
                    continue
                elif record.kind != Kind.ENDED:
                    kept.follow()
                    if kept.holds(handle, record):
                        continue
                    try:
                        was_ended = self.end(handle, EndReason.REVOKED)
                    except NewerRecordError as error:
                        newer = error
                        continue
                    count += was_ended
                    is_over = is_over and was_ended
                elif handle not in replaced and _was_replaced(record, since):
                    # Its new id may have come where the cursor had been: SCAN promises what is there all the time only.
                    replaced.add(handle)
                    is_over = False
            if is_over:
                if newer is not None:
                    raise newer
                return count, unread
        raise StoreUnavailableError("sessions took new ids faster than they could be ended")

    def _sort_out(self, page: list[Member], user_digest: bytes, deadline: float) -> _Sorted:
        """Tell which members are gone, which a revocation has to end, and which may be about to be stored."""
        found = _Sorted([], [], [], [])
        records = self._store.load_many([member.handle for member in page], deadline=deadline)
        for member, stored in zip(page, records, strict=True):
            record = self._read_or_newer(member.handle, stored)
            if isinstance(record, NewerRecordError):
                found.newer.append(record)
            elif stored is None:
                (found.gone if member.is_settled else found.absent).append(member.handle)
            elif record is None or (record.kind != Kind.ENDED and record.user_digest == user_digest):
                found.unended.append((member.handle, record))
            elif record.kind != Kind.ENDED:
                # Somebody else's, which the index names only because somebody put it there.
                found.gone.append(member.handle)
        return found

    def _end_absent(self, handle: str, deadline: float) -> bool:
        """Keep a session from being stored, unless it was stored meanwhile.

        :return: whether it cannot begin any more.
        """
        storage_key = self._store.storage_key(handle)
        sealed = self._ended(storage_key, EndReason.REVOKED)
        created = self._store.create(storage_key, sealed, ttl=ENDED_SECONDS, deadline=deadline)
        if not created.applied and created.current is None:
            # What is no record stands there: nobody's session.
            self._store.end(storage_key, sealed, ttl=ENDED_SECONDS, deadline=deadline)
            return True
        return created.applied

    def _load(self, handle: str) -> Record | None:
        (stored,) = self._store.load_many([handle], deadline=self._step())
        return self._read(self._store.storage_key(handle), stored)

    def _step(self) -> float:
        return monotonic() + self._step_seconds

    def _read(self, storage_key: bytes, stored: bytes | RecordError | None) -> Record | None:
        """Return a record, or ``None`` where what stands there is nobody's session.

        :raises NewerRecordError: if a newer version wrote it: where it leads, that knows.
        """
        if not isinstance(stored, bytes):
            return None
        try:
            return self._sealer.unseal(storage_key, stored)[0]
        except RecordError:
            return None

    def _read_or_newer(self, handle: str, stored: bytes | RecordError | None) -> Record | NewerRecordError | None:
        try:
            return self._read(self._store.storage_key(handle), stored)
        except NewerRecordError as error:
            return error


class _Sorted(NamedTuple):
    """The members of a user's index, as a revocation sees them. What is over for sure is none of these."""

    #: Handles to be pruned.
    gone: list[str]
    #: Handles without a record.
    absent: list[str]
    #: Handles and records to be ended; ``None`` where it cannot be read.
    unended: list[tuple[str, Record | None]]
    #: Of those that a newer version wrote, why they cannot be read.
    newer: list[NewerRecordError]


class _Kept:
    """The session that a revocation keeps, with all ids that lead to it.

    Each is gone through once: there may be thousands, of a session that was renewed again and again.

    :param load: returns the record behind a handle, or ``None``.
    :param handle: the session's, or an older one of it; ``None`` keeps none.
    """

    def __init__(self, load: Callable[[str], Record | None], handle: str | None) -> None:
        self._load = load
        self._newest = handle
        self._record: Record | None = None
        #: The session's handle, those that it goes on under, and those that were found to lead to these.
        self.handles: set[str] = set()

    def follow(self) -> None:
        """Look where it goes on by now."""
        following, walked = self._newest, set[str]()
        while following is not None and following not in walked and len(walked) < MOST_SUCCESSORS:
            walked.add(following)
            self._newest, self._record = following, self._load(following)
            following = None if self._record is None else next_handle(self._record)
        self.handles |= walked

    def holds(self, handle: str, record: Record | None) -> bool:
        """Tell whether this is the session, an old id of it, or what it is just about to go on under."""
        if handle in self.handles:
            return True
        return record is not None and (self._is_successor(record) or self._is_led_to_by(record))

    def _is_successor(self, record: Record) -> bool:
        # A successor is stored before the record that leads to it.
        return (
            self._record is not None
            and not record.confirmed
            and record.kind == self._record.kind == Kind.LIVE
            and not record.last_writes.isdisjoint(self._record.last_writes)
        )

    def _is_led_to_by(self, record: Record) -> bool:
        handle = next_handle(record) if self.handles else None
        walked: set[str] = set()
        while handle is not None and handle not in walked and len(walked) < MOST_SUCCESSORS:
            if handle in self.handles:
                self.handles |= walked
                return True
            walked.add(handle)
            found = self._load(handle)
            handle = None if found is None else next_handle(found)
        return False


def _was_replaced(record: Record, since: int) -> bool:
    """Tell whether a user's session took a new id lately. What begins with a sign-in is another session."""
    return record.user_digest != ANONYMOUS and record.end_reason is EndReason.REPLACED and ended_at(record) >= since


_NOTHING = new_record(now=0, nonce=b"", deadline=0, user_digest=ANONYMOUS, body=b"")
