"""Mapping to payload and back, and what the session needs of it: one key's value at a time."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict, deque
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from ..exceptions import LimitExceededError, PayloadError, TypeRefusedError
from .allowlist import AllowList, type_name
from .entries import LimitError
from .limits import DEFAULT_LIMITS, Limits
from .paths import find_path, shown_key
from .pickler import RefusedValue, ValuePickler, dump_scalars
from .records import KeptFields, Trial, kept_fields
from .unpickler import (
    AllowListUnpickler,
    GuardedUnpickler,
    UnfinishedKeyError,
    unpickle,
    unpicklers_for,
)
from .verifier import verify_container, verify_segment

#: What stands in a payload for a value: itself, if it is a scalar, or the bytes of its segment.
Stored = str | int | float | bool | None | bytes

_SCALARS = frozenset({str, int, float, bool, type(None)})
_SMALL_INT = 1 << 62

#: Verdicts that one serializer remembers. A digest takes 32 bytes, so this is about a megabyte.
VERDICTS_KEPT = 8192


#: Sizes of a session that all values which have gained fields may have together: a record of eight bytes may gain
#: dozens.
GAINED_SIZES = 2


class Verdicts:
    """Remembers by digest which bytes were verified. Belongs to one serializer: to its list and limits.

    :param kept: how many; 0 remembers nothing.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._passed: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def has(self, data: bytes) -> bool:
        """Tell whether these bytes were passed before."""
        return self._kept > 0 and sha256(data).digest() in self._passed

    def add(self, data: bytes) -> None:
        """Remember that these bytes were passed."""
        if not self._kept:
            return
        digest = sha256(data).digest()
        with self._lock:
            self._passed[digest] = None
            if len(self._passed) > self._kept:
                self._passed.popitem(last=False)


class PickleSerializer:
    """Turn mappings of allowed values into bytes, and bytes into such mappings.

    ::

        serializer = PickleSerializer(allow)
        payload = serializer.dumps({"cart": cart})

    Usable without Flask and Redis. It verifies bytes, which is enough for nothing in them to run; it cannot tell who
    wrote them: sign what you store where others can write.

    :param allow: the allow-list, or what :meth:`AllowList.of` takes. Frozen from now on.
    :param limits: what a payload may cost.
    :param verdicts_kept: how many verified values are remembered, so that the same bytes are verified once.
    """

    def __init__(
        self, allow: object = (), *, limits: Limits = DEFAULT_LIMITS, verdicts_kept: int = VERDICTS_KEPT
    ) -> None:
        self._allow = AllowList.of(allow)
        self._allow.freeze()
        self._limits = limits
        self._reducers = self._allow.reducers()
        self._conversions = self._allow.conversions()
        self._entries = self._allow.entries()
        self._unpickler, self._guarded = unpicklers_for(self._allow.restorers(), limits.max_odd_keys)
        self._immutable = frozenset(
            {*_SCALARS, bytes, *(cls for cls, allowed in self._reducers.items() if allowed.is_immutable)}
        )
        self._verdicts = Verdicts(verdicts_kept)
        # list.pop and list.append are atomic: each use has a pickler of its own, also where a reduce= dumps again.
        self._picklers: list[ValuePickler] = []

    def dumps(self, mapping: Mapping[str, Any]) -> bytes:
        """Return the payload of a mapping.

        References that several values share are kept within the value of one key.

        :raises TypeRefusedError: if it holds what is not allowed.
        :raises LimitExceededError: if it exceeds a limit.
        """
        values: dict[str, Stored] = {}
        for key, value in mapping.items():
            if type(key) is not str:
                raise TypeRefusedError(
                    f"key {shown_key(key)}", "is not a str", "Use str keys", type_name=type_name(type(key))
                )
            if type(value) in _SCALARS and self._is_storable(value):
                values[key] = value
            else:
                values[key] = self.dump_value(value, f"session[{key!r}]")
        return self.dump_container(values)

    def loads(self, payload: bytes) -> dict[str, Any]:
        """Return the mapping that a payload holds. Verifies it, but cannot tell who wrote it.

        :raises PayloadError: whatever is wrong with the bytes.
        """
        values: dict[str, Any] = self.load_container(payload)
        for key, stored in values.items():
            if type(stored) is bytes:
                values[key] = self.load_value(stored)
        return values

    # -- one key at a time

    def dump_value(self, value: Any, path: str = "value", kept: KeptFields | None = None) -> Stored:
        """Return what stands for a value in a container, having made sure that it can be read back.

        :param path: where the value stands, for the error.
        :param kept: fields of its records to write back that this worker does not know.
        :raises TypeRefusedError: if it holds what is not allowed.
        :raises LimitExceededError: if it exceeds a limit.
        """
        if type(value) in _SCALARS:
            if not self._is_storable(value):
                limit = "max_int_digits" if type(value) is int else "max_value_size"
                raise self._limit_exceeded(limit, value, path, 0 if type(value) is int else _encoded_size(value))
            return value  # type: ignore[no-any-return]  # a scalar
        segment, trial = self._pickle(value, path, kept)
        try:
            self._verify(segment, trial)
        except LimitError as error:
            raise self._limit_exceeded(error.limit, value, path, len(segment)) from None
        except UnfinishedKeyError as error:
            container = error.container
            # What was built of it has the same paths.
            found = find_path(error.root, path, lambda item, _depth: item is container) or path
            raise _not_restorable(value, found, error) from None
        except PayloadError as error:
            raise _not_restorable(value, path, error) from error
        return segment

    def load_value(self, stored: Stored, kept: KeptFields | None = None) -> Any:
        """Return the value that :meth:`dump_value` turned into this.

        :param kept: takes the fields that this worker does not know.
        :raises PayloadError: whatever is wrong with the bytes.
        """
        if type(stored) is not bytes:
            return stored
        unpickler: type[AllowListUnpickler] | type[GuardedUnpickler] = self._unpickler
        is_known = self._verdicts.has(stored)
        if not is_known and verify_segment(stored, self._entries, self._limits):
            unpickler = self._guarded
        token = kept_fields.set(kept)
        try:
            value = unpickle(stored, unpickler)
        finally:
            kept_fields.reset(token)
        if not is_known:
            # Not before it was built: what is known is not tried when it is stored.
            self._verdicts.add(stored)
        return value

    def dump_container(self, values: Mapping[str, Stored]) -> bytes:
        """Return the payload that holds these values.

        :param values: str keys -> what :meth:`dump_value` returned.
        :raises LimitExceededError: if it is too large; names the largest key.
        """
        if len(values) > self._limits.max_items:
            raise LimitExceededError(
                "session", f"has more than {self._limits.max_items} keys", "Remove some", limit="max_items"
            )
        payload = dump_scalars(dict(values))
        if len(payload) > self._limits.max_size:
            largest = max(values, key=lambda key: _size(values[key]), default=None)
            if largest is None:
                raise self._limit_exceeded("max_size", values, "session", len(payload))
            raise LimitExceededError(
                f"session[{largest!r}]",
                f"takes {_size(values[largest])} bytes, the whole session {len(payload)}; "
                f"{self._limits.max_size} are allowed",
                "Store less, or raise PICKLESESSION_MAX_SIZE",
                limit="max_size",
            )
        return payload

    def load_container(self, payload: bytes) -> dict[str, Stored]:
        """Return the values that a payload holds, those of segments unbuilt.

        :raises PayloadError: whatever is wrong with the bytes.
        """
        count = verify_container(payload, self._limits)
        values: dict[str, Stored] = unpickle(payload, AllowListUnpickler)
        if len(values) != count:
            raise PayloadError("a key stands twice")
        return values

    def same_value(
        self,
        value: Any,
        stored: Stored,
        path: str = "value",
        kept: KeptFields | None = None,
        as_built: bytes | None = None,
    ) -> Stored | None:
        """Tell whether a value, which is not ``None``, is still what was stored.

        Bytes that differ are not enough: how a set is ordered, and which equal objects are shared, is lost on the
        way. So what was stored is built and dumped again, in this process, before anything counts as changed.

        Where neither the value nor what was stored can be stored any more, whoever planted it, the request did not
        change it: to read such a value is no error.

        :param as_built: what was written for this value when it was built, where that may differ each time: with fields
            that were not stored, and got their defaults.
        :return: ``None`` if it is, otherwise what stands for it now.
        :raises RefusedError: if it cannot be stored any more.
        """
        if type(value) in _SCALARS:
            return None if _is_same_scalar(value, stored) else self.dump_value(value, path, kept)
        try:
            segment, trial = self._write(value, kept)
            if segment == stored or segment == (self._rewritten(stored) if as_built is None else as_built):
                return None
            self._verify(segment, trial)
        except Exception:
            # A planted value may fail with whatever code of the application raises. No path is looked for yet.
            if as_built is None and not self._can_be_stored(stored):
                return None
            return self.dump_value(value, path, kept)
        return segment

    def _rewritten(self, stored: Stored) -> bytes | None:
        """Return what is written for a value as it was stored; ``None`` where it cannot be written again."""
        if type(stored) is not bytes:
            return None
        fresh = KeptFields()
        try:
            return self._write(self.load_value(stored, fresh), fresh)[0]
        except Exception:
            return None

    def _can_be_stored(self, stored: Stored) -> bool:
        """Tell whether a value as it was stored could be stored once more."""
        if type(stored) is not bytes:
            return True
        fresh = KeptFields()
        try:
            self._verify(*self._write(self.load_value(stored, fresh), fresh))
        except Exception:
            return False
        return True

    def as_built(self, value: object, kept: KeptFields) -> bytes | None:
        """Return what is written for a value that was just built, where it has gained fields since it was stored.

        :param kept: of this value's building.
        :raises PayloadError: if it cannot be stored any more: what a request changes in it would be lost.
        """
        if not kept.has_gained:
            return None
        kept.has_gained = False
        name = None
        try:
            if kept.gained_bytes > GAINED_SIZES * self._limits.max_size:
                raise LimitError("max_size")
            segment, trial = self._write(value, kept)
            kept.gained_bytes += len(segment)
            self._verify(segment, trial)
        except RefusedValue as refusal:
            name, reason = type_name(type(refusal.value)), refusal.reason or "is not on the allow-list"
        except PayloadError as error:
            reason = error.reason
        except Exception as error:
            # A planted value may fail with whatever code of the application raises.
            reason = type(error).__name__
        else:
            return segment
        raise PayloadError(
            f"with the fields that it has gained it cannot be stored again: {name or 'it'} {reason}", type_name=name
        )

    def written(self, value: object, kept: KeptFields | None = None) -> bytes:
        """Return what is written for a value, not verified: to tell values apart, not to store them.

        :raises RefusedError: if it cannot be stored.
        """
        return self._pickle(value, "value", kept)[0]

    def is_immutable(self, value: object) -> bool:
        """Tell whether a value is of a type whose instances can never change in place."""
        return type(value) in self._immutable

    # -- helpers

    def _pickle(self, value: Any, path: str, kept: KeptFields | None) -> tuple[bytes, Trial]:
        """Write a value, or say where in it stands what is refused."""
        try:
            return self._write(value, kept)
        except RefusedValue as refusal:
            raise _refused(refusal, value, path) from None
        except RecursionError:
            raise self._limit_exceeded("max_depth", value, path, 0) from None

    def _write(self, value: Any, kept: KeptFields | None) -> tuple[bytes, Trial]:
        """Return what is written for a value, and what must be tried to show that it can be restored.

        :raises RefusedValue: if something in it cannot be stored.
        :raises RecursionError: if it is too deep.
        """
        pickler = self._picklers.pop() if self._picklers else ValuePickler(self._reducers, self._conversions)
        try:
            return pickler.dump_value(value, kept), pickler.trial
        finally:
            self._picklers.append(pickler)

    def _verify(self, segment: bytes, trial: Trial) -> None:
        """Make sure that what was written can be read back.

        :raises PayloadError: if it cannot.
        """
        if self._verdicts.has(segment):
            return
        if verify_segment(segment, self._entries, self._limits) or trial is Trial.GUARDED:
            unpickle(segment, self._guarded)
        elif trial:
            unpickle(segment, self._unpickler)
        self._verdicts.add(segment)

    def _is_storable(self, scalar: Any) -> bool:
        if type(scalar) is int:
            return -_SMALL_INT < scalar < _SMALL_INT or scalar.bit_length() < self._limits.max_int_bytes * 8
        return (
            type(scalar) is not str
            or len(scalar) * _LONGEST_CHARACTER <= self._limits.max_value_size
            or _encoded_size(scalar) <= self._limits.max_value_size
        )

    def _limit_exceeded(self, limit: str, value: Any, path: str, size: int) -> LimitExceededError:
        bound = getattr(self._limits, limit)
        found, reason = path, f"exceeds {limit}, which is {bound}"
        if limit == "max_value_size":
            reason = f"takes {size} bytes; {bound} are allowed"
        elif limit == "max_int_digits":
            most = self._limits.max_int_bytes
            found = find_path(value, path, lambda item, _depth: _bytes_of(item) > most) or path
            reason = f"is an int of more than {bound} digits"
        elif limit == "max_items":
            found = find_path(value, path, lambda item, _depth: _items_of(item) > bound) or path
            reason = f"has more than {bound} items"
        elif limit == "max_depth":
            found = find_path(value, path, lambda _item, depth: depth >= bound) or path
            found = found if len(found) < _LONG_PATH else found[:_LONG_PATH] + "..."
            reason = f"nests deeper than {bound} levels, or a walk through its cycles could go {4 * bound} deep"
        elif limit == "max_expanded":
            reason = f"is more than a walk may meet: {bound} items (max_expanded), and fewer of what nests deep"
        elif limit == "max_odd_keys":
            reason = (
                f"has more than {bound} keys of types whose hashes can be made to collide (all but str, bytes and ints "
                "up to 65535), or keys that share large parts"
            )
        fix = f"Store less, store it elsewhere and its key here, or raise PICKLESESSION_{limit.upper()}"
        return LimitExceededError(found, reason, fix, limit=limit)


_LONG_PATH = 200

# Bytes of a character in UTF-8.
_LONGEST_CHARACTER = 4


_SIZED: tuple[Any, ...] = (list, tuple, dict, set, frozenset, deque)


def _bytes_of(item: object) -> int:
    return item.bit_length() // 8 + 1 if type(item) is int else 0


def _items_of(item: Any) -> int:
    for kind in _SIZED:
        if issubclass(type(item), kind):
            # Not that of a class of the application.
            return int(kind.__len__(item))
    return 0


def _encoded_size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _size(stored: Stored) -> int:
    return len(stored) if isinstance(stored, str | bytes) else 8


def _is_same_scalar(value: Any, stored: Stored) -> bool:
    if type(value) is not type(stored):
        return False
    if type(value) is float:
        # By the bits: 0.0 is not -0.0, and nan is itself.
        return (value == stored and math.copysign(1, value) == math.copysign(1, stored)) or (
            value != value and (stored != stored)
        )
    return bool(value == stored)


def _refused(refusal: RefusedValue, root: object, path: str) -> TypeRefusedError:
    value = refusal.value
    found = find_path(root, path, lambda item, _depth: item is value) or path
    if refusal.reason is not None:
        return TypeRefusedError(found, refusal.reason, "Store it in another form", type_name=type_name(type(value)))
    what, fix = _describe(value)
    return TypeRefusedError(found, what, fix, type_name=type_name(type(value)))


def _describe(value: Any) -> tuple[str, str]:
    """Return what a refused value is, and what to do about it.

    Asks its class only, and that in ways in which it has no say: a proxy, and much else, runs code for each question.
    """
    cls = type(value)
    name = type_name(cls)
    if issubclass(cls, type):
        return f"is the class {type_name(value)}, not an instance", "Store a str that names it"
    module, _, qualified = name.partition(":")
    if module in _NEVER_STORED:
        return f"is a {name}, which cannot be stored", "Store plain data, and make it from that when it is needed"
    if any(not _OF_DATABASES.isdisjoint(vars(base)) for base in type.mro(cls)):
        return f"is a {name}, an object of a database session", "Store its primary key, and load it when it is needed"
    if qualified in ("LazyString", "LazyProxy"):
        return f"is a {name}", f"Store str(...) of it, or allow.convert({qualified}, str)"
    by_name = "" if "<" in name else f', or PICKLESESSION_ALLOW = [..., "{name}"]'
    return f"is a {name}, which is not on the allow-list", f"Allow it: allow({qualified}){by_name}"


_NEVER_STORED = frozenset({"builtins", "types", "_thread", "_io", "threading", "_asyncio"})

# What SQLAlchemy and Django put in each model's class.
_OF_DATABASES = frozenset({"_sa_class_manager", "_meta"})


def _not_restorable(value: object, path: str, error: PayloadError) -> TypeRefusedError:
    return TypeRefusedError(
        path,
        f"could not be read back: {error.reason}",
        "Store it in another form",
        type_name=type_name(type(value)),
    )
