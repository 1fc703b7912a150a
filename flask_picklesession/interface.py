"""The session interface that Flask calls: cookie in, cookie out."""

from __future__ import annotations

from contextlib import AbstractContextManager
from threading import Lock
from time import time
from typing import Any

from flask import Flask, Request, Response, request
from flask.sessions import SessionInterface, SessionMixin

from .config import Settings, largest_record, read_settings
from .cookie import CookieSigner, Outcome, SignedId, attributes_mark
from .exceptions import (
    PayloadError,
    PickleSessionError,
    RefusedError,
    SessionDroppedError,
    SessionLimitError,
    SessionUnavailableError,
)
from .failure import render_failure
from .keys import secret_keys, weak_keys
from .manager import SessionManager
from .pickling import KeptFields, PickleSerializer
from .report import Rejection, Reporter, logger
from .session import Loaded, Session, identity_digest
from .signers import Signers
from .storage.deadline import Budget
from .storage.index import UserIndex
from .storage.store import Store
from .user_sessions import client_text

EXTENSION_KEY = "picklesession"

#: A permanent cookie is set again when this part of its lifetime has passed.
COOKIE_REFRESH_PART = 10


class AppState:
    """What one application's sessions need, put together from its settings.

    :param app: the application.
    :raises ConfigurationError: with all that is wrong with its configuration.
    """

    def __init__(self, app: Flask) -> None:
        self.settings: Settings = read_settings(app.config)
        self.report = Reporter(app)
        self.serializer = PickleSerializer(self.settings.allow, limits=self.settings.limits)
        self.store = Store(
            self.settings.link, prefix=self.settings.key_prefix, largest=largest_record(self.settings.limits)
        )
        self.manager = SessionManager(
            self.store,
            UserIndex(
                self.settings.link,
                prefix=self.settings.key_prefix,
                absolute_timeout=self.settings.absolute_timeout,
            ),
            self.serializer,
            self.report,
            self.settings.rules,
            grace=self.settings.grace,
            on_reuse=self.settings.on_reuse,
        )
        self._signers: tuple[tuple[str | bytes, ...], Signers] | None = None

    def idle_timeout(self, app: Flask) -> float:
        """Return the seconds after which a session ends that is not used."""
        return self.settings.idle_timeout or app.permanent_session_lifetime.total_seconds()

    def user_digest(self, identity: str) -> bytes:
        """Return the digest that records carry for an identity."""
        return identity_digest(self.settings.key_prefix, identity)

    def budget(self) -> Budget:
        """Return what one request may spend on the store."""
        return Budget(self.settings.timeout, self.settings.link.prepare)

    def open(self, app: Flask, handle: str, budget: Budget, kept: KeptFields | None = None) -> Session:
        """Return the session with a handle; it is loaded at its first use.

        :param budget: what may be spent on the store.
        :param kept: fields of records that this worker does not know, where the request has some.
        """
        return Session(
            _HandleLoader(app, self, handle),
            self.serializer,
            identity_keys=self.settings.identity_keys,
            budget=budget,
            kept=kept,
        )

    def signers(self, app: Flask) -> Signers:
        """Return the signers of the keys that are in force now. Deriving keys costs as much as signing."""
        secrets = secret_keys(app.config, app.secret_key or "")
        if self._signers is None or self._signers[0] != secrets:
            for problem in weak_keys(secrets):
                logger.warning("%s", problem)
            settings = self.settings
            self._signers = (
                secrets,
                Signers(secrets, encrypt=settings.encrypt, plain_until=settings.plain_until),
            )
        return self._signers[1]


_state_lock = Lock()


def state_of(app: Flask) -> AppState:
    """Return the application's state; read its configuration if this is the first time.

    :raises ConfigurationError: with all that is wrong with its configuration.
    """
    state: AppState | None = app.extensions.get(EXTENSION_KEY)
    if state is not None:
        return state
    with _state_lock:
        # Another thread may have been quicker.
        return app.extensions.get(EXTENSION_KEY) or app.extensions.setdefault(EXTENSION_KEY, AppState(app))  # type: ignore[no-any-return]  # ours


class _Loader:
    """What the loaders of one application's sessions share."""

    def __init__(self, app: Flask, state: AppState) -> None:
        self._app = app
        self._state = state

    def quarantined(self, key: str, error: PayloadError, *, is_logged: bool) -> None:
        self._state.report.quarantined(key, error, is_logged=is_logged)

    def user_digest(self, identity: str) -> bytes:
        return self._state.user_digest(identity)

    def atomic(self, session: Session) -> AbstractContextManager[Session]:
        stored = self._state.open(self._app, session.handle or "", session.budget, session.kept)
        return self._state.manager.atomic(session, stored, self._state.signers(self._app))


class _RequestLoader(_Loader):
    """Loads the session of one request, at its first use."""

    def __init__(self, interface: PickleSessionInterface, app: Flask, request: Request, state: AppState) -> None:
        super().__init__(app, state)
        self._interface = interface
        self._request = request

    def load(self, session: Session) -> Loaded:
        signers = self._state.signers(self._app)
        value = self._request.cookies.get(self._interface.get_cookie_name(self._app))
        return self._state.manager.load(
            None if value is None else self._unsign(signers.cookie, value),
            signers,
            session.budget,
            idle_timeout=self._state.idle_timeout(self._app),
            had_cookie=value is not None,
        )

    def _unsign(self, signer: CookieSigner, value: str) -> SignedId | None:
        signed = signer.unsign(value)
        if signed is None:
            self._state.report.rejected(Rejection.COOKIE)
        return signed


class _HandleLoader(_Loader):
    """Loads the session with a handle, outside of a request of its user."""

    def __init__(self, app: Flask, state: AppState, handle: str) -> None:
        super().__init__(app, state)
        self._handle = handle

    def load(self, session: Session) -> Loaded:
        return self._state.manager.load_by_handle(
            self._handle,
            self._state.signers(self._app),
            session.budget,
            idle_timeout=self._state.idle_timeout(self._app),
        )


class PickleSessionInterface(SessionInterface):
    """Keep Python objects in sessions that live in Redis.

    ::

        app.session_interface = PickleSessionInterface()

    Reads each application's ``PICKLESESSION_*`` configuration at its first request. Holds no state of its own: one
    instance can serve several applications.
    """

    pickle_based = True

    def open_session(self, app: Flask, request: Request) -> Session | None:
        """Return the request's session, which loads nothing before it is used.

        Called by Flask at the beginning of each request.

        :return: ``None`` without a ``SECRET_KEY``: Flask's null session then explains itself.
        """
        if not app.secret_key:
            return None
        state = state_of(app)
        return Session(
            _RequestLoader(self, app, request, state),
            state.serializer,
            identity_keys=state.settings.identity_keys,
            budget=state.budget(),
        )

    def save_session(self, app: Flask, session: SessionMixin | None, response: Response) -> None:
        """Save the session if it was changed, and set or delete the cookie where needed.

        Called by Flask at the end of each request; a second time where the first response could not be finished.

        :raises RefusedError: if a nested change left a value that cannot be stored.
        """
        if not isinstance(session, Session) or not session.is_used:
            return
        _add_vary_cookie(response)
        if session.failure is None:
            try:
                outcome = self._save(app, session)
            except SessionUnavailableError as error:
                session.fail(error)
            except (SessionDroppedError, SessionLimitError) as error:
                render_failure(app, error, response)
            else:
                self._write_cookie(app, session, response, outcome)
        if session.failure is not None:
            render_failure(app, session.failure, response)
            if session.replacement is not None:
                # The session is empty now, but the browser is to keep its cookie for as long as before.
                session.permanent = session.is_replacement_permanent
                self._set_cookie(app, session, response, session.replacement)

    def _save(self, app: Flask, session: Session) -> Outcome:
        state = state_of(app)
        if state.settings.remember_client:
            session.remember_client(client_text(request.remote_addr, request.user_agent.string))
        try:
            return state.manager.save(session, state.signers(app), is_cookie_due=self._is_cookie_due(app, session))
        except SessionDroppedError:
            # It is forgotten already.
            raise
        except Exception as error:
            # Flask calls again for the error page. What could not be saved once must not fail that one, too.
            if isinstance(error, PickleSessionError) and not isinstance(error, RefusedError | SessionLimitError):
                # What it holds may be over.
                session.forget()
            else:
                session.rollback()
            raise

    def _is_cookie_due(self, app: Flask, session: Session) -> bool:
        cookie = session.loaded.cookie
        if cookie is None:
            return False
        if cookie.mark != self._mark(app):
            return True
        if not app.config["SESSION_REFRESH_EACH_REQUEST"] or not session.permanent:
            return False
        part = app.permanent_session_lifetime.total_seconds() / COOKIE_REFRESH_PART
        return time() - cookie.signed_at() > part

    def _write_cookie(self, app: Flask, session: Session, response: Response, outcome: Outcome) -> None:
        if outcome == Outcome():
            # Flask saves again for the error page of a response that could not be finished.
            outcome = session.last_outcome
        session.last_outcome = outcome
        if outcome.delete:
            self._delete_cookie(app, response)
        elif outcome.set_id is not None:
            self._set_cookie(app, session, response, outcome.set_id)

    def _set_cookie(self, app: Flask, session: Session, response: Response, session_id: str) -> None:
        state = state_of(app)
        response.set_cookie(
            self.get_cookie_name(app),
            state.signers(app).cookie.sign(session_id, self._mark(app)),
            expires=self.get_expiration_time(app, session),
            **self._attributes(app),
        )
        if state.settings.no_store:
            # OWASP Session Management: a response that carries the session id must not be kept by any cache.
            response.headers["Cache-Control"] = "no-store"

    def _delete_cookie(self, app: Flask, response: Response) -> None:
        # A browser drops a cookie only if the attributes match those it was set with.
        response.delete_cookie(self.get_cookie_name(app), **self._attributes(app))

    def _attributes(self, app: Flask) -> dict[str, Any]:
        return {
            "domain": self.get_cookie_domain(app),
            "path": self.get_cookie_path(app),
            "secure": self.get_cookie_secure(app),
            "httponly": self.get_cookie_httponly(app),
            "samesite": self.get_cookie_samesite(app),
            "partitioned": self.get_cookie_partitioned(app),
        }

    def _mark(self, app: Flask) -> str:
        return attributes_mark(*self._attributes(app).values())


def _add_vary_cookie(response: Response) -> None:
    # Werkzeug's header set costs six times as much as this, on every request that uses the session.
    if "Vary" in response.headers:
        response.vary.add("Cookie")
    else:
        response.headers.add("Vary", "Cookie")
