"""Restorers of the default types: each checks its arguments and builds one type of value.

A :class:`Restorer` is what the unpickler gets for a name. It is no class and no function: it has no attributes,
cannot be changed or subclassed by what a pickle says, and calls nothing but its own checked code.
"""

from __future__ import annotations

import re
import struct
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from pickle import PicklingError
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from markupsafe import Markup

#: Bits of an int that is compared with a Decimal in no time: addresses of IPv6 have so many.
QUICK_INT = 128

#: Digits and exponent of a Decimal: ``format(Decimal("1e999999999"), "f")`` is a text of a gigabyte.
MAX_DECIMAL_TEXT = 1024
MAX_DECIMAL_EXPONENT = 9999

# What is nearly as long as it may be is looked at again as it would be written.
_NEARLY = 0.8

# A short text of digits has neither a large exponent nor a NaN to look for.
_PLAIN_DECIMAL = 64

#: Bits of a Fraction's parts: the constructor's gcd is quadratic in them.
MAX_FRACTION_BITS = 4096

#: Items that a Fraction and an IPv4Address count for beside their parts: their hashes, in Python, take two to four
#: microseconds and a tenth of one.
FRACTION_EXTRA, ADDRESS_EXTRA = 76, 2

#: Bits of a range's bounds: what a C ``ssize_t`` holds, beyond which ``len`` fails.
MAX_RANGE_BITS = 62

#: Characters of a path.
MAX_PATH = 4096

#: Parts of a path. Each is looked at when the path is made: thousands of them, in one text that many paths refer to,
#: would take a tenth of a second for 8 KB.
MAX_PATH_PARTS = 64

#: An IANA time zone key. Checked before ``zoneinfo`` looks at the file system.
ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,3}\Z")

#: Characters of an address with a scope and the length of a prefix.
MAX_ADDRESS_TEXT = 128

_PREFIX = re.compile(r"|0|[1-9][0-9]{0,2}", re.ASCII)

#: Time zones that are held on to: all that there are. The database has 600.
MAX_ZONES = 1024

#: What a ``defaultdict`` may make of a missing key. A factory of the application's would run later, on any key.
FACTORIES: dict[str, Callable[[], Any]] = {
    factory.__name__: factory for factory in (list, dict, set, int, str, float, bool, tuple)
}
_FACTORY_NAMES = {factory: name for name, factory in FACTORIES.items()}


class Refused(Exception):
    """Raised at write by a reducer: the value's content cannot be stored."""


class Restorer:
    """Builds one type of value. Made by :func:`sealed` only."""

    __slots__ = ()


def sealed(build: Callable[..., Any]) -> Restorer:
    """Return a restorer that calls *build* and can do nothing else.

    :param build: takes the stored arguments, checks them, and returns the value.
    """
    # One class for each, so that the call goes straight to the function.
    return type("Restorer", (Restorer,), {"__slots__": (), "__call__": staticmethod(build)})()  # type: ignore[no-any-return]


class Default(NamedTuple):
    """How a default type is stored."""

    cls: type
    #: The value -> the restorer's arguments.
    reduce: Callable[[Any], tuple[Any, ...]]
    #: The arguments -> the value.
    restore: Callable[..., Any]
    #: Whether a value can never change in place.
    is_immutable: bool = True
    #: Whether restoring one takes many microseconds, however few bytes ask for it.
    is_heavy: bool = False
    #: Items that a value counts for beside what is stored.
    extra: int = 0


def _require(condition: bool) -> None:
    if not condition:
        raise _unwritten()


def _of(kind: type, *values: object) -> None:
    # Exact types: a subclass could bring code of its own.
    for value in values:
        if type(value) is not kind:
            raise _unwritten()


def _unwritten() -> ValueError:
    return ValueError("arguments that we do not write")


# -- numbers


def _reduce_complex(value: complex) -> tuple[Any, ...]:
    return value.real, value.imag


def _restore_complex(real: float, imag: float) -> complex:
    _of(float, real, imag)
    return complex(real, imag)


def _check_decimal(value: Decimal) -> None:
    if value.is_snan():
        # Every later comparison raises.
        raise Refused("is a signalling NaN")
    # Zero, too: format(Decimal("0e-999999999"), "f") is as long.
    if value.is_finite() and abs(value.adjusted()) > MAX_DECIMAL_EXPONENT:
        raise Refused(f"has an exponent beyond {MAX_DECIMAL_EXPONENT}")


def _reduce_decimal(value: Decimal) -> tuple[Any, ...]:
    text = str(value)
    # A decimal context can ask for either letter.
    if len(text) > _PLAIN_DECIMAL or "E" in text or "e" in text or "N" in text:
        if len(text) > MAX_DECIMAL_TEXT:
            raise Refused(f"has more than {MAX_DECIMAL_TEXT} characters")
        _check_decimal(value)
    return (text,)


def _restore_decimal(text: str) -> Decimal:
    if type(text) is not str or len(text) > MAX_DECIMAL_TEXT:
        raise _unwritten()
    value = Decimal(text)
    if len(text) > _NEARLY * MAX_DECIMAL_TEXT:
        # Spelled shorter than it is written.
        _require(len(str(value)) <= MAX_DECIMAL_TEXT)
    # From any spelling: "1e9" and "snan" are read, too.
    if value.adjusted() > MAX_DECIMAL_EXPONENT or value.adjusted() < -MAX_DECIMAL_EXPONENT or value.is_snan():
        _check_decimal(value)
    return value


def _reduce_fraction(value: Fraction) -> tuple[Any, ...]:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_FRACTION_BITS:
        raise Refused(f"has more than {MAX_FRACTION_BITS} bits")
    return value.numerator, value.denominator


def _restore_fraction(numerator: int, denominator: int) -> Fraction:
    # Never from text: Fraction("1e200000000") hangs.
    _of(int, numerator, denominator)
    _require(max(numerator.bit_length(), denominator.bit_length()) <= MAX_FRACTION_BITS)
    return Fraction(numerator, denominator)


def _reduce_range(value: range) -> tuple[Any, ...]:
    if max(part.bit_length() for part in (value.start, value.stop, value.step)) > MAX_RANGE_BITS:
        raise Refused(f"has bounds of more than {MAX_RANGE_BITS} bits")
    return value.start, value.stop, value.step


def _restore_range(start: int, stop: int, step: int) -> range:
    _of(int, start, stop, step)
    _require(max(part.bit_length() for part in (start, stop, step)) <= MAX_RANGE_BITS)
    return range(start, stop, step)


# -- dates and times

# CPython's own pickled form: the fold is the first bit of the month, the microsecond has three bytes.
_DATETIME = struct.Struct(">H5BBH")
_DATETIME_SIZE = _DATETIME.size
_UTC = b"Z"

# Years 1 to 9983, days that each month has, less than 983,040 microseconds, no fold.
_is_plain_datetime = re.compile(
    rb"(?:\x00[\x01-\xff]|[\x01-\x26].)[\x01-\x0c][\x01-\x1c][\x00-\x17][\x00-\x3b][\x00-\x3b][\x00-\x0e]..", re.DOTALL
).fullmatch


def _check_zone(zone: tzinfo | None) -> None:
    if zone is not None and type(zone) not in (timezone, ZoneInfo):
        raise Refused(f"has a time zone of the type {type(zone).__qualname__}; use datetime.timezone or zoneinfo")
    if type(zone) is ZoneInfo and not _is_known(zone):
        raise Refused("has a time zone that is none of the database")


def _reduce_datetime(value: datetime) -> tuple[Any, ...]:
    zone = value.tzinfo
    state: Any = value.__reduce_ex__(4)[1][0]  # ten bytes; the fold is in the first bit of the third
    if zone is None:
        return (state,)
    if zone is UTC:
        # The zone that most have stands in the state: half the opcodes.
        return (state + _UTC,)
    _check_zone(zone)
    return state, zone


def _restore_datetime(state: Any, zone: tzinfo | None = None) -> datetime:
    if type(state) is not bytes:
        raise _unwritten()
    if zone is not None:
        _check_zone_read(zone)
    elif len(state) == _DATETIME_SIZE + 1 and state.endswith(_UTC):
        state, zone = state[:_DATETIME_SIZE], UTC
    # datetime(state) looks at the month only and takes day 255. What is plainly within all bounds needs no more.
    if _is_plain_datetime(state):
        return datetime(state, zone)  # type: ignore[call-arg, arg-type]  # noqa: DTZ001 - CPython's own pickled form
    if len(state) != _DATETIME_SIZE:
        raise _unwritten()
    year, month, day, hour, minute, second, high, low = _DATETIME.unpack(state)
    return datetime(year, month & 127, day, hour, minute, second, high << 16 | low, zone, fold=month >> 7)


def _check_zone_read(zone: object) -> None:
    if zone is not None and type(zone) not in (timezone, ZoneInfo):
        raise _unwritten()


def _reduce_date(value: date) -> tuple[Any, ...]:
    return (value.toordinal(),)


def _restore_date(ordinal: int) -> date:
    _of(int, ordinal)
    return date.fromordinal(ordinal)


def _reduce_time(value: time) -> tuple[Any, ...]:
    zone = value.tzinfo
    _check_zone(zone)
    parts = (value.hour, value.minute, value.second, value.microsecond, value.fold)
    return parts if zone is None else (*parts, zone)


def _restore_time(hour: int, minute: int, second: int, microsecond: int, fold: int, zone: tzinfo | None = None) -> time:
    _of(int, hour, minute, second, microsecond, fold)
    _check_zone_read(zone)
    return time(hour, minute, second, microsecond, zone, fold=fold)


def _reduce_timedelta(value: timedelta) -> tuple[Any, ...]:
    return value.days, value.seconds, value.microseconds


def _restore_timedelta(days: int, seconds: int, microseconds: int) -> timedelta:
    _of(int, days, seconds, microseconds)
    return timedelta(days, seconds, microseconds)


def _reduce_timezone(value: timezone) -> tuple[Any, ...]:
    offset, *names = value.__getinitargs__()  # type: ignore[attr-defined]  # and the name, if one was given
    # It may be a Markup.
    names = [str.__str__(name) for name in names]
    if names and len(names[0]) > MAX_DECIMAL_TEXT:
        raise Refused("has a very long name")
    return offset, *names


def _restore_timezone(offset: timedelta, name: str | None = None) -> timezone:
    _of(timedelta, offset)
    if name is None:
        return timezone(offset) if offset else UTC
    _of(str, name)
    _require(len(name) <= MAX_DECIMAL_TEXT)
    return timezone(offset, name)


def _reduce_zone(value: ZoneInfo) -> tuple[Any, ...]:
    if not _is_known(value):
        raise Refused("has no IANA key")
    return (value.key,)


def _is_known(zone: ZoneInfo) -> bool:
    """Tell whether a zone can be had by its key: one that was read from a file can have any, or none."""
    if type(zone.key) is not str or not _is_zone(zone.key):
        return False
    try:
        reduced: Any = zone.__reduce__()
        _key, is_from_cache = reduced[1]
    except PicklingError:
        return False
    # Zones are compared by identity.
    return bool(is_from_cache)


# Asked for each datetime.
@lru_cache(MAX_ZONES)
def _is_zone(key: str) -> bool:
    return ZONE_KEY.match(key) is not None and key in _zones()


@lru_cache(1)
def _zones() -> frozenset[str]:
    """Return the keys of all zones of the database.

    For others, zoneinfo imports a package of the tzdata distribution that the key names. Takes some hundredths of a
    second, once.
    """
    return frozenset(available_timezones())


# zoneinfo itself holds on to eight: with nine, each is read from its file again, for 70 microseconds.
@lru_cache(MAX_ZONES)
def _zone(key: str) -> ZoneInfo:
    return ZoneInfo(key)


def _restore_zone(key: str) -> ZoneInfo:
    # ZoneInfo pickles itself as getattr(ZoneInfo, "_unpickle"): to allow that is to allow everything.
    _of(str, key)
    _require(ZONE_KEY.match(key) is not None and key in _zones())
    return _zone(key)


# -- identifiers, addresses, paths, text


def _reduce_uuid(value: UUID) -> tuple[Any, ...]:
    return (value.bytes,)


def _restore_uuid(packed: bytes) -> UUID:
    _of(bytes, packed)
    return UUID(bytes=packed)


def _address(cls: Any, size: int) -> tuple[Callable[[Any], tuple[Any, ...]], Callable[..., Any]]:
    """Store an address, network or interface packed, with the length of its prefix: reading text takes thrice as long.

    :param size: bytes of an address.
    """
    has_prefix = not issubclass(cls, IPv4Address | IPv6Address) or issubclass(cls, IPv4Interface | IPv6Interface)

    def reduce(value: Any) -> tuple[Any, ...]:
        if getattr(getattr(value, "network_address", value), "scope_id", None) is not None:
            text = str(value)
            if len(text) > MAX_ADDRESS_TEXT:
                raise Refused(f"has more than {MAX_ADDRESS_TEXT} characters")
            return (text,)
        if not has_prefix:
            return (value.packed,)
        address = value.network_address if issubclass(cls, IPv4Network | IPv6Network) else value
        prefix = value.prefixlen if address is not value else value.network.prefixlen
        return (address.packed + bytes((prefix,)),)

    def restore(stored: str | bytes) -> Any:
        if type(stored) is bytes:
            _require(len(stored) == size + has_prefix)
            number = int.from_bytes(stored[:size], "big")
            return cls((number, stored[size])) if has_prefix else cls(number)
        # Only an address with a scope is stored as text.
        _of(str, stored)
        _require(size > 4 and len(stored) <= MAX_ADDRESS_TEXT and "%" in stored)
        # Each other spelling of a prefix would stay in a cache of the ipaddress module.
        _require(_PREFIX.fullmatch(str(stored).partition("/")[2]) is not None)
        address = cls(stored)
        _require(str(address) == stored)
        return address

    return reduce, restore


def _path(cls: type[PurePath]) -> tuple[Callable[[Any], tuple[Any, ...]], Callable[..., Any]]:
    def _is_odd(text: str) -> bool:
        # In Python 3.11 PureWindowsPath("./c:foo") is written as what begins with a drive, and ("//host/", "share") as
        # one root.
        return cls is PureWindowsPath and (":" in text or text.startswith("\\"))

    def reduce(value: PurePath) -> tuple[Any, ...]:
        text = str(value)
        if len(text) > MAX_PATH:
            raise Refused(f"has more than {MAX_PATH} characters")
        if _separators(text) >= MAX_PATH_PARTS:
            raise Refused(f"has more than {MAX_PATH_PARTS} parts")
        if _is_odd(text) and cls(text) != value:
            raise Refused("is not what its text says")
        return (text,)

    def restore(text: str) -> PurePath:
        _of(str, text)
        _require(len(text) <= MAX_PATH and _separators(text) < MAX_PATH_PARTS)
        path = cls(text)
        if _is_odd(text):
            # Another version of Python may have written it.
            _require(str(path) == text)
        if len(text) > _NEARLY * MAX_PATH:
            _require(len(str(path)) <= MAX_PATH)
        return path

    return reduce, restore


def _separators(text: str) -> int:
    return text.count("/") + text.count("\\")


def _reduce_markup(value: Markup) -> tuple[Any, ...]:
    return (str.__str__(value),)


def _restore_markup(text: str) -> Markup:
    _of(str, text)
    return Markup(text)  # noqa: S704 - it was a Markup when it was stored


def restore_text(text: str) -> str:
    """Restore a str that was something else when it was stored."""
    _of(str, text)
    return text


DEFAULTS = (
    Default(complex, _reduce_complex, _restore_complex),
    Default(range, _reduce_range, _restore_range),
    Default(Decimal, _reduce_decimal, _restore_decimal),
    Default(Fraction, _reduce_fraction, _restore_fraction, extra=FRACTION_EXTRA),
    Default(datetime, _reduce_datetime, _restore_datetime),
    Default(date, _reduce_date, _restore_date),
    Default(time, _reduce_time, _restore_time),
    Default(timedelta, _reduce_timedelta, _restore_timedelta),
    Default(timezone, _reduce_timezone, _restore_timezone),
    Default(ZoneInfo, _reduce_zone, _restore_zone),
    Default(UUID, _reduce_uuid, _restore_uuid),
    *(
        Default(cls, *_address(cls, size), is_heavy=cls is not IPv4Address, extra=ADDRESS_EXTRA)
        for size, classes in (
            (4, (IPv4Address, IPv4Network, IPv4Interface)),
            (16, (IPv6Address, IPv6Network, IPv6Interface)),
        )
        for cls in classes
    ),
    *(Default(cls, *_path(cls), is_heavy=True) for cls in (PurePosixPath, PureWindowsPath)),
    Default(Markup, _reduce_markup, _restore_markup),
)


# -- containers that are filled in after they were made, so that they can take part in cycles


class DefaultContainer(NamedTuple):
    """How a default container is stored: made empty, then filled in."""

    cls: type
    #: The value -> the arguments that make an empty one, and its content.
    reduce: Callable[[Any], tuple[tuple[Any, ...], Any]]
    make: Callable[..., Any]
    fill: Callable[[Any, Any], None]


def _reduce_mapping(value: Any) -> tuple[tuple[Any, ...], Any]:
    _refuse_attributes(value)
    return (), dict(value)


def _make_ordered() -> OrderedDict[Any, Any]:
    # Without arguments: a pickle could give it some.
    return OrderedDict()


def _fill_ordered(value: Any, content: dict[Any, Any]) -> None:
    _of(dict, content)
    _require(type(value) is OrderedDict)
    # dict.update would leave the order behind.
    OrderedDict.update(value, content)
    # Made for this one only. Referred to again and again, its keys would be hashed and compared as often.
    content.clear()


_COUNTS = frozenset({int, float, bool, Decimal})


def why_no_counts(values: Collection[object]) -> str | None:
    """Tell why a Counter cannot have these values, if it cannot.

    Its repr sorts them: to compare a Decimal with a float, or a long int, takes many microseconds, and comparing two
    Counters looks at each value four times, which doubles with each level in a Counter of Counters.
    """
    kinds = set(map(type, values))
    if not kinds <= _COUNTS:
        return "has values other than int, float, bool and Decimal"
    if Decimal in kinds and float in kinds:
        return "has both floats and Decimals as values"
    if Decimal in kinds and any(type(value) is int and value.bit_length() > QUICK_INT for value in values):
        return f"has both Decimals and ints of more than {QUICK_INT} bits as values"
    return None


def _reduce_counter(value: Counter[Any]) -> tuple[tuple[Any, ...], Any]:
    reason = why_no_counts(value.values())
    if reason is not None:
        raise Refused(reason)
    return _reduce_mapping(value)


def _make_counter() -> Counter[Any]:
    return Counter()


def _fill_counter(value: Any, content: dict[Any, Any]) -> None:
    _of(dict, content)
    _require(type(value) is Counter and why_no_counts(content.values()) is None)
    dict.update(value, content)
    content.clear()


def _reduce_defaultdict(value: defaultdict[Any, Any]) -> tuple[tuple[Any, ...], Any]:
    factory = value.default_factory
    name = _FACTORY_NAMES.get(factory) if isinstance(factory, type) else None
    if name is None and factory is not None:
        raise Refused(f"has a factory other than {', '.join(FACTORIES)}")
    # A tuple made anew each time: to a constant the pickler would refer back.
    return (name,), dict(value)


def _make_defaultdict(name: str | None) -> defaultdict[Any, Any]:
    # Looked up, it would be hashed, whatever it is.
    _require(name is None or type(name) is str)
    return defaultdict(None if name is None else FACTORIES[name])


def _fill_defaultdict(value: Any, content: dict[Any, Any]) -> None:
    _of(dict, content)
    _require(type(value) is defaultdict)
    dict.update(value, content)
    content.clear()


def _reduce_deque(value: deque[Any]) -> tuple[tuple[Any, ...], Any]:
    return (value.maxlen,), list(value)


def _make_deque(maxlen: int | None) -> deque[Any]:
    _require(maxlen is None or type(maxlen) is int)
    return deque(maxlen=maxlen)


def _fill_deque(value: Any, content: list[Any]) -> None:
    _of(list, content)
    _require(type(value) is deque)
    value.extend(content)
    # Made for this one only, and copied: referred to again and again, it would be as often.
    content.clear()


def _refuse_attributes(value: Any) -> None:
    if getattr(value, "__dict__", None):
        raise Refused("has attributes of its own")


CONTAINERS = (
    DefaultContainer(OrderedDict, _reduce_mapping, _make_ordered, _fill_ordered),
    DefaultContainer(Counter, _reduce_counter, _make_counter, _fill_counter),
    DefaultContainer(defaultdict, _reduce_defaultdict, _make_defaultdict, _fill_defaultdict),
    DefaultContainer(deque, _reduce_deque, _make_deque, _fill_deque),
)
