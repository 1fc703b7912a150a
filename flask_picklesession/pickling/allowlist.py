"""The allow-list: which types may be stored, under which names, and what restores them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import PurePath
from typing import Any, NamedTuple, TypeVar, cast, overload

from ..exceptions import RegistrationError
from .entries import COPIES, DOUBLED, HASHED, MOST_TYPES, UNGUARDED, Kind, restorer_entry
from .names import FIELDS_SUFFIX, FLAT_SUFFIX, MARKER, NAME, STATE_SUFFIX, Token, token_for, written_name
from .records import AddFields, KeptFields, Shape, Trial, has_cached_properties, is_named_tuple, is_pydantic, shape_of
from .restorers import CONTAINERS, DEFAULTS, Restorer, restore_text, sealed

C = TypeVar("C", bound=type)

#: What the pickler's reducer hook returns.
Reduction = Any

#: Lazy strings of translation libraries, as ``module:QualName``. They are stored as the str that they stand for:
#: what they would need to be restored (a function and the request's language) is not data.
LAZY_STRINGS = frozenset(
    {
        "flask_babel.speaklater:LazyString",
        "flask_babelex.speaklater:LazyString",
        "flask_babelplus.speaklater:LazyString",
        "quart_babel.speaklater:LazyString",
        "speaklater:LazyString",
        "speaklater:_LazyString",
        "wtforms.i18n:LazyString",
    }
)

_TEXT_NAME = "builtins:str"


# Where versions of Python have moved a default type to -> the module that its name is stored with. An upgrade of Python
# is a rolling deploy, too.
_MOVED = {"pathlib._local": "pathlib"}


def type_name(cls: type) -> str:
    """Return a type's name, as ``module:QualName``; that of a default type is the same in all versions of Python."""
    try:
        module, name = cls.__module__, cls.__qualname__
    except Exception:
        module = None
    if type(module) is not str or type(name) is not str:
        # A metaclass may have properties of these names.
        return "?:<a class that hides its name>"
    return f"{_MOVED.get(module, module)}:{name}"


class Allowed(NamedTuple):
    """One type of the list."""

    cls: type
    name: str
    aliases: tuple[str, ...]
    #: The value -> what the pickler is to write.
    reduce: Callable[[Any], Reduction]
    #: What its name ends with, kind, restorer.
    restorers: tuple[tuple[str, Kind, Restorer], ...]
    is_immutable: bool
    trial: Trial
    #: What adds kept fields to its arguments or state, if anything does.
    add_fields: AddFields | None = None
    #: Items that an instance counts for beside what is stored.
    extra: int = 0


class AllowList:
    """The types that a session may hold. Contains the default types; an application adds its own.

    ::

        allow = AllowList()

        @allow
        @dataclass
        class Cart: ...

    Exact types only: a subclass of an allowed type is another type. There are no patterns.
    """

    def __init__(self) -> None:
        self._by_class: dict[type, Allowed] = {}
        self._names: dict[str, type] = {}
        self._conversions: dict[type, Callable[[Any], Any]] = {}
        self._is_frozen = False
        for default in DEFAULTS:
            shape = Shape(
                default.reduce,
                default.restore,
                is_immutable=default.is_immutable,
                is_heavy=default.is_heavy,
                extra=default.extra,
            )
            self._put(default.cls, type_name(default.cls), (), shape)
        for container in CONTAINERS:
            self._put_container(container.cls, container.reduce, container.make, container.fill)
        # What lazy strings become.
        self._put(_Text, _TEXT_NAME, (), Shape(lambda value: (value,), restore_text, is_immutable=True))

    @classmethod
    def of(cls, spec: object) -> AllowList:
        """Return the allow-list that a setting describes.

        :param spec: an allow-list, a class, a ``module:QualName`` (imported now), or several of them.
        :raises RegistrationError: with everything that is wrong.
        """
        if isinstance(spec, AllowList):
            return spec
        allow, problems = cls(), []
        items = [spec] if isinstance(spec, str | type) or not isinstance(spec, Iterable) else list(spec)
        for item in items:
            try:
                allow._add(item)
            except RegistrationError as error:
                problems.append(str(error))
        if problems:
            raise RegistrationError("; ".join(problems))
        return allow

    def _add(self, item: object) -> None:
        if isinstance(item, AllowList):
            self._include(item)
        elif isinstance(item, str):
            self(_imported(item))
        elif isinstance(item, type):
            self(item)
        else:
            raise RegistrationError(f"{item!r} is neither a class, nor a 'module:QualName', nor an AllowList")

    def _include(self, other: AllowList) -> None:
        for allowed in other._by_class.values():
            if allowed.cls not in self._by_class:
                self._register(allowed)
        self._conversions.update(other._conversions)

    @overload
    def __call__(
        self,
        cls: C,
        /,
        *,
        name: str | None = None,
        aliases: Iterable[str] = (),
        fields: Iterable[str] | None = None,
        reduce: Callable[[Any], tuple[Any, ...]] | None = None,
        restore: Callable[..., Any] | None = None,
    ) -> C: ...

    @overload
    def __call__(
        self,
        /,
        *,
        name: str | None = None,
        aliases: Iterable[str] = (),
        fields: Iterable[str] | None = None,
        reduce: Callable[[Any], tuple[Any, ...]] | None = None,
        restore: Callable[..., Any] | None = None,
    ) -> Callable[[C], C]: ...

    def __call__(
        self,
        cls: Any = None,
        /,
        *,
        name: str | None = None,
        aliases: Iterable[str] = (),
        fields: Iterable[str] | None = None,
        reduce: Callable[[Any], tuple[Any, ...]] | None = None,
        restore: Callable[..., Any] | None = None,
    ) -> Any:
        """Allow a class. Use as a decorator, with or without options, or as a call.

        :param cls: the class: a dataclass, attrs class, NamedTuple, Enum, Flag, pydantic model, a subclass of dict,
            list or str, or any class with *fields*, or with *reduce* and *restore*.
        :param name: the name in stored data; by default ``module:QualName``.
        :param aliases: names under which older data know it: where it stood before it was moved or renamed.
        :param fields: the attributes to store, for a class that does not declare them otherwise.
        :param reduce: an instance -> a tuple of allowed values. With *restore*, for any other class.
        :param restore: these values -> an instance. Runs on data from the store: it must not trust them.
        :return: the class, or a decorator.
        :raises RegistrationError: if the class cannot be restored, or the list is in use already.
        """
        if cls is None:
            return lambda decorated: self(
                decorated, name=name, aliases=aliases, fields=fields, reduce=reduce, restore=restore
            )
        if (reduce is None) != (restore is None):
            raise RegistrationError("reduce= and restore= belong together")
        if _is_numpy_array(cls):
            from .arrays import reduce_array, restore_array

            reduce, restore = reduce_array, restore_array
        if reduce is not None and restore is not None:
            if not isinstance(cls, type):
                raise RegistrationError(f"{cls!r} is not a class")
            shape = Shape(_anew(reduce), restore, is_risky=True)
        else:
            shape = shape_of(cls, fields)
        self._put(cls, name or type_name(cls), tuple(aliases), shape)
        return cls

    def convert(self, cls: type, function: Callable[[Any], Any]) -> None:
        """Store instances of a class as something else. They do not come back as what they were.

        :param cls: the class, such as a lazy string's.
        :param function: an instance -> a str.
        :raises RegistrationError: if the list is in use already.
        """
        self._refuse_if_frozen(type_name(cls))
        self._conversions[cls] = function

    def freeze(self) -> None:
        """Take no more classes: from its first use on a list is the same for all that was stored with it."""
        self._is_frozen = True

    def _put(self, cls: type, name: str, aliases: tuple[str, ...], shape: Shape) -> None:
        restorers: tuple[tuple[str, Kind, Restorer], ...]
        counts_more = shape.extra or _flags_of(cls) & DOUBLED
        kind = Kind.HEAVY if shape.is_heavy else Kind.FLAT if counts_more else Kind.VALUE
        if shape.fill is None:
            restorers = (("", kind, sealed(shape.make)),)
        else:
            restorers = _record_restorers(shape.make, shape.fill)
        if shape.make_flat is not None:
            restorers += ((FLAT_SUFFIX, kind, sealed(shape.make_flat)),)
        if shape.flat is not None:
            reduce = _flat_reducer(token_for(name + FLAT_SUFFIX if shape.make_flat else name), shape.flat)
        else:
            reduce = _record_reducer(token_for(name), token_for(name + STATE_SUFFIX), cast(Any, shape.state))
        trial, add_fields = _trial_of(cls, shape), shape.add_fields
        self._register(
            Allowed(cls, name, aliases, reduce, restorers, shape.is_immutable, trial, add_fields, shape.extra)
        )

    def _put_container(self, cls: type, reduce: Any, make: Callable[..., Any], fill: Callable[..., None]) -> None:
        name = type_name(cls)
        maker, setter = token_for(name), token_for(name + STATE_SUFFIX)

        def reducer(value: Any) -> Reduction:
            arguments, content = reduce(value)
            return maker, arguments, content, None, None, setter

        self._register(Allowed(cls, name, (), reducer, _record_restorers(make, fill), False, Trial.NONE))

    def _register(self, allowed: Allowed) -> None:
        self._refuse_if_frozen(type_name(allowed.cls))
        if allowed.cls in self._by_class:
            raise RegistrationError(f"{type_name(allowed.cls)} is on the allow-list already")
        if len(self._by_class) >= MOST_TYPES:
            raise RegistrationError(f"{type_name(allowed.cls)} is one too many: {MOST_TYPES} types can be allowed")
        for name in (allowed.name, *allowed.aliases):
            if not NAME.match(name):
                raise RegistrationError(f"{name!r} cannot be a name: use letters, digits and . : _ - < >")
            if name in self._names:
                raise RegistrationError(
                    f"{name} names both {type_name(self._names[name])} and {type_name(allowed.cls)}"
                )
        self._by_class[allowed.cls] = allowed
        for name in (allowed.name, *allowed.aliases):
            self._names[name] = allowed.cls

    def _refuse_if_frozen(self, name: str) -> None:
        if self._is_frozen:
            raise RegistrationError(f"{name} comes too late: the allow-list is in use. Allow it where it is defined")

    # -- what the pickler, verifier and unpickler ask

    def reducers(self) -> dict[type, Allowed]:
        """Return class -> how it is stored."""
        return dict(self._by_class)

    def conversions(self) -> dict[type, Callable[[Any], Any]]:
        """Return class -> what makes a str of its instances."""
        return dict(self._conversions)

    def forms(self) -> frozenset[str]:
        """Return all names under which something is allowed, aliases among them, for each way in which it is stored."""
        return frozenset(
            name + suffix
            for allowed in self._by_class.values()
            for name in (allowed.name, *allowed.aliases)
            for suffix in (
                *(suffix for suffix, _kind, _restorer in allowed.restorers),
                *((FIELDS_SUFFIX,) if allowed.add_fields is not None else ()),
            )
        )

    def entries(self) -> dict[bytes, int]:
        """Return written name -> what stands for its restorer in the verifier."""
        entries = {}
        for number, allowed in enumerate(self._by_class.values()):
            flags = _flags_of(allowed.cls)
            for written, kind, _restorer in _written_names(allowed):
                entries[written] = restorer_entry(kind, number, flags, allowed.extra)
        return entries

    def restorers(self) -> dict[tuple[str, str], Restorer]:
        """Return what stands in a segment (module and name) -> restorer."""
        return {
            (MARKER, written.decode("ascii")): restorer
            for allowed in self._by_class.values()
            for written, _kind, restorer in _written_names(allowed)
        }


class _Text(str):
    """Never instantiated: the class under which the restorer of converted strings is listed."""

    __slots__ = ()


def text_reduction(text: str) -> Reduction:
    """Return what the pickler is to write for something that is stored as a str."""
    return token_for(_TEXT_NAME), (text,)


def _flags_of(cls: Any) -> int:
    is_hashed = cls.__hash__ not in (None, object.__hash__)
    # As the C code of deque does it, and pydantic where a model keeps what it has computed beside its fields; a Counter
    # looks each key up four times.
    is_doubled = issubclass(cls, deque | Counter) or (is_pydantic(cls) and has_cached_properties(cls))
    # As it is for all containers and dataclasses, but not where the repr formats what is in it, or makes a dict of it.
    is_unguarded = issubclass(cls, Counter) or is_named_tuple(cls) or is_pydantic(cls)
    copies = (issubclass(cls, str | PurePath) and cls is not _Text) or _is_numpy_array(cls)
    return HASHED * is_hashed | DOUBLED * is_doubled | UNGUARDED * is_unguarded | COPIES * copies


def _written_names(allowed: Allowed) -> Iterable[tuple[bytes, Kind, Restorer]]:
    for name in (allowed.name, *allowed.aliases):
        for suffix, kind, restorer in allowed.restorers:
            yield written_name(name + suffix), kind, restorer


def _record_restorers(make: Callable[..., Any], fill: Callable[..., None]) -> tuple[tuple[str, Kind, Restorer], ...]:
    return (("", Kind.MAKER, sealed(make)), (STATE_SUFFIX, Kind.SETTER, sealed(fill)))


def _trial_of(cls: Any, shape: Shape) -> Trial:
    if not shape.is_risky:
        return Trial.NONE
    is_hashed = cls.__hash__ not in (None, object.__hash__)
    return Trial.GUARDED if is_hashed and shape.flat is None else Trial.QUICK


def _flat_reducer(token: Token, flat: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any], Reduction]:
    return lambda value: (token, flat(value))


def _record_reducer(maker: Token, setter: Token, state: Callable[[Any], Any]) -> Callable[[Any], Reduction]:
    return lambda value: (maker, (), state(value), None, None, setter)


def with_kept(reduction: Reduction, kept: KeptFields, value: object, add_fields: AddFields) -> Reduction:
    """Add the fields that are kept beside a record to what the pickler is to write for it."""
    fields = kept.of(value)
    if not fields:
        return reduction
    if len(reduction) == 2:
        return reduction[0], add_fields(reduction[1], fields)
    maker, arguments, state, *rest = reduction
    return (maker, arguments, add_fields(state, fields), *rest)


def _imported(name: str) -> Any:
    module, separator, qualname = name.partition(":")
    if not separator or not module or not qualname:
        raise RegistrationError(f"{name!r} is not of the form 'module:QualName'")
    try:
        found: Any = import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise RegistrationError(f"{name} cannot be imported: {error}") from error
    return found


def _anew(reduce: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what returns another tuple each time: the pickler would refer back to one that it has seen."""

    def reduced(value: Any) -> tuple[Any, ...]:
        arguments = reduce(value)
        return (*arguments,) if type(arguments) is tuple else arguments

    return reduced


def _is_numpy_array(cls: object) -> bool:
    return isinstance(cls, type) and type_name(cls) == "numpy:ndarray"
