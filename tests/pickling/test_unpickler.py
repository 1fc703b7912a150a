"""The two unpicklers: they build the same, and the guarded one looks at each key before it is put in."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from flask_picklesession import AllowList, LimitExceededError, PayloadError, PickleSerializer, TypeRefusedError
from flask_picklesession.pickling import unpickler
from flask_picklesession.pickling.unpickler import unpickle

from . import assembler as a
from . import models
from .models import make_allow
from .test_cycles import ACCEPTED
from .test_serializer import VALUES, same

SERIALIZER = PickleSerializer(make_allow(), verdicts_kept=0)
MODULUS = 2**61 - 1


@pytest.mark.parametrize("value", VALUES, ids=itertools.count())
def test_guarded_builds_the_same(value: Any) -> None:
    """Of whatever type, in whatever size."""
    segment = SERIALIZER.written(value)

    assert same(unpickle(segment, SERIALIZER._guarded), value)


@pytest.mark.parametrize("kind", ACCEPTED)
def test_guarded_builds_the_same_cycles(kind: str) -> None:
    """Identities are kept."""
    segment = SERIALIZER.written(ACCEPTED[kind]())

    assert SERIALIZER.written(unpickle(segment, SERIALIZER._guarded)) == segment


def ints(count: int) -> list[int]:
    """Return ints of one hash."""
    return [number * MODULUS for number in range(1, count + 1)]


@pytest.mark.parametrize(("keys", "is_used"), [({"a", b"a", 1, None}, False), ({"a", 0.5}, True)])
def test_plain_keys_need_no_guard(monkeypatch: pytest.MonkeyPatch, keys: set[object], is_used: bool) -> None:
    """A value whose keys are str and small ints is built by the quick unpickler; with one other, by the guarded one."""
    used: list[object] = []
    real = unpickler.GuardedUnpickler._look_at
    monkeypatch.setattr(
        unpickler.GuardedUnpickler, "_look_at", lambda self, *arguments: (used.append(self), real(self, *arguments))[-1]
    )

    SERIALIZER.load_value(SERIALIZER.written(keys))

    assert bool(used) == is_used


def test_value_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes need no second look."""
    serializer = PickleSerializer(make_allow())
    segment = SERIALIZER.written(set(map(float, range(10))))
    first = serializer.load_value(segment)
    monkeypatch.delattr(unpickler.GuardedUnpickler, "_look_at")

    assert serializer.load_value(segment) == first


def test_as_many_of_one_hash_as_may_be() -> None:
    """All tuples of six that are -1 or -2: sixty-four, in one container."""
    spread = {(float(number),) for number in range(200)}

    assert SERIALIZER.load_value(
        SERIALIZER.written({*product((-1, -2), repeat=6), *spread, *product(range(3), repeat=6)})
    )
    with pytest.raises(PayloadError, match="keys that collide"):
        SERIALIZER.load_value(SERIALIZER.written({*product((-1, -2), repeat=7), *product(range(3), repeat=7)}))


AGAIN: dict[str, bytes] = {
    "equal": b"(" + a.small(1) + a.TRUE + b"\x90",
    "in a batch": b"(" + a.small(7) * 2 + b"\x90",
    "in another batch": b"("
    + b"".join(b"M" + (n + 256).to_bytes(2, "little") for n in range(999))
    + a.small(7)
    + b"\x90"
    b"(" + a.small(7) + b"\x90",
    "behind one of its hash": b"(" + a.small(1) + a.TRUE + a.TRUE + b"\x90",
}


@pytest.mark.parametrize("kind", AGAIN)
def test_key_that_stands_twice(kind: str) -> None:
    """The pickler writes each once. Found by an attack: one key, put in 80,000 times, was led through a whole table."""
    with pytest.raises(PayloadError, match=r"stands twice|one key here"):
        SERIALIZER.load_value(a.segment(b"(", TWO_KEYS, a.SET, AGAIN[kind], a.NONE * 2, a.TUPLE))


@pytest.mark.parametrize("kind", ["set", "frozenset"])
def test_key_that_is_led_through_a_table_again_and_again(kind: str) -> None:
    """Not one of these keys is odd: what is led through so many places is built by the slower unpickler."""
    fillers = [b"M" + number.to_bytes(2, "little") for number in in_each_others_way(2_900) if number > 255]
    batches = [fillers[start : start + 1000] for start in range(0, len(fillers) - 999, 1000)] + [
        [a.small(7)] * 1000
    ] * 60
    if kind == "set":
        data = a.segment(a.SET, *(b"(" + b"".join(batch) + b"\x90" for batch in batches))
    else:
        data = a.segment(b"(", *map(b"".join, batches), a.FROZENSET)

    with pytest.raises(PayloadError, match=r"stands twice|max_odd_keys"):
        SERIALIZER.load_value(data)


def test_honest_keys_of_one_hash() -> None:
    """Appointments, some of which differ by -1 and -2 alone."""
    begins = datetime(2026, 11, 27, 9, tzinfo=ZoneInfo("Europe/Berlin"))
    keys = {(begins + timedelta(hours=n), begins + timedelta(hours=n + 1), m) for n in range(50) for m in (-1, -2)}

    for value in (keys, [keys, dict.fromkeys(keys), {"shared": keys}]):
        assert SERIALIZER.load_value(SERIALIZER.dump_value(value)) == value


#: In CPython's hashes and those of ipaddress.
OF_ONE_HASH: dict[str, Callable[[], Any]] = {
    "networks": lambda: {IPv4Network("0.0.0.0/0"), IPv4Network("255.255.255.255/32")},
    "records that hold equal networks": lambda: {
        record(IPv6Network("::1/128")) for record in (models.Single, models.FrozenSlotted)
    },
    "an empty text of another class": lambda: {models.Label(""): 1, models.Label("x"): 2, 0: 3},
    "complex numbers": lambda: {(1 + 1j, number) for number in (-1, -2)},
}


@pytest.mark.parametrize("kind", OF_ONE_HASH)
def test_few_honest_keys_of_one_hash(kind: str) -> None:
    """Found by an attack: refused as keys that collide, since they have attributes which are not compared."""
    value = OF_ONE_HASH[kind]()

    assert same(SERIALIZER.load_value(SERIALIZER.dump_value(value)), value)


class Quiet:
    """Its hash does not fail before it is whole."""

    __slots__ = ("friends", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.friends: Any = None

    def __hash__(self) -> int:
        return hash(getattr(self, "number", 0))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quiet) and getattr(self, "number", 0) == getattr(other, "number", 0)


@pytest.mark.parametrize("make", [set, dict.fromkeys, frozenset, lambda keys: dict.fromkeys(reversed(keys))])
def test_key_that_is_not_whole_beside_one_of_its_hash(make: Callable[[Any], Any]) -> None:
    """Found by an attack: it was not looked at once more, and lost."""
    one = Quiet(8)
    one.friends = make([one, Quiet(0)])
    allow = AllowList()
    allow(Quiet, fields=("number", "friends"))
    serializer = PickleSerializer(allow)

    with pytest.raises(TypeRefusedError, match=r"before it was whole|one key here"):
        serializer.dump_value(one)
    with pytest.raises(PayloadError, match=r"before it was whole|one key here"):
        serializer.load_value(serializer.written(one))


def test_what_could_not_be_built_is_not_known() -> None:
    """It would not be tried when it is stored."""
    serializer = PickleSerializer()
    data = a.segment(a.name("decimal:Decimal"), a.NONE, a.TUPLE1, a.REDUCE)

    for _turn in range(2):
        with pytest.raises(PayloadError):
            serializer.load_value(data)
        assert not serializer._verdicts.has(data)


def in_each_others_way(count: int) -> list[int]:
    """Return ints below 65,536 in the order in which CPython looks at the places of a table of that size."""
    found = [0]
    while len(found) < count:
        found.append((5 * found[-1] + 1) % (1 << 16))
    return found


#: As keys: no two have one hash. Larger ones that begin where the first one stands are led through all of them.
SCATTERED: dict[str, Any] = {
    "ints and floats": lambda: dict.fromkeys([*in_each_others_way(2_000), *(float(n) for n in range(70_000, 72_000))]),
    "frozenset": lambda: frozenset(in_each_others_way(7_000)),
    "beside many others": lambda: dict.fromkeys([*in_each_others_way(2_900), *map(str, range(8_000))]),
    "dict": lambda: dict.fromkeys(in_each_others_way(5_000)),
    "set": lambda: set(in_each_others_way(5_000)),
    "two dicts": lambda: [dict.fromkeys(in_each_others_way(3_000)) for _ in range(2)],
    "with larger ones": lambda: dict.fromkeys(
        [*in_each_others_way(2_500), *(number << 16 for number in range(1, 602))]
    ),
}


@pytest.mark.parametrize("kind", SCATTERED)
def test_ints_that_stand_in_each_others_way(kind: str) -> None:
    """Found by an attack: 40,000 small ones and 3,000 larger ones took more than half a second."""
    written = SERIALIZER.written(SCATTERED[kind]())

    with pytest.raises(LimitExceededError) as caught:
        SERIALIZER.dump_value(SCATTERED[kind]())
    with pytest.raises(PayloadError, match="max_odd_keys"):
        SERIALIZER.load_value(written)

    assert caught.value.limit == "max_odd_keys"


@pytest.mark.parametrize(
    "value",
    [
        dict.fromkeys(range(30_000)),
        dict.fromkeys(range(30_000, 0, -1)),
        set(range(500, 30_500)),
        set(range(30_000, 40_000)),
        frozenset(range(30_000, 36_000)),
        dict.fromkeys(number for number in range(30_000) if number % 20),
        dict.fromkeys(in_each_others_way(3_000)),
        {**dict.fromkeys(range(5_000)), **dict.fromkeys(in_each_others_way(1_000)), 0.5: 1, 1.5: 2},
        {"names": {str(number): number for number in range(4_000)}},
        [dict.fromkeys(in_each_others_way(200)) for _ in range(30)],
    ],
    ids=[
        "range",
        "backwards",
        "set of a range",
        "set that begins in between",
        "frozenset that does",
        "range with gaps",
        "few",
        "both",
        "values",
        "small dicts",
    ],
)
def test_ints_that_stand_in_nobodys_way(value: Any) -> None:
    """One after the other, or few of them."""
    assert SERIALIZER.load_value(SERIALIZER.dump_value(value)) == value


#: Two keys whose hash can be chosen: what they stand beside is built by the slower unpickler.
TWO_KEYS = a.SET + b"(G" + bytes(8) + b"G?" + bytes(7) + b"\x90"

PUT_IN: dict[str, bytes] = {
    "SETITEMS": a.segment(a.DICT, b"(", *(a.long(number) + a.NONE for number in ints(20)), b"u"),
    "ADDITEMS": a.segment(a.SET, b"(", *map(a.long, ints(20)), b"\x90"),
    "FROZENSET": a.segment(b"(", *map(a.long, ints(20)), a.FROZENSET),
    "dicts of one": a.segment(a.LIST, b"(", *((a.DICT + a.long(number) + a.NONE + b"s") for number in ints(20)), b"e"),
}


@pytest.mark.parametrize("kind", PUT_IN)
def test_however_keys_are_put_in(kind: str) -> None:
    """By each opcode that does it; one key in each of many dicts collides with nothing."""
    if kind == "dicts of one":
        assert SERIALIZER.load_value(PUT_IN[kind])
    else:
        with pytest.raises(PayloadError, match="keys that collide"):
            SERIALIZER.load_value(PUT_IN[kind])


def test_second_batch_counts_with_the_first() -> None:
    """Containers are filled a thousand at a time."""
    keys = [MODULUS << 70, *(number + 0.5 for number in range(1200)), 0]

    with pytest.raises(PayloadError, match="keys that collide"):
        SERIALIZER.load_value(SERIALIZER.written(dict.fromkeys(keys)))
