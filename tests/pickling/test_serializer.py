from __future__ import annotations

import enum
import io
import itertools
import pickle
import struct
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cached_property
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import pydantic.dataclasses
import pytest
from markupsafe import Markup

from flask_picklesession import AllowList, LimitExceededError, PayloadError, PickleSerializer, TypeRefusedError
from flask_picklesession.pickling import KeptFields, Limits

from . import assembler as a
from . import models
from .models import (
    Attrs,
    AttrsDict,
    Bag,
    Color,
    FrozenSlotted,
    Hashed,
    Label,
    Late,
    Leaf,
    Level,
    Model,
    Money,
    Node,
    Plain,
    Point,
    Right,
    Row,
    Single,
    Slotted,
    Temperature,
    make_allow,
)


class FlagOfLevels(enum.Flag):
    LOW = Level.LOW
    HIGH = Level.HIGH


class FlagOfBool(enum.Flag):
    ON = True


VALUES: list[Any] = [
    None, True, False, 0, -1, 255, 256, 65536, 2**31, -(2**40), 2**70, -(2**300), 2**3000, 1.5, -0.0, float("inf"),
    "", "text", "x" * 300, "caf\u00e9", "\ud800", b"", b"bytes", b"x" * 300, bytearray(b"mutable"), 1 + 2j,
    (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1], [1, 2], list(range(2500)), {}, {"a": 1}, {"a": 1, 2: "b"},
    {i: [i] for i in range(1001)}, set(), {1}, {1, 2}, set(range(1000)), frozenset(), frozenset({1}), range(3, 9, 2),
    [[]] * 3, {"nested": {"deep": [({1}, frozenset({2}))]}}, "flask_picklesession.pickling.names",
    ["flask_picklesession.pickling.names", Decimal(1)], {"flask_picklesession.pickling.names"},
    Decimal("9.90"), Decimal("-1E+20"), Decimal("NaN"), Decimal("Infinity"), Decimal("1e9999"), Fraction(1, 3),
    datetime(2026, 11, 23, 12, 30, 15, 999999), datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999),
    datetime(2026, 10, 25, 2, 30, fold=1), datetime(2026, 1, 31, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=UTC),
    [datetime(2026, 1, day, tzinfo=timezone(timedelta(hours=2))) for day in (1, 2)], [time(1), time(2)],
    [defaultdict(list, a=[1]), defaultdict(int)],
    [Money(n, Money(n)) for n in range(3)], [defaultdict(None), defaultdict(None)],
    datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2), "X")), datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC")),
    date(2026, 2, 28), time(23, 59, 59, 5), time(1, fold=1), time(1, tzinfo=UTC), timedelta(days=-3, microseconds=7),
    UTC, timezone(timedelta(hours=-5)), ZoneInfo("UTC"), UUID(int=2**127 + 1),
    ip_address("127.0.0.1"), ip_address("::1"), ip_address("fe80::1%eth0"), ip_interface("fe80::1%eth0/64"),
    ip_network("fe80::%eth0/64"), ip_network("10.0.0.0/8"), ip_network("fe80::/10"),
    ip_interface("10.0.0.1/8"), ip_interface("fe80::1/10"), PurePosixPath("/a/b"), PureWindowsPath("c:\\a"),
    Markup("<b>bold</b>"), OrderedDict(b=1, a=2), Counter("abca"), defaultdict(list, a=[1]), defaultdict(None, a=1),
    deque([1, 2, 3], maxlen=5), deque(),
    Color.RED, Color.CRIMSON, Level.HIGH, Right.READ, Right.READ | Right.WRITE, Right(0), Point(1), Point(1, 2),
    Money(Decimal("1.5")), Single([1]), Slotted(1, [2]), FrozenSlotted((1,)), Attrs(1, c=[2]), AttrsDict(1),
    Plain(1, [2]), Model(a=1, b=["x"]), Bag(a=1), Row([1, 2]), Label("text"), Temperature(273.15),
    Leaf("leaf", weight=2.5), {Money(1): Money(2)}, {Hashed("a")}, [Money(1)] * 3,
    {"a": "x" * 70_000, "b": b"y" * 70_000, "c": [bytearray(b"z" * 66_000)]}, [["row", 1, 2.5]] * 1500,
]  # fmt: skip


@pytest.fixture(name="serializer")
def _serializer() -> PickleSerializer:
    return PickleSerializer(make_allow())


def cold() -> PickleSerializer:
    """Return a serializer that has verified nothing yet."""
    return PickleSerializer(make_allow(), verdicts_kept=0)


def same(left: Any, right: Any) -> bool:
    """Compare values that may be NaN or unequal to themselves, by content and type."""
    return type(left) is type(right) and (left == right or repr(left) == repr(right))


class TestValues:
    @pytest.mark.parametrize("value", VALUES, ids=itertools.count())
    def test_comes_back_equal_and_of_the_same_type(self, serializer: PickleSerializer, value: Any) -> None:
        """What is stored is what is found, in a process that has seen none of it before."""
        assert same(cold().load_value(serializer.dump_value(value)), value)

    @pytest.mark.parametrize("value", VALUES, ids=itertools.count())
    def test_is_unchanged_until_it_is_changed(self, serializer: PickleSerializer, value: Any) -> None:
        """A value that was only looked at is not a changed one."""
        stored = serializer.dump_value(value)
        loaded = cold().load_value(stored)

        assert value is None or serializer.same_value(loaded, stored) is None

    def test_fold_and_maxlen_are_kept(self, serializer: PickleSerializer) -> None:
        """What equality does not see comes back, too."""
        loaded = cold().load_value(
            serializer.dump_value([datetime(2026, 1, 1, fold=1), time(1, fold=1), deque([1], 3), defaultdict(int)])
        )

        assert (loaded[0].fold, loaded[1].fold, loaded[2].maxlen, loaded[3].default_factory) == (1, 1, 3, int)

    @pytest.mark.parametrize("flags", [FlagOfLevels.LOW, FlagOfLevels.LOW | FlagOfLevels.HIGH, FlagOfBool.ON])
    def test_flag_whose_members_are_no_plain_ints(self, flags: enum.Flag) -> None:
        """An IntEnum's members, or a bool."""
        serializer = PickleSerializer(_named(type(flags)))

        assert serializer.load_value(serializer.dump_value(flags)) is flags

    def test_flag_of_all_bits(self) -> None:
        """A member of a negative value stands for more bits than can be told."""
        bits = enum.IntFlag("bits", {"ONE": 1, "ALL": -1})  # type: ignore[misc]  # not by its own name

        with pytest.raises(TypeRefusedError, match="all that there are"):
            PickleSerializer(_named(bits)).dump_value(bits.ALL)  # type: ignore[attr-defined]

    def test_enum_whose_names_are_markup(self) -> None:
        """As the functional API takes them."""
        named = enum.Enum("named", {Markup("A"): 1})  # type: ignore[misc]  # not by its own name
        serializer = PickleSerializer(_named(named))

        assert serializer.load_value(serializer.dump_value(named.A)) is named.A  # type: ignore[attr-defined]

    def test_time_zone_whose_name_is_markup(self, serializer: PickleSerializer) -> None:
        """Only the name's text is stored: it is shown, and nothing else is made of it."""
        found = cold().load_value(serializer.dump_value(timezone(timedelta(hours=1), Markup("<b>"))))

        assert type(found.tzname(None)) is str
        assert found.tzname(None) == "<b>"

    def test_decimals_are_the_same_in_any_context(self, serializer: PickleSerializer) -> None:
        """One that writes a small e: what is too large to be read back is refused all the same."""
        with localcontext(capitals=0):
            assert cold().load_value(serializer.dump_value(Decimal("1e9999"))) == Decimal("1e9999")
            with pytest.raises(TypeRefusedError, match="exponent"):
                serializer.dump_value(Decimal("1e10000"))

    def test_unset_fields_stay_unset(self, serializer: PickleSerializer) -> None:
        """A field without a value has none when it comes back."""
        loaded = cold().load_value(serializer.dump_value([Late(1), Slotted.__new__(Slotted)]))

        assert not hasattr(loaded[0], "b")
        assert not hasattr(loaded[1], "a")

    def test_cached_properties_are_left_behind(self, serializer: PickleSerializer) -> None:
        """What can be computed again is not stored."""
        node = Node("root", [Node("child")])
        assert node.size == 2

        assert "size" not in vars(cold().load_value(serializer.dump_value(node)))


class TestReferences:
    def test_reduce_that_returns_what_it_holds(self) -> None:
        """The pickler would refer back to a tuple that it has seen, and the verifier refuse that."""

        class Holder:
            arguments = ("constant",)

        allow = AllowList()
        allow(Holder, reduce=lambda value: value.arguments, restore=lambda text: Holder())
        serializer = PickleSerializer(allow)

        assert len(serializer.load_value(serializer.dump_value([Holder(), Holder()]))) == 2

    def test_shared_objects_stay_shared(self, serializer: PickleSerializer) -> None:
        """Two references to one object within a value lead to one object again."""
        shared = Node("shared")
        loaded = cold().load_value(serializer.dump_value([shared, {"again": shared}]))

        assert loaded[0] is loaded[1]["again"]

    def test_cycles(self, serializer: PickleSerializer) -> None:
        """Through lists, dicts, instances, tuples, frozen records and containers."""
        parent = Node("parent")
        parent.children.append(Node("child", parent=parent))
        in_list: list[Any] = []
        in_list.append(in_list)
        in_dict: dict[str, Any] = {}
        in_dict["self"] = in_dict
        in_tuple: Any = ([],)
        in_tuple[0].append(in_tuple)
        in_long_tuple: Any = ([], 1, 2, 3, 4)
        in_long_tuple[0].append(in_long_tuple)
        inner: list[Any] = []
        frozen = Money(inner)
        inner.append(frozen)
        ordered: OrderedDict[str, Any] = OrderedDict()
        ordered["self"] = [ordered]
        held = Single(None)
        in_frozenset = frozenset({FrozenHolder(held)})

        loaded = cold().load_value(
            serializer.dump_value([parent, in_list, in_dict, in_tuple, in_long_tuple, frozen, ordered])
        )

        assert loaded[0].children[0].parent is loaded[0]
        assert loaded[1][0] is loaded[1]
        assert loaded[2]["self"] is loaded[2]
        assert loaded[3][0][0] is loaded[3]
        assert loaded[4][0][0] is loaded[4]
        assert loaded[5].amount[0] is loaded[5]
        assert loaded[6]["self"][0] is loaded[6]
        assert in_frozenset

    def test_cycle_through_a_frozenset(self) -> None:
        """A frozenset that an element leads back to."""
        serializer = PickleSerializer([Plain2])
        element = Plain2()
        element.group = frozenset({element})

        loaded = PickleSerializer([Plain2], verdicts_kept=0).load_value(serializer.dump_value(element.group))

        (found,) = loaded
        assert found.group is loaded

    def test_hash_that_needs_fields_in_a_cycle_is_refused_at_write(self, serializer: PickleSerializer) -> None:
        """A record in a set within itself has no fields yet when its hash is asked for: it cannot be restored."""
        hashed = Hashed("a")
        hashed.friends.add(hashed)

        with pytest.raises(TypeRefusedError, match="could not be read back"):
            serializer.dump_value(hashed)


@dataclass(unsafe_hash=True)
class Member:
    """Its hash looks at a field that the class has a default for: it can be had before the field is there."""

    number: int = 0
    friends: Any = field(default=None, compare=False)


@dataclass(unsafe_hash=True)
class Constant:
    friends: Any = field(default=None, compare=False)


def friends(put: Callable[[Any], Any]) -> Member:
    one, two = Member(1), Member(2)
    one.friends, two.friends = put(two), put(one)
    return one


def friend_of_itself() -> Member:
    one = Member(1)
    one.friends = {one}
    return one


class TestHalfBuiltKeys:
    """Found in review: a record in a cycle was put in by the hash of its class's defaults, and not found afterwards."""

    @pytest.mark.parametrize(
        ("make", "path"),
        [
            (lambda: friends(lambda friend: {friend}), "v.friends element.friends"),
            (lambda: friends(lambda friend: {friend: 1}), "v.friends key Member.friends"),
            (lambda: friends(lambda friend: frozenset([friend])), "v"),
            (lambda: friends(lambda friend: OrderedDict({friend: 1})), "v"),
            (friend_of_itself, "v.friends"),
        ],
        ids=["set", "dict", "frozenset", "OrderedDict", "itself"],
    )
    def test_refused_when_stored(self, make: Callable[[], Member], path: str) -> None:
        """With the path of what it would not be found in, where that is no new one."""
        with pytest.raises(TypeRefusedError, match="hashed before it was whole") as caught:
            PickleSerializer([Member]).dump_value(make(), "v")

        assert caught.value.path == path

    @pytest.mark.parametrize("make", [lambda: friends(lambda friend: {friend}), friend_of_itself], ids=["two", "one"])
    def test_refused_when_loaded(self, make: Callable[[], Member]) -> None:
        """However many such keys there are."""
        serializer = PickleSerializer([Member])

        with pytest.raises(PayloadError, match="hashed before it was whole"):
            serializer.load_value(serializer.written(make()))

    def test_hash_that_stays_the_same(self) -> None:
        """Such a key is found."""
        serializer = PickleSerializer([Constant, Member], verdicts_kept=0)
        one = Constant()
        one.friends = {one}

        loaded = serializer.load_value(serializer.dump_value([one, {Member(1): 1, Member(2): {Member(3)}}]))

        assert loaded[0] in loaded[0].friends
        assert loaded[1] == {Member(1): 1, Member(2): {Member(3)}}


class FrozenHolder:
    def __init__(self, value: object) -> None:
        self.value = value


@dataclass(eq=False)
class Plain2:
    group: Any = None


REFUSED: list[tuple[Any, str]] = [
    (object(), "builtins:object"),
    (int, "is the class builtins:int"),
    (len, "builtins:builtin_function_or_method"),
    (lambda: 0, "builtins:function"),
    (sys, "builtins:module"),
    ((i for i in ()), "builtins:generator"),
    (threading.Lock(), "_thread:lock"),
    (io.StringIO(), "_io:StringIO"),
    (memoryview(b""), "builtins:memoryview"),
    (pickle.PickleBuffer(b"x"), "pickle:PickleBuffer"),
    (NotImplemented, "builtins:NotImplementedType"),
    (..., "builtins:ellipsis"),
    (type(None), "is the class builtins:NoneType"),
    (FrozenHolder(1), "FrozenHolder"),
    (Decimal("sNaN"), "signalling"),
    (Decimal("sNaN1"), "signalling"),
    (Decimal("1e10000"), "exponent"),
    (Decimal("0e-10000"), "exponent"),
    (Decimal("1" * 1025), "characters"),
    (Fraction(1, 2**5000), "bits"),
    (range(2**70), "bits"),
    (Counter, "is the class"),
    (defaultdict(lambda: 0), "factory"),
    (PurePosixPath("x" * 5000), "characters"),
    (ip_address("::1%" + "x" * 200), "characters"),
    (datetime(2026, 1, 1, tzinfo=type("Zone", (timezone.__base__,), {})()), "time zone"),  # type: ignore[arg-type]
    (time(1, tzinfo=type("Zone", (timezone.__base__,), {})()), "time zone"),  # type: ignore[arg-type]
    (timezone(timedelta(0), "x" * 2000), "long name"),
    (tuple.__new__(Point, (1,)), "has not 2 fields"),
    (tuple.__new__(Point, (1, 2, 3)), "has not 2 fields"),
    (Right(4) if enum.Flag is None else Right.READ.__class__, "is the class"),
]


class TestRefusal:
    @pytest.mark.parametrize(("value", "words"), REFUSED, ids=itertools.count())
    def test_names_path_and_type(self, serializer: PickleSerializer, value: Any, words: str) -> None:
        """What cannot be restored is refused, with the path to it."""
        with pytest.raises(TypeRefusedError) as caught:
            serializer.dump_value({"cart": [1, (value,)]}, "session['x']")

        assert words in str(caught.value)
        assert caught.value.path == "session['x']['cart'][1][0]"

    @pytest.mark.parametrize(
        ("value", "path"),
        [
            (lambda bad: [0, bad], "v[1]"),
            (lambda bad: {"k": bad}, "v['k']"),
            (lambda bad: {bad: 1}, "v key FrozenHolder"),
            (lambda bad: {bad}, "v element"),
            (lambda bad: Money(bad), "v.amount"),
            (lambda bad: Slotted(1, bad), "v.b"),
            (lambda bad: Point(bad, 1), "v.x"),
            (lambda bad: Bag(a=bad), "v['a']"),
            (lambda bad: deque([bad]), "v[0]"),
            (lambda bad: Node("a", [Node("b", [bad])]), "v.children[0].children[0]"),
        ],
        ids=itertools.count(),
    )
    def test_path_leads_through_everything(self, serializer: PickleSerializer, value: Any, path: str) -> None:
        """Items, keys, elements, attributes and fields all have their step."""
        with pytest.raises(TypeRefusedError) as caught:
            serializer.dump_value(value(FrozenHolder(1)), "v")

        assert caught.value.path == path

    def test_fix_names_the_line_that_allows_it(self, serializer: PickleSerializer) -> None:
        """The error says what to write."""
        with pytest.raises(TypeRefusedError) as caught:
            serializer.dump_value(FrozenHolder(1))

        assert "allow(FrozenHolder)" in caught.value.fix
        assert 'PICKLESESSION_ALLOW = [..., "tests.pickling.test_serializer:FrozenHolder"]' in caught.value.fix

    def test_orm_instance_is_told_apart(self, serializer: PickleSerializer) -> None:
        """An object of a database session: store its key."""

        class Row:
            # As SQLAlchemy does.
            _sa_class_manager = object()

        with pytest.raises(TypeRefusedError, match="primary key"):
            serializer.dump_value(Row())

    @pytest.mark.parametrize(
        "value",
        [
            pytest.param(lambda: with_attribute(Node("a")), id="dataclass"),
            pytest.param(lambda: with_attribute(Bag()), id="dict subclass"),
            pytest.param(lambda: with_attribute(Counter()), id="Counter"),
            pytest.param(lambda: with_attribute(SubPoint(1)), id="unregistered subclass"),
            pytest.param(lambda: with_slot(), id="slot"),
        ],
    )
    def test_undeclared_content_is_refused(self, value: Any) -> None:
        """An attribute that the class does not declare would be lost: it is refused."""
        allow = make_allow()
        allow(WithSlot, fields=("a",))

        with pytest.raises(TypeRefusedError):
            PickleSerializer(allow).dump_value(value())

    def test_key_that_is_no_str(self, serializer: PickleSerializer) -> None:
        """A payload's keys are str."""
        with pytest.raises(TypeRefusedError, match="key 5"):
            serializer.dumps({5: 1})  # type: ignore[dict-item]  # what is tested


def own_zone(key: Any) -> ZoneInfo:
    """Return a zone that was read from a file, with any key."""
    data = struct.pack(">4sc15x6I", b"TZif", b"1", 0, 0, 0, 0, 1, 4) + b"\0" * 6 + b"UTC\0"
    return ZoneInfo.from_file(io.BytesIO(data), key=key)


class Made(enum.Enum):
    KNOWN = 1

    @classmethod
    def _missing_(cls, value: object) -> Made:
        made = object.__new__(cls)
        made._name_, made._value_ = f"MADE{value}", value  # type: ignore[assignment]  # as applications do
        return made


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: own_zone("My/Zone"), "v[0]"),
        (lambda: own_zone("Europe"), "v[0]"),
        (lambda: own_zone(["Europe"]), "v[0]"),
        (lambda: own_zone("posix/UTC"), "v[0]"),
        (lambda: datetime(2026, 1, 1, tzinfo=own_zone("My/Zone")), "v[0]"),
        (lambda: time(1, tzinfo=own_zone("My/Zone")), "v[0]"),
        (lambda: Made(5), "v[0]"),
    ],
    ids=["zone", "folder of zones", "key that is no text", "other zones", "datetime", "time", "enum"],
)
def test_what_could_not_be_found_again_is_refused(make: Callable[[], Any], path: str) -> None:
    """Found in review: it was stored, and could not be loaded."""
    serializer = PickleSerializer([Made])

    with pytest.raises(TypeRefusedError) as caught:
        serializer.dump_value([make()], "v")

    assert caught.value.path == path
    assert serializer.dump_value([Made.KNOWN, ZoneInfo("UTC")])


@pytest.mark.parametrize(
    "path",
    [
        PureWindowsPath("./c:foo"),
        PureWindowsPath("d/c:foo").relative_to("d"),
        PureWindowsPath("c:/a:b"),
        PureWindowsPath("//server/", "share", "dir"),
        PureWindowsPath("//server/share/dir"),
    ],
    ids=itertools.count(),
)
def test_path_that_looks_like_a_drive(serializer: PickleSerializer, path: PureWindowsPath) -> None:
    """Found in review: in Python 3.11 its text is that of another path. Refused there, and else it comes back."""
    if PureWindowsPath(str(path)) == path:
        assert serializer.load_value(serializer.dump_value(path)) == path
        return
    with pytest.raises(TypeRefusedError, match="not what its text says"):
        serializer.dump_value(path)


class SubPoint(Point):
    pass


class WithSlot:
    __slots__ = ("a", "b")


class Shelf(OrderedDict[str, int]):
    def __setitem__(self, key: str, value: int) -> None:
        super().__setitem__(key, value + 1)


def test_subclass_of_ordered_dict_keeps_its_content() -> None:
    """And its order, which it keeps beside the dict. What the class does on assignment does not run."""
    allow = AllowList()
    allow(Shelf, name="app:Shelf")
    serializer = PickleSerializer(allow)
    value = Shelf(a=0, b=1, c=2)
    value.move_to_end("a")

    loaded = serializer.load_value(serializer.dump_value(value))

    assert type(loaded) is Shelf
    assert list(loaded.items()) == [("b", 2), ("c", 3), ("a", 1)]


def with_attribute(value: Any) -> Any:
    value.foreign = 1
    return value


def with_slot() -> WithSlot:
    value = WithSlot()
    value.a = value.b = 1
    return value


def in_a_cycle(value: list[Any]) -> list[Any]:
    value.append(value)
    return value


def nested(depth: int, within: Callable[[Any], Any] = lambda value: [value], value: Any = 1) -> Any:
    for _level in range(depth):
        value = within(value)
    return value


def laughs(levels: int) -> Any:
    value: Any = ("ha",)
    for _level in range(levels):
        value = (value, value)
    return value


class TestLimits:
    @pytest.mark.parametrize(
        ("value", "limit"),
        [
            pytest.param(lambda: ["x" * 300_000], "max_value_size", id="bytes"),
            pytest.param(lambda: "x" * 300_000, "max_value_size", id="str"),
            pytest.param(lambda: nested(201), "max_depth", id="depth"),
            pytest.param(lambda: nested(50_000), "max_depth", id="recursion"),
            pytest.param(lambda: laughs(30), "max_expanded", id="billion laughs"),
            # Its text is copied at each level.
            pytest.param(lambda: nested(50, value=[["text"] * 1000] * 400), "max_expanded", id="texts, deep down"),
            pytest.param(
                lambda: nested(50, value=in_a_cycle([["text"] * 1000] * 400)), "max_expanded", id="in a cycle"
            ),
            pytest.param(lambda: 10**4400, "max_int_digits", id="int"),
            pytest.param(lambda: [10**4400], "max_int_digits", id="nested int"),
            pytest.param(lambda: {float(i): 1 for i in range(3001)}, "max_odd_keys", id="odd keys"),
            pytest.param(lambda: {float(i) for i in range(3001)}, "max_odd_keys", id="odd elements"),
            pytest.param(lambda: "\u20ac" * 90_000, "max_value_size", id="long characters"),
            pytest.param(lambda: [None] * 100_001, "max_items", id="list"),
            pytest.param(lambda: [[] for _ in range(15_000)], "max_objects", id="objects"),
            pytest.param(lambda: [Money(n) for n in range(9_000)], "max_objects", id="records"),
            pytest.param(lambda: [Decimal(n) for n in range(5_000)], "max_objects", id="restored from text"),
            pytest.param(lambda: [ip_network("::/10") for _ in range(1_200)], "max_objects", id="heavy restorers"),
            pytest.param(lambda: [(None,) * 100_001], "max_items", id="tuple"),
            pytest.param(lambda: frozenset((i,) for i in range(3001)), "max_odd_keys", id="odd frozen elements"),
        ],
    )
    def test_refused_when_stored(self, serializer: PickleSerializer, value: Any, limit: str) -> None:
        """The limits of reading hold when writing: nothing is stored that could not be read."""
        with pytest.raises(LimitExceededError) as caught:
            serializer.dump_value(value(), "session['x']")

        assert caught.value.limit == limit
        assert caught.value.path.startswith("session['x']")

    @pytest.mark.parametrize(
        "value",
        [
            pytest.param(lambda: nested(200), id="depth"),
            pytest.param(lambda: nested(200, lambda value: [value, 1]), id="depth of lists with a MARK"),
            pytest.param(lambda: nested(200, lambda value: (value, 1, 2, 3)), id="depth of tuples with a MARK"),
            pytest.param(lambda: laughs(16), id="shared"),
            pytest.param(lambda: nested(20, value=[["text"] * 1000] * 400), id="texts, not as deep down"),
            pytest.param(lambda: 10**4297, id="int"),
            pytest.param(lambda: [[] for _ in range(14_999)], id="objects"),
            pytest.param(lambda: ["\u2014" * 30_000], id="text with the opcode's byte"),
            pytest.param(lambda: {float(i): 1 for i in range(3000)}, id="odd keys"),
            pytest.param(lambda: {i: i for i in range(5000)}, id="small ints are no odd keys"),
        ],
    )
    def test_just_within(self, serializer: PickleSerializer, value: Any) -> None:
        """What is within the limits is stored and read."""
        found = value()

        assert cold().load_value(serializer.dump_value(found)) == found

    @pytest.mark.parametrize(
        ("value", "path"),
        [
            ([1, [2] * 1001], "value[1]"),
            ((0, (2,) * 1001), "value[1]"),
            ({1: {n: n for n in range(1001)}}, "value[1]"),
            ([set(range(200)), set(range(1001))], "value[1]"),
            ([frozenset(range(1001))], "value[0]"),
            ({"a": "b", "c": deque([0] * 1001)}, "value['c']"),
        ],
        ids=["list", "tuple", "dict", "set", "frozenset", "deque"],
    )
    def test_items_of_a_container(self, value: Any, path: str) -> None:
        """Items count in each container alone, and the error says which one has too many."""
        serializer = PickleSerializer(limits=Limits(max_items=1000, max_odd_keys=2000))
        roomy = PickleSerializer(limits=Limits(max_items=1001, max_odd_keys=2000))

        with pytest.raises(LimitExceededError, match="has more than 1000 items") as caught:
            serializer.dump_value(value, "value")

        assert (caught.value.limit, caught.value.path) == ("max_items", path)
        assert roomy.load_value(roomy.dump_value(value)) == value

    @pytest.mark.parametrize("value", [[1] * 4, (1,) * 4, {1, 2, 3, 4}, dict.fromkeys(range(4)), frozenset(range(4))])
    def test_few_items(self, value: Any) -> None:
        """A limit below the pickler's batches."""
        with pytest.raises(LimitExceededError, match="has more than 3 items"):
            PickleSerializer(limits=Limits(max_items=3)).dump_value(value)

        assert PickleSerializer(limits=Limits(max_items=4)).dump_value(value)

    def test_keys_of_a_session(self) -> None:
        """The session is a container, too."""
        serializer = PickleSerializer(limits=Limits(max_items=3))
        payload = PickleSerializer().dumps(dict.fromkeys("abcd"))

        with pytest.raises(LimitExceededError, match="has more than 3 keys"):
            serializer.dumps(dict.fromkeys("abcd"))
        with pytest.raises(PayloadError):
            serializer.loads(payload)

    @pytest.mark.parametrize(
        "limits", [{"max_depth": 251}, {"max_items": 0}, {"max_size": True}, {"max_odd_keys": "9"}]
    )
    def test_limit_of_another_kind(self, limits: Any) -> None:
        """A limit is an int of at least 1, and depth has a bound of its own."""
        with pytest.raises(ValueError, match=next(iter(limits))):
            Limits(**limits)

    def test_payload_too_large_names_the_largest_key(self) -> None:
        """The whole session counts, and the error says where to look."""
        serializer = PickleSerializer(limits=Limits(max_size=1000))

        with pytest.raises(LimitExceededError, match=r"session\['b'\] takes 62\d bytes, the whole session") as caught:
            serializer.dumps({"a": "x" * 500, "b": "x" * 620, "n": 1})

        assert caught.value.limit == "max_size"


class TestInts:
    """Found in review: a limit below 614 digits did not hold within values."""

    @pytest.mark.parametrize("value", [10**100, [10**100], {10**100: 1}], ids=["alone", "item", "key"])
    def test_short_limit_holds(self, value: Any) -> None:
        """At write, with the path, and at read."""
        strict = PickleSerializer(limits=Limits(max_int_digits=50))
        written = PickleSerializer().dump_value(value)

        with pytest.raises(LimitExceededError) as caught:
            strict.dump_value(value)
        with pytest.raises(PayloadError, match="max_int_digits"):
            strict.loads(PickleSerializer().dump_container({"k": written}))

        assert caught.value.limit == "max_int_digits"

    @pytest.mark.parametrize("digits", [1, 10, 50])
    def test_small_ints_are_always_stored(self, digits: int) -> None:
        """Alone and in a list alike."""
        serializer = PickleSerializer(limits=Limits(max_int_digits=digits))

        assert serializer.loads(serializer.dumps({"a": 2**60, "b": [-(2**60)]})) == {"a": 2**60, "b": [-(2**60)]}
        with pytest.raises(PayloadError, match="max_int_digits"):
            serializer.load_value(a.segment(a.long(2**400)))


class TestPayload:
    def test_mapping_comes_back(self, serializer: PickleSerializer) -> None:
        """dumps and loads mirror each other."""
        mapping = {f"key{number}": value for number, value in enumerate(VALUES) if number < 100 and value == value}
        del mapping["key43"]

        loaded = cold().loads(serializer.dumps(mapping))

        assert loaded == mapping
        assert list(loaded) == list(mapping)

    @pytest.mark.parametrize("count", [0, 1, 2, 999, 1000, 1001, 2000, 2001])
    def test_any_number_of_keys(self, serializer: PickleSerializer, count: int) -> None:
        """The pickler writes in batches of a thousand; each border is read."""
        mapping = {f"key{number}": number for number in range(count)}

        assert serializer.loads(serializer.dumps(mapping)) == mapping

    def test_long_key(self, serializer: PickleSerializer) -> None:
        """A key beyond 255 bytes is written in another form."""
        assert serializer.loads(serializer.dumps({"k" * 300: [1], "n": 1})) == {"k" * 300: [1], "n": 1}

    def test_scalars_stand_inline_and_others_as_segments(self, serializer: PickleSerializer) -> None:
        """A key that nobody asks for is not built: its segment is bytes."""
        payload = serializer.dumps({"n": 1, "s": "x", "b": b"bytes", "l": [1]})

        container = serializer.load_container(payload)

        assert (container["n"], container["s"]) == (1, "x")
        assert type(container["b"]) is type(container["l"]) is bytes
        assert container["b"] != b"bytes"

    def test_works_in_several_threads_and_within_itself(self) -> None:
        """A reduce= may dump again: each use has a pickler of its own."""

        def reduce(value: Temperature) -> tuple[bytes]:
            return (inner.dumps({"kelvin": value.to_kelvin()}),)

        inner = PickleSerializer()
        allow = models.AllowList()
        allow(Temperature, reduce=reduce, restore=lambda data: Temperature(*inner.loads(data)["kelvin"]))
        serializer = PickleSerializer(allow)
        inner._picklers = serializer._picklers = []

        assert serializer.loads(serializer.dumps({"t": [Temperature(1), Temperature(2)]})) == {
            "t": [Temperature(1), Temperature(2)]
        }

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b".",
            b"\x80\x05.",
            b"\x80\x04}.",
            b"\x80\x05}",
            b"\x80\x05}N.",
            b"\x80\x05}(K\x01K\x01u.",
            b"x" * 300_000,
        ],
        ids=itertools.count(),
    )
    def test_what_is_no_payload_is_one_error(self, serializer: PickleSerializer, payload: bytes) -> None:
        """Whatever the bytes are, reading raises PayloadError and nothing else."""
        with pytest.raises(PayloadError):
            serializer.loads(payload)


class TestChanges:
    @pytest.mark.parametrize(
        ("value", "stored", "is_same"),
        [
            (1, 1, True),
            (1, True, False),
            (1, 1.0, False),
            (0.0, -0.0, False),
            (float("nan"), float("nan"), True),
            ("a", "a", True),
            ("a", "b", False),
            (1, b"segment", False),
        ],
        ids=itertools.count(),
    )
    def test_scalars_by_type_and_bits(
        self, serializer: PickleSerializer, value: Any, stored: Any, is_same: bool
    ) -> None:
        """``True`` is not ``1``, and ``0.0`` is not ``-0.0``; a NaN is itself."""
        assert (serializer.same_value(value, stored) is None) is is_same

    def test_set_in_another_order_is_the_same(self, serializer: PickleSerializer) -> None:
        """How a set was filled is no change: {0, 8} and {8, 0} are written in another order."""
        stored = serializer.dump_value({8, 0})

        assert serializer.dump_value({0, 8}) != stored
        assert serializer.same_value(serializer.load_value(stored), stored) is None

    def test_nested_change_is_one(self, serializer: PickleSerializer) -> None:
        """A changed value gives its new segment."""
        stored = serializer.dump_value([[1]])
        value = serializer.load_value(stored)
        value[0].append(2)

        assert serializer.same_value(value, stored) == serializer.dump_value([[1, 2]])

    def test_replaced_value_that_cannot_be_loaded_is_changed(self, serializer: PickleSerializer) -> None:
        """Where what was stored cannot be read, anything else is a change."""
        assert serializer.same_value([1], b"not a segment") == serializer.dump_value([1])

    def test_immutable_types(self, serializer: PickleSerializer) -> None:
        """Values that can never change in place need not be compared."""
        immutable = [1, "x", b"x", None, Decimal(1), datetime(2026, 1, 1), Markup("x"), Color.RED]
        mutable = [[], {}, (), bytearray(), Money(1), Counter()]

        assert all(map(serializer.is_immutable, immutable))
        assert not any(map(serializer.is_immutable, mutable))


class TestVerdicts:
    def test_same_bytes_are_verified_once(self, serializer: PickleSerializer, monkeypatch: pytest.MonkeyPatch) -> None:
        """What we wrote or read before is not verified again."""
        stored = serializer.dump_value([1])
        monkeypatch.setattr(
            "flask_picklesession.pickling.serializer.verify_segment", lambda *_arguments: pytest.fail("verified twice")
        )

        assert serializer.load_value(stored) == [1]

    def test_forgets_the_oldest(self) -> None:
        """Memory is bounded by their number."""
        serializer = PickleSerializer(verdicts_kept=2)
        first, second, third = (serializer.dump_value([number]) for number in range(3))

        assert [serializer._verdicts.has(data) for data in (first, second, third)] == [False, True, True]  # type: ignore[arg-type]


@dataclass
class OldCart:
    items: list[str]
    gone: str = "gone"


@dataclass
class NewCart:
    items: list[str]
    note: str = "none"
    tags: list[str] | None = None


class TestEvolution:
    def pair(self, old: type, new: type) -> tuple[PickleSerializer, PickleSerializer]:
        """Return serializers of two versions of one class."""
        return PickleSerializer(named(old)), PickleSerializer(named(new))

    def test_gained_fields_get_their_defaults(self) -> None:
        """An older record restores in a newer worker."""
        older, newer = self.pair(OldCart, NewCart)

        assert newer.load_value(older.dump_value(OldCart(["a"]))) == NewCart(["a"])

    def test_unknown_fields_are_kept_and_written_back(self) -> None:
        """A newer record goes through an older worker, which changes it, and loses nothing."""
        older, newer = self.pair(OldCart, NewCart)
        kept = KeptFields()
        cart = older.load_value(newer.dump_value(NewCart(["a"], note="important")), kept)
        cart.items.append("b")

        assert newer.load_value(older.dump_value(cart, kept=kept)) == NewCart(["a", "b"], note="important")

    def test_dataclass_of_pydantic(self) -> None:
        """Stored as any other dataclass; found in review: to allow it was an AttributeError."""

        @pydantic.dataclasses.dataclass
        class Price:
            amount: int

        allow = AllowList()
        allow(Price, name="app:Price")
        serializer = PickleSerializer(allow, verdicts_kept=0)

        assert serializer.load_value(serializer.dump_value(Price(amount=5))) == Price(amount=5)

    @pytest.mark.parametrize("kind", ["pydantic", "dict", "list", "str"])
    def test_unknown_fields_of_other_kinds_are_written_back(self, kind: str) -> None:
        """Models, and subclasses of dict, list and str with fields of their own: the same."""
        old, new = _two_versions(kind)
        older, newer = PickleSerializer(_named(old)), PickleSerializer(_named(new))
        value = new(n=1, extra="kept") if kind == "pydantic" else new("a")
        vars(value).update(n=1, extra="kept")
        kept = KeptFields()

        found: Any = older.load_value(newer.dump_value(value), kept)
        found.n = 2
        back: Any = newer.load_value(older.dump_value(found, kept=kept))

        assert (back.n, back.extra) == (2, "kept")

    @pytest.mark.parametrize("is_set", [True, False])
    def test_whether_an_unknown_field_of_a_model_was_set_is_kept(self, is_set: bool) -> None:
        """What is left out of ``model_dump(exclude_unset=True)`` is the same after an older worker wrote."""
        old, new = _two_versions("pydantic")
        older, newer = PickleSerializer(_named(old)), PickleSerializer(_named(new))
        value, kept = new(n=1, extra="") if is_set else new(n=1), KeptFields()

        found = older.load_value(newer.dump_value(value), kept)
        stored = older.dump_value(found, kept=kept)

        assert newer.load_value(stored).model_fields_set == value.model_fields_set
        assert stored == newer.dump_value(value)

    @pytest.mark.parametrize("make", [dict.fromkeys, set, frozenset, lambda keys: {"more": [dict.fromkeys(keys, 1)]}])
    def test_keys_that_differ_in_an_unknown_field(self, make: Callable[[Any], Any]) -> None:
        """To an older worker they are one key: it would lose the others. It cannot restore them."""

        @dataclass(frozen=True)
        class Old:
            amount: int

        @dataclass(frozen=True)
        class New:
            amount: int
            place: str = "EUR"

        older, newer = self.pair(Old, New)
        apart = newer.dump_value(make([New(1, "EUR"), New(2, "EUR")]))
        alike = newer.dump_value(make([New(1, "EUR"), New(1, "USD")]))

        assert older.load_value(apart, KeptFields()) == make([Old(1), Old(2)])
        with pytest.raises(PayloadError, match=r"keys that are one key here"):
            older.load_value(alike, KeptFields())

    @pytest.mark.parametrize(
        "make", [lambda *keys: dict.fromkeys(keys, 1), lambda *keys: set(keys)], ids=["dict", "set"]
    )
    @pytest.mark.parametrize("values", [("a", "b"), (1, 2)], ids=["StrEnum", "IntEnum"])
    def test_member_that_equals_another_key_here(self, make: Callable[..., Any], values: tuple[Any, Any]) -> None:
        """An Enum's member beside what has its value in an older worker: quarantined, no entry is lost."""
        base = enum.StrEnum if values[0] == "a" else enum.IntEnum
        new, old = (base("Size", {"A": value}) for value in values)
        newer, older = PickleSerializer(named(new)), PickleSerializer(named(old))
        stored = newer.dump_value(make(new.A, values[1]))

        with pytest.raises(PayloadError, match=r"keys that are one key here"):
            older.load_value(stored)

    def test_kept_fields_are_no_change(self) -> None:
        """Reading a newer record changes nothing."""
        older, newer = self.pair(OldCart, NewCart)
        stored, kept = newer.dump_value(NewCart(["a"], note="x")), KeptFields()
        cart = older.load_value(stored, kept)

        assert older.same_value(cart, stored, kept=kept) is None

    def test_frozen_named_tuples_and_models_evolve_too(self) -> None:
        """Flat records carry names as well."""

        @dataclass(frozen=True)
        class OldMoney:
            amount: int

        class NewPoint(models.Point):
            pass

        older, newer = self.pair(OldMoney, Money)
        assert newer.load_value(older.dump_value(OldMoney(5))) == Money(5)
        kept = KeptFields()
        money = older.load_value(newer.dump_value(Money(5, "USD")), kept)
        assert newer.load_value(older.dump_value(money, kept=kept)) == Money(5, "USD")

    def test_field_without_a_default_quarantines(self) -> None:
        """A named tuple that gained a field without a default cannot be restored."""
        from typing import NamedTuple

        class Old(NamedTuple):
            y: int

        older, newer = self.pair(Old, Point)

        with pytest.raises(PayloadError, match="no field 'x'"):
            newer.load_value(older.dump_value(Old(1)))

    def test_named_tuple_evolves(self) -> None:
        """A gained field takes its default, a lost one is kept."""
        from typing import NamedTuple

        class Old(NamedTuple):
            x: int

        older, newer = self.pair(Old, Point)
        assert newer.load_value(older.dump_value(Old(1))) == Point(1, 0)
        kept = KeptFields()
        old = older.load_value(newer.dump_value(Point(1, 5)), kept)
        assert newer.load_value(older.dump_value(old, kept=kept)) == Point(1, 5)

    def test_model_evolves(self) -> None:
        """A pydantic model gains a default as well."""
        import pydantic

        class Small(pydantic.BaseModel):
            a: int

        older, newer = self.pair(Small, Model)

        assert newer.load_value(older.dump_value(Small(a=1))) == Model(a=1)

    @pytest.mark.parametrize("cls", [Attrs, Slotted, FrozenSlotted])
    def test_attrs_and_slots_evolve(self, cls: Any) -> None:
        """Defaults are found for attrs classes and slots, too."""

        @dataclass
        class Old:
            a: int

        older, newer = self.pair(Old, cls)
        loaded = newer.load_value(older.dump_value(Old(1)))

        assert loaded == cls(1)

    def test_removed_member_of_an_enum_quarantines(self) -> None:
        """A member that is no more names its enum."""

        class Old(enum.Enum):
            GREEN = 1

        older, newer = self.pair(Old, Color)

        with pytest.raises(PayloadError) as caught:
            newer.load_value(older.dump_value(Old.GREEN))
        assert caught.value.type_name == "tests.pickling.models:Color"

    def test_removed_bits_of_a_flag_quarantine(self) -> None:
        """Bits that no member has any more name their flag; they make no pseudo-member."""

        class Old(enum.Flag):
            EXECUTE = 8

        older, newer = self.pair(Old, Right)

        with pytest.raises(PayloadError) as caught:
            newer.load_value(older.dump_value(Old.EXECUTE))
        assert caught.value.type_name == "tests.pickling.models:Right"

    def test_moved_class_is_found_by_its_alias(self) -> None:
        """aliases= names where a class stood before."""
        older = PickleSerializer([Point])
        allow = models.AllowList()
        allow(Point, name="geometry:Point", aliases=["tests.pickling.models:Point"])

        assert PickleSerializer(allow).load_value(older.dump_value(Point(1, 2))) == Point(1, 2)

    def test_class_taken_off_the_list_names_itself(self) -> None:
        """The error tells which type is missing."""
        stored = PickleSerializer([Point]).dump_value(Point(1))

        with pytest.raises(PayloadError) as caught:
            PickleSerializer().load_value(stored)
        assert caught.value.type_name == "tests.pickling.models:Point"


def named(cls: type) -> models.AllowList:
    """Return an allow-list with a class under one and the same name."""
    allow = models.AllowList()
    allow(cls, name="record")
    return allow


@attrs.define
class Computed:
    number: int
    other: int = 0

    @cached_property
    def following(self) -> int:
        return self.number + 1


class TestOddities:
    """Shapes of values that few applications have, and none may lose."""

    def test_kept_fields_of_one_record_only(self) -> None:
        """Fields are kept beside the record that has them, and no other."""
        older, newer = PickleSerializer(named(OldCart)), PickleSerializer(named(NewCart))
        kept = KeptFields()
        first = older.load_value(newer.dump_value(NewCart(["a"], note="x")), kept)
        second = OldCart(["b"])

        loaded = newer.load_value(older.dump_value([first, second], kept=kept))

        assert [cart.note for cart in loaded] == ["x", "none"]

    def test_path_passes_over_unset_slots(self, serializer: PickleSerializer) -> None:
        """An attribute that is not set is no step."""
        value = Slotted.__new__(Slotted)
        value.b = object()

        with pytest.raises(TypeRefusedError, match=r"^v\.b "):
            serializer.dump_value(value, "v")

    def test_flag_with_foreign_bits_is_refused(self) -> None:
        """A flag that keeps unknown bits cannot store them: nobody could tell what they mean."""

        class Keeping(enum.Flag, boundary=enum.KEEP):
            ONE = 1

        with pytest.raises(TypeRefusedError, match="bits"):
            PickleSerializer([Keeping]).dump_value(Keeping(8))

    def test_named_tuple_with_attributes_is_refused(self) -> None:
        """A subclass of a named tuple has room for attributes that would be lost."""
        with pytest.raises(TypeRefusedError, match="attributes"):
            PickleSerializer([SubPoint]).dump_value(with_attribute(SubPoint(1)))

    def test_missing_field_beside_a_cached_property(self, serializer: PickleSerializer) -> None:
        """As many attributes as fields, but other ones."""
        node = Node("x")
        assert node.size == 1
        del node.parent

        loaded = cold().load_value(serializer.dump_value(node))
        assert loaded.name == "x"
        assert set(vars(loaded)) == {"name", "children", "parent"}
        assert loaded.parent is None

    def test_attrs_class_with_what_it_has_computed(self) -> None:
        """Found in review: once a cached property was used, it was refused. It is computed again."""
        serializer = PickleSerializer([Computed])
        value = Computed(1)
        assert value.following == 2

        loaded = serializer.load_value(serializer.dump_value(value))
        loaded.number = 5

        assert loaded.following == 6

    @pytest.mark.parametrize("slots", [True, False])
    def test_attrs_class_that_keeps_its_hash(self, slots: bool) -> None:
        """Found in review: it was refused. Its hash is another one in each process."""
        cls = attrs.make_class("Kept", ["a", "b"], slots=slots, frozen=True, cache_hash=True, unsafe_hash=True)
        serializer = PickleSerializer([cls])
        before = {cls("x", 1): cls("y", 2)}

        loaded = serializer.load_value(serializer.dump_value(before))
        (key,) = loaded

        assert loaded == before
        assert hash(key) == hash(cls("x", 1))
        assert loaded[key]._attrs_cached_hash is None

    def test_slot_of_a_field_that_was_not_named_is_refused(self) -> None:
        """What attrs computes is left behind, and nothing else."""
        allow = AllowList()
        allow(Computed, fields=("other",))

        with pytest.raises(TypeRefusedError, match="slot 'number'"):
            PickleSerializer(allow).dump_value(Computed(1))

    def test_attrs_default_that_takes_self(self) -> None:
        """A default that is computed from the instance is left out for older records."""
        import attrs

        @attrs.define
        class Old:
            a: int

        @attrs.define
        class New:
            a: int
            b: int = attrs.Factory(lambda self: self.a, takes_self=True)

        loaded = PickleSerializer(named(New)).load_value(PickleSerializer(named(Old)).dump_value(Old(1)))
        assert loaded.a == 1
        assert not hasattr(loaded, "b")

    def test_model_with_extras_or_private_attributes_is_refused(self) -> None:
        """What a pydantic model does not declare as a field would be lost."""
        import pydantic

        class Extra(pydantic.BaseModel, extra="allow"):
            a: int

        class Private(pydantic.BaseModel):
            a: int
            _hidden: int = 5

        serializer = PickleSerializer([Extra, Private])
        with pytest.raises(TypeRefusedError, match="extra"):
            serializer.dump_value(Extra(a=1, b=2))  # type: ignore[call-arg]  # what is tested
        with pytest.raises(TypeRefusedError, match="private"):
            serializer.dump_value(Private(a=1))

    def test_model_without_what_it_could_have_comes_back_as_it_was(self) -> None:
        """Found by an attack: it was unequal, or took no extra field any more."""

        class Extra(pydantic.BaseModel, extra="allow"):
            a: int

        class Private(pydantic.BaseModel):
            a: int
            _unset: int = pydantic.PrivateAttr()

        serializer = PickleSerializer([Extra, Private])
        for model in (Extra(a=1), Private(a=1)):
            found: Any = serializer.load_value(serializer.dump_value(model))

            assert found == model
            assert found.__pydantic_private__ == model.__pydantic_private__
            assert found.__pydantic_extra__ == model.__pydantic_extra__

    def test_zone_without_a_key_is_refused(self, serializer: PickleSerializer) -> None:
        """A zone that was made from a file has no name to find it by."""
        # The smallest file of a time zone: one type, UTC.
        header = b"TZif2" + bytes(15)
        counts = struct.pack(">6l", 0, 0, 0, 0, 1, 4)
        body = struct.pack(">lBB", 0, 0, 0) + b"UTC\0"
        file = io.BytesIO((header + counts + body) * 2 + b"\nUTC0\n")

        with pytest.raises(TypeRefusedError, match="IANA"):
            serializer.dump_value(ZoneInfo.from_file(file))

    def test_many_names_in_one_value(self, serializer: PickleSerializer) -> None:
        """Beyond 255 memo entries references take another form."""
        lines = [Node(f"node {number}") for number in range(200)]

        assert cold().load_value(serializer.dump_value([*lines, lines[150]]))[200].name == "node 150"


def _two_versions(kind: str) -> tuple[Any, Any]:
    """Return an older and a newer version of a class: the newer one has a field more."""
    if kind == "pydantic":
        older = pydantic.create_model("Older", n=(int, 0))
        return older, pydantic.create_model("Newer", n=(int, 0), extra=(str, ""))
    builtin: Any = {"dict": dict, "list": list, "str": str}[kind]
    body = {} if kind == "str" else {"__init__": lambda self, _text: None}
    return type("Older", (builtin,), dict(body)), type("Newer", (builtin,), dict(body))


def _named(cls: Any) -> AllowList:
    allow = AllowList()
    if issubclass(cls, dict | list | str):
        allow(cls, name="app:Thing", fields=["n", "extra"] if cls.__name__ == "Newer" else ["n"])
    else:
        allow(cls, name="app:Thing")
    return allow
