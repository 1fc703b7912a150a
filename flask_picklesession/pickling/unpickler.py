"""The only unpicklers of this package. Everything that they are given was verified before."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from itertools import pairwise
from types import MappingProxyType, MemberDescriptorType
from typing import Any, ClassVar, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from ..exceptions import PayloadError
from .entries import LimitError
from .limits import MANY_KEYS, MOST_WALKED
from .restorers import QUICK_INT, Restorer

#: Keys of one hash that a container may hold. Only what was chosen to collide does, but for -1 and -2, which have one
#: hash in CPython: so have tuples of these. By themselves a dozen keys may have one hash, with others around them more.
MOST_OF_ONE_HASH = 64

#: Collisions that a value may have for each of its keys, or for each whose hash can be chosen, if fewer of these are
#: allowed, and beside that.
COLLISIONS_PER_KEY, SPARE_COLLISIONS = 4, 16

#: Parts of a key that may collide with another one: these are compared. And as many may be compared for each key that a
#: value has, and beside that.
MOST_COMPARED = PARTS_PER_KEY = 32
SPARE_PARTS = 4 * MOST_COMPARED

#: Parts that one counts as which takes a microsecond or two to compare: the same time in two zones, and Fractions. And
#: one that takes half of one: a Decimal beside a float.
SLOW_PARTS, DECIMAL_PARTS = 8, 3

#: Items that the pickler puts in a container at once. Behind fewer there is no further batch.
BATCH = 1000

#: Ints in order that leave out no more than one of nine are one after the other.
DENSE = 9 / 8

# Decimals and floats that are larger or smaller than so many bits tell are compared digit by digit.
_QUICK_FLOAT = 64
_SMALLEST_FLOAT, _LARGEST_FLOAT = 2.0**-_QUICK_FLOAT, 2.0**_QUICK_FLOAT

_PLAIN = (bytes, bool, date, timedelta, timezone, ZoneInfo, UUID, type(None))

_TOO_SLOW = MOST_COMPARED + 1

_NOT_CHOSEN = frozenset({str, bytes, bool, type(None)})


class NotBuiltError(PayloadError):
    """The bytes passed the verifier, and could not be built: that takes longer than to refuse them."""


class UnfinishedKeyError(NotBuiltError):
    """A key had another hash when it was put in: it will not be found where it stands.

    :param root: the value that was built.
    :param container: the dict or set with this key.
    """

    def __init__(self, root: object, container: object) -> None:
        self.root = root
        self.container = container
        super().__init__("a key that was hashed before it was whole")


class EqualKeysError(NotBuiltError):
    """Keys are equal that were not when they were stored: they differ in what their class does not have here."""


class ScatteredKeysError(NotBuiltError, LimitError):
    """So many int keys may stand in each other's way in their table without having one hash."""

    def __init__(self) -> None:
        LimitError.__init__(self, "max_odd_keys")


class _Table:
    """Names become restorers of one allow-list, and nothing else."""

    restorers: ClassVar[Mapping[tuple[str, str], Restorer]] = {}
    #: Keys whose hash can be chosen that a value may have.
    most_odd_keys: ClassVar[int] = 0

    def find_class(self, module: str, name: str) -> Any:
        """Return the restorer for a name. Imports nothing and looks up no attribute."""
        restorer = self.restorers.get((module, name))
        if restorer is None:
            # The verifier has refused it already; this is the second lock.
            raise PayloadError("a name that is not on the allow-list")
        return restorer

    def persistent_load(self, pid: Any) -> Any:
        """Refuse: nothing that we write refers to anything outside."""
        raise PayloadError("a persistent id")


class AllowListUnpickler(_Table, pickle.Unpickler):
    """Builds values.

    A subclass for each allow-list, made by :func:`unpicklers_for`, holds its table: so no Python code runs for a value
    that names nothing.
    """


class _Collisions:
    """How many keys collide, and how many of their parts are compared for that."""

    __slots__ = ("compared", "count", "keys")

    def __init__(self) -> None:
        self.keys = self.count = self.compared = 0

    def add(self, before: int, parts: int) -> None:
        """Count a key that collides.

        :param before: how many there are of its hash.
        :param parts: of which it is made.
        """
        self.count += before
        self.compared += before * parts

    def are_too_many(self, most_odd_keys: int) -> bool:
        """Tell whether there are more than by chance."""
        keys = min(self.keys, most_odd_keys)
        return (
            self.count > COLLISIONS_PER_KEY * keys + SPARE_COLLISIONS
            or self.compared > PARTS_PER_KEY * keys + SPARE_PARTS
        )


class _Keys(NamedTuple):
    """The keys of one container, those that were looked at."""

    #: Hash -> the first key that has it.
    first: dict[int, Any]
    #: Hash -> the others that have it, by their ids.
    others: dict[int, dict[int, Any]]
    collisions: _Collisions


class GuardedUnpickler(_Table, pickle._Unpickler):
    """Builds the same values, and refuses keys that were chosen to collide.

    A dict or set compares what it is given with all that has the same hash: for keys that all collide that is the
    square of their number, whatever the limits of their number are. Their hashes are only known when they are there,
    so this looks at each before it is put in. It is the pickle module's own unpickler in Python, which the C one
    mirrors, with a few methods replaced: several times slower, and used only for what has such keys, once. Verified
    bytes have no frames, so they are read from the file itself: that makes a third of it.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    # What the pickle module's methods work on.
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._file = file
        # Containers, their keys and the hashes that these had, batch by batch. They are held: no id is used twice.
        self._looked_at: list[tuple[object, Sequence[Any], list[int]]] = []
        # By the container's id, where it has more than one batch, or keys that collide.
        self._seen: dict[int, _Keys] = {}
        # Of all containers.
        self._collisions = _Collisions()
        # Of keys that collide, by their ids.
        self._parts: dict[int, int] = {}
        self._scattered = self._many_keys = 0

    def load(self) -> Any:
        """Build the value.

        :raises UnfinishedKeyError: if a record in a cycle was put in as a key before it was filled in, and its hash
            did not fail, but looked at defaults of its class.
        """
        root = self._load()
        for container, keys, hashes in self._looked_at:
            if list(map(hash, keys)) != hashes:
                raise UnfinishedKeyError(root, container)
        return root

    def _load(self) -> Any:
        # As the pickle module does it, whose methods work on these.
        self.read, self.readinto, self.readline = self._file.read, self._file.readinto, self._file.readline
        self.metastack: list[list[Any]] = []
        self.stack = []
        self.append = self.stack.append
        self.proto = 0
        read, dispatch = self.read, self.dispatch
        try:
            while True:
                dispatch[read(1)[0]](self)
        except pickle._Stop as stop:  # type: ignore[attr-defined]  # typeshed leaves it out
            return stop.value

    def _look_at(self, keys: Sequence[Any], container: object) -> _Keys | None:
        """Look at keys that are about to be put in a container.

        :return: what is known of its keys, where it is filled in more than one batch or some collide.
        """
        self._collisions.keys += len(keys)
        if len(keys) >= MANY_KEYS or id(container) in self._seen:
            self._scattered += _scattered_keys(keys)
            self._many_keys += len(keys)
            if self._scattered > self.most_odd_keys or self._scattered * self._many_keys > MOST_WALKED:
                raise ScatteredKeysError
        hashes = list(map(hash, keys))
        fresh = dict(zip(hashes, keys, strict=True))
        is_fresh = len(fresh) == len(keys)
        self._looked_at.append((container, keys, hashes))
        if is_fresh and len(keys) < BATCH and id(container) not in self._seen:
            return None
        seen = self._seen.setdefault(id(container), _Keys({}, {}, _Collisions()))
        seen.collisions.keys += len(keys)
        if is_fresh and seen.first.keys().isdisjoint(fresh):
            seen.first.update(fresh)
            return seen
        for before, key in zip(hashes, keys, strict=True):
            if before not in seen.first:
                seen.first[before] = key
                continue
            first, others = seen.first[before], seen.others.setdefault(before, {})
            if first is key or id(key) in others:
                # The pickler writes each once. Two names of one Enum member may have been two members.
                raise EqualKeysError("a key that stands twice")
            others[id(key)] = key
            self._collide(seen.collisions, first, key, len(others))
        return seen

    def _compare(self, seen: _Keys | None, container: Any) -> None:
        if seen is not None and seen.others and len(container) < len(seen.first) + sum(map(len, seen.others.values())):
            raise EqualKeysError("keys that are one key here")

    def _collide(self, collisions: _Collisions, first: object, key: object, before: int) -> None:
        """Refuse a key if to compare it takes too long.

        :param collisions: those of its container, which a value can hold again and again.
        :param first: the first one of its hash.
        :param before: how many of its hash there are.
        """
        parts = self._parts_compared(key)
        if (
            before >= MOST_OF_ONE_HASH
            or parts > MOST_COMPARED
            or (before == 1 and self._parts_compared(first) > MOST_COMPARED)
        ):
            raise NotBuiltError("keys that collide")
        for counted in (collisions, self._collisions):
            counted.add(before, parts)
            if counted.are_too_many(self.most_odd_keys):
                raise NotBuiltError("keys that collide")

    def _parts_compared(self, key: object) -> int:
        # To find out takes as long as to compare, and many containers can hold one key.
        parts = self._parts.get(id(key))
        if parts is None:
            parts = self._parts[id(key)] = parts_compared(key)
        return parts

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        seen = self._look_at([key], self.stack[-1])
        self.stack[-1][key] = value
        self._compare(seen, self.stack[-1])

    def _setitems(self) -> None:
        items = self.pop_mark()
        seen = self._look_at(items[::2], self.stack[-1])
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))
        self._compare(seen, self.stack[-1])

    def _additems(self) -> None:
        items = self.pop_mark()
        seen = self._look_at(items, self.stack[-1])
        self.stack[-1].update(items)
        self._compare(seen, self.stack[-1])

    def _frozenset(self) -> None:
        items = self.pop_mark()
        # A place of its own to count in.
        seen = self._look_at(items, [])
        frozen = frozenset(items)
        self._compare(seen, frozen)
        self.append(frozen)

    dispatch[pickle.SETITEM[0]] = _setitem
    dispatch[pickle.SETITEMS[0]] = _setitems
    dispatch[pickle.ADDITEMS[0]] = _additems
    dispatch[pickle.FROZENSET[0]] = _frozenset


def _scattered_keys(keys: Sequence[Any]) -> int:
    """Return how many keys have a hash that can be chosen, without ints that come one after the other.

    An int's hash is the int. Chosen among those below 65,536, thousands of them fill places of a table that others are
    led through one after the other (``perturb`` in CPython's ``dictobject.c``); in order they have places of their own.
    """
    kinds: set[Any] = set(map(type, keys))
    chosen = {kind for kind in kinds - _NOT_CHOSEN if kind.__hash__ is not object.__hash__}
    ints = [key for key in keys if type(key) is int] if int in chosen else []
    others = sum(type(key) in chosen for key in keys) - len(ints) if chosen - {int} else 0
    return others if _are_one_after_the_other(ints) else others + len(ints)


def _are_one_after_the_other(ints: list[int]) -> bool:
    """Tell whether ints leave hardly any out. A set's begin anew where its table ends; in a batch any order is good."""
    falls = [place for place, (one, following) in enumerate(pairwise(ints), 1) if following < one]
    if len(falls) <= 1:
        return all(_are_dense(part) for part in (ints[: sum(falls)], ints[sum(falls) :]))
    return _are_dense(ints) and (len(ints) <= BATCH or ints == sorted(ints, reverse=True))


def _are_dense(ints: list[int]) -> bool:
    return not ints or max(ints) - min(ints) <= len(ints) * DENSE


def parts_compared(key: object) -> int:
    """Return how many plain values a key is made of: honest ones that collide are made of few.

    A Decimal takes a third of a millisecond to compare with an int of 4,290 digits, and a tuple can hold thousands.

    :return: more than :data:`MOST_COMPARED` where it takes too long to compare, or to find out.
    """
    left, count = [key], 0
    while left and count <= MOST_COMPARED:
        part = left.pop()
        count += 1
        if isinstance(part, tuple | list):
            left += part
        elif type(part) is frozenset:
            # Each member is compared with each of the other, where these collide.
            count += len(part) ** 2
            left += part
        elif isinstance(part, int):
            if part.bit_length() > QUICK_INT:
                return _TOO_SLOW
        elif type(part) is float:
            # As a Decimal is compared with it: digit by digit.
            if part and not _SMALLEST_FLOAT < abs(part) < _LARGEST_FLOAT:
                return _TOO_SLOW
        elif type(part) is complex:
            left += (part.real, part.imag)
        elif type(part) is Decimal:
            if abs(part.adjusted()) > _QUICK_FLOAT:
                return _TOO_SLOW
            count += DECIMAL_PARTS - 1
        elif type(part) is datetime or type(part) is time:
            count += 0 if part.tzinfo is None else SLOW_PARTS
        elif type(part) is IPv4Network or type(part) is IPv6Network:
            left += (part.network_address, part.netmask)
        elif type(part) not in _PLAIN and not isinstance(part, str | Enum):
            attributes = _attributes(part)
            if not attributes:
                return _TOO_SLOW
            count += SLOW_PARTS if type(part) is Fraction else 0
            left += attributes
    return count


def _attributes(value: object) -> list[Any]:
    cls: Any = type(value)
    slots = _slots(cls)
    return [*getattr(value, "__dict__", {}).values(), *(getattr(value, name, None) for name in slots)]


# Of thousands of keys each may hold a dozen of one class.
@lru_cache(1024)
def _slots(cls: type) -> frozenset[str]:
    """Return the names of all slots of a class."""
    return frozenset(
        name for base in cls.__mro__ for name, member in vars(base).items() if isinstance(member, MemberDescriptorType)
    )


class Unpicklers(NamedTuple):
    """Those of one allow-list."""

    quick: type[AllowListUnpickler]
    guarded: type[GuardedUnpickler]


def unpicklers_for(restorers: Mapping[tuple[str, str], Restorer], most_odd_keys: int) -> Unpicklers:
    """Return the unpicklers of one allow-list.

    :param restorers: module and name, as they stand in segments -> restorer.
    :param most_odd_keys: keys whose hash can be chosen that a value may have.
    """
    table = {"restorers": MappingProxyType(dict(restorers)), "most_odd_keys": most_odd_keys}
    return Unpicklers(
        type("AllowListUnpickler", (AllowListUnpickler,), table), type("GuardedUnpickler", (GuardedUnpickler,), table)
    )


def unpickle(data: bytes, unpickler: type[AllowListUnpickler] | type[GuardedUnpickler]) -> Any:
    """Build the value that verified bytes hold.

    :param data: verified bytes.
    :param unpickler: of the allow-list that verified them.
    :raises NotBuiltError: if a restorer does not accept its arguments, a key cannot be hashed, too many collide, or one
        was hashed before it was whole.
    :raises PayloadError: if a type has not what is named: a member, a field. Another version of it may have.
    """
    try:
        return unpickler(io.BytesIO(data)).load()
    except NotBuiltError:
        raise
    except PayloadError as error:
        if error.type_name is not None:
            raise
        reason = error.reason
    except Exception as error:
        # Restorers, hash and equality of values raise what they like: nine types of error in a census of mutations.
        reason = f"a restorer or key was refused with {type(error).__name__}"
    # Outside of the handler: what was raised may quote the bytes, so it must not travel along as the context.
    raise NotBuiltError(reason)
