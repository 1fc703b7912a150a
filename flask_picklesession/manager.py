"""One application's sessions: from a cookie's session id, or a handle, to a loaded session, and to a save."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from .cookie import Outcome, SignedId, handle_of
from .exceptions import (
    NewerRecordError,
    PayloadError,
    RecordError,
    SessionDroppedError,
    SessionNotFoundError,
    SessionUnavailableError,
    StoreUnavailableError,
)
from .pickling import PickleSerializer, Stored
from .renewal import Found, Further, Lost, follow, next_handle
from .report import Drop, Rejection, Reporter
from .revocation import STEP_SECONDS, Revoker
from .save import Save, SaveRules, Tools, is_renewal_due
from .session import Loaded, Session
from .signers import Signers
from .storage.deadline import Budget
from .storage.index import UserIndex
from .storage.record import ENDED_SECONDS, EndReason, Kind, Record, ended_at, now_ms
from .storage.store import Store
from .user_sessions import UserSessions

_NOTHING = Outcome()
_LIVE = int(Kind.LIVE)


class OnReuse(StrEnum):
    """What is done when an id is used that its browser had replaced long ago."""

    #: Log and signal it.
    SIGNAL = "signal"
    #: End the session, too.
    REVOKE = "revoke"
    #: End all sessions of the user, too.
    REVOKE_USER = "revoke_user"


class SessionManager:
    """Load and save the sessions of one application.

    :param store: where the records are.
    :param users: the index of users.
    :param serializer: values to bytes and back.
    :param report: told what happens.
    :param rules: what the application's settings say about saving.
    :param grace: seconds in which requests that still carry an old id are served, or must not set a cookie.
    :param on_reuse: what is done when an old id is used later.
    """

    def __init__(
        self,
        store: Store,
        users: UserIndex,
        serializer: PickleSerializer,
        report: Reporter,
        rules: SaveRules,
        *,
        grace: float,
        on_reuse: OnReuse,
    ) -> None:
        self._store = store
        self._users = users
        self._serializer = serializer
        self._report = report
        self._rules = rules
        self._grace = grace
        self._on_reuse = on_reuse

    def revoker(self, signers: Signers, *, step_seconds: float = STEP_SECONDS) -> Revoker:
        """Return what ends sessions from outside.

        :param step_seconds: how long one step may take.
        """
        return Revoker(self._store, signers.record, self._users, self._report, step_seconds=step_seconds)

    def user_sessions(self, signers: Signers, *, step_seconds: float = STEP_SECONDS) -> UserSessions:
        """Return what lists a user's sessions.

        :param step_seconds: how long one step may take.
        """
        return UserSessions(self._store, signers.record, self._users, self._serializer, step_seconds=step_seconds)

    def load(
        self, cookie: SignedId | None, signers: Signers, budget: Budget, *, idle_timeout: float, had_cookie: bool
    ) -> Loaded:
        """Return what a cookie leads to. Whatever is wrong with it or its record, the answer is "no session".

        :param cookie: a valid cookie, or ``None``.
        :param signers: verifies and decrypts records.
        :param budget: what the request may spend on the store.
        :param idle_timeout: seconds that the record lives on from now.
        :param had_cookie: whether the request carried a cookie of our name, valid or not.
        :raises SessionUnavailableError: if the store failed, or a newer version wrote the record.
        """
        ttl = math.ceil(idle_timeout)
        nothing = Loaded(idle_timeout=ttl, had_cookie=had_cookie)
        if cookie is None:
            return nothing
        handle = handle_of(cookie.session_id)
        storage_key = self._store.storage_key(handle)
        try:
            with budget as deadline:
                stored = self._store.load(storage_key, ttl=ttl, deadline=deadline)
                if stored is None:
                    return nothing
                record, is_current = signers.record.unseal(storage_key, stored)
                if record.kind != _LIVE:
                    return self._load_other(cookie, record, handle, signers, nothing, deadline)
        except (StoreUnavailableError, NewerRecordError) as error:
            raise self._report.unavailable(error) from error
        except RecordError:
            self._report.rejected(Rejection.RECORD)
            # Perhaps it is only too large for this worker: who signs out here ends it.
            return nothing._replace(replacement=handle)
        if record.is_past(now_ms()):
            return nothing
        values = self._values(record)
        if values is None:
            # Another worker may read it: who signs out here, or in, ends it.
            return _unreadable(nothing, handle, record)
        return Loaded(
            cookie.session_id, record, values, is_current and cookie.is_current, ttl, False, had_cookie, cookie, handle
        )

    def _load_other(
        self, cookie: SignedId, record: Record, handle: str, signers: Signers, nothing: Loaded, deadline: float
    ) -> Loaded:
        """Return what an ended or a renewed record leads to."""
        if record.is_past(now_ms()):
            return nothing
        if record.kind == Kind.ENDED:
            return self._replaced(nothing, record)
        found = follow(
            self._store,
            signers.record,
            signers.successors,
            record,
            session_id=cookie.session_id,
            handle=handle,
            ttl=nothing.idle_timeout,
            deadline=deadline,
        )
        if isinstance(found, Lost):
            return nothing if found.record is None else self._replaced(nothing, found.record)
        if found.first_confirmed and now_ms() > found.first_confirmed + self._grace * 1000:
            self._reused(found, signers, deadline)
            # Perhaps only a request that waited long in a queue: a new cookie would replace the good one.
            is_slow = now_ms() < found.first_confirmed + (self._grace + ENDED_SECONDS) * 1000
            return nothing._replace(was_replaced=is_slow)
        if isinstance(found, Further):
            return nothing
        values = self._values(found.record)
        if values is None:
            return _unreadable(nothing, found.handle, found.record)
        return nothing._replace(
            session_id=found.session_id,
            record=found.record,
            values=values,
            is_current=found.is_current,
            cookie=cookie,
            handle=found.handle,
            trail=found.trail,
            # Older ids than the last one get no new one: the browser has used one since.
            is_offered=not found.first_confirmed,
        )

    def _reused(self, found: Found | Further, signers: Signers, deadline: float) -> None:
        self._report.reused(found.handle)
        if self._on_reuse is OnReuse.REVOKE_USER:
            self.revoker(signers).end_user(found.record.user_digest, deadline=deadline)
        if self._on_reuse is not OnReuse.SIGNAL:
            self.revoker(signers).end(found.handle, EndReason.REVOKED, deadline=deadline)

    def _replaced(self, nothing: Loaded, ended: Record) -> Loaded:
        """Return what an ended record leads to."""
        if not self._was_just_replaced(ended):
            return nothing
        return nothing._replace(was_replaced=True, replacement=next_handle(ended), replacement_digest=ended.user_digest)

    def _was_just_replaced(self, record: Record) -> bool:
        return record.end_reason is EndReason.REPLACED and now_ms() < ended_at(record) + self._grace * 1000

    def _values(self, record: Record) -> dict[str, Stored] | None:
        try:
            return self._serializer.load_container(record.body)
        except PayloadError:
            self._report.rejected(Rejection.PAYLOAD)
            return None

    def load_by_handle(self, handle: str, signers: Signers, budget: Budget, *, idle_timeout: float) -> Loaded:
        """Return the session with a handle, or the one that it was renewed to. No activity: it lives no longer for it.

        :param signers: verifies and decrypts records.
        :param budget: what may be spent on the store.
        :param idle_timeout: seconds that a session lives on without use.
        :raises SessionNotFoundError: if there is none.
        :raises SessionUnavailableError: if the store failed, or a newer version wrote the record.
        """
        storage_key = self._store.storage_key(handle)
        try:
            with budget as deadline:
                stored = self._store.load(storage_key, ttl=None, deadline=deadline)
                if stored is None:
                    raise SessionNotFoundError
                record, is_current = signers.record.unseal(storage_key, stored)
                found = follow(
                    self._store,
                    signers.record,
                    None,
                    record,
                    session_id=None,
                    handle=handle,
                    ttl=None,
                    deadline=deadline,
                )
        except (StoreUnavailableError, NewerRecordError) as error:
            raise self._report.unavailable(error) from error
        except RecordError:
            raise SessionNotFoundError from None
        if not isinstance(found, Found):
            raise SessionNotFoundError
        values = self._values(found.record)
        if values is None:
            raise SessionNotFoundError
        return Loaded(
            record=found.record,
            values=values,
            is_current=is_current and found.is_current,
            idle_timeout=math.ceil(idle_timeout),
            handle=found.handle,
            is_opened=True,
        )

    def save(self, session: Session, signers: Signers, *, is_cookie_due: bool, is_single: bool = False) -> Outcome:
        """Write what the request changed, if anything.

        :param session: a session that was used.
        :param signers: encrypts and signs records.
        :param is_cookie_due: whether the cookie is to be set again, which needs a write.
        :param is_single: whether a write of another request is a conflict instead of being merged.
        :raises RefusedError: if a nested change left a value that cannot be stored.
        :raises SessionUnavailableError: if the store failed; whether anything was written is unknown.
        :raises SessionDroppedError: if the write was dropped and that is an error.
        :raises SessionLimitError: if the user has as many sessions as may be.
        """
        changes = session.changes()
        if not (changes or is_cookie_due or session.is_to_be_saved or self._is_renewal_due(session.loaded)):
            return _NOTHING
        tools = Tools(
            self._store,
            self._serializer,
            signers.record,
            signers.successors,
            self._report,
            self._users,
            self.user_sessions(signers),
            self.revoker(signers),
        )
        save = Save(tools, self._rules, session, changes, is_single=is_single)
        try:
            with session.budget as deadline:
                return save.run(deadline, is_cookie_due=is_cookie_due)
        except (StoreUnavailableError, NewerRecordError) as error:
            unavailable = self._report.unavailable(error)
            if not changes and not session.is_save_asked_for:
                # A renewal, or another cookie, can wait: nothing that the request did is lost.
                return _NOTHING
            raise unavailable from error

    def _is_renewal_due(self, loaded: Loaded) -> bool:
        record = loaded.record
        return record is not None and is_renewal_due(record, self._rules, is_by_own_cookie=loaded.is_by_own_cookie)

    @contextmanager
    def atomic(self, session: Session, stored: Session, signers: Signers) -> Iterator[Session]:
        """Save what a with-block changes in the stored session, and let the request's session go on from it.

        :param session: the request's session.
        :param stored: the same session, as :meth:`load_by_handle` loads it.
        :raises SessionConflictError: if another request was quicker.
        :raises SessionDroppedError: if the session has ended.
        """
        if session.handle is None and not session.loaded.was_replaced:
            # Nobody else knows it yet.
            yield session
            return
        try:
            _ = stored.new
        except SessionNotFoundError:
            self._report.dropped(Drop.ENDED, ())
            raise SessionDroppedError(Drop.ENDED, ()) from None
        except SessionUnavailableError as error:
            session.fail(error)
            raise
        try:
            yield stored
        finally:
            # In an atomic change within this one.
            if stored.failure is not None:
                session.fail(stored.failure)
        if stored.failure is not None:
            # The with-block went on behind it.
            raise stored.failure
        try:
            self.save(stored, signers, is_cookie_due=False, is_single=True)
        except SessionUnavailableError as error:
            # As where the store fails the request itself.
            session.fail(error)
            raise
        session.rebase(stored.loaded)


def _unreadable(nothing: Loaded, handle: str, record: Record) -> Loaded:
    """Return what a session is whose payload this worker cannot read. Another one may: who signs out here ends it."""
    return nothing._replace(replacement=handle, replacement_digest=record.user_digest)
