"""Values whose graph is not what it looks like: what stands in the bytes, against what Python goes through.

Each was found by an attack on the boundary: a few hundred bytes, accepted at once, whose ``repr`` never ended.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pydantic
import pytest

from flask_picklesession import AllowList, LimitExceededError, PayloadError, PickleSerializer
from flask_picklesession.policies import counter, union

from . import assembler as a
from .models import make_allow

MONEY, SINGLE = "tests.pickling.models:Money#flat", "tests.pickling.models:Single"


class Bytes:
    """Puts bytes together, and knows where in the memo they stand."""

    def __init__(self) -> None:
        self.body = b""
        self._count = 0
        self._at: dict[str, int] = {}

    def __call__(self, piece: bytes, memoized: int = 0) -> int:
        """Add a piece.

        :return: where its last memoized part stands.
        """
        self.body += piece
        self._count += memoized
        return self._count - 1

    def once(self, name: str, piece: bytes, memoized: int) -> None:
        """Add a piece, or a reference to it."""
        if name in self._at:
            self(a.get(self._at[name]))
        else:
            self._at[name] = self(piece, memoized)


def open_list(name: str, arguments: bytes, memoized: int) -> bytes:
    """Return a list that is taken as the content of one of its items between two batches, and goes on with that."""
    full = a.LIST + b"(" + b"(NNNN" + a.TUPLE + a.get(1) * 999 + b"e"
    record = a.name(name) + arguments + a.REDUCE
    place = 5 + memoized
    filled = a.setter(name) + a.get(place) + a.get(0) + a.APPLY
    return a.segment(full, b"(", record, filled, a.get(place) * 999, b"e")


def open_dict(name: str, arguments: bytes, memoized: int) -> bytes:
    """Return the same of a dict."""
    items = b"".join(b"M" + number.to_bytes(2, "little") + a.NONE for number in range(1000, 1999))
    place = 4 + memoized
    record = a.name(name) + arguments + a.REDUCE + a.setter(name) + a.get(place) + a.get(0) + a.APPLY
    more = b"".join(b"M" + number.to_bytes(2, "little") + a.get(place) for number in range(2000, 2999))
    return a.segment(a.DICT, b"(K\0N", items, b"u", b"(K\0", record, more, b"u")


def shared_arguments(levels: int) -> bytes:
    """Return flat records whose arguments are values, too, each level within a list of the one before."""
    add = Bytes()
    add(b"(")
    inner = add(b"(NNNN" + a.TUPLE, 1)
    for _level in range(levels):
        add(b"(")
        holder, whole = add(a.LIST, 1), add(a.LIST, 1)
        add(b"(")
        add.once("restorer", a.name(MONEY), 3)
        add.once("names", a.text("amount") + a.text("currency") + a.TUPLE2, 3)
        arguments = add(a.get(whole) + a.get(holder) + a.TUPLE3, 1)
        record = add(a.REDUCE, 1)
        add(a.get(record) * 99 + b"e0" + a.get(inner) + a.APPEND + b"1" + a.get(arguments))
        inner = arguments
    return a.segment(add.body, a.long_text("x" * 50_000), a.TUPLE)


class Tally(Counter[str]):
    pass


def dropped_attributes(count: int) -> bytes:
    """Return lists, each within the next one, that go on to all of them by what were the attributes of Counters."""
    add, tuples = Bytes(), []
    lists = [add(a.LIST + b"(", 1) for _list in range(count)]
    add(b"(")
    for _counter in range(count):
        add.once("maker", a.name("Tally"), 3)
        record = add(a.EMPTY_TUPLE + a.REDUCE, 1)
        add.once("setter", a.setter("Tally"), 3)
        add(a.get(record))
        add(a.DICT, 1)
        add(b"(")
        add.once("names", b"(" + b"".join(a.text(f"a{number}") for number in lists) + a.TUPLE, count + 1)
        add(b"".join(map(a.get, lists)))
        tuples.append(add(a.TUPLE, 1))
        add(a.TUPLE2, 1)
        add(a.APPLY)
    add(b"1" + b"".join(a.get(place) + b"e" for place in reversed(tuples)))
    return a.segment(add.body)


def circle_of_hashes(width: int, item: bytes = a.get(13)) -> bytes:
    """Return a record that is its own field, beside something wide, in a frozenset.

    :param item: what stands there again and again: the Fraction that stands there first, or something else.
    """
    record = a.name(SINGLE) + a.EMPTY_TUPLE + a.REDUCE + a.setter(SINGLE) + a.get(3)
    wide = b"(" + a.name("fractions:Fraction") + a.small(1) + a.small(3) + a.TUPLE2 + a.REDUCE + item * width
    state = a.text("only") + a.TUPLE1 + wide + a.TUPLE + a.get(3) + a.TUPLE2 + a.TUPLE2
    return a.segment(b"(", record, state, a.APPLY, a.FROZENSET)


NOT_WHAT_THEY_LOOK_LIKE = {
    "deque of an open list": open_list("collections:deque", a.NONE + a.TUPLE1, 1),
    "OrderedDict of an open dict": open_dict("collections:OrderedDict", a.EMPTY_TUPLE, 0),
    "defaultdict of an open dict": open_dict("collections:defaultdict", a.NONE + a.TUPLE1, 1),
    "arguments that are values": shared_arguments(8),
    "attributes of a Counter": dropped_attributes(12),
    "hash in a circle": circle_of_hashes(120),
    "hash in a wide circle": circle_of_hashes(150, a.NONE),
}


def serializer() -> PickleSerializer:
    allow = make_allow()
    allow(Tally, name="Tally")
    return PickleSerializer(allow, verdicts_kept=0)


@pytest.mark.parametrize("kind", NOT_WHAT_THEY_LOOK_LIKE)
def test_is_refused(kind: str) -> None:
    """Before anything is built."""
    with pytest.raises(PayloadError, match=r"what was there before|max_expanded|max_odd_keys"):
        serializer().load_value(NOT_WHAT_THEY_LOOK_LIKE[kind])


@pytest.mark.parametrize("times", [1, 2, 5000])
def test_counter_filled_in_with_what_is_around_it(times: int) -> None:
    """Found by an attack: what is in a list was gone through for each reference to it, in 36 KB gigabytes."""
    lists, name = 1000, "collections:Counter"
    maker = a.name(name) + a.EMPTY_TUPLE + a.REDUCE
    setter = a.get(lists + 1) + a.text(f"{name}#state".replace(".", "/")) + b"\x93\x94" + a.get(lists + 4)
    state = b"(" + a.NONE * 3 + a.get(0) * times + a.TUPLE

    with pytest.raises(PayloadError, match="one container twice"):
        serializer().load_value(a.segment(a.LIST, b"(" + a.LIST * lists + b"e", maker, setter, state, a.APPLY, b"a"))


def test_small_ones_are_accepted() -> None:
    """Few levels are within the limits, and show as they are counted."""
    for data in (shared_arguments(2), dropped_attributes(4)):
        assert repr(serializer().load_value(data))


@dataclass
class Product:
    id: int
    options: Any

    def __hash__(self) -> int:
        return hash(self.id)


@pytest.mark.parametrize(
    ("policy", "make"), [(union, lambda key: {key}), (counter, lambda key: Counter({key: 1}))], ids=["union", "counter"]
)
def test_keys_of_many_parts_are_not_compared(policy: Any, make: Any) -> None:
    """Each level of recursion looked at all beside it: two kilobytes took half a minute to merge. Mine is taken.

    As it is for all keys of more parts than a few.
    """
    allow = AllowList()
    allow(Product)
    options: list[Any] = [None] * 40
    stored = PickleSerializer(allow).dump_value(make(Product(1, options)))
    base, mine, theirs = (PickleSerializer(allow).load_value(stored) for _side in range(3))

    assert policy(base, mine, theirs) is mine


class Queue(deque[Any]):
    pass


class Computed(pydantic.BaseModel):
    part: Any = None

    @cached_property
    def twice(self) -> int:
        return 2


@pytest.mark.parametrize("kind", ["queue", "model"])
def test_what_compares_twice_counts_twice(kind: str) -> None:
    """A deque that restore= makes, and a model that keeps what it has computed: sixty levels never ended."""
    allow = AllowList()
    allow(Queue, name="Queue", reduce=lambda queue: tuple(queue), restore=lambda *items: Queue(items))
    allow(Computed, name="Computed")

    def levels(count: int) -> Any:
        value: Any = 1.5
        for _level in range(count):
            value = Queue([value]) if kind == "queue" else Computed(part=value)
        return value

    serializer = PickleSerializer(allow)
    assert serializer.dump_value(levels(8))
    with pytest.raises(LimitExceededError) as caught:
        serializer.dump_value(levels(60))

    assert caught.value.limit == "max_expanded"
