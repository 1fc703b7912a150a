"""What operators are told: one log line and one signal for each event. No id, key or payload in either."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import StrEnum

from blinker import NamedSignal
from flask import Flask

from . import signals
from .exceptions import PayloadError, SessionUnavailableError
from .storage.record import EndReason

#: Types that one application remembers to have logged.
MOST_LOGGED_TYPES = 1000

logger = logging.getLogger("flask_picklesession")


class Rejection(StrEnum):
    """Why a cookie or a record was not accepted."""

    #: The cookie is malformed, or no key of ours signed it.
    COOKIE = "cookie"
    #: No key of ours signed the record for this session.
    RECORD = "record"
    #: The record is signed, but its payload is not one that the verifier passes.
    PAYLOAD = "payload"


class Drop(StrEnum):
    """Why a write was dropped."""

    #: The session had ended meanwhile, or was replaced.
    ENDED = "ended"
    #: The session belongs to somebody else now.
    IDENTITY = "identity"
    #: Somebody else wrote a value to the same key that this worker cannot restore.
    QUARANTINED = "quarantined"


class Reporter:
    """Log and signal what happens to one application's sessions.

    :param app: the application, as the sender of signals.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._logged_types: set[str] = set()

    def _send(self, signal: NamedSignal, **arguments: object) -> None:
        """Send a signal. A receiver that fails keeps neither the session nor other receivers from going on.

        An error there would leave a browser with an id that is over, or a sign-out half-way.
        """
        for receiver in signal.receivers_for(self._app):
            try:
                receiver(self._app, **arguments)
            except Exception:
                logger.exception("a receiver of the signal %s failed", signal.name)

    def _is_news(self, type_name: str | None) -> bool:
        """Tell whether a type was not logged before. During a rolling deploy each request may meet it."""
        if type_name is None:
            return True
        if type_name in self._logged_types:
            return False
        # Who writes to Redis can make names up.
        if len(self._logged_types) < MOST_LOGGED_TYPES:
            self._logged_types.add(type_name)
        return True

    def saved(self, handle: str, *, created: bool) -> None:
        """Report a session that was written."""
        self._send(signals.session_saved, handle=handle, created=created)

    def regenerated(self, handle: str, *, old_handle: str) -> None:
        """Report a session that goes on under a new id."""
        self._send(signals.session_regenerated, handle=handle, old_handle=old_handle)

    def renewed(self, handle: str, *, old_handle: str) -> None:
        """Report a session that goes on under a new id by itself."""
        self._send(signals.session_renewed, handle=handle, old_handle=old_handle)

    def reused(self, handle: str) -> None:
        """Report an id that its browser had replaced long ago."""
        logger.warning("session id reused after its renewal")
        self._send(signals.session_reused, handle=handle)

    def ended(self, handle: str, reason: EndReason) -> None:
        """Report a session that is over."""
        self._send(signals.session_ended, handle=handle, reason=reason)

    def rejected(self, reason: Rejection) -> None:
        """Report a cookie or record that is not accepted: the request gets a new session."""
        logger.warning("session rejected: %s", reason.value)
        self._send(signals.session_rejected, reason=reason)

    def quarantined(self, key: str, error: PayloadError, *, is_logged: bool) -> None:
        """Report a value that cannot be restored and is kept as it is; a type that is not known is logged once.

        :param is_logged: whether it is among the first ones of its session.
        """
        if is_logged and self._is_news(error.type_name):
            logger.warning("session value quarantined: %s", error.reason)
        self._send(signals.session_quarantined, key=key, type_name=error.type_name)

    def dropped(self, reason: Drop, keys: Sequence[str]) -> None:
        """Report a write that was dropped."""
        logger.warning("session write dropped: %s (%d keys)", reason.value, len(keys))
        self._send(signals.session_dropped, reason=reason, keys=tuple(keys))

    def unavailable(self, error: Exception) -> SessionUnavailableError:
        """Report a failure of the store, and return the error that becomes the response."""
        logger.error("session store unavailable: %s", error)
        self._send(signals.session_unavailable, reason=str(error))
        return SessionUnavailableError()
