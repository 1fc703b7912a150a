"""The session that views see: a lazy mapping that knows, key by key, what was changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from copy import deepcopy
from datetime import UTC, datetime
from hashlib import sha256
from threading import RLock
from typing import Any, NamedTuple, Protocol, TypeVar, overload
from uuid import UUID

from flask.sessions import SessionMixin

from .cookie import Outcome, SignedId
from .exceptions import (
    PayloadError,
    QuarantinedKeyError,
    SessionConflictError,
    SessionUnavailableError,
    TypeRefusedError,
)
from .merge import Changes, is_same
from .pickling import KeptFields, NotBuiltError, PickleSerializer, Stored
from .storage.deadline import Budget
from .storage.record import ANONYMOUS, Record, now_ms

T = TypeVar("T")

# Stands for a value that is stored but was not asked for yet.
_UNBUILT: Any = type("_Unbuilt", (), {"__slots__": (), "__repr__": lambda self: "<unbuilt>"})()
_MISSING: Any = object()

#: Where a session keeps what its browser said of itself, if the application asks for that.
CLIENT_KEY = "_client"

#: Types that can tell whose session it is: what :func:`str` makes of them is the same in every process.
IDENTITY_TYPES = (str, int, UUID)

#: Bits of an int that can tell whose session it is: Python makes no text of one with thousands of digits.
LONGEST_IDENTITY = 1000

#: Values of one session whose quarantine is logged: somebody may have planted thousands.
MOST_LOGGED_VALUES = 10

#: Values of one session that are tried to be built although others could not be, which the verifier had passed. Nothing
#: that was stored fails so, and each may take a tenth of a second: all further ones are quarantined.
MOST_NOT_BUILT = 8

# What can be asked whether it is true.
_PLAIN_TYPES = (bool, int, float, str, type(None))

# Keys that Flask sets.
_FLASKS_OWN = ("_permanent", "_flashes")


class Loaded(NamedTuple):
    """What a cookie led to in the store."""

    #: The id of the live session, or ``None`` if there is none.
    session_id: str | None = None
    #: Its record.
    record: Record | None = None
    #: The record's values, key by key.
    values: dict[str, Stored] = {}  # noqa: RUF012 - never written to
    #: Whether record and cookie were signed by the newest secret key.
    is_current: bool = True
    #: Seconds that the record lives on without use.
    idle_timeout: int = 0
    #: Whether another request has just replaced this session's id: what this one writes must not set a cookie.
    was_replaced: bool = False
    #: Whether the request carried a cookie of this name at all.
    had_cookie: bool = False
    #: What the cookie says, if it is one of ours.
    cookie: SignedId | None = None
    #: The handle of the live session, or ``None`` if there is none.
    handle: str | None = None
    #: The handles of renewed sessions that led to it, oldest first.
    trail: tuple[str, ...] = ()
    #: Whether the browser is to be offered the session's new id: it came with an old one, and nobody has used the new.
    is_offered: bool = False
    #: Whether it was opened by its handle, outside of a request of its user.
    is_opened: bool = False
    #: The handle of a session that is none here: one that was just replaced goes on under it, if it is still the same
    #: user's, or its payload cannot be read by this worker.
    replacement: str | None = None
    #: Whose that one is.
    replacement_digest: bytes = ANONYMOUS

    @property
    def is_by_own_cookie(self) -> bool:
        """Whether the request has the session's newest id."""
        is_of_cookie = self.cookie is None or self.cookie.session_id == self.session_id
        return self.session_id is not None and not self.trail and is_of_cookie

    @property
    def is_unconfirmed(self) -> bool:
        """Whether this is the first use of a renewed session by its new id."""
        return self.is_by_own_cookie and self.record is not None and not self.record.confirmed


_NOTHING_LOADED = Loaded()


class Loader(Protocol):
    """Where a session gets its content from, and tells what it cannot restore."""

    def load(self, session: Session) -> Loaded:
        """Return what the request's cookie leads to.

        :raises SessionUnavailableError: if the store failed.
        """

    def quarantined(self, key: str, error: PayloadError, *, is_logged: bool) -> None:
        """Report a value that cannot be restored."""

    def user_digest(self, identity: str) -> bytes:
        """Return the digest that a record carries for an identity."""

    def atomic(self, session: Session) -> AbstractContextManager[Session]:
        """Return the session as it stands in the store, which is saved at the end of the with-block."""


class Session(SessionMixin):
    """A session. Behaves as a :class:`dict` with str keys; nothing is loaded before its first use.

    :param loader: where the content comes from.
    :param serializer: what decides which values can be stored.
    :param identity_keys: the keys that can tell whose session it is; the first one present does.
    :param budget: what the request may spend on the store.
    :param kept: fields that this worker does not know, where another session of the request has some: records may go
        from one to the other.
    """

    def __init__(
        self,
        loader: Loader,
        serializer: PickleSerializer,
        *,
        identity_keys: tuple[str, ...],
        budget: Budget,
        kept: KeptFields | None = None,
    ) -> None:
        self._loader = loader
        self._serializer = serializer
        self._identity_keys = identity_keys
        #: What the request may still spend on the store.
        self.budget = budget
        #: Fields that this worker does not know, of all that was built in the request.
        self.kept = KeptFields() if kept is None else kept
        self._is_loaded = self._is_being_loaded = False
        self._loading = RLock()
        self._not_built = 0
        self._failed: SessionUnavailableError | None = None
        #: The id under which the session goes on although the save failed: the old one may be over.
        self.replacement: str | None = None
        #: Whether that session is permanent.
        self.is_replacement_permanent = False
        #: What the last save of this request meant for the cookie.
        self.last_outcome = Outcome()
        #: Flask's flag: set by Flask when ``flask.session`` is touched. We go by :attr:`is_used`, since Flask's
        #: ``session_transaction()`` never sets it.
        self.accessed = False
        self._adopt(_NOTHING_LOADED)

    # -- loading

    def _load(self) -> None:
        # Threads of one request (``copy_current_request_context``) wait for the first of them. A receiver of a signal
        # that is sent meanwhile, in the same thread, finds nothing.
        with self._loading:
            if self._is_loaded or self._is_being_loaded:
                return
            self._is_being_loaded = True
            try:
                self._adopt(self._loader.load(self))
            except SessionUnavailableError as error:
                # From here on the session is quiet: an extension that asks again for its error page (Flask-Login does,
                # in every response) must not fail again, nor wait again.
                self._failed = error
                raise
            finally:
                self._is_being_loaded = False
                self._is_loaded = True

    def _adopt(self, loaded: Loaded) -> None:
        self._loaded = loaded
        # The stored values, as loaded or last saved: the base of a merge.
        self._stored = loaded.values
        # The same keys with their values, built where they were asked for, in the session's order.
        self._live = {key: _unbuilt(key, value) for key, value in loaded.values.items()}
        # The values as they were handed out first.
        self._built: dict[str, Any] = {}
        # Of those that have gained fields since they were stored: what was written for them then.
        self._as_built: dict[str, bytes | None] = {}
        self._quarantined: dict[str, str] = {}
        # Whether keys are those that were loaded, each with the object that was handed out for it.
        self._is_as_loaded = True
        # Keys that were changed before an atomic change: what they are told from is older than what the store holds.
        self._rebased: frozenset[str] = frozenset()
        self._cleared = False
        self._forced = False
        self._regenerated = False
        self._reauthenticated = False
        self._touched = False

    def _build(self, key: str) -> Any:
        """Build a stored value and keep it; move it aside if it cannot be restored."""
        with self._loading:
            # Another thread of the request may have been quicker: both are to have the same object.
            value = self._live.get(key, _MISSING)
            return self._build_now(key) if value is _UNBUILT else value

    def _build_now(self, key: str) -> Any:
        try:
            value = self._load_value(key)
            if key == "_flashes" and not _are_flashes(value):
                raise PayloadError("not what flash() stores")
            if key == "_permanent" and type(value) not in _PLAIN_TYPES:
                raise PayloadError("not what tells whether a session is permanent")
        except PayloadError as error:
            del self._live[key]
            self._quarantined[key] = error.type_name or error.reason
            self._loader.quarantined(key, error, is_logged=len(self._quarantined) <= MOST_LOGGED_VALUES)
            return _MISSING
        self._live[key] = self._built[key] = value
        return value

    def _load_value(self, key: str) -> Any:
        if self._not_built >= MOST_NOT_BUILT:
            raise PayloadError("too many other values could not be built")
        try:
            value = self._serializer.load_value(self._stored[key], self.kept)
        except NotBuiltError:
            self._not_built += 1
            raise
        self._as_built[key] = self._serializer.as_built(value, self.kept)
        return value

    def _build_all(self) -> dict[str, Any]:
        if not self._is_loaded:
            self._load()
        for key in [key for key, value in self._live.items() if value is _UNBUILT]:
            self._build(key)
        return self._live

    # -- the mapping

    def __getitem__(self, key: str) -> Any:
        if not self._is_loaded:
            self._load()
        value = self._live[key]
        if value is _UNBUILT:
            value = self._build(key)
            if value is _MISSING:
                raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        if not self._is_loaded:
            self._load()
        value = self._live.get(key, _MISSING)  # type: ignore[call-overload]  # any hashable may be asked for
        if value is _UNBUILT:
            value = self._build(key)  # type: ignore[arg-type]  # it is a key of ours
        return value is not _MISSING

    def __setitem__(self, key: str, value: Any) -> None:
        if not self._is_loaded:
            self._load()
        key = _plain_key(key)
        is_quarantined = key in self._quarantined or (self._live.get(key) is _UNBUILT and key not in self)
        # Flask and its extensions know nothing of quarantine: what cannot be read gives way to what they set.
        if is_quarantined and key not in _FLASKS_OWN and key not in self._identity_keys:
            raise QuarantinedKeyError(key)
        if key in self._identity_keys and not _is_identity(value):
            raise _refused_identity(key, value)
        # What cannot be restored is refused here, where the stack trace shows who stored it.
        self._serializer.dump_value(value, path=_path(key), kept=self.kept)
        self._quarantined.pop(key, None)
        # What it has gained since it was stored is assigned, too.
        self._as_built.pop(key, None)
        self._live[key] = value
        self._is_as_loaded = False
        self._touched = True

    def __delitem__(self, key: str) -> None:
        if not self._is_loaded:
            self._load()
        if key in self._quarantined:
            del self._quarantined[key]
        else:
            del self._live[key]
        self._is_as_loaded = False
        self._touched = True

    def __iter__(self) -> Iterator[str]:
        return iter(self._build_all())

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._build_all())

    def __len__(self) -> int:
        return len(self._build_all())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Mapping):
            return dict(self) == dict(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as a dict

    def __or__(self, other: Any) -> dict[str, Any]:
        return {**self, **other} if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Any) -> dict[str, Any]:
        return {**other, **self} if isinstance(other, Mapping) else NotImplemented

    def __ior__(self, other: Any) -> Session:
        self.update(other)
        return self

    def copy(self) -> dict[str, Any]:
        """Return a plain dict with the same values."""
        return dict(self)

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return deepcopy(dict(self), memo)

    def popitem(self) -> tuple[str, Any]:
        """Remove the pair that was added last, and return it, as a dict does."""
        for key in reversed(self._build_all()):
            return key, self.pop(key)
        raise KeyError("popitem(): the session is empty")

    def clear(self) -> None:
        """Remove everything, the quarantined values too. A barrier: nothing concurrent is merged across it.

        Left empty, the session ends. Filled again, it goes on under a new session id.
        """
        if not self._is_loaded:
            self._load()
        self._live.clear()
        self._built.clear()
        self._quarantined.clear()
        self._cleared = True
        self._is_as_loaded = False
        self._touched = True

    def __repr__(self) -> str:
        # Neither values nor the id: a repr ends up in logs and error pages.
        if not self._is_loaded:
            return "<Session: not loaded>"
        return f"<Session: {len(self._live)} keys>"

    # -- what the application can ask and do

    @property
    def new(self) -> bool:  # type: ignore[override]  # a class attribute in the mixin
        """Whether no stored session stands behind this one."""
        if not self._is_loaded:
            self._load()
        return self._loaded.record is None

    @property
    def modified(self) -> bool:
        """Whether a key was assigned or removed. Set it to force a write; nested changes are found without it."""
        return self._touched or self._forced

    @modified.setter
    def modified(self, value: bool) -> None:
        if value and not self._is_loaded:
            self._load()
        self._forced = value
        self._touched = self._touched and value

    @property
    def handle(self) -> str | None:
        """The session's public handle, or ``None`` before it is stored. It can list and revoke, never log in."""
        if not self._is_loaded:
            self._load()
        return self._loaded.handle

    @property
    def created_at(self) -> datetime | None:
        """When the session began (UTC), or ``None`` before it is stored."""
        if self.new or self._loaded.record is None:
            return None
        return _as_datetime(self._loaded.record.born)

    @property
    def expires_at(self) -> datetime | None:
        """When the session ends if it is not used again (UTC), or ``None`` before it is stored."""
        if self.new or self._loaded.record is None:
            return None
        idle = datetime.now(UTC).timestamp() + self._loaded.idle_timeout
        deadline = self._loaded.record.deadline / 1000
        return datetime.fromtimestamp(min(idle, deadline) if deadline else idle, UTC)

    @property
    def quarantined(self) -> dict[str, str]:
        """The keys whose values this worker cannot restore, each with the type that is not allowed, or the reason."""
        self._build_all()
        return dict(self._quarantined)

    def destroy(self) -> None:
        """End the session. What is assigned afterwards goes into a new one."""
        self.clear()

    def regenerate(self) -> None:
        """Go on under a new session id; the old one ends when this request is saved."""
        if not self._is_loaded:
            self._load()
        self._regenerated = True

    def reauthenticated(self) -> None:
        """Note that the user has just proven again who it is, as by a password, and go on under a new session id.

        :raises RuntimeError: if the session belongs to nobody.
        """
        if self.user_digest() == ANONYMOUS:
            raise RuntimeError("the session belongs to nobody: sign in first")
        self._reauthenticated = True
        self.regenerate()

    def fresh_within(self, seconds: float) -> bool:
        """Tell whether the user has proven who it is in the last *seconds*: when it signed in, or did so again.

        :param seconds: such as 300 before a payment.
        """
        if self.user_digest() == ANONYMOUS:
            return False
        record = self._loaded.record
        if self._reauthenticated or self._cleared or record is None:
            # In this request.
            return True
        if record.user_digest != self.user_digest() and self.names_a_user:
            return True
        return now_ms() - record.authenticated <= seconds * 1000

    @overload
    def atomic(self) -> AbstractContextManager[Session]: ...

    @overload
    def atomic(self, change: Callable[[Session], T]) -> T: ...

    def atomic(self, change: Callable[[Session], T] | None = None) -> AbstractContextManager[Session] | T:
        """Read, change and write the stored session now, as if no other request were there.

        With a function, it is called with the session as it stands in the store, and again as often as another request
        was quicker, within the request's ``TIMEOUT``; its result is returned. ``with session.atomic() as stored:`` is
        one attempt: Python cannot run a block again. The request's own session goes on from the result; what else it
        has changed is saved at its end, as always.

        :param change: takes the stored session and changes it.
        :raises SessionConflictError: if another request was quicker, in each attempt.
        :raises SessionDroppedError: if the session has ended.
        """
        if change is None:
            return self._loader.atomic(self)
        while True:
            try:
                with self._loader.atomic(self) as stored:
                    return change(stored)
            except SessionConflictError:
                if not self.budget.is_left:
                    raise

    def rollback(self) -> None:
        """Forget all that this request changed."""
        if self._is_loaded:
            self._adopt(self._loaded)

    # -- what the save asks

    @property
    def identity_keys(self) -> tuple[str, ...]:
        """The keys that can tell whose session it is."""
        return self._identity_keys

    @property
    def is_used(self) -> bool:
        """Whether anything asked for the session's content."""
        return self._is_loaded

    @property
    def loaded(self) -> Loaded:
        """What the session was loaded from."""
        return self._loaded

    @property
    def failure(self) -> SessionUnavailableError | None:
        """The store's failure that made this session quiet, if any."""
        return self._failed

    def fail(self, error: SessionUnavailableError) -> None:
        """Make the session quiet for the rest of the request: it reads as empty and writes go nowhere."""
        self._failed = error
        self._is_loaded = True
        self._adopt(_NOTHING_LOADED)

    @property
    def is_cleared(self) -> bool:
        """Whether :meth:`clear` or :meth:`destroy` was called."""
        return self._cleared

    @property
    def is_regenerated(self) -> bool:
        """Whether the application asked for a new session id."""
        return self._regenerated

    @property
    def is_reauthenticated(self) -> bool:
        """Whether the user has proven again who it is."""
        return self._reauthenticated

    @property
    def is_to_be_saved(self) -> bool:
        """Whether it is to be saved without a change of content: asked for, still on an old key, or just renewed."""
        loaded = self._loaded
        # Where it was opened from outside there is no cookie to be signed anew with it.
        is_outdated = not loaded.is_current and not loaded.is_opened
        return self.is_save_asked_for or is_outdated or loaded.is_offered or loaded.is_unconfirmed

    @property
    def is_save_asked_for(self) -> bool:
        """Whether the application wants it to be saved, whatever it holds."""
        return self._cleared or self._regenerated or self._forced

    @property
    def has_content(self) -> bool:
        """Whether anything is left in it, built or not, restorable or not."""
        return bool(self._live or self._quarantined)

    @property
    def base(self) -> dict[str, Stored]:
        """The stored values that this request's changes are told from: as loaded, or last saved."""
        return self._stored

    def changes(self) -> Changes:
        """Return what this request changed.

        :raises RefusedError: if a nested change left a value that cannot be stored.
        """
        assigned: dict[str, Any] = {}
        # Scalars cannot change in place, so unless keys were assigned or removed only what was built can have changed.
        for key, value in (self._built if self._is_as_loaded else self._live).items():
            if value is _UNBUILT:
                continue
            # After clear() nothing of what was stored is left: what is assigned is new, also the same value.
            is_new = self._cleared or key in self._rebased
            stored = _MISSING if is_new else self._stored.get(key, _MISSING)
            if value is stored or (
                not is_new and value is self._built.get(key, _MISSING) and self._serializer.is_immutable(value)
            ):
                continue
            if stored is _MISSING or value is None:
                assigned[key] = self._serializer.dump_value(value, path=_path(key), kept=self.kept)
                continue
            is_told_apart = not self._forced and value is self._built.get(key, _MISSING)
            as_built = self._as_built.get(key) if is_told_apart else None
            changed = self._serializer.same_value(value, stored, _path(key), self.kept, as_built)
            if changed is not None:
                assigned[key] = changed
        if self._is_as_loaded:
            return Changes(assigned, frozenset())
        gone = (self._stored.keys() | self._rebased) - self._live.keys() - self._quarantined.keys()
        return Changes(assigned, frozenset(gone))

    @property
    def names_a_user(self) -> bool:
        """Whether this request says whose session it is. It may also take out a key that stands before another one."""
        named = next((key for key in self._identity_keys if key in self), None)
        return named is None or self._live[named] is not self._built.get(named, self._stored.get(named, _MISSING))

    def user_digest(self) -> bytes:
        """Return the digest of the identity that the session holds now."""
        for key in self._identity_keys:
            if key in self and _is_identity(self[key]):
                return self._loader.user_digest(str(self[key]))
            if (key in self or key in self._quarantined) and self._loaded.record is not None:
                # Cannot be read here, or cannot be assigned, so it was not changed here.
                return self._loaded.record.user_digest
        return ANONYMOUS

    def remember_client(self, text: str) -> None:
        """Keep what a browser said of itself, where somebody signs in.

        :param text: what is kept.
        """
        digest, record = self.user_digest(), self._loaded.record
        is_sign_in = record is None or record.user_digest != digest or self._cleared
        # What stands there and cannot be restored here is somebody's: it is kept, as all such values.
        if digest != ANONYMOUS and is_sign_in and (CLIENT_KEY in self or CLIENT_KEY not in self._quarantined):
            self[CLIENT_KEY] = text

    def forget(self, *, was_replaced: bool = False) -> None:
        """Be an empty, new session: the stored one is over.

        :param was_replaced: whether the browser may have a newer one.
        """
        loaded = self._loaded
        self._adopt(Loaded(idle_timeout=loaded.idle_timeout, had_cookie=loaded.had_cookie, was_replaced=was_replaced))

    def adopt_saved(
        self, session_id: str | None, handle: str, record: Record, values: dict[str, Stored], changes: Changes
    ) -> None:
        """Take what was saved as the new base, keeping the objects that the application holds.

        :param session_id: the id that it was saved under, or ``None`` where only the handle is known.
        :param handle: its handle.
        :param record: the record as it stands now.
        :param values: what stands in the store now: my changes merged with theirs.
        :param changes: what this request had changed.
        """
        before = self._stored
        for key, stored in values.items():
            if stored is changes.assigned.get(key, _MISSING):
                # From now on told from that.
                self._as_built.pop(key, None)
                continue
            if not changes.touches(key) and (
                stored is before.get(key, _MISSING) or (key in self._live and is_same(before.get(key), stored))
            ):
                continue
            # Theirs: other bytes than those that could not be restored, too.
            self._quarantined.pop(key, None)
            self._built.pop(key, None)
            self._live[key] = _unbuilt(key, stored)
        for key in self._live.keys() - values.keys():
            del self._live[key]
            self._built.pop(key, None)
        self._stored = values
        self._rebased = frozenset()
        self._loaded = self._loaded._replace(
            session_id=session_id,
            handle=handle,
            record=record,
            values=values,
            is_current=True,
            trail=(),
            is_offered=False,
        )
        # Flask's flag goes on telling that the request modified its session.
        self._touched = self._touched or self._forced
        self._cleared = self._forced = self._regenerated = self._reauthenticated = False

    def rebase(self, loaded: Loaded) -> None:
        """Go on from what stands in the store now, with this request's changes on top of it.

        :param loaded: the session as it was stored after this request had loaded it.
        """
        changes = self.changes()
        before = self._stored
        for key, stored in loaded.values.items():
            if changes.touches(key) or (key in self._live and is_same(before.get(key), stored)):
                continue
            if self._cleared:
                # A barrier: what was stored meanwhile ends with the session.
                continue
            self._quarantined.pop(key, None)
            self._built.pop(key, None)
            self._live[key] = _unbuilt(key, stored)
        for key in self._live.keys() - loaded.values.keys() - changes.assigned.keys():
            del self._live[key]
            self._built.pop(key, None)
        # What was changed is merged when it is saved: told from what it was changed from.
        self._stored = {
            **{key: stored for key, stored in loaded.values.items() if not changes.touches(key)},
            **{key: stored for key, stored in before.items() if changes.touches(key)},
        }
        self._rebased = frozenset({*changes.assigned, *changes.deleted})
        # Was it renewed meanwhile, then the old record still leads this request's save to the new one.
        is_same_record = loaded.record is None or loaded.handle == self._loaded.handle
        record = loaded.record if is_same_record else self._loaded.record
        self._loaded = self._loaded._replace(record=record, values=loaded.values)
        self._is_as_loaded = False


def identity_digest(prefix: str, identity: str) -> bytes:
    """Return the digest of an identity that records carry: not secret, but not readable either."""
    # With surrogates that stand alone, as any str may have them.
    return sha256(f"{prefix}{identity}".encode("utf-8", "surrogatepass")).digest()


def _plain_key(key: object) -> str:
    if type(key) is str:
        return key
    if isinstance(key, str):
        # A subclass would come back as a plain str; str.__str__ does not run the subclass's own.
        return str.__str__(key)
    raise TypeError(f"a session key is a str, not {type(key).__qualname__}")


def _path(key: str) -> str:
    return f"session[{key!r}]"


def _as_datetime(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _is_identity(value: object) -> bool:
    return type(value) in IDENTITY_TYPES and not (isinstance(value, int) and value.bit_length() > LONGEST_IDENTITY)


def _refused_identity(key: str, value: object) -> TypeRefusedError:
    kind = type(value)
    what = f"an int of more than {LONGEST_IDENTITY} bits" if kind is int else f"a {kind.__qualname__}"
    return TypeRefusedError(
        _path(key),
        f"says whose session it is and cannot be {what}",
        "Store a str, an int or a UUID",
        type_name=f"{kind.__module__}:{kind.__qualname__}",
    )


def _unbuilt(key: str, stored: Stored) -> Any:
    """Return what stands for a stored value until it is asked for: a scalar for itself."""
    return _UNBUILT if type(stored) is bytes or key == "_flashes" else stored


def _are_flashes(value: object) -> bool:
    """Tell whether Flask can show these messages: who holds the secret key can plant what it fails on, on each page."""
    # What the pairs hold is the application's: an Enum is a category, too.
    return isinstance(value, list) and all(
        isinstance(item, tuple | list) and len(item) == 2 and _is_category(item[0]) for item in value
    )


def _is_category(value: object) -> bool:
    """Tell whether Flask can look for it among others: an array, compared with a text, gives an array."""
    try:
        return isinstance(value == "", bool)
    except Exception:
        # An ``__eq__`` of the application's.
        return False
