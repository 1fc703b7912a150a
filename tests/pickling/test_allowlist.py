from __future__ import annotations

import abc
import enum
from dataclasses import dataclass
from typing import Any

import numpy
import pytest

from flask_picklesession import AllowList, PayloadError, PickleSerializer, RegistrationError, TypeRefusedError
from flask_picklesession.pickling.entries import MOST_TYPES, layout_for
from flask_picklesession.pickling.limits import Limits
from flask_picklesession.pickling.names import Token, token_for

from .models import Money, Node, Plain, Point


class LazyString:
    """As flask_babel's: stands for a text in the request's language."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


class TestRegistration:
    def test_decorator_returns_the_class(self) -> None:
        """Bare, with options, and as a call."""
        allow = AllowList()

        @allow
        @dataclass
        class Bare:
            a: int

        @allow(name="other")
        @dataclass
        class WithOptions:
            a: int

        assert allow(Point) is Point
        serializer = PickleSerializer(allow)
        assert serializer.loads(serializer.dumps({"v": [Bare(1), WithOptions(2)]})) == {"v": [Bare(1), WithOptions(2)]}

    def test_lists_are_independent(self) -> None:
        """What one list allows another one does not."""
        one, other = AllowList(), AllowList()
        one(Point)

        assert PickleSerializer(one).dump_value(Point(1))
        with pytest.raises(TypeRefusedError):
            PickleSerializer(other).dump_value(Point(1))

    def test_comes_too_late_after_the_first_use(self) -> None:
        """A list in use is the same for all that was stored with it; the error names the class."""
        allow = AllowList()
        PickleSerializer(allow)

        with pytest.raises(RegistrationError, match="Point comes too late"):
            allow(Point)
        with pytest.raises(RegistrationError, match="LazyString comes too late"):
            allow.convert(LazyString, str)

    @pytest.mark.parametrize(
        ("register", "words"),
        [
            (lambda allow: allow(5), "not a class"),
            (lambda allow: allow(len), "not a class"),
            (lambda allow: allow("x", reduce=str, restore=str), "not a class"),
            (lambda allow: allow(Abstract), "abstract"),
            (lambda allow: allow(enum.EnumMeta), "makes classes"),
            (lambda allow: allow(WithDel), "__del__"),
            (lambda allow: allow(WithNew, fields=("a",)), "__new__"),
            (lambda allow: allow(DictWithNew), "__new__"),
            (lambda allow: allow(ValueError, fields=("note",)), "__new__"),
            (lambda allow: allow(Undeclared), r"fields=\(\.\.\.\)"),
            (lambda allow: allow(Undeclared, fields=("not valid",)), "cannot be a field"),
            (lambda allow: allow(Undeclared, fields=("__class__",)), "cannot be a field"),
            (lambda allow: allow(Undeclared, fields=("a", "a")), "named twice"),
            (lambda allow: allow(Undeclared, fields=("computed",)), "property"),
            (lambda allow: allow(Undeclared, reduce=str), "belong together"),
            (lambda allow: allow(Point, name="no spaces"), "cannot be a name"),
            (lambda allow: allow(Point, aliases=["x#y"]), "cannot be a name"),
            (lambda allow: (allow(Point), allow(Point)), "already"),
            (lambda allow: (allow(Point, name="x"), allow(Money, name="x")), "names both"),
            (lambda allow: allow(Point, name="decimal:Decimal"), "names both"),
        ],
        ids=range(20),
    )
    def test_what_cannot_be_restored_cannot_be_registered(self, register: Any, words: str) -> None:
        """Each refusal says what is wrong."""
        with pytest.raises(RegistrationError, match=words):
            register(AllowList())


@pytest.mark.parametrize("limits", [Limits(), Limits(max_value_size=4096, max_expanded=1000, max_depth=10)])
def test_as_many_types_as_can_be_told_apart(limits: Limits) -> None:
    """Found by an attack: with small limits the verifier took one of them for the 128th behind it."""
    allow, special = AllowList(), layout_for(limits).special
    classes = [type(f"Record{number}", (Plain,), {}) for number in range(MOST_TYPES - len(AllowList()._by_class))]
    for number, cls in enumerate(classes):
        allow(cls, fields=("a", "b"), name=f"Record{number}")
    entries = {written: entry for written, entry in allow.entries().items() if written.startswith(b"Record")}

    assert len({special | entry for entry in entries.values()}) == len(entries)
    with pytest.raises(RegistrationError, match="one too many: 2048 types"):
        allow(Plain, fields=("a", "b"))


class Abstract(abc.ABC):
    @abc.abstractmethod
    def method(self) -> None: ...


class WithDel:
    def __del__(self) -> None: ...


class WithNew:
    def __new__(cls) -> WithNew:
        return object.__new__(cls)


class DictWithNew(dict[str, Any]):
    def __new__(cls) -> DictWithNew:
        return dict.__new__(cls)


class Undeclared:
    @property
    def computed(self) -> int:
        return 1


class TestOf:
    def test_takes_lists_classes_and_names(self) -> None:
        """A setting may mix them, and repeat what stands in several lists."""
        models = AllowList()
        models(Point)
        models.convert(LazyString, str)
        serializer = PickleSerializer([models, models, Money, "tests.pickling.models:Node"])

        value = [Point(1), Money(2), Node("x"), LazyString("lazy")]
        assert serializer.load_value(serializer.dump_value(value)) == [Point(1), Money(2), Node("x"), "lazy"]

    def test_all_problems_at_once(self) -> None:
        """One error names everything that is wrong."""
        with pytest.raises(RegistrationError) as caught:
            AllowList.of([5, "nocolon", "no.such:Thing", "os:no_such", Undeclared])

        for words in ("5", "nocolon", "no.such:Thing", "os:no_such", "Undeclared"):
            assert words in str(caught.value)


class TestConversions:
    def test_lazy_strings_are_stored_as_str(self) -> None:
        """Those of translation libraries are known by their class's name."""
        known = type("LazyString", (LazyString,), {"__module__": "flask_babel.speaklater"})
        serializer = PickleSerializer()

        loaded = serializer.load_value(serializer.dump_value([known("hello")]))

        assert loaded == ["hello"]
        assert type(loaded[0]) is str

    def test_unknown_lazy_string_says_how_to_convert_it(self) -> None:
        """Others are refused with the line that converts them."""
        with pytest.raises(TypeRefusedError, match=r"allow\.convert\(LazyString, str\)"):
            PickleSerializer().dump_value(LazyString("x"))

    def test_converted_value_is_unchanged(self) -> None:
        """A str that was something else when it was stored is no change when it is only read."""
        allow = AllowList()
        allow.convert(LazyString, str)
        serializer = PickleSerializer(allow)
        stored = serializer.dump_value([LazyString("x")])

        assert serializer.same_value(serializer.load_value(stored), stored) is None


class TestArrays:
    @pytest.mark.parametrize(
        "array",
        [
            numpy.arange(6, dtype="i4").reshape(2, 3),
            numpy.array(1.5),
            numpy.array([True, False]),
            numpy.array(["a", "bc"]),
            numpy.zeros((0, 3)),
            numpy.array("\U0010ffff"),
            numpy.array(["b", "\U0010ffff"], dtype=">U3"),
            numpy.array([], dtype="U5"),
            numpy.zeros(0, dtype="b1"),
        ],
        ids=range(9),
    )
    def test_come_back(self, array: Any) -> None:
        """Plain arrays, once they are allowed: equal, of the same dtype, writable."""
        serializer = PickleSerializer([numpy.ndarray])
        loaded = serializer.load_value(serializer.dump_value(array))

        assert numpy.array_equal(loaded, array)
        assert loaded.dtype == array.dtype
        assert loaded.flags.writeable

    @pytest.mark.parametrize(
        ("dtype", "shape", "data"),
        [
            ("<U1", (2,), b"\xff" * 8),
            ("<U1", (), b"\x00\x00\x11\x00"),
            (">U2", (1,), b"\x00\x00\x00a\x00\x11\x00\x00"),
            ("|b1", (3,), b"\x00\x01\x02"),
            ("<f8", (2**40, 0), b""),
            ("<f8", (2**20, 0, 2**20), b""),
        ],
        ids=range(6),
    )
    def test_bytes_that_no_item_has(self, dtype: str, shape: tuple[int, ...], data: bytes) -> None:
        """Found in review: numpy takes them, and fails when the array is shown, or makes a list of them for ever."""
        from flask_picklesession.pickling.arrays import restore_array

        hostile = numpy.frombuffer(data, dtype=dtype).reshape(shape)

        with pytest.raises(ValueError, match=r"empty array|beyond Unicode|booleans"):
            restore_array(dtype, shape, data)
        with pytest.raises(TypeRefusedError):
            PickleSerializer([numpy.ndarray]).dump_value(hostile)

    def test_objects_are_refused(self) -> None:
        """An array of objects would be pickles within the pickle."""
        with pytest.raises(TypeRefusedError, match="dtype"):
            PickleSerializer([numpy.ndarray]).dump_value(numpy.array([object()]))

    @pytest.mark.parametrize(
        "arguments",
        [
            ("O", (1,), b"x"),
            ("<i4", [1], b"1234"),
            ("<i4", (-1,), b"1234"),
            ("<i4", (2,), b"1234"),
            ("<i4", (1,) * 17, b"1234"),
        ],
        ids=range(5),
    )
    def test_arguments_are_checked(self, arguments: tuple[Any, ...]) -> None:
        """What we did not write makes no array."""
        from flask_picklesession.pickling.arrays import restore_array

        with pytest.raises(ValueError, match=r"."):
            restore_array(*arguments)


class TestTokens:
    def test_there_is_one_for_each_name(self) -> None:
        """The pickler writes a token's name only if it finds that very token there."""
        assert token_for("some.module:Class") is token_for("some.module:Class")

    def test_restores_nothing(self) -> None:
        """A token is called by nobody."""
        with pytest.raises(TypeError):
            Token("x")()


def test_user_string_equal_to_a_name_is_data() -> None:
    """A str that looks like a name, even the same object, is stored as a str."""
    allow = AllowList()
    name = "record"
    allow(Point, name=name)
    serializer = PickleSerializer(allow)

    value = [name, Point(1), {name: Point(2)}, name]
    assert PickleSerializer(allow).load_value(serializer.dump_value(value)) == value


def test_unpicklable_arguments_of_a_reduce_have_a_path() -> None:
    """What a reduce= returns is checked like any other value."""
    allow = AllowList()
    allow(Undeclared, reduce=lambda value: (object(),), restore=lambda value: Undeclared())

    with pytest.raises(TypeRefusedError):
        PickleSerializer(allow).dump_value(Undeclared())


def test_restore_that_fails_is_found_at_write() -> None:
    """With restore= the value is read back at once: what cannot be restored cannot be stored."""
    allow = AllowList()
    allow(Undeclared, reduce=lambda value: (1,), restore=lambda: Undeclared())

    with pytest.raises(TypeRefusedError, match="could not be read back"):
        PickleSerializer(allow).dump_value(Undeclared())


def test_payload_error_of_an_unknown_name_is_readable() -> None:
    """The name of a type that is missing is told as it is written in code."""
    allow = AllowList()
    allow(Node)
    stored = PickleSerializer(allow).dump_value(Node("x"))

    with pytest.raises(PayloadError, match=r"tests\.pickling\.models:Node is not on the allow-list"):
        PickleSerializer().load_value(stored)


def test_names_of_default_types_are_pinned() -> None:
    """What one version of Python has stored, each other one reads: Python 3.13 has paths in another module."""
    defaults = {
        "builtins:complex", "builtins:range", "collections:Counter", "collections:OrderedDict",
        "collections:defaultdict", "collections:deque", "datetime:date", "datetime:datetime", "datetime:time",
        "datetime:timedelta", "datetime:timezone", "decimal:Decimal", "fractions:Fraction", "ipaddress:IPv4Address",
        "ipaddress:IPv4Interface", "ipaddress:IPv4Network", "ipaddress:IPv6Address", "ipaddress:IPv6Interface",
        "ipaddress:IPv6Network", "markupsafe:Markup", "pathlib:PurePosixPath", "pathlib:PureWindowsPath", "uuid:UUID",
        "zoneinfo:ZoneInfo",
    }  # fmt: skip

    assert {name for name in AllowList().forms() if "#" not in name} >= defaults
