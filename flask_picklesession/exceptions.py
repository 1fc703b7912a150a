"""The error tree.

No error carries payload bytes, a secret key or a session id: what an attacker planted, and what would
let somebody log in, must not travel into logs and error pages.
"""

from __future__ import annotations

from collections.abc import Sequence

from werkzeug.exceptions import Conflict, Forbidden, ServiceUnavailable


class PickleSessionError(Exception):
    """Base class of all errors of this package. Never raised directly."""


class ConfigurationError(PickleSessionError, ValueError):
    """The application's configuration cannot be used. Raised once, with all problems.

    :param problems: one sentence for each wrong key or value.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        #: One sentence for each wrong key or value.
        self.problems = tuple(problems)
        super().__init__("\n".join(("flask-picklesession is not configured:", *self.problems)))


class RegistrationError(PickleSessionError, TypeError):
    """A class cannot be put on the allow-list, or comes too late."""


class RefusedError(PickleSessionError):
    """A value cannot be stored, since it could not be restored.

    Raised in the request that stored it. Never raised directly: see :class:`TypeRefusedError` and
    :class:`LimitExceededError`.

    :param path: where the value stands, such as ``session['cart'].items[3].price``.
    :param reason: why it is refused.
    :param fix: what would allow it.
    """

    def __init__(self, path: str, reason: str, fix: str) -> None:
        #: Where the value stands, such as ``session['cart'].items[3].price``.
        self.path = path
        #: Why it is refused.
        self.reason = reason
        #: What would allow it.
        self.fix = fix
        super().__init__(f"{path} {reason}. {fix}")


class TypeRefusedError(RefusedError, TypeError):
    """A value's type is not on the allow-list, or the value holds what its type does not declare.

    :param type_name: the type, as ``module:QualName``.
    """

    def __init__(self, path: str, reason: str, fix: str, *, type_name: str) -> None:
        super().__init__(path, reason, fix)
        #: The type, as ``module:QualName``.
        self.type_name = type_name


class LimitExceededError(RefusedError, ValueError):
    """A value is larger or deeper than what may be read back.

    :param limit: the limit's name, a field of :class:`~flask_picklesession.pickling.limits.Limits`.
    """

    def __init__(self, path: str, reason: str, fix: str, *, limit: str) -> None:
        super().__init__(path, reason, fix)
        #: The limit's name.
        self.limit = limit


class PayloadError(PickleSessionError):
    """Bytes are not a payload or segment that this allow-list and these limits accept.

    The only error that reading raises, whatever the bytes are.

    :param reason: what is wrong, in words that never quote the bytes.
    :param type_name: the name that is not on the allow-list, where that is what is wrong.
    """

    def __init__(self, reason: str, *, type_name: str | None = None) -> None:
        #: What is wrong. Never quotes the bytes.
        self.reason = reason
        #: The name that is not on the allow-list, where that is what is wrong.
        self.type_name = type_name
        super().__init__(reason)


class RecordError(PickleSessionError):
    """A stored record is not one that we wrote: too short, forged, or moved from another key."""


class NewerRecordError(PickleSessionError):
    """A correctly signed record has a format that this version does not know.

    A newer worker wrote it during a rolling deploy. It is an outage for this worker, not bad data.
    """


class QuarantinedKeyError(PickleSessionError, KeyError):
    """A key holds a value that this worker cannot restore; assigning to it would lose that value.

    :param key: the key. ``del session[key]`` removes the kept value.
    """

    def __init__(self, key: str) -> None:
        #: The key.
        self.key = key
        super().__init__(key)

    def __str__(self) -> str:
        return (
            f"session[{self.key!r}] holds a value that this worker cannot restore and keeps for those that can. "
            f"Remove it first with del session[{self.key!r}], or allow its type."
        )


class StoreUnavailableError(PickleSessionError):
    """The store did not answer in time, or refused to.

    :param maybe_applied: whether the command may have been carried out although no reply came.
    """

    def __init__(self, reason: str, *, maybe_applied: bool = False) -> None:
        #: Whether the command may have been carried out although no reply came.
        self.maybe_applied = maybe_applied
        super().__init__(reason)


class SessionUnavailableError(PickleSessionError, ServiceUnavailable):
    """The session cannot be had now: a 503 with ``Retry-After``, rendered by Flask's error handlers."""

    #: Seconds after which a client may try again.
    RETRY_AFTER = 1

    def __init__(self, description: str = "The session store is not available.") -> None:
        ServiceUnavailable.__init__(self, description, retry_after=self.RETRY_AFTER)


class SessionDroppedError(PickleSessionError, Conflict):
    """A write was dropped, since its session had ended or belongs to somebody else now: a 409.

    Raised where ``PICKLESESSION_ON_DROP`` is ``"error"``, and by ``open()`` and ``atomic()`` always.

    :param reason: a :class:`~flask_picklesession.report.Drop`.
    :param keys: the keys that were not written.
    """

    def __init__(self, reason: str, keys: Sequence[str]) -> None:
        Conflict.__init__(self, "The session has ended meanwhile; nothing was stored.")
        #: A :class:`~flask_picklesession.report.Drop`.
        self.reason = reason
        #: The keys that were not written.
        self.keys = tuple(keys)


class SessionConflictError(PickleSessionError, Conflict):
    """Another request wrote to the session within a ``with session.atomic()`` block: a 409. Nothing was stored."""

    def __init__(self) -> None:
        Conflict.__init__(self, "The session was changed by another request; try again.")


class SessionLimitError(PickleSessionError, Forbidden):
    """The user has as many sessions as may be, and ``PICKLESESSION_ON_MAX_SESSIONS`` is ``"reject"``: a 403."""

    def __init__(self) -> None:
        Forbidden.__init__(self, "You are signed in on too many devices. Sign out on one of them first.")


class SessionNotFoundError(PickleSessionError, LookupError):
    """No live session has this handle."""

    def __init__(self) -> None:
        super().__init__("no live session has this handle")


class OpenedSessionError(PickleSessionError, RuntimeError):
    """What is asked for needs a browser: outside its request a session cannot change its id or its identity."""

    def __init__(self) -> None:
        super().__init__(
            "a session that was opened by its handle cannot change whose it is, be regenerated, or be filled again "
            "after clear(): its browser would not get the new id"
        )
