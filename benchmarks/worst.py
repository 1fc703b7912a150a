"""The costliest bytes at the size limit: what is accepted, and what is refused only at the end.

Each kind of value is repeated until a limit is reached. Time and memory are those of a process of its own that verifies
and loads it. The kinds are those that a search over all opcodes and restorers found, worst first, and their like.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv6Address
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from flask_picklesession import LimitExceededError, PayloadError, PickleSerializer
from flask_picklesession.pickling.limits import DEFAULT_LIMITS
from tests.pickling import assembler as a
from tests.pickling.models import Money, make_allow

from .measure import progress, table

#: The costliest that are printed.
SHOWN = 12

#: What is to hold: seconds, and bytes of memory.
SECONDS, MEMORY = 0.1, 64 << 20


def restored(name: str, *arguments: bytes) -> Callable[[int], bytes]:
    """Return what writes one value of a type again and again."""
    end = {1: a.TUPLE1, 2: a.TUPLE2, 3: a.TUPLE3}.get(len(arguments), a.TUPLE)
    mark = b"(" if len(arguments) > 3 else b""
    return lambda index: a.get(index) + mark + b"".join(arguments) + end + a.REDUCE


#: Kind -> the name that it restores, and what one more value takes. ``get(0)`` stands for the restorer.
RESTORED: dict[str, tuple[str, tuple[bytes, ...]]] = {
    "Decimal, short": ("decimal:Decimal", (a.text("1"),)),
    "Decimal, long": ("decimal:Decimal", (a.text("9" * 200 + ".5"),)),
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
    "IPv4Address": ("ipaddress:IPv4Address", (a.text("1.1.1.1"),)),
    "IPv4Network": ("ipaddress:IPv4Network", (a.text("1.1.1.1/32"),)),
    "IPv4Interface, packed": ("ipaddress:IPv4Interface", (a.raw(bytes(5)),)),
    "IPv4Interface": ("ipaddress:IPv4Interface", (a.text("1.1.1.1/32"),)),
    "IPv6Address": ("ipaddress:IPv6Address", (a.text("::1"),)),
    "IPv6Network": ("ipaddress:IPv6Network", (a.text("::1"),)),
    "IPv6Interface": ("ipaddress:IPv6Interface", (a.text("::1/128"),)),
    "path": ("pathlib:PurePosixPath", (a.text("a/b/c/d"),)),
    "path, long": ("pathlib:PureWindowsPath", (a.text("a/" * 100),)),
    "Markup": ("markupsafe:Markup", (a.text("x"),)),
    "Enum": ("tests.pickling.models:Color", (a.text("RED"),)),
    "Flag": ("tests.pickling.models:Right", (a.small(3),)),
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


def listed(items: bytes, count: int) -> bytes:
    """Return what pushes items and puts them in one list, in batches as the pickler does."""
    return b"".join(b"(" + items * min(1000, count - start) + b"e" for start in range(0, count, 1000))


def plain(item: bytes) -> bytes:
    """Return a list of as many of an item as the limits take."""
    objects = item.count(a.MEMOIZE) or 1 / 4
    count = min((DEFAULT_LIMITS.max_size - 600) // len(item) - 10, int(DEFAULT_LIMITS.max_objects / objects) - 10)
    return a.segment(a.LIST, listed(item, count))


def of_restored(name: str, arguments: tuple[bytes, ...], objects: int) -> bytes:
    """Return a list of as many of a restored value as the limits take.

    :param objects: of each, as the verifier counts them.
    """
    # Memo: the list, marker, name, restorer.
    one = restored(name, *arguments)(3)
    first = a.name(name) + one[2:]
    count = min((DEFAULT_LIMITS.max_size - 1200) // len(one) - 10, DEFAULT_LIMITS.max_objects // objects - 10)
    return a.segment(a.LIST, b"(" + first + one * min(999, count) + b"e", listed(one, max(0, count - 999)))


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


def colliding() -> bytes:
    """Return sets of ints that all collide, as many as may be."""
    step = 2**61 - 1
    return a.segment(a.SET, b"(", *(a.long(n * step) for n in range(1, DEFAULT_LIMITS.max_odd_keys)), b"\x90")


def nested() -> bytes:
    """Return lists in lists, each as deep as may be."""
    deep = a.LIST * (DEFAULT_LIMITS.max_depth - 2) + b"a" * (DEFAULT_LIMITS.max_depth - 3)
    return a.segment(a.LIST, listed(deep, DEFAULT_LIMITS.max_objects // DEFAULT_LIMITS.max_depth))


def candidates() -> dict[str, bytes]:
    """Return all kinds."""
    return {
        **{kind: plain(item) for kind, item in PLAIN.items()},
        **{
            kind: of_restored(name, arguments, sum(part[-1:] == a.MEMOIZE for part in arguments) + 2)
            for kind, (name, arguments) in RESTORED.items()
        },
        "record": records("tests.pickling.models:Node"),
        "record with a hash": records("tests.pickling.models:Hashed"),
        "pydantic model": records("tests.pickling.models:Model"),
        "long str": a.segment(b"X" + (260_000).to_bytes(4, "little") + b"x" * 260_000 + a.MEMOIZE),
        "long str of wide characters": a.segment(b"X" + (260_000).to_bytes(4, "little") + b"\xf0\x9f\x98\x80" * 65_000 + a.MEMOIZE),
        "shared tuples": shared(),
        "references": references(),
        "colliding ints": colliding(),
        "nested lists": nested(),
    }  # fmt: skip


MODULUS = 2**61 - 1

#: Kind -> what makes the one value of which as many as the limits take are put in a set or list.
SESSIONS: dict[str, Callable[[int], Any]] = {
    "colliding ints": lambda i: i * MODULUS + 1,
    "colliding Decimals": lambda i: Decimal(i * MODULUS + 1),
    "colliding Fractions": lambda i: Fraction(i * MODULUS + 1),
    "colliding IPv6 addresses": lambda i: IPv6Address(i * MODULUS + 1),
    "colliding UUIDs": lambda i: UUID(int=i * MODULUS + 1),
    "colliding pairs": lambda i: (None, i * MODULUS + 1),
    "colliding records": lambda i: Money(i * MODULUS + 1),
    "paths": lambda i: PurePosixPath("a/" * 200),
}


def largest_value(make: Callable[[int], Any], mark: int) -> bytes:
    """Return the largest set of such values that is accepted, and one that marks it, or a list of unhashed ones."""
    for count in range(1000, 0, -10):
        items = [mark, *map(make, range(1, count))]
        try:
            return SERIALIZER.dump_value(items if make is SESSIONS["paths"] else set(items), "value")
        except LimitExceededError:
            pass
    raise AssertionError("none is accepted")


def session_cost(make: Callable[[int], Any]) -> tuple[int, int, float]:
    """Return how many such values fill a session, their bytes, and the seconds of verifying and loading all of them."""
    segments: list[bytes] = []
    while sum(map(len, segments)) < DEFAULT_LIMITS.max_size:
        segments.append(largest_value(make, len(segments)))
    segments.pop()
    started = time.process_time()
    for segment in segments:
        SERIALIZER.load_value(segment)
    return len(segments), sum(map(len, segments)), time.process_time() - started


def cost(data: bytes) -> tuple[float, float, str]:
    """Return seconds, bytes of memory and the outcome of verifying and loading, in a process of its own."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        result: tuple[float, float, str] = pool.apply(_cost, (data,))
    return result


SERIALIZER = PickleSerializer(make_allow(), verdicts_kept=0)


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
    for kind, data in candidates().items():
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
    rows = []
    for kind, make in SESSIONS.items():
        progress(f"worst session: {kind}")
        rows.append((kind, *session_cost(make)))
    rows.sort(key=lambda row: -row[3])
    table(
        "Whole sessions of costly values, each read in one request",
        ["values", "how many", "bytes", "ms"],
        [[kind, str(count), str(size), f"{seconds * 1e3:.0f}"] for kind, count, size, seconds in rows],
    )


if __name__ == "__main__":
    main()
