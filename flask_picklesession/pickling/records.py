"""Application classes: what is stored of an instance, and how it is restored.

A record is stored as the names of its fields and their values. It is restored by ``object.__new__`` and by
setting these fields: no ``__init__``, no ``__post_init__``, no ``__setattr__``, no property of the class runs,
and no attribute is set that the class does not declare. Names travel with the values, so that a class may gain
and lose fields: a new field gets its default, and what an older worker does not know it keeps and writes back.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from enum import IntEnum
from functools import cached_property, partial
from operator import itemgetter
from types import MemberDescriptorType
from typing import Any, NamedTuple, cast

from ..exceptions import PayloadError, RegistrationError
from .restorers import Refused, why_no_counts

_ABSENT: Any = object()

#: Combinations of a Flag's bits that are restored in one process: the enum module keeps each for ever.
MOST_COMBINATIONS = 1 << 16

#: Items that a field counts as whose default is made anew: that takes up to a microsecond.
FACTORY_WEIGHT = 4
_NOTHING: dict[str, Any] = {}

#: Where attrs keeps a hash that it has computed (``cache_hash=True``), and ``None`` before.
_CACHED_HASH = "_attrs_cached_hash"

#: Reduced: the arguments of the restorer, or arguments of the maker and the state.
Reduced = tuple[tuple[Any, ...], Any]


#: Such fields that are kept in one request: a value may name the same ones for thousands of records.
MOST_KEPT = 500_000


class KeptFields:
    """Fields that a newer version of a class has stored and this one does not know, beside their instances.

    Lives as long as the request that loaded them: the instances are held, so that their identities stay theirs.
    """

    __slots__ = ("_count", "_fields", "gained_bytes", "has_gained")

    def __init__(self) -> None:
        self._fields: dict[int, tuple[object, dict[str, Any]]] = {}
        self._count = 0
        #: Whether a record was built with a default for what was not stored: the next time it may be another one.
        self.has_gained = False
        #: Bytes that were written for such values, to tell whether they are changed.
        self.gained_bytes = 0

    def keep(self, instance: object, fields: dict[str, Any]) -> None:
        """Keep fields beside an instance.

        :raises ValueError: if there are too many.
        """
        self._count += len(fields)
        if self._count > MOST_KEPT:
            raise ValueError("more fields that are not known here than are kept")
        self._fields[id(instance)] = (instance, fields)

    def __bool__(self) -> bool:
        return bool(self._fields)

    def of(self, instance: object) -> dict[str, Any]:
        """Return the fields that are kept beside an instance."""
        found = self._fields.get(id(instance))
        return {} if found is None else found[1]


#: Where the value that is being restored keeps fields; ``None`` where nobody asks for them again.
kept_fields: ContextVar[KeptFields | None] = ContextVar("kept_fields", default=None)


class Trial(IntEnum):
    """What must be tried when a value is stored, as nothing else shows that it can be restored."""

    NONE = 0
    #: Restoring may run code of the application, or fail for other reasons.
    QUICK = 1
    #: It may also be hashed before it is whole: then its hash is to be looked at again.
    GUARDED = 2


#: Arguments or state, and fields that a newer version of the class has -> both together.
AddFields = Callable[[Any, dict[str, Any]], tuple[Any, ...]]


class Shape(NamedTuple):
    """How one class is stored: flat, or made first and filled in."""

    #: The instance -> the arguments that restore it at once. ``None`` if it is made first and filled in.
    flat: Callable[[Any], tuple[Any, ...]] | None
    #: The arguments -> the instance (flat), or an empty one.
    make: Callable[..., Any]
    #: The instance -> the state that fills an empty one in.
    state: Callable[[Any], Any] | None = None
    #: Fills an empty instance in.
    fill: Callable[[Any, Any], None] | None = None
    #: Whether a value can never change in place.
    is_immutable: bool = False
    #: Whether restoring may run code of the application, or fail for reasons that only a try can show.
    is_risky: bool = False
    #: What adds kept fields to the arguments, or the state, if anything does.
    add_fields: AddFields | None = None
    #: Builds a record at once, where :attr:`make` makes an empty one. Both are known for each record class, so that a
    #: class can become frozen, or cease to be.
    make_flat: Callable[..., Any] | None = None
    #: Whether restoring takes as long as making several objects.
    is_heavy: bool = False
    #: Items that an instance counts for beside what is stored: fields that may be filled in by default, a slow hash.
    extra: int = 0


def shape_of(cls: type, fields: Iterable[str] | None) -> Shape:
    """Return how instances of a class are stored.

    :param cls: the class.
    :param fields: its attributes, for a class that does not declare them otherwise.
    :raises RegistrationError: if it cannot be restored, with what would help.
    """
    if not isinstance(cls, type):
        raise RegistrationError(f"{cls!r} is not a class")
    if inspect.isabstract(cls):
        raise RegistrationError(f"{_name(cls)} is abstract: it has no instances")
    if issubclass(cls, type):
        raise RegistrationError(f"{_name(cls)} makes classes, which cannot be stored")
    if any("__del__" in vars(base) for base in cls.__mro__):
        raise RegistrationError(
            f"{_name(cls)} has __del__, which would run for every session that is read; register it with reduce= and "
            "restore="
        )
    if issubclass(cls, enum.Flag):
        return _flag_shape(cls)
    if issubclass(cls, enum.Enum):
        return _enum_shape(cls)
    if fields is None and is_named_tuple(cls):
        return _named_tuple_shape(cls)
    if is_pydantic(cls):
        return _pydantic_shape(cls)
    for builtin in (dict, list, str):
        if issubclass(cls, builtin):
            return _subclass_shape(cls, builtin, fields)
    return _record_shape(cls, fields)


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


# -- enumerations


def _enum_shape(cls: type[enum.Enum]) -> Shape:
    """By name: a member's value may change between versions, and an unknown value may make a new member."""
    members = dict(cls.__members__)

    def flat(member: enum.Enum) -> tuple[Any, ...]:
        # Not one that a _missing_ made: nothing but that knows it.
        if members.get(member.name) is not member:
            raise Refused("is no member that its class names")
        # It may be a str of another class, where an application made the enum of these.
        return (str.__str__(member.name),)

    def make(name: str) -> enum.Enum:
        if type(name) is not str or name not in members:
            raise PayloadError(f"{_name(cls)} has no such member", type_name=f"{cls.__module__}:{cls.__qualname__}")
        return members[name]

    return Shape(flat, make, is_immutable=True)


def _flag_shape(cls: type[enum.Flag]) -> Shape:
    """By value within the members' bits: each other value makes a pseudo-member that is kept for ever."""
    mask = 0
    for member in cls.__members__.values():
        mask |= member._value_

    def flat(flags: enum.Flag) -> tuple[Any, ...]:
        value = flags._value_
        if value & ~mask or value < 0:
            raise Refused("has bits that no member has, or all that there are")
        # A member's value may be a bool, or an IntEnum's.
        return (int(value),)

    seen: set[int] = set()

    def make(value: int) -> enum.Flag:
        type_name = f"{cls.__module__}:{cls.__qualname__}"
        if type(value) is not int or value & ~mask or value < 0:
            raise PayloadError(f"{_name(cls)} has no such bits", type_name=type_name)
        # What the application has made itself is kept anyway.
        if len(seen) >= MOST_COMBINATIONS and value not in seen and value not in cls._value2member_map_:
            raise PayloadError(f"{_name(cls)} was restored in too many combinations", type_name=type_name)
        seen.add(value)
        return cls(value)

    # A combination that the process has not seen yet takes 30 microseconds to make.
    return Shape(flat, make, is_immutable=True, is_heavy=True)


# -- named tuples


def is_named_tuple(cls: type) -> bool:
    """Tell whether a class is a NamedTuple."""
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def _named_tuple_shape(cls: Any) -> Shape:
    names: tuple[str, ...] = tuple(cls._fields)
    known = frozenset(names)
    has_dict = cls.__dictoffset__ != 0
    defaults: dict[str, Any] = dict(cls._field_defaults)

    def flat(value: Any) -> tuple[Any, ...]:
        if has_dict and object.__getattribute__(value, "__dict__"):
            raise Refused("has attributes of its own")
        # Not what the class has of its own for that.
        if tuple.__len__(value) != len(names):
            raise Refused(f"has not {len(names)} fields")
        return (names, *tuple.__iter__(value))

    def make(stored: tuple[str, ...], *values: Any) -> Any:
        if stored == names and len(values) == len(names):
            return tuple.__new__(cls, values)
        found, unknown = _by_name(stored, values, known)
        instance = tuple.__new__(cls, [_or_default(cls, found, name, defaults) for name in names])
        _keep(instance, unknown)
        return instance

    return Shape(flat, make, add_fields=_add_fields, extra=len(defaults))


def _or_default(cls: type, found: dict[str, Any], name: str, defaults: dict[str, Any]) -> Any:
    if name in found:
        return found[name]
    if name not in defaults:
        raise _missing(cls, name)
    _note_gain()
    return defaults[name]


# -- classes with fields: dataclasses, attrs, plain classes with declared fields


class _Fields(NamedTuple):
    names: tuple[str, ...]
    #: Field -> what makes its default, for those that have one.
    defaults: dict[str, Callable[[], Any]]
    is_frozen: bool
    #: How many of these make one anew.
    factories: int = 0

    @property
    def weight(self) -> int:
        """Items that those count as which may be filled in by default."""
        return len(self.defaults) + (FACTORY_WEIGHT - 1) * self.factories


def _record_shape(cls: Any, fields: Iterable[str] | None) -> Shape:
    declared = _declared(cls, fields)
    if cls.__new__ is not object.__new__:
        raise RegistrationError(f"{_name(cls)} is built by a __new__ of its own; register it with reduce= and restore=")
    reader = _Reader(cls, declared)
    names, count = declared.names, len(declared.names)
    is_plain = reader.is_plain
    # A record whose __hash__ looks at its fields may be asked for it before they are there, in a cycle.
    is_risky = cls.__hash__ not in (None, cast(Any, object.__hash__))

    def make_flat(stored: tuple[str, ...], *values: Any) -> Any:
        instance: Any = object.__new__(cls)
        if is_plain and stored == names and len(values) == count:
            instance.__dict__.update(zip(names, values))  # noqa: B905 - as many; strict costs as much again
        else:
            reader.write(instance, stored, values)
        return instance

    def make() -> Any:
        return object.__new__(cls)

    def fill(instance: Any, state: tuple[Any, ...]) -> None:
        if type(instance) is not cls or type(state) is not tuple or not state:
            raise PayloadError("a state of another class")
        if is_plain and state[0] == names and len(state) == count + 1:
            instance.__dict__.update(zip(names, state[1:]))  # noqa: B905 - as above
        else:
            reader.write(instance, state[0], state[1:])

    return Shape(
        reader.read if declared.is_frozen else None,
        make,
        reader.read,
        fill,
        is_risky=is_risky and not declared.is_frozen,
        add_fields=_add_fields,
        make_flat=make_flat,
        extra=declared.weight,
    )


def _declared(cls: Any, fields: Iterable[str] | None) -> _Fields:
    if fields is not None:
        return _Fields(_checked(cls, fields), {}, False)
    if dataclasses.is_dataclass(cls):
        found: Any = dataclasses.fields(cls)
        constants = {field.name: field.default for field in found if field.default is not dataclasses.MISSING}
        factories = {
            field.name: field.default_factory for field in found if field.default_factory is not dataclasses.MISSING
        }
        # A subclass that is none itself has those of its base.
        dataclass: Any = cls
        parameters = dataclass.__dataclass_params__
        return _fields(cls, [field.name for field in found], constants, factories, is_frozen=parameters.frozen)
    if hasattr(cls, "__attrs_attrs__"):
        return _attrs_fields(cls)
    raise RegistrationError(
        f"{_name(cls)} does not declare its fields; name them: allow({cls.__qualname__}, fields=(...))"
    )


def _fields(
    cls: Any,
    names: list[str],
    constants: dict[str, Any],
    factories: dict[str, Callable[[], Any]],
    *,
    is_frozen: bool = False,
) -> _Fields:
    defaults = {**{name: _constant(value) for name, value in constants.items()}, **factories}
    return _Fields(_checked(cls, names), defaults, is_frozen, len(factories))


def _attrs_fields(cls: Any) -> _Fields:
    constants: dict[str, Any] = {}
    factories: dict[str, Callable[[], Any]] = {}
    for attribute in cls.__attrs_attrs__:
        default = attribute.default
        if type(default).__name__ == "_Nothing":
            continue
        factory = getattr(default, "factory", None)
        if factory is None:
            constants[attribute.name] = default
        elif not default.takes_self:
            factories[attribute.name] = factory
    return _fields(cls, [attribute.name for attribute in cls.__attrs_attrs__], constants, factories)


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def _checked(cls: type, fields: Iterable[str]) -> tuple[str, ...]:
    names = tuple(fields)
    for name in names:
        if not name.isidentifier() or (name.startswith("__") and name.endswith("__")):
            raise RegistrationError(f"{_name(cls)}: {name!r} cannot be a field")
        found = inspect.getattr_static(cls, name, None)
        if hasattr(type(found), "__set__") and not isinstance(found, MemberDescriptorType):
            raise RegistrationError(f"{_name(cls)}: {name!r} is a property, not a field")
    if len(set(names)) != len(names):
        raise RegistrationError(f"{_name(cls)}: a field is named twice")
    return names


class _Reader:
    """Reads the fields of instances of one class, and writes them."""

    def __init__(self, cls: type, declared: _Fields) -> None:
        self._cls = cls
        self._has_dict = cls.__dictoffset__ != 0
        self._names = names = declared.names
        self._known = frozenset(names)
        self._defaults = declared.defaults
        # Slots are set by their descriptors: what the class itself does on assignment must not run.
        self._slots = {
            name: found
            for name in (*names, _CACHED_HASH)
            if isinstance(found := inspect.getattr_static(cls, name, None), MemberDescriptorType)
        }
        self._caches_hash = _caches_hash(cls)
        #: Whether all fields stand in the instance's ``__dict__``, and nothing else.
        self.is_plain = not self._slots and not self._caches_hash
        self._count = len(names)
        # Of a single name it would not return a tuple.
        self._get = itemgetter(*names) if self.is_plain and len(names) > 1 else None
        self._ignored = {
            name for base in cls.__mro__ for name, v in vars(base).items() if isinstance(v, cached_property)
        } | _made_slots(cls)
        if self._caches_hash:
            self._ignored.add(_CACHED_HASH)
        self._all_slots = self._slot_names()

    def _slot_names(self) -> dict[str, MemberDescriptorType]:
        return {
            name: member
            for base in self._cls.__mro__
            for name, member in vars(base).items()
            if isinstance(member, MemberDescriptorType)
        }

    def read(self, instance: Any) -> tuple[Any, ...]:
        """Return the names of the fields that are set, and their values.

        :raises Refused: if the instance has attributes that the class does not declare.
        """
        # Not getattr: where there is none, that asks the class's own __getattr__.
        attributes = object.__getattribute__(instance, "__dict__") if self._has_dict else _NOTHING
        # The common case: just the declared fields are there, in whatever order.
        if self._get is not None and len(attributes) == self._count:
            try:
                return (self._names, *self._get(attributes))
            except KeyError:
                pass
        found = self._found(instance, attributes)
        names = self._names if len(found) == self._count else tuple(found)
        return (names, *found.values())

    def _found(self, instance: Any, attributes: dict[str, Any]) -> dict[str, Any]:
        for name in attributes:
            if name not in self._known and name not in self._ignored:
                raise Refused(f"has the attribute {name!r}, which its class does not declare as a field")
        for name, slot in self._all_slots.items():
            is_foreign = name not in self._known and name not in self._ignored
            if is_foreign and _slot_value(slot, instance) is not _ABSENT:
                raise Refused(f"has the slot {name!r}, which its class does not declare as a field")
        found = {}
        for name in self._names:
            slot_of = self._slots.get(name)
            value = attributes.get(name, _ABSENT) if slot_of is None else _slot_value(slot_of, instance)
            if value is not _ABSENT:
                found[name] = value
        return found

    def write(self, instance: Any, stored: tuple[str, ...], values: tuple[Any, ...]) -> None:
        """Set the stored fields, and defaults for those that were not stored."""
        if stored == self._names and len(values) == self._count:
            found = dict(zip(stored, values, strict=True))
        else:
            found, unknown = _by_name(stored, values, self._known)
            for name in self._names:
                if name not in found and name in self._defaults:
                    _note_gain()
                    found[name] = self._defaults[name]()
            _keep(instance, unknown)
        if self._caches_hash:
            # As its __init__ does.
            found[_CACHED_HASH] = None
        for name, value in found.items():
            slot = self._slots.get(name)
            if slot is None:
                instance.__dict__[name] = value
            else:
                slot.__set__(instance, value)


def _caches_hash(cls: type) -> bool:
    """Tell whether attrs made a ``__hash__`` that keeps what it has computed."""
    codes = (getattr(vars(base).get("__hash__"), "__code__", None) for base in cls.__mro__)
    return any(_CACHED_HASH in code.co_names for code in codes if code is not None)


def _made_slots(cls: Any) -> set[str]:
    """Return the slots that attrs made beside those of the fields: for what cached properties have computed."""
    return {
        name
        for base in cls.__mro__
        if "__attrs_attrs__" in vars(base)
        for name in vars(base).get("__slots__", ())
        if name not in {attribute.name for attribute in vars(base)["__attrs_attrs__"]}
    }


def _slot_value(slot: MemberDescriptorType, instance: Any) -> Any:
    try:
        return slot.__get__(instance)
    except AttributeError:
        return _ABSENT


def _by_name(
    stored: tuple[str, ...], values: tuple[Any, ...], known: frozenset[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sort stored fields into known and unknown ones."""
    if type(stored) is not tuple or len(stored) != len(values) or not all(type(name) is str for name in stored):
        raise PayloadError("a record without the names of its fields")
    found: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for name, value in zip(stored, values, strict=True):
        (found if name in known else unknown)[name] = value
    return found, unknown


def _note_gain() -> None:
    kept = kept_fields.get()
    if kept is not None:
        kept.has_gained = True


def _keep(instance: object, unknown: dict[str, Any]) -> None:
    kept = kept_fields.get()
    if unknown and kept is not None:
        kept.keep(instance, unknown)


def _add_fields(state: Any, fields: dict[str, Any]) -> tuple[Any, ...]:
    names, *values = state
    return ((*names, *fields), *values, *fields.values())


def _missing(cls: type, field: str) -> PayloadError:
    return PayloadError(
        f"a stored {_name(cls)} has no field {field!r}, and there is no default for it",
        type_name=f"{cls.__module__}:{cls.__qualname__}",
    )


# -- pydantic


def is_pydantic(cls: type) -> bool:
    """Tell whether a class is a pydantic model."""
    return hasattr(cls, "model_fields")


def has_cached_properties(cls: type) -> bool:
    """Tell whether a class computes attributes that then stand beside its fields."""
    return any(isinstance(found, cached_property) for base in cls.__mro__ for found in vars(base).values())


def _pydantic_shape(cls: Any) -> Shape:
    """As pydantic's own pickling: fields and the names of those that were set. Nothing is validated again."""
    names = frozenset(cls.model_fields)
    defaults = _pydantic_defaults(cls)
    slots = {
        name: found
        for base in cls.__mro__
        for name, found in vars(base).items()
        if isinstance(found, MemberDescriptorType) and not name.startswith("__pydantic_")
    }
    # A RootModel has none of these.
    empty = {
        name: is_there
        for name, is_there in (
            ("__pydantic_extra__", cls.model_config.get("extra") == "allow"),
            ("__pydantic_private__", bool(cls.__private_attributes__)),
        )
        if isinstance(inspect.getattr_static(cls, name, None), MemberDescriptorType)
    }

    def state(model: Any) -> Any:
        if model.__pydantic_extra__:
            raise Refused("has extra fields")
        if model.__pydantic_private__:
            raise Refused("has private attributes")
        values = {name: value for name, value in model.__dict__.items() if name in names}
        for name in model.__dict__.keys() - values.keys():
            # What a property of whatever kind has computed is left behind.
            if not hasattr(type(inspect.getattr_static(cls, name, None)), "__get__"):
                raise Refused(f"has the attribute {name!r}, which its class does not declare as a field")
        for name, slot in slots.items():
            if _slot_value(slot, model) is not _ABSENT:
                raise Refused(f"has the slot {name!r}, which its class does not declare as a field")
        return values, sorted(names & model.__pydantic_fields_set__)

    def make() -> Any:
        return cls.__new__(cls)

    def fill(model: Any, stored: tuple[dict[str, Any], list[str]]) -> None:
        if type(model) is not cls or type(stored) is not tuple or len(stored) != 2:
            raise PayloadError("a state of another class")
        values, fields_set = stored
        if type(values) is not dict or type(fields_set) is not list:
            raise PayloadError("a state of another class")
        # Each of thousands could be an address, and would be hashed. A newer class has other fields, with their values.
        if len(fields_set) > len(names) + len(values) or not all(type(name) is str for name in (*values, *fields_set)):
            raise PayloadError("a record without the names of its fields")
        found = {name: value for name, value in values.items() if name in names}
        for name, default in defaults.items():
            if name not in found:
                _note_gain()
                found[name] = default(found)
        are_set = frozenset(fields_set)
        # Each with whether it was set.
        _keep(model, {name: (value, name in are_set) for name, value in values.items() if name not in names})
        object.__setattr__(model, "__dict__", found)
        object.__setattr__(model, "__pydantic_fields_set__", set(names.intersection(fields_set)))
        # Made for this one only. Referred to again and again, they would be gone through as often.
        values.clear()
        fields_set.clear()
        for name, is_there in empty.items():
            object.__setattr__(model, name, {} if is_there else None)

    def add_fields(stored: Any, fields: dict[str, Any]) -> tuple[Any, ...]:
        values, fields_set = stored
        values = {**values, **{name: value for name, (value, _is_set) in fields.items()}}
        return values, sorted([*fields_set, *(name for name, (_value, is_set) in fields.items() if is_set)])

    weight = FACTORY_WEIGHT * len(defaults)
    return Shape(None, make, state, fill, is_risky=True, add_fields=add_fields, extra=weight)


def _pydantic_defaults(cls: Any) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """Return what makes the defaults of a model's fields, of the other fields."""
    defaults: dict[str, Callable[[dict[str, Any]], Any]] = {}
    for name, field in cls.model_fields.items():
        if field.is_required():
            continue
        if field.default_factory is None:
            # A copy.
            defaults[name] = _without_fields(partial(field.get_default, call_default_factory=False))
        elif getattr(field, "default_factory_takes_validated_data", False):
            defaults[name] = field.default_factory
        else:
            # get_default would look at its signature each time, for fifty microseconds.
            defaults[name] = _without_fields(field.default_factory)
    return defaults


def _without_fields(make: Callable[[], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda _fields: make()


# -- subclasses of dict, list and str


def _content_of(cls: type) -> tuple[Callable[[Any], Any], Callable[[Any, Any], None]]:
    """Return what copies what a dict or list holds, and what puts it in another one. No override of the class runs."""
    if issubclass(cls, list):
        return lambda value: list(list.__iter__(value)), list.extend
    if issubclass(cls, OrderedDict):
        # It keeps its order beside the dict: dict's own methods do not know of it.
        return lambda value: dict(OrderedDict.items(value)), _put_in_order
    return lambda value: dict(dict.items(value)), dict.update


def _put_in_order(value: OrderedDict[Any, Any], content: dict[Any, Any]) -> None:
    # Not by update, which asks the class for its __setitem__.
    for key, item in content.items():
        OrderedDict.__setitem__(value, key, item)


def _subclass_shape(cls: Any, builtin: Any, fields: Iterable[str] | None) -> Shape:
    declared = _Fields(_checked(cls, fields or ()), {}, False)
    if cls.__new__ is not builtin.__new__:
        raise RegistrationError(f"{_name(cls)} is built by a __new__ of its own; register it with reduce= and restore=")
    reader = _Reader(cls, declared)
    is_counter = issubclass(cls, Counter)
    content, extend = _content_of(cls)

    def add_fields(stored: Any, fields: dict[str, Any]) -> tuple[Any, ...]:
        # Behind what is in it.
        items, attributes = stored
        return items, _add_fields(attributes, fields)

    if builtin is str:

        def flat(value: Any) -> tuple[Any, ...]:
            return (str.__str__(value), reader.read(value))

        def make_text(text: str, state: tuple[Any, ...]) -> Any:
            if type(text) is not str or type(state) is not tuple or not state:
                raise PayloadError("a state of another class")
            instance = str.__new__(cls, text)
            reader.write(instance, state[0], state[1:])
            return instance

        return Shape(flat, make_text, is_risky=True, add_fields=add_fields)

    def make() -> Any:
        return builtin.__new__(cls)

    def state(value: Any) -> Any:
        reason = why_no_counts(dict.values(value)) if is_counter else None
        if reason is not None:
            raise Refused(reason)
        return content(value), reader.read(value)

    def fill(value: Any, stored: tuple[Any, tuple[Any, ...]]) -> None:
        if type(value) is not cls or type(stored) is not tuple or len(stored) != 2:
            raise PayloadError("a state of another class")
        items, attributes = stored
        if type(items) is not builtin or type(attributes) is not tuple or not attributes:
            raise PayloadError("a state of another class")
        if is_counter and why_no_counts(items.values()) is not None:
            raise PayloadError("a Counter of what cannot be counted")
        # The builtin's own methods: an override of the class's must not run.
        extend(value, items)
        # Made for this one only. Referred to again and again, its keys would be hashed and compared as often.
        items.clear()
        reader.write(value, attributes[0], attributes[1:])

    return Shape(None, make, state, fill, is_risky=True, add_fields=add_fields)
