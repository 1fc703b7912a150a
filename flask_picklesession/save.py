"""One save: compare-and-set with three-way merge, delete wins, a new id on a change of identity or a due renewal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from .cookie import Outcome, handle_of, new_session_id
from .exceptions import (
    NewerRecordError,
    OpenedSessionError,
    PayloadError,
    RecordError,
    SessionConflictError,
    SessionDroppedError,
    SessionLimitError,
    StoreUnavailableError,
)
from .merge import ABSENT, Changes, Merged, merge
from .pickling import KeptFields, PickleSerializer, Stored
from .policies import Policy, append
from .renewal import MOST_HOPS, Found, Lost, SuccessorIds, follow, next_handle, renewed_record
from .report import Drop, Rejection, Reporter
from .revocation import Revoker
from .session import Session
from .storage.connection import Command
from .storage.index import UserIndex, new_member
from .storage.record import (
    ANONYMOUS,
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
from .user_sessions import UserSessions

#: Bytes that are written to tell the items of three lists apart: several times what three values may take.
MOST_APART = 4_000_000

#: Bytes that can be written in the time that it takes to begin with an item.
BYTES_PER_ITEM = 16

#: Ids that a session is tried to go on under.
MOST_ATTEMPTS = 3


class SaveRules(NamedTuple):
    """What an application's settings say about saving. Times are in seconds."""

    #: After which a session ends however much it is used, or ``None``.
    absolute_timeout: float | None = None
    #: Key -> what becomes of it where two requests changed it at once.
    policies: Mapping[str, Policy] = {}
    #: Whether a dropped write is an error.
    is_drop_error: bool = False
    #: After which a session goes on under a new id, or ``None``.
    renew_every: float | None = None
    #: How many sessions a user may have, or ``None``.
    max_sessions: int | None = None
    #: Whether the oldest session makes room for one too many. Otherwise that one is refused.
    evicts: bool = False


class Tools(NamedTuple):
    """What a save works with."""

    store: Store
    serializer: PickleSerializer
    sealer: RecordSealer
    successors: SuccessorIds
    report: Reporter
    user_index: UserIndex
    user_sessions: UserSessions
    revoker: Revoker


class _Standing(NamedTuple):
    """A live record, as it stands under its id."""

    #: ``None`` where only the handle is known.
    session_id: str | None
    handle: str
    storage_key: bytes
    record: Record
    values: dict[str, Stored]
    #: Whether it is the successor of the session that led to it, and nobody has used its id.
    is_offered: bool = False


class _Gone(Exception):
    """The record to save over is no live one any more. To a save, absent is ended."""

    def __init__(self, reason: EndReason | None, goes_on: str | None = None, *, unreadable: str | None = None) -> None:
        self.reason = reason
        #: The handle of a live session whose payload this worker cannot read. Another one may.
        self.unreadable = unreadable
        #: The handle under which the session goes on for the same user, where that is known.
        self.goes_on = goes_on

    @property
    def left(self) -> str | None:
        """The handle of what is to be ended, where somebody signs out who cannot take it along."""
        return self.unreadable or self.goes_on


class Save:
    """One save of one session. A class, since its steps share the session, its changes and the deadline.

    :param tools: the store and what stands around it.
    :param rules: what the application's settings say.
    :param session: a session that was used.
    :param changes: what the request changed in it.
    :param is_single: whether a write of another request is a conflict instead of being merged.
    """

    def __init__(
        self, tools: Tools, rules: SaveRules, session: Session, changes: Changes, *, is_single: bool = False
    ) -> None:
        self._store = tools.store
        self._serializer = tools.serializer
        self._sealer = tools.sealer
        self._successors = tools.successors
        self._report = tools.report
        self._users = tools.user_index
        self._user_sessions = tools.user_sessions
        self._revoker = tools.revoker
        self._rules = rules
        self._session = session
        self._loaded = session.loaded
        self._changes = changes
        self._is_single = is_single
        self._user_digest = ANONYMOUS
        self._deadline = 0.0
        #: The handle of a session that this request leaves, and is none of its own.
        self._left: str | None = None

    def run(self, deadline: float, *, is_cookie_due: bool) -> Outcome:
        """Write what the request changed.

        :param deadline: on the clock of :func:`time.monotonic`.
        :param is_cookie_due: whether the cookie is to be set again, which needs a write: it confirms that the
            record is live.
        :raises StoreUnavailableError: if the store failed; whether anything was written is unknown.
        :raises SessionDroppedError: if the write was dropped and that is an error.
        :raises SessionLimitError: if the user has as many sessions as may be.
        """
        session, loaded = self._session, self._loaded
        self._deadline = deadline
        self._user_digest = session.user_digest()
        if loaded.record is None or loaded.handle is None:
            return self._begin()
        if loaded.is_opened and not any(map(self._changes.touches, session.identity_keys)):
            # Whoever holds the secret key can plant values that name somebody else than their record.
            self._user_digest = loaded.record.user_digest
        base = _Standing(
            loaded.session_id, loaded.handle, self._store.storage_key(loaded.handle), loaded.record, loaded.values
        )
        if session.is_cleared and not session.has_content:
            return self._end(base)
        if session.is_cleared or session.is_regenerated or self._user_digest != base.record.user_digest:
            return self._replace(base)
        if is_renewal_due(loaded.record, self._rules, is_by_own_cookie=loaded.is_by_own_cookie):
            return self._renew(base)
        due = is_cookie_due or not loaded.is_current or loaded.is_offered or self._changes.touches("_permanent")
        return self._update(base, is_cookie_due=due)

    # -- a session that is not stored yet

    def _begin(self) -> Outcome:
        # As somebody else; or where it is the request's own session, which cannot be read here.
        is_switch = ANONYMOUS not in (self._user_digest, self._loaded.replacement_digest) and (
            self._user_digest != self._loaded.replacement_digest or not self._loaded.was_replaced
        )
        if self._session.is_cleared or is_switch:
            # The browser may not have the new id yet. Delete wins, and so does who signs in as somebody else.
            self._left = self._loaded.replacement
        if not self._session.has_content:
            self._end_left()
            is_delete = self._session.is_cleared and self._loaded.had_cookie and not self._loaded.was_replaced
            return Outcome(delete=is_delete or self._left is not None)
        if self._loaded.was_replaced and self._user_digest == ANONYMOUS:
            self._end_left()
            # The newer cookie may be in the browser already: this request must not overwrite it.
            return self._dropped(Drop.ENDED)
        try:
            new = self._create(self._changes.assigned, inherit=None)
            with self._taken_back_on_failure(new):
                # Behind it: a sign-in that fails ends nothing.
                self._end_left()
            self._keep_to_limit(new, inherit=None)
        except _Gone:
            return self._dropped(Drop.ENDED)
        return self._saved(new, set_id=new.session_id, created=True)

    def _end_left(self) -> None:
        """End what the browser's session goes on under, where this request signs out of it, or in as somebody else."""
        if self._left is not None:
            self._revoker.end(self._left, EndReason.DESTROYED, deadline=self._deadline)

    def _create(self, values: dict[str, Stored], *, inherit: Record | None) -> _Standing:
        """Create a record under a new id.

        :param inherit: the record whose times it takes over, where the same identity goes on under the new id.
        :raises _Gone: if somebody ended the session before it began.
        """
        now, session_id = self._birth(inherit), new_session_id()
        record = new_record(
            now=now,
            nonce=new_nonce(),
            deadline=now + int(self._rules.absolute_timeout * 1000) if self._rules.absolute_timeout else 0,
            user_digest=self._user_digest,
            body=self._serializer.dump_container(values),
        )
        is_replacement = inherit is not None or (self._is_limited and self._loaded.record is not None)
        if is_replacement and self._user_digest != ANONYMOUS:
            # Until the old one is over it counts as that one, or not for long: a save that fails may leave it behind.
            record = record._replace(confirmed=0)
        if inherit is not None:
            record = record._replace(born=inherit.born, nonces=inherit.with_nonce(record.nonce).nonces)
            # Proven again, its timeouts begin again (NIST SP 800-63B-4, 5.2).
            if not self._session.is_reauthenticated:
                record = record._replace(authenticated=inherit.authenticated, deadline=inherit.deadline)
        elif self._loaded.record is not None and not self._session.names_a_user:
            # A key that stood before another one was taken out: nobody has proven anything.
            before = self._loaded.record
            record = record._replace(authenticated=before.authenticated, deadline=before.deadline)
        handle = handle_of(session_id)
        storage_key = self._store.storage_key(handle)
        new = _Standing(session_id, handle, storage_key, record, values)
        if inherit is None and self._is_limited and not self._rules.evicts:
            self._put_new_if_there_is_room(new)
        else:
            self._put_new_or_gone(new)
        return new

    def _birth(self, inherit: Record | None) -> int:
        """Return the time at which a session begins. Of those that are counted, the order must be that of sign-ins."""
        if inherit is not None or not self._is_limited:
            return now_ms()
        return self._user_sessions.next_birth(self._user_digest, deadline=self._deadline)

    def _put_new_or_gone(self, new: _Standing) -> None:
        if not self._put_new(new):
            raise _Gone(EndReason.REVOKED)

    def _put_new(self, new: _Standing) -> bool:
        """Create a record, behind the entry in its user's index.

        :return: ``False`` where it was ended before it began: somebody revoked all of the user's sessions.
        """
        created = self._store.create(
            new.storage_key,
            self._sealer.seal(new.storage_key, new.record),
            ttl=self._live_ttl(new.record),
            deadline=self._deadline,
            before=self._indexing(new.record, new.handle),
        )
        if not created.applied and not self._is_ended(new.storage_key, created.current):
            # 256 random bits do not collide.
            raise StoreUnavailableError("the place of a new session is taken")
        return created.applied

    def _indexing(self, record: Record, handle: str) -> list[Command]:
        """Return the commands that put a session in its user's index."""
        if record.user_digest == ANONYMOUS:
            return []
        return self._users.adding(record.user_digest, handle, born=record.born)

    @property
    def _is_limited(self) -> bool:
        return self._rules.max_sessions is not None and self._user_digest != ANONYMOUS

    @property
    def _own_handles(self) -> tuple[str, ...]:
        """The handles that this request came with: they end when the new session stands, and do not count."""
        return (*self._loaded.trail, *(handle for handle in (self._loaded.handle, self._left) if handle is not None))

    def _keep_to_limit(self, new: _Standing, *, inherit: Record | None) -> None:
        """End a user's oldest sessions beyond the number that may be, behind the new one: who cannot sign in ends none.

        :raises _Gone: if newer ones took the new one's place meanwhile.
        :raises StoreUnavailableError: if the store failed. The response brings the new id along.
        """
        if inherit is not None or not self._is_limited or not self._rules.evicts:
            return
        self._offer(new)
        beyond = self._user_sessions.make_room(
            self._user_digest,
            new.handle,
            self._rules.max_sessions or 0,
            replaced=self._own_handles,
            deadline=self._deadline,
        )
        for member in beyond or ():
            self._revoker.end(member.handle, EndReason.EVICTED, deadline=self._deadline)
        if beyond is None:
            self._put_ended(new)
            raise _Gone(EndReason.EVICTED)

    def _put_new_if_there_is_room(self, new: _Standing) -> None:
        """Create a record, if the user may have one more session.

        In the index before it looks: of two sign-ins at once each sees the other, and both agree who is too many.

        :raises SessionLimitError: if this one is too many.
        """
        mine = new_member(new.handle, new.record.born)
        try:
            self._store.send(self._indexing(new.record, new.handle), deadline=self._deadline)
            if not self._user_sessions.has_room(
                self._user_digest,
                mine,
                self._rules.max_sessions or 0,
                replaced=self._own_handles,
                deadline=self._deadline,
            ):
                raise SessionLimitError
            self._put_new_or_gone(new)
        except (StoreUnavailableError, SessionLimitError):
            # It would count as one that is about to be stored.
            with suppress(StoreUnavailableError):
                self._users.remove(self._user_digest, [new.handle], deadline=self._deadline)
            raise

    # -- a session that ends

    def _end(self, base: _Standing) -> Outcome:
        """End the session, whatever others write meanwhile."""
        for handle in self._loaded.trail:
            self._revoker.end(handle, EndReason.DESTROYED, deadline=self._deadline, is_quiet=True)
        self._revoker.end(base.handle, EndReason.DESTROYED, known=base.record, deadline=self._deadline, is_quiet=True)
        return self._ended(base)

    def _put_ended(self, standing: _Standing) -> None:
        ended = ended_record(standing.record, EndReason.DESTROYED, now=now_ms(), nonce=new_nonce())
        signed = self._sealer.seal(standing.storage_key, ended)
        self._store.end(standing.storage_key, signed, ttl=ENDED_SECONDS, deadline=self._deadline)

    # -- a session that is changed

    def _update(self, base: _Standing, *, is_cookie_due: bool, start: _Standing | None = None) -> Outcome:
        """Write this request's changes over what stands there, however often others write in between.

        :param start: what stands there, if that is known to be something else than what the request loaded.
        """
        current = start or base
        while True:
            merged = self._merged(current.values)
            written = self._following(current, merged.values)
            try:
                conflict = self._compare_and_set(current, written)
            except _Gone:
                return self._dropped(Drop.ENDED)
            if conflict is None:
                break
            if self._is_single:
                raise SessionConflictError
            if conflict.record.user_digest != base.record.user_digest:
                return self._dropped(Drop.IDENTITY)
            current = conflict
        if merged.given_way:
            self._report.dropped(Drop.QUARANTINED, merged.given_way)
        if written.kind == Kind.ENDED:
            return self._ended(base)
        # Until the browser is known to have a successor's id, it is offered it again. Older ids get no new one.
        if current.handle != base.handle:
            is_due = current.is_offered and self._loaded.is_by_own_cookie and not written.confirmed
        elif self._loaded.is_by_own_cookie:
            is_due = is_cookie_due
        else:
            is_due = self._loaded.is_offered and not written.confirmed
        set_id = current.session_id if is_due else None
        return self._saved(current._replace(record=written, values=merged.values), set_id=set_id, created=False)

    def _following(self, current: _Standing, values: dict[str, Stored]) -> Record:
        """Return the record of the next write: with these values, or ended where none are left."""
        record = current.record
        if not values:
            return ended_record(record, EndReason.DESTROYED, now=now_ms(), nonce=new_nonce())
        if not record.confirmed and self._loaded.is_by_own_cookie and current.handle == self._loaded.handle:
            record = record._replace(confirmed=now_ms())
        return record.with_nonce(new_nonce())._replace(body=self._serializer.dump_container(values))

    # -- a session that goes on under a new id, asked for

    def _replace(self, base: _Standing) -> Outcome:
        """Create what this request makes of the session under a new id, then end the old record.

        What others saved before that moment is merged into the new record; what comes later finds an ended one.
        """
        if base.session_id is None:
            raise OpenedSessionError
        inherit = None if self._is_new_identity(base) else base.record
        current = base
        try:
            new = self._put_first_replacement(base, inherit)
        except _Gone:
            # Somebody ended it before it began. The old one ends all the same, where this request signs out of it.
            return self._left_without(base, inherit)
        while True:
            reason = EndReason.REPLACED if new else EndReason.DESTROYED
            # Whoever ends the old id ends the new one, too, unless that is another user's.
            goes_on = new.handle if new is not None and inherit is not None else ""
            ended = ended_record(current.record, reason, now=now_ms(), nonce=new_nonce(), replacement=goes_on)
            try:
                conflict = self._compare_and_set(current, ended)
            except _Gone as gone:
                # Delete wins: what signs out, or signs in anew, ends the session whatever its id is by now.
                with self._taken_back_on_failure(new):
                    found = self._gone_on(gone) if inherit is None else gone
                    if inherit is None and isinstance(found, _Gone) and found.left is not None:
                        self._revoker.end(found.left, EndReason.DESTROYED, deadline=self._deadline)
                if isinstance(found, _Gone):
                    return self._replace_gone(base, new, found.reason)
                conflict = found
            except StoreUnavailableError as error:
                if new is not None and inherit is not None and error.maybe_applied:
                    # The old id may be over.
                    self._offer(new)
                else:
                    self._take_back(new)
                raise
            except NewerRecordError:
                self._take_back(new)
                raise
            if conflict is None:
                break
            if conflict.record.user_digest != base.record.user_digest:
                self._abandon(new)
                return self._dropped(Drop.IDENTITY)
            current = conflict
            try:
                with self._taken_back_on_failure(new):
                    new = self._put_replacement(new, base, current, inherit)
            except _Gone:
                return self._left_without(base, inherit)
        if new is not None:
            # It is over, whatever comes of the rest.
            self._offer(new)
            try:
                new = self._confirmed(new, inherit)
                self._keep_to_limit(new, inherit=inherit)
            except _Gone:
                return self._dropped(Drop.ENDED)
        for handle in (*self._loaded.trail, *((base.handle,) if current.handle != base.handle else ())):
            self._revoker.end_one(handle, reason, replacement=goes_on, deadline=self._deadline)
        if new is None:
            return self._ended(base)
        outcome = self._saved(new, set_id=new.session_id, created=True)
        self._report.ended(base.handle, EndReason.REPLACED)
        self._report.regenerated(new.handle, old_handle=base.handle)
        return outcome

    def _left_without(self, base: _Standing, inherit: Record | None) -> Outcome:
        """Drop a write whose new id was ended before the old one was."""
        if inherit is None and base.record.user_digest != ANONYMOUS:
            self._revoker.end(base.handle, EndReason.DESTROYED, deadline=self._deadline)
        return self._dropped(Drop.ENDED)

    def _offer(self, new: _Standing) -> None:
        """Let the response bring the new id although the save fails: nobody must be left with an id that is over."""
        self._session.replacement = new.session_id
        self._session.is_replacement_permanent = self._session.permanent

    def _is_new_identity(self, base: _Standing) -> bool:
        return self._session.is_cleared or self._user_digest != base.record.user_digest

    def _put_first_replacement(self, base: _Standing, inherit: Record | None) -> _Standing | None:
        """Create the new record; under another id where somebody ended it before it began.

        That was who ended all sessions of the user but this one, perhaps: if it was not, the old record tells.

        :raises _Gone: if it was revoked again and again, or belongs to somebody else than the old one.
        """
        for _attempt in range(MOST_ATTEMPTS):
            try:
                return self._put_replacement(None, base, base, inherit)
            except _Gone as error:
                if inherit is None:
                    raise
                gone = error
        raise gone

    def _put_replacement(
        self, new: _Standing | None, base: _Standing, current: _Standing, inherit: Record | None
    ) -> _Standing | None:
        """Create or rewrite the new record from my changes and what stands under the old id.

        :return: the new record, or ``None`` where nothing is left to store.
        :raises _Gone: if it was revoked before it began.
        """
        merged = self._merged(current.values)
        if merged.given_way:
            self._report.dropped(Drop.QUARANTINED, merged.given_way)
        values = self._with_my_identity(merged.values) if self._is_new_identity(base) else merged.values
        if new is not None:
            return self._rewrite(new, values, inherit and current.record)
        return self._create(values, inherit=inherit) if values else None

    def _identity_in(self, values: dict[str, Stored]) -> dict[str, Stored]:
        return {key: values[key] for key in self._session.identity_keys if key in values}

    def _with_my_identity(self, values: dict[str, Stored]) -> dict[str, Stored]:
        """Return merged values in which this request says whose session it is: others may have set another key."""
        mine = {} if self._session.is_cleared else self._loaded.values
        for key in self._session.identity_keys:
            values.pop(key, None)
            if key in self._changes.assigned:
                values[key] = self._changes.assigned[key]
            elif key in mine and key not in self._changes.deleted:
                values[key] = mine[key]
        return values

    def _rewrite(self, new: _Standing, values: dict[str, Stored], lineage: Record | None = None) -> _Standing:
        """Write the new record again.

        :param lineage: the record that it goes on from, as it stands now: by its last writes they belong together.
        :raises _Gone: if it was revoked meanwhile. Nobody else knows its id yet.
        """
        nonces = (lineage or new.record).with_nonce(new_nonce()).nonces
        written = new.record._replace(nonces=nonces, body=self._serializer.dump_container(values))
        try:
            conflict = self._compare_and_set(new, written)
        except _Gone as gone:
            if gone.reason is not None:
                raise
            conflict = new
        if conflict is not None:
            raise StoreUnavailableError("the new session was lost")
        return new._replace(record=written, values=values)

    def _replace_gone(self, base: _Standing, new: _Standing | None, reason: EndReason | None) -> Outcome:
        """Decide what becomes of the new record where the old one was gone already."""
        is_login = self._user_digest != ANONYMOUS and self._is_new_identity(base) and self._session.names_a_user
        if new is None or not is_login:
            self._abandon(new)
            return self._dropped(Drop.ENDED)
        try:
            if base.record.user_digest != ANONYMOUS or reason is not EndReason.REPLACED:
                # The base ended for another reason than a parallel sign-in: what it held must not come back.
                with self._taken_back_on_failure(new):
                    new = self._rewrite(new, self._changes.assigned)
            self._offer(new)
            new = self._confirmed(new, None)
            self._keep_to_limit(new, inherit=None)
        except _Gone:
            return self._dropped(Drop.ENDED)
        return self._saved(new, set_id=new.session_id, created=True)

    def _confirmed(self, new: _Standing, inherit: Record | None) -> _Standing:
        """Note in the new record that its id is in use: from now on it counts by itself.

        :param inherit: the record that it goes on from, if it does. It counts as that one until its first use.
        :raises _Gone: if somebody ended it meanwhile.
        """
        if new.record.confirmed:
            return new
        written = new.record.with_nonce(new_nonce())._replace(confirmed=now_ms())
        try:
            conflict = self._compare_and_set(new, written)
        except StoreUnavailableError:
            if inherit is None:
                # It would be in no list, and no count.
                raise
            return new
        return new._replace(record=written) if conflict is None else conflict

    @contextmanager
    def _taken_back_on_failure(self, new: _Standing | None) -> Iterator[None]:
        try:
            yield
        except _Gone:
            raise
        except Exception:
            # A policy's own, or what is refused, too: nobody gets to know its id.
            self._take_back(new)
            raise

    def _take_back(self, new: _Standing | None) -> None:
        """End what nobody knows the id of, if the store lets that be done. If not, it counts for some minutes."""
        with suppress(StoreUnavailableError):
            self._abandon(new)

    def _abandon(self, new: _Standing | None) -> None:
        if new is not None:
            self._put_ended(new)

    # -- a session that goes on under a new id by itself

    def _renew(self, base: _Standing) -> Outcome:
        """Store what this request makes of the session under a successor's id, then turn the old record to renewed.

        Each request derives a successor of its own. Whoever turns the old record decides; the others take theirs back.
        """
        current = base
        while True:
            merged = self._merged(current.values)
            if not merged.values:
                return self._update(base, is_cookie_due=False, start=current)
            nonce = new_nonce()
            successor = self._put_successor(current, nonce, merged.values)
            if successor is None:
                # Ended before it began. This request writes where it is; if that is over, too, it will find out.
                return self._update(base, is_cookie_due=False, start=current)
            try:
                conflict = self._compare_and_set(current, self._renewed(current, successor.handle, nonce))
            except _Gone:
                self._abandon(successor)
                return self._dropped(Drop.ENDED)
            except StoreUnavailableError as error:
                if not error.maybe_applied:
                    self._take_back(successor)
                raise
            if conflict is None:
                break
            self._abandon(successor)
            if conflict.record.user_digest != base.record.user_digest:
                return self._dropped(Drop.IDENTITY)
            if conflict.handle != current.handle:
                # Another request was quicker to renew.
                return self._update(base, is_cookie_due=False, start=conflict)
            current = conflict
        if merged.given_way:
            self._report.dropped(Drop.QUARANTINED, merged.given_way)
        self._report.renewed(successor.handle, old_handle=base.handle)
        return self._saved(successor, set_id=successor.session_id, created=True)

    def _put_successor(self, current: _Standing, nonce: bytes, values: dict[str, Stored]) -> _Standing | None:
        # Only renewals by a cookie come here: the id is known.
        session_id = self._successors.derive(current.session_id or "", nonce)
        handle = handle_of(session_id)
        record = current.record.with_nonce(new_nonce())._replace(
            confirmed=0, body=self._serializer.dump_container(values)
        )
        storage_key = self._store.storage_key(handle)
        successor = _Standing(session_id, handle, storage_key, record, values)
        return successor if self._put_new(successor) else None

    def _is_ended(self, storage_key: bytes, stored: bytes | None) -> bool:
        record = self._verified(storage_key, stored)
        return record is not None and record.kind == Kind.ENDED

    def _renewed(self, current: _Standing, handle: str, nonce: bytes) -> Record:
        """Return the record that leads from the old id to the new one: until the session ends, or one idle timeout."""
        deadline = current.record.deadline or now_ms() + self._loaded.idle_timeout * 1000
        return renewed_record(current.record, handle, nonce=nonce, deadline=deadline)

    # -- the store

    def _compare_and_set(self, current: _Standing, written: Record) -> _Standing | None:
        """Write a record over another one.

        :return: ``None`` if it stands; otherwise what another request has put there, or in its successor's place.
        :raises _Gone: if nothing live stands there.
        """
        signed = self._sealer.seal(current.storage_key, written, by_same_key=self._loaded.is_opened)
        expected = current.record.nonce
        saved = self._store.save(
            current.storage_key,
            expected,
            signed,
            ttl=self._ttl(written),
            deadline=self._deadline,
            before=self._indexing(written, current.handle) if written.kind == Kind.LIVE else (),
        )
        if saved.applied:
            return None
        record = self._verified(current.storage_key, saved.current)
        if record is None:
            # Perhaps it is only too large for this worker.
            raise _Gone(None, unreadable=current.handle)
        if record.written_by(written.nonce):
            # The first sending was applied and only its reply was lost. redis-py's Cluster client repeats some itself.
            return None
        if record.kind == Kind.ENDED or record.is_past(now_ms()):
            raise _Gone(record.end_reason, next_handle(record))
        if saved.repeated and not record.written_by(expected):
            raise StoreUnavailableError("too many writes came after a lost reply to tell whether ours was applied")
        if record.kind == Kind.RENEWED:
            return self._followed(current, record)
        return current._replace(record=record, values=self._container(record, current.handle))

    def _followed(self, current: _Standing, record: Record) -> _Standing:
        """Return the session that a renewed record leads to.

        :raises _Gone: if it leads to nothing live.
        """
        try:
            found = follow(
                self._store,
                self._sealer,
                self._successors,
                record,
                session_id=current.session_id,
                handle=current.handle,
                ttl=None,
                deadline=self._deadline,
            )
        except RecordError:
            self._report.rejected(Rejection.RECORD)
            raise _Gone(None) from None
        if not isinstance(found, Found):
            if isinstance(found, Lost):
                raise _Gone(found.reason, found.record and next_handle(found.record))
            raise _Gone(None, found.handle)
        return _Standing(
            found.session_id,
            found.handle,
            found.storage_key,
            found.record,
            self._container(found.record, found.handle),
            is_offered=not found.first_confirmed,
        )

    def _gone_on(self, gone: _Gone) -> _Standing | _Gone:
        """Return the session as it goes on under another id; where it does not, what is known of its end.

        :param gone: what is known of the old id.
        """
        for _hop in range(MOST_HOPS):
            if gone.goes_on is None:
                break
            storage_key = self._store.storage_key(gone.goes_on)
            (stored,) = self._store.load_many([gone.goes_on], deadline=self._deadline)
            record = self._verified(storage_key, stored if isinstance(stored, bytes) else None)
            if record is None:
                return _Gone(None, unreadable=gone.goes_on)
            if record.is_past(now_ms()):
                return _Gone(None)
            if record.kind == Kind.LIVE:
                try:
                    return _Standing(None, gone.goes_on, storage_key, record, self._container(record, gone.goes_on))
                except _Gone as unreadable:
                    return unreadable
            gone = _Gone(record.end_reason, next_handle(record))
        return gone

    def _verified(self, storage_key: bytes, current: bytes | None) -> Record | None:
        if current is None:
            return None
        try:
            return self._sealer.unseal(storage_key, current)[0]
        except RecordError:
            self._report.rejected(Rejection.RECORD)
            return None

    def _container(self, record: Record, handle: str) -> dict[str, Stored]:
        try:
            return self._serializer.load_container(record.body)
        except PayloadError:
            self._report.rejected(Rejection.PAYLOAD)
            raise _Gone(None, unreadable=handle) from None

    def _merged(self, theirs: dict[str, Stored]) -> Merged:
        """Return my changes merged with what stands in the store."""
        if self._session.is_cleared:
            # A barrier: nothing of the old session is taken along, and nothing is merged with it.
            return Merged(dict(self._changes.assigned), ())
        resolvers = {key: self._resolver(key, policy) for key, policy in self._rules.policies.items()}
        merged = merge(
            self._session.base, self._changes, theirs, is_restorable=self._is_restorable, resolvers=resolvers
        )
        mine = self._with_my_identity({})
        if self._identity_in(merged.values) not in (mine, self._identity_in(theirs)):
            # Each side changed another one of the keys that tell whose it is: together they may name somebody else.
            merged = merged._replace(values=self._with_my_identity(merged.values))
        return merged

    def _resolver(self, key: str, policy: Policy) -> Callable[[Any, Any, Any], Any]:
        """Return a policy for stored values."""

        def resolve(*sides: Any) -> Any:
            kept = KeptFields()
            try:
                base, mine, theirs = (
                    side if side is ABSENT else self._serializer.load_value(side, kept) for side in sides
                )
            except PayloadError:
                # The base is of a type that this worker cannot restore.
                return sides[1]
            if policy is append:
                value = append(base, mine, theirs, _Apart(self._serializer, kept))
            else:
                value = policy(base, mine, theirs)
            return ABSENT if value is ABSENT else self._serializer.dump_value(value, f"session[{key!r}]", kept)

        return resolve

    def _is_restorable(self, stored: object) -> bool:
        try:
            # As a request loads it.
            self._serializer.load_value(stored, KeptFields())  # type: ignore[arg-type]  # it came out of a container
        except PayloadError:
            return False
        return True

    def _ttl(self, record: Record) -> int | None:
        """Return the seconds that Redis keeps a record, or ``None`` to leave that as it is."""
        if record.kind == Kind.ENDED:
            return ENDED_SECONDS
        # A worker or a script is no activity of the session's user.
        return None if self._loaded.is_opened and record.kind == Kind.LIVE else self._live_ttl(record)

    def _live_ttl(self, record: Record) -> int:
        idle = self._loaded.idle_timeout
        if not record.deadline:
            return idle
        return max(1, min(idle, math.ceil((record.deadline - now_ms()) / 1000)))

    # -- what came of it

    def _saved(self, standing: _Standing, *, set_id: str | None, created: bool) -> Outcome:
        self._session.adopt_saved(standing.session_id, standing.handle, standing.record, standing.values, self._changes)
        self._report.saved(standing.handle, created=created)
        return Outcome(set_id=set_id)

    def _ended(self, base: _Standing) -> Outcome:
        self._session.forget()
        self._report.ended(base.handle, EndReason.DESTROYED)
        return Outcome(delete=True)

    def _dropped(self, reason: Drop) -> Outcome:
        if not self._changes and not self._session.is_save_asked_for:
            # What could have waited: nothing that the request did is lost.
            self._session.forget()
            return Outcome()
        keys = (*self._changes.assigned, *self._changes.deleted)
        # The newer cookie may be in the browser: an error page that writes must not overwrite it, either.
        self._session.forget(was_replaced=True)
        self._report.dropped(reason, keys)
        if self._rules.is_drop_error or self._loaded.is_opened:
            raise SessionDroppedError(reason, keys)
        return Outcome()


class _Apart:
    """Tells the items of lists apart by what is written for them.

    Each of thousands may lead to all others, and is written with these: so no more is written than :data:`MOST_APART`.

    :param serializer: writes the items.
    :param kept: fields to write back that this worker does not know.
    """

    def __init__(self, serializer: PickleSerializer, kept: KeptFields) -> None:
        self._serializer = serializer
        self._kept = kept
        self._left = MOST_APART

    def __call__(self, item: object) -> bytes:
        """Return what is written for an item.

        :raises ValueError: if it was too much.
        """
        written = self._serializer.written(item, self._kept)
        self._left -= len(written) + BYTES_PER_ITEM
        if self._left < 0:
            raise ValueError("items that take too much to be told apart")
        return written


def is_renewal_due(record: Record, rules: SaveRules, *, is_by_own_cookie: bool) -> bool:
    """Tell whether a session is to go on under a new id by itself.

    :param is_by_own_cookie: whether the request has the session's newest id.
    """
    if rules.renew_every is None or not is_by_own_cookie or not record.confirmed:
        return False
    return now_ms() - record.confirmed >= rules.renew_every * 1000
