"""The extension: installs the interface, checks the configuration at once, and manages sessions from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask, current_app, has_app_context, has_request_context
from flask import session as request_session

from .exceptions import ConfigurationError, NewerRecordError, SessionNotFoundError, StoreUnavailableError
from .interface import EXTENSION_KEY, AppState, PickleSessionInterface
from .revocation import STEP_SECONDS, Revoker
from .session import IDENTITY_TYPES, Session
from .signers import Signers
from .storage.record import EndReason
from .storage.store import is_handle
from .user_sessions import SessionInfo

# No user at all, where ``None`` is what a visitor's session holds.
_ANYBODY: Any = object()


class PickleSession:
    """Give applications sessions of Python objects in Redis, and manage these sessions.

    ::

        sessions = PickleSession(app)

    The management calls work within an application context, and without one for the application that was given last.
    They raise :exc:`~flask_picklesession.SessionUnavailableError` if the store failed: a session that was to be revoked
    may not be over.

    :param app: the application, or ``None`` to call :meth:`init_app` later.
    :raises ConfigurationError: with all that is wrong with the application's configuration.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._app: Flask | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read and check the configuration, and install the session interface.

        :param app: the application.
        :raises ConfigurationError: with all that is wrong with its configuration.
        """
        state = app.extensions[EXTENSION_KEY] = AppState(app)
        app.session_interface = PickleSessionInterface()
        self._app = app
        if app.secret_key:
            # Names weak keys at start-up.
            state.signers(app)

    def sessions_of(self, user_id: object) -> list[SessionInfo]:
        """Return the live sessions of a user, newest first.

        :param user_id: what the session holds under its identity key: a str, an int or a UUID. ``None`` is nobody.
        :raises TypeError: if it is something else.
        """
        with self._managing() as (app, state, signers):
            digest = _digest_of(state, user_id)
            if digest is None:
                return []
            sessions = state.manager.user_sessions(signers, step_seconds=_step_seconds(state))
            return sessions.infos(digest, lambda: state.idle_timeout(app))

    def revoke(self, handle: str, user_id: object = _ANYBODY) -> bool:
        """End a session. Also one that is about to be stored, and what it goes on under.

        :param handle: its handle.
        :param user_id: whose it must be, where a user asks for it: another one's session is left alone.
        :return: whether there was one.
        :raises TypeError: if the user is no str, int or UUID, and not ``None``: that is nobody.
        """
        with self._managing() as (_app, state, signers):
            # It may come out of a form: what is no handle is no session's, and must not name another key.
            if not is_handle(handle):
                return False
            revoker = self._revoker(state, signers)
            if user_id is not _ANYBODY and not revoker.belongs_to(handle, _digest_of(state, user_id)):
                return False
            return revoker.end(handle, EndReason.REVOKED)

    def revoke_user(self, user_id: object, *, keep: str | None = None, scan: bool = False) -> int:
        """End all sessions of a user, also those that begin while this runs.

        :param user_id: whose. ``None`` is nobody.
        :param keep: the handle of a session that goes on, such as ``session.handle``.
        :param scan: look at all stored sessions instead of the index of users, in case that was lost.
        :return: how many ended.
        :raises TypeError: if the user is no str, int or UUID.
        """
        with self._managing() as (_app, state, signers):
            digest = _digest_of(state, user_id)
            if digest is None:
                return 0
            revoker = self._revoker(state, signers)
            # It may come out of a form, too.
            keep = keep if is_handle(keep) else None
            scanned = 0
            try:
                if scan:
                    scanned, _unread = revoker.end_scanned(digest, keep=keep)
            finally:
                # Also behind what only a newer version can end.
                count = revoker.end_user(digest, keep=keep)
            return scanned + count

    def revoke_all(self) -> tuple[int, int]:
        """End all sessions of the application.

        :return: how many ended, and how many records could not be read and were left: they are nobody's session.
        """
        with self._managing() as (_app, state, signers):
            return self._revoker(state, signers).end_scanned()

    @contextmanager
    def open(self, handle: str) -> Iterator[Session]:
        """Open a session outside of its user's requests, as from a worker or a script; save it at the end.

        The same merge rules hold as for requests. The session lives no longer for it, and cannot change whose it is.

        :param handle: its handle.
        :raises SessionNotFoundError: if there is none.
        :raises SessionDroppedError: at the end of the with-block, if the session has ended meanwhile.
        :raises OpenedSessionError: at the end of the with-block, if the session was to get a new id.
        """
        with self._managing() as (app, state, signers):
            if not is_handle(handle):
                raise SessionNotFoundError
            # What newer workers have put in records of the request's own session goes along.
            own = request_session._get_current_object() if has_request_context() else None  # type: ignore[attr-defined]
            kept = own.kept if isinstance(own, Session) else None
            session = state.open(app, handle, state.budget(), kept)
            # Loads it: whoever opens a session wants to know whether it is there.
            _ = session.new
            yield session
            if session.failure is not None:
                # The with-block went on behind it, without the session.
                raise session.failure
            state.manager.save(session, signers, is_cookie_due=False)

    @staticmethod
    def _revoker(state: AppState, signers: Signers) -> Revoker:
        return state.manager.revoker(signers, step_seconds=_step_seconds(state))

    @contextmanager
    def _managing(self) -> Iterator[tuple[Flask, AppState, Signers]]:
        app: Any = current_app._get_current_object() if has_app_context() else self._app  # type: ignore[attr-defined]  # LocalProxy's
        state: AppState | None = None if app is None else app.extensions.get(EXTENSION_KEY)
        if state is None:
            raise RuntimeError("no application has this extension yet: call init_app(app)")
        if not app.secret_key:
            raise ConfigurationError(["There is no SECRET_KEY: this application has no sessions."])
        try:
            yield app, state, state.signers(app)
        except (StoreUnavailableError, NewerRecordError) as error:
            raise state.report.unavailable(error) from error


def _digest_of(state: AppState, user_id: object) -> bytes | None:
    """Return the digest of a user, or ``None`` for nobody."""
    if user_id is None:
        return None
    if not isinstance(user_id, IDENTITY_TYPES):
        raise TypeError(f"a user id is a str, an int or a UUID, not {type(user_id).__qualname__}")
    # A subclass, such as a member of a StrEnum, may have a text of its own.
    if isinstance(user_id, str):
        return state.user_digest(str.__str__(user_id))
    return state.user_digest(int.__repr__(user_id) if isinstance(user_id, int) else str(user_id))


def _step_seconds(state: AppState) -> float:
    """Return how long one step may take: where a visitor waits for it, no longer than the store may take."""
    return min(STEP_SECONDS, state.settings.timeout) if has_request_context() else STEP_SECONDS
