"""One application's sessions: from a cookie's session id to a loaded session, and to a save."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .cookie import SignedId, handle_of
from .exceptions import NewerRecordError, PayloadError, RecordError, StoreUnavailableError
from .pickling import PickleSerializer
from .policies import Policy
from .report import Rejection, Reporter
from .save import Outcome, Save
from .session import Loaded, Session
from .storage.deadline import Budget
from .storage.record import END_REASONS, EndReason, Kind, Record, ended_at, now_ms
from .storage.sealing import RecordSealer
from .storage.store import Store

_NOTHING = Outcome()
_ENDED = int(Kind.ENDED)


class SessionManager:
    """Load and save the sessions of one application.

    :param store: where the records are.
    :param serializer: values to bytes and back.
    :param report: told what happens.
    :param absolute_timeout: seconds after which a session ends however much it is used, or ``None``.
    :param grace: seconds in which requests that still carry a replaced id must not set a cookie.
    :param policies: key -> what becomes of it where two requests changed it at once.
    """

    def __init__(
        self,
        store: Store,
        serializer: PickleSerializer,
        report: Reporter,
        *,
        absolute_timeout: float | None,
        grace: float,
        policies: Mapping[str, Policy],
    ) -> None:
        self._store = store
        self._serializer = serializer
        self._report = report
        self._absolute_timeout = absolute_timeout
        self._grace = grace
        self._policies = policies

    def load(
        self, cookie: SignedId | None, sealer: RecordSealer, budget: Budget, *, idle_timeout: float, had_cookie: bool
    ) -> Loaded:
        """Return what a cookie leads to. Whatever is wrong with it or its record, the answer is "no session".

        :param cookie: a valid cookie, or ``None``.
        :param sealer: verifies and decrypts records.
        :param budget: what the request may spend on the store.
        :param idle_timeout: seconds that the record lives on from now.
        :param had_cookie: whether the request carried a cookie of our name, valid or not.
        :raises SessionUnavailableError: if the store failed, or a newer version wrote the record.
        """
        ttl = math.ceil(idle_timeout)
        if cookie is None:
            return Loaded(idle_timeout=ttl, had_cookie=had_cookie)
        storage_key = self._store.storage_key(handle_of(cookie.session_id))
        try:
            with budget as deadline:
                stored = self._store.load(storage_key, ttl=ttl, deadline=deadline)
            if stored is None:
                return Loaded(idle_timeout=ttl, had_cookie=had_cookie)
            record, is_current = sealer.unseal(storage_key, stored)
        except (StoreUnavailableError, NewerRecordError) as error:
            raise self._report.unavailable(error) from error
        except RecordError:
            self._report.rejected(Rejection.RECORD)
            return Loaded(idle_timeout=ttl, had_cookie=had_cookie)
        if record.is_past(now_ms()):
            return Loaded(idle_timeout=ttl, had_cookie=had_cookie)
        if record.kind == _ENDED:
            return Loaded(idle_timeout=ttl, had_cookie=had_cookie, was_replaced=self._was_just_replaced(record))
        try:
            values = self._serializer.load_container(record.body)
        except PayloadError:
            self._report.rejected(Rejection.PAYLOAD)
            return Loaded(idle_timeout=ttl, had_cookie=had_cookie)
        return Loaded(
            cookie.session_id, record, values, is_current and cookie.is_current, ttl, False, had_cookie, cookie
        )

    def _was_just_replaced(self, record: Record) -> bool:
        return END_REASONS.get(record.body) is EndReason.REPLACED and now_ms() < ended_at(record) + self._grace * 1000

    def save(self, session: Session, sealer: RecordSealer, *, is_cookie_due: bool) -> Outcome:
        """Write what the request changed, if anything.

        :param session: a session that was used.
        :param sealer: encrypts and signs records.
        :param is_cookie_due: whether the cookie is to be set again, which needs a write.
        :raises RefusedError: if a nested change left a value that cannot be stored.
        :raises SessionUnavailableError: if the store failed; whether anything was written is unknown.
        """
        changes = session.changes()
        if not (changes or is_cookie_due or session.is_to_be_saved):
            return _NOTHING
        save = Save(
            self._store,
            self._serializer,
            sealer,
            self._report,
            session,
            changes,
            absolute_timeout=self._absolute_timeout,
            policies=self._policies,
        )
        try:
            with session.budget as deadline:
                return save.run(deadline, is_cookie_due=is_cookie_due)
        except (StoreUnavailableError, NewerRecordError) as error:
            raise self._report.unavailable(error) from error
