"""Server-side sessions for Flask that hold real Python objects, in Redis, behind an allow-list."""

from __future__ import annotations

from .exceptions import (
    ConfigurationError,
    LimitExceededError,
    NewerRecordError,
    OpenedSessionError,
    PayloadError,
    PickleSessionError,
    QuarantinedKeyError,
    RecordError,
    RefusedError,
    RegistrationError,
    SessionConflictError,
    SessionDroppedError,
    SessionLimitError,
    SessionNotFoundError,
    SessionUnavailableError,
    StoreUnavailableError,
    TypeRefusedError,
)
from .extension import PickleSession
from .interface import PickleSessionInterface
from .pickling import AllowList, PickleSerializer
from .report import Drop, Rejection
from .session import Session
from .signals import (
    session_dropped,
    session_ended,
    session_quarantined,
    session_regenerated,
    session_rejected,
    session_renewed,
    session_reused,
    session_saved,
    session_unavailable,
)
from .storage.record import EndReason
from .user_sessions import SessionInfo

__all__ = [
    "AllowList",
    "ConfigurationError",
    "Drop",
    "EndReason",
    "LimitExceededError",
    "NewerRecordError",
    "OpenedSessionError",
    "PayloadError",
    "PickleSerializer",
    "PickleSession",
    "PickleSessionError",
    "PickleSessionInterface",
    "QuarantinedKeyError",
    "RecordError",
    "RefusedError",
    "RegistrationError",
    "Rejection",
    "Session",
    "SessionConflictError",
    "SessionDroppedError",
    "SessionInfo",
    "SessionLimitError",
    "SessionNotFoundError",
    "SessionUnavailableError",
    "StoreUnavailableError",
    "TypeRefusedError",
    "session_dropped",
    "session_ended",
    "session_quarantined",
    "session_regenerated",
    "session_rejected",
    "session_renewed",
    "session_reused",
    "session_saved",
    "session_unavailable",
]
