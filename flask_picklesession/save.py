"""One save: compare-and-set with three-way merge, delete wins, a new id on a change of identity."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .cookie import handle_of, new_session_id
from .exceptions import PayloadError, RecordError, StoreUnavailableError
from .merge import ABSENT, Changes, Merged, merge
from .pickling import KeptFields, PickleSerializer, Stored
from .policies import Policy
from .report import Drop, Rejection, Reporter
from .session import Session
from .storage.record import (
    ANONYMOUS,
    END_REASONS,
    ENDED_SECONDS,
    EndReason,
    Kind,
    Record,
    ended_record,
    new_nonce,
    new_record,
    now_ms,
)
from .storage.sealing import RecordSealer
from .storage.store import Store


class Outcome(NamedTuple):
    """What a save means for the cookie."""

    #: The session id to set, or ``None`` where the browser's cookie is good as it is.
    set_id: str | None = None
    #: Whether the cookie is to be deleted.
    delete: bool = False


class _Standing(NamedTuple):
    """A live record, as it stands under its id."""

    session_id: str
    handle: str
    storage_key: bytes
    record: Record
    values: dict[str, Stored]


class _Gone(Exception):
    """The record to save over is no live one any more. To a save, absent is ended."""

    def __init__(self, reason: EndReason | None) -> None:
        self.reason = reason


class Save:
    """One save of one session. A class, since its steps share the session, its changes and the deadline.

    :param store: where the records are.
    :param serializer: values to bytes and back.
    :param sealer: from records to what stands in Redis.
    :param report: told what happens.
    :param absolute_timeout: seconds after which a new session ends however much it is used, or ``None``.
    :param session: a session that was used.
    :param changes: what the request changed in it.
    :param policies: key -> what becomes of it where two requests changed it at once.
    """

    def __init__(
        self,
        store: Store,
        serializer: PickleSerializer,
        sealer: RecordSealer,
        report: Reporter,
        session: Session,
        changes: Changes,
        *,
        absolute_timeout: float | None,
        policies: Mapping[str, Policy],
    ) -> None:
        self._store = store
        self._serializer = serializer
        self._sealer = sealer
        self._report = report
        self._session = session
        self._absolute_timeout = absolute_timeout
        self._policies = policies
        self._loaded = session.loaded
        self._changes = changes
        self._user_digest = ANONYMOUS
        self._deadline = 0.0

    def run(self, deadline: float, *, is_cookie_due: bool) -> Outcome:
        """Write what the request changed.

        :param deadline: on the clock of :func:`time.monotonic`.
        :param is_cookie_due: whether the cookie is to be set again, which needs a write: it confirms that the
            record is live.
        :raises StoreUnavailableError: if the store failed; whether anything was written is unknown.
        """
        session, session_id, record = self._session, self._loaded.session_id, self._loaded.record
        is_cookie_due = is_cookie_due or not self._loaded.is_current or self._changes.touches("_permanent")
        self._deadline = deadline
        self._user_digest = session.user_digest()
        if session_id is None or record is None:
            return self._begin()
        handle = handle_of(session_id)
        base = _Standing(session_id, handle, self._store.storage_key(handle), record, self._loaded.values)
        if session.is_cleared and not session.has_content:
            return self._end(base)
        if session.is_cleared or session.is_regenerated or self._user_digest != record.user_digest:
            return self._replace(base)
        return self._update(base, is_cookie_due=is_cookie_due)

    # -- a session that is not stored yet

    def _begin(self) -> Outcome:
        if not self._session.has_content:
            return Outcome(
                delete=self._session.is_cleared and self._loaded.had_cookie and not self._loaded.was_replaced
            )
        if self._loaded.was_replaced and self._user_digest == ANONYMOUS:
            # The newer cookie may be in the browser already: this request must not overwrite it.
            return self._dropped(Drop.ENDED)
        return self._saved(self._create(self._changes.assigned, inherit=None), created=True)

    def _create(self, values: dict[str, Stored], *, inherit: Record | None) -> _Standing:
        """Create a record under a new id.

        :param inherit: the record whose times it takes over, where the same identity goes on under the new id.
        """
        now, session_id = now_ms(), new_session_id()
        record = new_record(
            now=now,
            nonce=new_nonce(),
            deadline=now + int(self._absolute_timeout * 1000) if self._absolute_timeout else 0,
            user_digest=self._user_digest,
            body=self._serializer.dump_container(values),
        )
        if inherit is not None:
            record = record._replace(born=inherit.born, authenticated=inherit.authenticated, deadline=inherit.deadline)
        handle = handle_of(session_id)
        storage_key = self._store.storage_key(handle)
        signed = self._sealer.seal(storage_key, record)
        if not self._store.create(storage_key, signed, ttl=self._ttl(record), deadline=self._deadline).applied:
            # 256 random bits do not collide: somebody ended this session before it began.
            raise StoreUnavailableError("the place of a new session is taken")
        return _Standing(session_id, handle, storage_key, record, values)

    # -- a session that ends

    def _end(self, base: _Standing) -> Outcome:
        """End the session, whatever others write meanwhile."""
        self._put_ended(base)
        return self._ended(base)

    def _put_ended(self, standing: _Standing) -> None:
        ended = ended_record(standing.record, EndReason.DESTROYED, now=now_ms(), nonce=new_nonce())
        signed = self._sealer.seal(standing.storage_key, ended)
        self._store.end(standing.storage_key, signed, ttl=ENDED_SECONDS, deadline=self._deadline)

    # -- a session that is changed

    def _update(self, base: _Standing, *, is_cookie_due: bool) -> Outcome:
        """Write this request's changes over what stands there, however often others write in between."""
        current = base
        while True:
            merged = self._merged(base, current.values)
            written = self._following(current.record, merged.values)
            try:
                conflict = self._compare_and_set(current, written)
            except _Gone:
                return self._dropped(Drop.ENDED)
            if conflict is None:
                break
            if conflict.record.user_digest != base.record.user_digest:
                return self._dropped(Drop.IDENTITY)
            current = conflict
        if merged.given_way:
            self._report.dropped(Drop.QUARANTINED, merged.given_way)
        if written.kind == Kind.ENDED:
            return self._ended(base)
        saved = self._saved(base._replace(record=written, values=merged.values), created=False)
        return saved if is_cookie_due else Outcome()

    def _following(self, record: Record, values: dict[str, Stored]) -> Record:
        """Return the record of the next write: with these values, or ended where none are left."""
        if not values:
            return ended_record(record, EndReason.DESTROYED, now=now_ms(), nonce=new_nonce())
        return record.with_nonce(new_nonce())._replace(body=self._serializer.dump_container(values))

    # -- a session that goes on under a new id

    def _replace(self, base: _Standing) -> Outcome:
        """Create what this request makes of the session under a new id, then end the old record.

        What others saved before that moment is merged into the new record; what comes later finds an ended one.
        """
        inherit = None if self._is_new_identity(base) else base.record
        current = base
        new = self._put_replacement(None, base, current, inherit)
        while True:
            reason = EndReason.REPLACED if new else EndReason.DESTROYED
            ended = ended_record(current.record, reason, now=now_ms(), nonce=new_nonce())
            try:
                conflict = self._compare_and_set(current, ended)
            except _Gone as gone:
                return self._replace_gone(base, new, gone.reason)
            if conflict is None:
                break
            if conflict.record.user_digest != base.record.user_digest:
                self._abandon(new)
                return self._dropped(Drop.IDENTITY)
            current = conflict
            new = self._put_replacement(new, base, current, inherit)
        if new is None:
            return self._ended(base)
        self._report.ended(base.handle, EndReason.REPLACED)
        self._report.regenerated(new.handle, old_handle=base.handle)
        return self._saved(new, created=True)

    def _is_new_identity(self, base: _Standing) -> bool:
        return self._session.is_cleared or self._user_digest != base.record.user_digest

    def _put_replacement(
        self, new: _Standing | None, base: _Standing, current: _Standing, inherit: Record | None
    ) -> _Standing | None:
        """Create or rewrite the new record from my changes and what stands under the old id.

        :return: the new record, or ``None`` where nothing is left to store.
        """
        # clear() is a barrier: nothing of the old session is taken along.
        theirs = {} if self._session.is_cleared else current.values
        merged = self._merged(base, theirs)
        if merged.given_way:
            self._report.dropped(Drop.QUARANTINED, merged.given_way)
        if new is not None:
            return self._rewrite(new, merged.values)
        return self._create(merged.values, inherit=inherit) if merged.values else None

    def _rewrite(self, new: _Standing, values: dict[str, Stored]) -> _Standing:
        written = new.record.with_nonce(new_nonce())._replace(body=self._serializer.dump_container(values))
        try:
            conflict = self._compare_and_set(new, written)
        except _Gone:
            conflict = new
        if conflict is not None:
            # Nobody knows this id yet: only a revocation or an eviction can have come between.
            raise StoreUnavailableError("the new session was lost")
        return new._replace(record=written, values=values)

    def _replace_gone(self, base: _Standing, new: _Standing | None, reason: EndReason | None) -> Outcome:
        """Decide what becomes of the new record where the old one was gone already."""
        is_login = self._user_digest != ANONYMOUS and self._is_new_identity(base)
        if new is None or not is_login:
            self._abandon(new)
            return self._dropped(Drop.ENDED)
        if base.record.user_digest != ANONYMOUS or reason is not EndReason.REPLACED:
            # The base ended for another reason than a parallel sign-in: what it held must not come back.
            new = self._rewrite(new, self._changes.assigned)
        return self._saved(new, created=True)

    def _abandon(self, new: _Standing | None) -> None:
        if new is not None:
            self._put_ended(new)

    # -- the store

    def _compare_and_set(self, current: _Standing, written: Record) -> _Standing | None:
        """Write a record over another one.

        :return: ``None`` if it stands; otherwise what another request has put there.
        :raises _Gone: if nothing live stands there.
        """
        signed = self._sealer.seal(current.storage_key, written)
        ttl = ENDED_SECONDS if written.kind == Kind.ENDED else self._ttl(written)
        expected = current.record.nonce
        saved = self._store.save(current.storage_key, expected, signed, ttl=ttl, deadline=self._deadline)
        if saved.applied:
            return None
        record = self._verified(current.storage_key, saved.current)
        if record is None:
            raise _Gone(None)
        if saved.repeated and record.written_by(written.nonce):
            # The first sending was applied and only its reply was lost.
            return None
        if record.kind == Kind.ENDED or record.is_past(now_ms()):
            raise _Gone(END_REASONS.get(record.body) if record.kind == Kind.ENDED else None)
        if saved.repeated and not record.written_by(expected):
            raise StoreUnavailableError("too many writes came after a lost reply to tell whether ours was applied")
        return current._replace(record=record, values=self._container(record))

    def _verified(self, storage_key: bytes, current: bytes | None) -> Record | None:
        if current is None:
            return None
        try:
            return self._sealer.unseal(storage_key, current)[0]
        except RecordError:
            self._report.rejected(Rejection.RECORD)
            return None

    def _container(self, record: Record) -> dict[str, Stored]:
        try:
            return self._serializer.load_container(record.body)
        except PayloadError:
            self._report.rejected(Rejection.PAYLOAD)
            raise _Gone(None) from None

    def _merged(self, base: _Standing, theirs: dict[str, Stored]) -> Merged:
        resolvers = {key: self._resolver(key, policy) for key, policy in self._policies.items()}
        return merge(base.values, self._changes, theirs, is_restorable=self._is_restorable, resolvers=resolvers)

    def _resolver(self, key: str, policy: Policy) -> Callable[[Any, Any, Any], Any]:
        """Return a policy for stored values."""

        def resolve(*sides: Any) -> Any:
            kept = KeptFields()
            try:
                values = [side if side is ABSENT else self._serializer.load_value(side, kept) for side in sides]
            except PayloadError:
                # The base is of a type that this worker cannot restore.
                return sides[1]
            value = policy(*values)
            return ABSENT if value is ABSENT else self._serializer.dump_value(value, f"session[{key!r}]", kept)

        return resolve

    def _is_restorable(self, stored: object) -> bool:
        try:
            self._serializer.load_value(stored)  # type: ignore[arg-type]  # it came out of a container
        except PayloadError:
            return False
        return True

    def _ttl(self, record: Record) -> int:
        """Return the seconds that Redis keeps a live record."""
        idle = self._loaded.idle_timeout
        if not record.deadline:
            return idle
        return max(1, min(idle, math.ceil((record.deadline - now_ms()) / 1000)))

    # -- what came of it

    def _saved(self, standing: _Standing, *, created: bool) -> Outcome:
        self._session.adopt_saved(standing.session_id, standing.record, standing.values, self._changes)
        self._report.saved(standing.handle, created=created)
        return Outcome(set_id=standing.session_id)

    def _ended(self, base: _Standing) -> Outcome:
        self._session.forget()
        self._report.ended(base.handle, EndReason.DESTROYED)
        return Outcome(delete=True)

    def _dropped(self, reason: Drop) -> Outcome:
        self._session.forget()
        self._report.dropped(reason, (*self._changes.assigned, *self._changes.deleted))
        return Outcome()
