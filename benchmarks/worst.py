"""The costliest bytes at the size limit: what is accepted, and what is refused only at the end.

Each kind of value is repeated until a limit is reached. Time and memory are those of a process of its own that verifies
and loads it. The kinds are those that a search over all opcodes and restorers found, worst first, and their like.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address
from typing import Any

from flask_picklesession import PayloadError, PickleSerializer
from flask_picklesession.pickling import entries
from flask_picklesession.pickling.limits import DEFAULT_LIMITS, MANY_KEYS
from flask_picklesession.pickling.unpickler import BATCH
from flask_picklesession.pickling.verifier import GUARDED_OBJECT
from tests.pickling import assembler as a
from tests.pickling import test_cycles
from tests.pickling.models import Point, Single, make_allow
from tests.pickling.test_bypasses import MODULUS

from .measure import progress, table

SERIALIZER = PickleSerializer(make_allow(), verdicts_kept=0)

#: The costliest that are printed.
SHOWN = 12

#: What is to hold: seconds, and bytes of memory.
SECONDS, MEMORY = 0.1, 64 << 20


def long_text(text: bytes) -> bytes:
    """Push a str of any length."""
    return b"X" + len(text).to_bytes(4, "little") + text + a.MEMOIZE


#: Kind -> the name that it restores, and its arguments.
RESTORED: dict[str, tuple[str, tuple[bytes, ...]]] = {
    "Decimal, short": ("decimal:Decimal", (a.text("1"),)),
    "Decimal, long": ("decimal:Decimal", (a.text("9" * 200 + ".5"),)),
    "Decimal, longest": ("decimal:Decimal", (long_text(b"9" * 1024),)),
    "Decimal, exponent": ("decimal:Decimal", (a.text("1e9999"),)),
    "Fraction, short": ("fractions:Fraction", (a.small(3), a.small(7))),
    "Fraction, long": ("fractions:Fraction", (a.long(3**2400), a.long(2**4000 + 1))),
    "complex": ("builtins:complex", (b"G" + bytes(8), b"G" + bytes(8))),
    "range": ("builtins:range", (a.small(0), a.small(1), a.small(1))),
    "datetime": ("datetime:datetime", (a.raw(b"\x07\xe6\x01\x01" + bytes(6)),)),
    "datetime, last day": ("datetime:datetime", (a.raw(b"\x07\xe6\x01\x1f" + bytes(6)),)),
    "date": ("datetime:date", (a.long(738000),)),
    "timedelta": ("datetime:timedelta", (a.small(1), a.small(1), a.small(1))),
    "time": ("datetime:time", (a.small(1), a.small(1), a.small(1), a.small(1), a.small(0))),
    "ZoneInfo": ("zoneinfo:ZoneInfo", (a.text("UTC"),)),
    "UUID": ("uuid:UUID", (a.raw(bytes(16)),)),
    "IPv4Address": ("ipaddress:IPv4Address", (a.raw(bytes(4)),)),
    "IPv4Network": ("ipaddress:IPv4Network", (a.raw(bytes(5)),)),
    "IPv4Interface": ("ipaddress:IPv4Interface", (a.raw(bytes(5)),)),
    "IPv6Address": ("ipaddress:IPv6Address", (a.raw(bytes(16)),)),
    "IPv6Address, scope": ("ipaddress:IPv6Address", (a.text("1:2:3:4:5:6:1.2.3.4%" + "e" * 60),)),
    "IPv6Network": ("ipaddress:IPv6Network", (a.raw(bytes(17)),)),
    "IPv6Interface": ("ipaddress:IPv6Interface", (a.raw(bytes(17)),)),
    "IPv6Interface, scope": ("ipaddress:IPv6Interface", (a.text("1:2:3:4:5:6:1.2.3.4%" + "e" * 60 + "/64"),)),
    "path": ("pathlib:PurePosixPath", (a.text("a/b/c/d"),)),
    "path of many parts": ("pathlib:PureWindowsPath", (a.text("a/" * 63),)),
    "path, long": ("pathlib:PureWindowsPath", (long_text(b"a" * 4096),)),
    "Markup": ("markupsafe:Markup", (a.text("x"),)),
    "Markup, long": ("markupsafe:Markup", (long_text(b"x" * 20_000),)),
    "Enum": ("tests.pickling.models:Color", (a.text("RED"),)),
    "Flag": ("tests.pickling.models:Right", (a.small(3),)),
    "restore=": ("tests.pickling.models:Temperature", (a.small(1),)),
}

#: Kind -> one more item of a list.
PLAIN: dict[str, bytes] = {
    "None": a.NONE,
    "empty tuple": a.EMPTY_TUPLE,
    "empty list": a.LIST,
    "empty dict": a.DICT,
    "empty set": a.SET,
    "empty frozenset": b"(" + a.FROZENSET,
    "set of one": a.SET + b"(" + a.NONE + b"\x90",
    "dict of one": a.DICT + a.NONE + a.NONE + b"s",
    "tuple of one": a.NONE + a.TUPLE1,
    "list of one": a.LIST + a.NONE + b"a",
    "float": b"G" + bytes(8),
    "int": a.small(7),
    "int of 100 bytes": a.long(1 << 800),
    "int of 1786 bytes": a.long(1 << 14_200),
    "str": a.text("x"),
    "empty str": a.text(""),
    "bytes": a.raw(b"x"),
    "empty bytearray": b"\x96" + bytes(8) + a.MEMOIZE,
}


def batches(items: bytes, count: int, opcode: bytes) -> bytes:
    """Return what pushes items and puts them in one container, in batches as the pickler does."""
    return b"".join(b"(" + items * min(1000, count - start) + opcode for start in range(0, count, 1000))


def listed(items: bytes, count: int) -> bytes:
    """Return what pushes items and puts them in one list."""
    return batches(items, count, a.APPENDS)


def plain(item: bytes) -> bytes:
    """Return a list of as many of an item as the limits take."""
    objects = item.count(a.MEMOIZE) or 1 / 4
    count = min((DEFAULT_LIMITS.max_size - 600) // len(item) - 10, int(DEFAULT_LIMITS.max_objects / objects) - 10)
    return a.segment(a.LIST, listed(item, count))


_WRAP = {1: a.TUPLE1, 2: a.TUPLE2, 3: a.TUPLE3}


def of_restored(name: str, arguments: tuple[bytes, ...], *, is_shared: bool, is_dropped: bool) -> bytes:
    """Return a list of as many of a restored value as the limits take.

    :param is_shared: whether all are restored from the same texts, by reference.
    :param is_dropped: whether each is thrown away again, and something else read instead.
    """
    # Memo: the list, the arguments that have a place there, marker, name, restorer.
    places = [part for part in arguments if part[-1:] == a.MEMOIZE]
    restorer = a.get(len(places) + 3)
    count, referred = 0, []
    for part in arguments:
        count += part in places
        referred.append(a.get(count) if is_shared and part in places else part)
    wrapped = (b"(" if len(arguments) > 3 else b"") + b"".join(referred) + _WRAP.get(len(arguments), a.TUPLE)
    wrapped += b"R0" + a.get(0) if is_dropped else a.REDUCE
    is_heavy = SERIALIZER._entries[name.replace(".", "/").encode()] & entries.KIND_MASK == entries.Kind.HEAVY
    objects = 2 + (0 if is_shared else len(places)) + (entries.WEIGHT if is_heavy else 0)
    room = DEFAULT_LIMITS.max_size - 1200 - sum(map(len, arguments))
    count = min(room // (len(wrapped) + 2), DEFAULT_LIMITS.max_objects // objects) - 10
    first = b"".join(places) + a.name(name) + wrapped
    return a.segment(
        a.LIST, b"(" + first + (restorer + wrapped) * min(900, count) + b"e", listed(restorer + wrapped, count - 900)
    )


def records(name: str) -> bytes:
    """Return a list of as many records as the limits take, each with a list for a field."""
    first = (
        a.name(name)
        + a.EMPTY_TUPLE
        + a.REDUCE
        + a.get(1)
        + a.text(f"{name}#state".replace(".", "/"))
        + b"\x93\x94"
        + a.get(4)
    )
    first += a.text("name") + a.TUPLE1 + a.text("x") + a.TUPLE2 + a.APPLY
    parts, size, memo = [first], len(first), 11
    while size < DEFAULT_LIMITS.max_size - 600 and memo < DEFAULT_LIMITS.max_objects - 3:
        one = a.get(3) + a.EMPTY_TUPLE + a.REDUCE + a.get(6) + a.get(memo) + a.get(8) + a.NONE + a.TUPLE2 + a.APPLY
        memo += 2
        parts.append(one)
        size += len(one)
    batches = [parts[start : start + 1000] for start in range(0, len(parts), 1000)]
    return a.segment(a.LIST, *(b"(" + b"".join(batch) + b"e" for batch in batches))


def shared() -> bytes:
    """Return a value that refers to a large one as often as may be."""
    return a.segment(a.LIST, b"(", b"(", a.NONE * 900, a.TUPLE, a.get(1) * 500, b"e")


def references() -> bytes:
    """Return a list of one str, referred to as often as may be."""
    first = b"(" + a.text("x") + a.get(1) * 999 + b"e"
    return a.segment(a.LIST, first, listed(a.get(1), DEFAULT_LIMITS.max_items - 1000))


def chosen_ints() -> bytes:
    """Return sets of ints that all begin in the same place of their table, as many as may be."""
    made = [b"J" + (n << 16).to_bytes(4, "little") for n in range(1, DEFAULT_LIMITS.max_odd_keys)]
    batches = (b"(" + b"".join(made[start : start + 1000]) + b"\x90" for start in range(0, len(made), 1000))
    return a.segment(a.SET, *batches)


def guarded() -> bytes:
    """Return what makes the slower unpickler work: a few keys, and all else that fits."""
    floats = a.SET + b"(" + b"".join(b"G" + number.to_bytes(8, "big") for number in range(5)) + b"\x90"
    return a.segment(
        a.LIST, b"(" + floats + b"e", listed(a.text(""), DEFAULT_LIMITS.max_objects - 10), listed(a.NONE, 79_000)
    )


def of_keys(item: bytes, times: int, keys: int) -> bytes:
    """Return a set of tuples that refer to an item, beside a cycle and lists of None."""
    again = a.get(item.count(a.MEMOIZE)) if a.MEMOIZE in item else item
    made = [b"(" + again * times + b"M" + number.to_bytes(2, "little") + a.TUPLE for number in range(keys)]
    first = b"(" + a.get(0) + item + a.SET
    first += b"".join(b"(" + b"".join(made[start : start + 1000]) + b"\x90" for start in range(0, keys, 1000))
    # Each of the tuples counts for bytes, too.
    left, nones = DEFAULT_LIMITS.max_size - 2000 - len(first) - GUARDED_OBJECT * (keys + 300), b""
    while left > 0:
        count = min(left, DEFAULT_LIMITS.max_items - 1)
        nones += a.LIST + listed(a.NONE, count)
        left -= count
    return a.segment(a.LIST, first, nones, b"e")


#: Kind -> what is read again and again in each key, how often there, and in how many keys.
IN_KEYS: dict[str, tuple[bytes, int, int]] = {
    "None": (a.NONE, 70, 2000),
    "an Enum": (a.name("tests.pickling.models:Color") + a.text("RED") + a.TUPLE1 + a.REDUCE, 28, 2000),
    "an address": (a.name("ipaddress:IPv4Address") + a.raw(bytes(4)) + a.TUPLE1 + a.REDUCE, 16, 2000),
    "a Fraction": (a.name("fractions:Fraction") + a.small(3) + a.long(3**104) + a.TUPLE2 + a.REDUCE, 3, 700),
}


def cyclic(make: Callable[[], Any]) -> bytes:
    """Return the pickle of a value with cycles, whether it is accepted or not."""
    return SERIALIZER.written(make())


def tangle() -> Any:
    """Return lists in lists, each with references to all that are around it: as many paths as may be looked at."""
    around: list[Any] = [[]]
    for _level in range(30):
        around.append(around[:])
        around[-2].append(around[-1])
    return [around[0], [around[0]] * 60_000]


#: A set of two floats, which makes the slower unpickler work.
TWO_KEYS = a.SET + b"(" + b"G" + bytes(8) + b"G?" + bytes(7) + b"\x90"


def referring(item: bytes, count: int, between: bytes = b"", times: int = 0) -> bytes:
    """Return what is measured, and built by the slower unpickler: a list of as many of an item that refers to it.

    :param between: what is read and thrown away again, as often as *times* says.
    """
    return a.segment(b"(", TWO_KEYS, a.LIST, listed(item, count), between * times, a.NONE * 3, a.TUPLE)


def full(item: bytes) -> int:
    """Return how many of an item fill a value, each of which is one object."""
    return min((DEFAULT_LIMITS.max_size - 400) // (len(item) + 1), DEFAULT_LIMITS.max_objects - 100)


def referring_kinds() -> dict[str, bytes]:
    """Return those whose cost adds up: verified, measured and built by the slower unpickler, accepted and refused."""
    found = {}
    for references in (1, 2, 4):
        back = a.get(1) * references + b")" * (13 - 2 * references)
        for kind, item in (("tuples", b"(" + back + a.TUPLE), ("lists", a.LIST + b"(" + back + a.APPENDS)):
            for part in (4, 5, 7, 10):
                name = f"{kind} with {references} references back, {part * 10} %"
                found[name] = referring(item, full(item) * part // 10)
    few = b"(" + a.get(1) + b")" * 12 + a.TUPLE
    for kind, between in (("values", b")))000"), ("tuples", b"(NNNN1"), ("lists", a.LIST + b"N" + b"a" + b"0")):
        for times in (1500, 3500, 4500):
            name = f"{kind} thrown away, {times}"
            found[name] = referring(few, 9_000, between + a.get(0), times)
    itself = a.LIST + a.get(1) + b"a"
    empty = (b"(" + b")" * 13 + a.TUPLE) * (DEFAULT_LIMITS.max_objects - 100)
    for kind, first in (("guarded", TWO_KEYS), ("not guarded", a.SET)):
        found[f"tuples of empty tuples beside a cycle, {kind}"] = a.segment(b"(", first, itself, empty, a.TUPLE)
    sets = (a.SET + b"(" + b"N" * 13 + b"\x90") * 13_000
    return {**found, "sets beside a cycle": a.segment(b"(", TWO_KEYS, itself, sets, a.TUPLE)}


#: Values to which those of one kind of keys are brought up.
MOST_TRIED = 20_000


def most(make: Callable[[int], Any]) -> bytes:
    """Return the pickle of the largest value of a kind that is accepted, found by halving."""
    accepted, refused = 1, MOST_TRIED
    while refused - accepted > max(1, accepted // 50):
        count = (accepted + refused) // 2
        try:
            SERIALIZER.load_value(SERIALIZER.written(make(count)))
        except PayloadError:
            refused = count
        else:
            accepted = count
    return SERIALIZER.written(make(accepted))


def in_their_way(count: int, bits: int, part: float) -> list[int]:
    """Return ints below 65,536 that lead one another through a table of so many bits (CPython's ``dictobject.c``).

    :param part: how many of them fill places that others are led through.
    """
    mask, place, filled = (1 << bits) - 1, 0, []
    for _turn in range(int(count * part)):
        filled.append(place)
        place = (5 * place + 1) & mask
    taken = set(filled)

    def walked(number: int) -> int:
        place, left, steps = number & mask, number, 0
        while place in taken:
            left >>= 5
            place = (5 * place + left + 1) & mask
            steps += 1
        return steps

    others = sorted(set(range(1 << bits, 65_536, 7)) - taken, key=walked)
    return filled + others[len(filled) - count :]


def colliding(make: Callable[[int], Any], count: int, size: int) -> list[Any]:
    """Return sets of keys that have one hash in each.

    :param make: an int -> a key; ints of one hash make keys of one hash.
    :param size: how many each set has.
    """
    return [{make((place * size + number) * MODULUS + place) for number in range(size)} for place in range(count)]


def copied(lists: int, others: int) -> Any:
    """Return lists that lead to the same NamedTuples, which have no guard, and others, all in one that they lead back to."""
    around: list[Any] = []
    points = [Point(around, 0) for _number in range(1000)]
    around += [points[:] for _list in range(lists)] + [[around] * 4 for _list in range(others)]
    return around


def beside_a_cycle(value: Any) -> Any:
    """Return a value in a list that holds itself, and two keys that are looked at."""
    around: list[Any] = [value, {0.5, 1.5}]
    around.append(around)
    return around


def many_times(key: Any, size: int) -> Callable[[int], Any]:
    """Return what makes sets of keys that refer to one key, and are equal in hash by twos."""
    return lambda count: colliding(lambda number: (*[key] * size, number), count, 2)


def filled(data: bytes) -> bytes:
    """Return a value that is accepted, beside as many None as are accepted with it, found by halving."""
    accepted, refused, best = 0, DEFAULT_LIMITS.max_size - len(data), data
    while refused - accepted > 500:
        count = (accepted + refused) // 2
        starts = range(0, count, DEFAULT_LIMITS.max_items - 1)
        nones = (a.LIST + listed(a.NONE, min(DEFAULT_LIMITS.max_items - 1, count - start)) for start in starts)
        value = a.segment(b"(", data[2:-1], *nones, a.NONE * 3, a.TUPLE)
        try:
            SERIALIZER.load_value(value)
        except PayloadError:
            refused = count
        else:
            accepted, best = count, value
    return best


def keyed_kinds() -> dict[str, bytes]:
    """Return those whose keys are looked at, of each as many as are accepted: what attacks found, mended."""
    many, few = in_their_way(BATCH - 1, 11, 0.35), in_their_way(MANY_KEYS - 1, 9, 0.35)
    zones = [timezone(timedelta(minutes=minute)) for minute in range(1000)]
    moment = datetime(2026, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - as the others are
    kinds: dict[str, Callable[[int], Any]] = {
        "dicts of one key": lambda count: [{0.5, 1.5}, *({None: None} for _ in range(count))],
        "dicts of one str": lambda count: [{0.5, 1.5}, *({"x": None} for _ in range(count))],
        "sets of chosen ints": lambda count: [set(many) for _ in range(count)],
        "OrderedDicts of chosen ints": lambda count: [OrderedDict.fromkeys(many) for _ in range(count)],
        "OrderedDicts of fewer chosen ints": lambda count: [OrderedDict.fromkeys(few) for _ in range(count)],
        "chosen ints in an OrderedDict": lambda count: OrderedDict.fromkeys(in_their_way(count, 13, 0.3)),
        "ints of one hash": lambda count: colliding(int, count, 4),
        "tuples of one hash": lambda count: [
            {(*(-1 - (number >> bit & 1) for bit in range(3)), place) for number in range(8)} for place in range(count)
        ],
        "tuples of one hash by twos": many_times(None, 28),
        "addresses in tuples of one hash": many_times(IPv4Address("10.0.0.1"), 14),
        "zones in tuples of one hash": many_times(moment, 3),
        "records of one hash": lambda count: colliding(Single, count, 4),
        "records in records of one hash": lambda count: colliding(
            lambda number: Single(Single(Single(Single(Single(Single(number)))))), count, 2
        ),
        "floats beside Decimals in an OrderedDict": lambda count: OrderedDict.fromkeys(
            ((2.0**-20 if number % 2 else Decimal(2) ** -20,) * 8, number % 6 * MODULUS + number // 6)
            for number in range(count)
        ),
        "Fractions": lambda count: {Fraction(1, number + 2) for number in range(count)},
        "times in zones": lambda count: {
            moment.replace(year=2000 + number // 1000, tzinfo=zones[number % 1000]) for number in range(count)
        },
    }
    return {
        **{f"keys: {kind}": most(make) for kind, make in kinds.items()},
        **{
            f"keys: {kind}, and None": filled(most(kinds[kind]))
            for kind in ("addresses in tuples of one hash", "tuples of one hash by twos", "dicts of one key")
        },
        **{
            f"keys: {kind}, beside a cycle": most(lambda count, make=make: beside_a_cycle(make(count)))  # type: ignore[misc]
            for kind, make in kinds.items()
        },
    }


def model_of_unknown_fields() -> bytes:
    """Return a model with as many fields that its class does not know as may be, and as many names of those that were set."""
    name, count = "tests.pickling.models:Model", (DEFAULT_LIMITS.max_objects - 100) * 9 // 10
    fields = [a.text(f"{number:04x}") + a.NONE for number in range(count)]
    set_ones = [a.text("none")] + [a.get(count + 8)] * (count - 1)
    return a.segment(
        a.name(name),
        a.EMPTY_TUPLE,
        a.REDUCE,
        a.get(0) + a.text(f"{name}#state".replace(".", "/")) + b"\x93\x94" + a.get(3),
        a.DICT + b"".join(b"(" + b"".join(fields[i : i + BATCH]) + b"u" for i in range(0, count, BATCH)),
        a.LIST + b"".join(b"(" + b"".join(set_ones[i : i + BATCH]) + b"e" for i in range(0, count, BATCH)),
        a.TUPLE2 + a.APPLY,
    )


def counter_of_what_is_around_it() -> bytes:
    """Return a list of lists, and of a Counter that is filled in with as many references to it as may be."""
    name, lists = "collections:Counter", 13_000
    maker = a.name(name) + a.EMPTY_TUPLE + a.REDUCE
    setter = a.get(lists + 1) + a.text(f"{name}#state".replace(".", "/")) + b"\x93\x94" + a.get(lists + 4)
    return a.segment(a.LIST, listed(a.LIST, lists), maker, setter, b"(N" + a.get(0) * 99_000 + a.TUPLE, a.APPLY, b"a")


def nested() -> bytes:
    """Return lists in lists, each as deep as may be."""
    deep = a.LIST * (DEFAULT_LIMITS.max_depth - 2) + b"a" * (DEFAULT_LIMITS.max_depth - 3)
    return a.segment(a.LIST, listed(deep, DEFAULT_LIMITS.max_objects // DEFAULT_LIMITS.max_depth))


def candidates() -> dict[str, bytes]:
    """Return all kinds."""
    return {
        **{kind: plain(item) for kind, item in PLAIN.items()},
        **{
            f"{kind}{', shared' * is_shared}{', dropped' * is_dropped}": of_restored(
                name, arguments, is_shared=is_shared, is_dropped=is_dropped
            )
            for kind, (name, arguments) in RESTORED.items()
            for is_shared in (False, True)
            for is_dropped in (False, True)
        },
        "record": records("tests.pickling.models:Node"),
        "record with a hash": records("tests.pickling.models:Hashed"),
        "pydantic model": records("tests.pickling.models:Model"),
        "long str": a.segment(long_text(b"x" * 260_000)),
        "long str of wide characters": a.segment(long_text(b"\xf0\x9f\x98\x80" * 65_000)),
        "shared tuples": shared(),
        "references": references(),
        "nested lists": nested(),
        "model of unknown fields": model_of_unknown_fields(),
        "Counter of what is around it": counter_of_what_is_around_it(),
        "chosen ints": chosen_ints(),
        "a few keys and much else": guarded(),
        **{f"keys that hold {kind} again and again": of_keys(*parts) for kind, parts in IN_KEYS.items()},
        "tree that knows its parents": cyclic(lambda: test_cycles.tree(3500, 0)),
        "tree of three levels": cyclic(lambda: test_cycles.tree(60, 60)),
        "six friends": cyclic(lambda: test_cycles.friends(6)),
        "twenty friends": cyclic(lambda: test_cycles.friends(20)),
        "list that refers to itself": cyclic(lambda: test_cycles.in_batches()),
        "tangle": cyclic(tangle),
        "edges that know both ends": cyclic(lambda: test_cycles.star(2400)[0]),
        "models that know their parents": cyclic(lambda: test_cycles.family(2400, 0)),
        "models of three levels": cyclic(lambda: test_cycles.family(30, 60)),
        **{
            f"lists with references back, and {lists} of what has no guard": cyclic(
                lambda lists=lists: copied(lists, 9000)
            )  # type: ignore[misc]
            for lists in (0, 2, 5, 30)
        },
        **referring_kinds(),
        **keyed_kinds(),
    }


#: Kind -> a small value, of which many fit into a session.
SMALL: dict[str, Any] = {
    "empty list": [],
    "five floats in a set": {0.5, 1.5, 2.5, 3.5, 4.5},
    "five long ints in a set": {1 << (12_000 + number) for number in range(5)},
    "a date": date(2026, 1, 1),
    "five friends": test_cycles.friends(5),
    "a node and its child": test_cycles.tree(1, 0),
}


def session_cost(data: bytes) -> tuple[int, float]:
    """Return how many such values fill a session, and the seconds of verifying and loading all of them."""
    count = DEFAULT_LIMITS.max_size // (len(data) + 8)
    started = time.process_time()
    for _value in range(count):
        SERIALIZER.load_value(data)
    return count, time.process_time() - started


def cost(data: bytes) -> tuple[float, float, str]:
    """Return seconds, bytes of memory and the outcome of verifying and loading, in a process of its own."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        result: tuple[float, float, str] = pool.apply(_cost, (data,))
    return result


def _cost(data: bytes) -> tuple[float, float, str]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome, value, best = "accepted", None, float("inf")
    for _turn in range(3):
        value = None
        started = time.process_time()
        try:
            value = SERIALIZER.load_value(data)
        except PayloadError as error:
            outcome = error.reason
        best = min(best, time.process_time() - started)
    del value
    return best, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, outcome


def main() -> None:
    """Print the costliest, accepted and refused."""
    found: list[tuple[str, Any]] = []
    kinds = candidates()
    for kind, data in kinds.items():
        progress(f"worst: {kind}")
        found.append((kind, (len(data), *cost(data))))
        # The same, refused at its last byte: all of it is verified, nothing is built.
        found.append((f"{kind}, refused", (len(data), *cost(data[:-1] + b"0"))))
    found.sort(key=lambda entry: -entry[1][1])
    table(
        f"The costliest bytes at the limit (at most {SECONDS} s and {MEMORY >> 20} MiB)",
        ["value", "bytes", "ms", "MiB", "outcome"],
        [
            [kind, str(size), f"{seconds * 1e3:.0f}", f"{memory / (1 << 20):.0f}", outcome[:40]]
            for kind, (size, seconds, memory, outcome) in found[:SHOWN]
        ],
    )
    accepted = [(kind, data) for kind, data in kinds.items() if cost(data)[2] == "accepted"]
    accepted += [(kind, SERIALIZER.dump_value(value)) for kind, value in SMALL.items()]
    rows = []
    for kind, data in accepted:
        progress(f"worst session: {kind}")
        rows.append((kind, len(data), *session_cost(data)))
    rows.sort(key=lambda row: -row[3])
    table(
        "Whole sessions of one kind of value, all read in one request",
        ["value", "bytes of one", "how many", "ms"],
        [[kind, str(size), str(count), f"{seconds * 1e3:.0f}"] for kind, size, count, seconds in rows[:SHOWN]],
    )


if __name__ == "__main__":
    main()
