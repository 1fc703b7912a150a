"""Classes and values with ways of their own: stored as they are, or refused with their path, and none of that runs."""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import numpy
import pydantic
import pytest
from markupsafe import Markup
from werkzeug.local import LocalProxy
from werkzeug.utils import cached_property as WerkzeugCachedProperty

from flask_picklesession import (
    AllowList,
    LimitExceededError,
    PayloadError,
    PickleSerializer,
    RegistrationError,
    TypeRefusedError,
)
from flask_picklesession.pickling import KeptFields, Limits
from flask_picklesession.pickling.records import MOST_KEPT

from . import assembler as a
from .models import Label, make_allow


class Pairs(NamedTuple):
    x: int
    y: int

    def __iter__(self) -> Any:
        # As many do it for dict(pairs).
        return iter((("x", self.x), ("y", self.y)))

    def __len__(self) -> int:
        return 5


class Mode(enum.Flag):
    READ = 1
    WRITE = 2

    @property
    def value(self) -> int:  # type: ignore[override]
        return 2


@dataclass(slots=True)
class Delegating:
    items: Any

    def __getattr__(self, name: str) -> Any:
        return self.items[name]


@dataclass
class Base:
    a: int = 1


class Undecorated(Base):
    pass


ITSELF: dict[str, Any] = {
    "NamedTuple with an __iter__": Pairs(1, 2),
    "Flag with a value": Mode.READ,
    "slots and a __getattr__": Delegating({"a": 1}),
    "subclass of a dataclass": Undecorated(5),
}


@pytest.mark.parametrize("kind", ITSELF)
def test_class_with_ways_of_its_own(kind: str) -> None:
    """Found by an attack: what the class says of itself was stored, or failed."""
    value = ITSELF[kind]
    serializer = PickleSerializer([type(value)])

    found = serializer.load_value(serializer.dump_value(value))

    assert type(found) is type(value)
    if isinstance(value, tuple):
        assert tuple.__eq__(found, value)
    elif isinstance(value, Delegating):
        assert found.items == value.items
    else:
        assert found == value


class Hiding(type):
    @property
    def __module__(cls) -> Any:
        raise ZeroDivisionError


class Hidden(metaclass=Hiding):
    pass


class Raising:
    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)


@pytest.mark.parametrize(
    "make", [lambda: LocalProxy(ContextVar("unbound")), Raising, Hidden], ids=["unbound proxy", "getattr", "metaclass"]
)
def test_refusal_asks_no_value(make: Callable[..., Any]) -> None:
    """Found by an attack: to describe what is refused ran its code, and raised what that did."""
    value = make()

    with pytest.raises(TypeRefusedError) as caught:
        PickleSerializer().dump_value([value])

    assert caught.value.path == "value[0]"


@pytest.mark.parametrize("name", ["Token", "re", "MARKER"])
def test_name_that_stands_for_something_else(name: str) -> None:
    """Where the pickler looks names up are others, too."""
    with pytest.raises(RegistrationError, match="Take another one"):
        AllowList()(Base, name=name)


def test_attribute_of_a_model_that_it_does_not_declare() -> None:
    """Found by an attack: dropped, where it is refused in all other classes."""

    class Noted(pydantic.BaseModel):
        a: int

    model = Noted(a=1)
    model.__dict__["note"] = "lost"

    with pytest.raises(TypeRefusedError, match="note"):
        PickleSerializer([Noted]).dump_value(model)


def test_slot_of_a_model() -> None:
    """The same."""

    class Slotted(pydantic.BaseModel):
        __slots__ = ("note",)
        a: int

    model = Slotted(a=1)
    serializer = PickleSerializer([Slotted])
    assert serializer.load_value(serializer.dump_value(model)) == model
    object.__setattr__(model, "note", "lost")

    with pytest.raises(TypeRefusedError, match="note"):
        serializer.dump_value(model)


def test_what_properties_of_a_model_have_computed() -> None:
    """Left behind, whatever kind of property it is."""

    class Computed(pydantic.BaseModel):
        a: int

        @cached_property
        def b(self) -> int:
            return self.a

        @WerkzeugCachedProperty
        def c(self) -> int:
            return self.a

    model = Computed(a=1)
    assert model.b + model.c == 2
    serializer = PickleSerializer([Computed])

    assert vars(serializer.load_value(serializer.dump_value(model))) == {"a": 1}


def test_root_model_gains_nothing() -> None:
    """It has no place for extra fields and private attributes."""

    class Root(pydantic.RootModel[list[int]]):
        pass

    serializer = PickleSerializer([Root])

    assert vars(serializer.load_value(serializer.dump_value(Root([1])))) == vars(Root([1]))


@pytest.mark.parametrize(
    "make",
    [lambda: ZoneInfo.no_cache("Europe/Berlin"), lambda: _of_a_file("Europe/Berlin"), lambda: _of_a_file("Nope/Nope")],
    ids=["not cached", "of a file", "unknown"],
)
def test_zone_that_would_come_back_as_another_one(make: Callable[[], ZoneInfo]) -> None:
    """Found by an attack: only its key was looked at."""
    serializer = PickleSerializer()

    for value in (make(), datetime(2026, 1, 1, tzinfo=make())):
        with pytest.raises(TypeRefusedError):
            serializer.dump_value(value)
    assert serializer.load_value(serializer.dump_value(datetime(2026, 1, 1, tzinfo=UTC)))


def _of_a_file(key: str) -> ZoneInfo:
    with Path("/usr/share/zoneinfo/Europe/Paris").open("rb") as file:
        return ZoneInfo.from_file(file, key=key)


def test_zone_that_is_none_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by an attack: zoneinfo imports a package that the key names."""
    monkeypatch.setattr("flask_picklesession.pickling.restorers._zone", None)

    with pytest.raises(PayloadError):
        PickleSerializer().load_value(a.segment(a.name("zoneinfo:ZoneInfo"), a.text("Nope/Nope"), a.TUPLE1, a.REDUCE))


def test_fraction_of_other_ints() -> None:
    """Refused, with its path."""
    with pytest.raises(TypeRefusedError, match=r"value\[0\] could not be taken apart \(AttributeError\)"):
        PickleSerializer().dump_value([Fraction(numpy.int64(1), numpy.int64(2))])


@pytest.mark.parametrize("kept", [False, True])
def test_model_that_is_not_whole(kept: bool) -> None:
    """The same, also where fields of newer workers are kept."""

    class Whole(pydantic.BaseModel):
        a: int

    fields = KeptFields()
    if kept:
        fields.keep(object(), {"b": 1})

    for value in (Whole.__new__(Whole), Fraction(numpy.int64(1), numpy.int64(2))):
        with pytest.raises(TypeRefusedError, match="could not be taken apart"):
            PickleSerializer([Whole]).dump_value([value], kept=fields)


def test_long_path() -> None:
    """Read once more as it would be written."""
    serializer, path = PickleSerializer(), PurePosixPath("x" * 4000)

    assert serializer.load_value(serializer.dump_value([path, PurePosixPath("n" * 150), PurePosixPath("n" * 150)]))


def test_windows_path_of_another_version() -> None:
    """Python 3.12 writes the path of a file named "c:foo" so; 3.11 would read what begins with a drive."""
    data = a.segment(a.name("pathlib:PureWindowsPath"), a.text(".\\c:foo"), a.TUPLE1, a.REDUCE)
    serializer = PickleSerializer()

    if str(PureWindowsPath(".\\c:foo")) == ".\\c:foo":
        assert serializer.load_value(data) == PureWindowsPath(".\\c:foo")
    else:
        with pytest.raises(PayloadError):
            serializer.load_value(data)


@pytest.mark.parametrize("data", [b"\x8a\x00", b"\x8a\x04" + bytes(3) + b"\x01", b"\x8b" + bytes(4)])
def test_int_that_has_a_shorter_opcode(data: bytes) -> None:
    """Many ints of no bytes took twice as long as anything else."""
    with pytest.raises(PayloadError, match="where the pickler writes a shorter opcode"):
        PickleSerializer().load_value(a.segment(data))


#: Kind -> what it is restored from, of a text or bytes, and where that stands in the memo.
COPIED: dict[str, tuple[str, Callable[[bytes], bytes], int]] = {
    "Markup": ("markupsafe:Markup", lambda text: text + a.TUPLE1, 4),
    "PurePosixPath": ("pathlib:PurePosixPath", lambda text: text + a.TUPLE1, 4),
    "Label": ("tests.pickling.models:Label", lambda text: text + a.EMPTY_TUPLE + a.TUPLE1 + a.TUPLE2, 4),
    "array": ("numpy:ndarray", lambda text: a.text("|u1") + b"M\xd0\x07" + a.TUPLE1 + text + a.TUPLE3, 6),
}


@pytest.mark.parametrize("kind", COPIED)
def test_text_that_is_copied_again_and_again(kind: str) -> None:
    """Found by an attack: each copies its text, and a session of 256 KB took half a gigabyte."""
    name, arguments, place = COPIED[kind]
    allow = make_allow()
    allow(numpy.ndarray)
    text = b"B\xd0\x07\0\0" + bytes(2000) + a.MEMOIZE if kind == "array" else a.long_text("x" * 2000)

    def value(count: int) -> bytes:
        again = (a.get(3) + arguments(a.get(place)) + a.REDUCE) * count
        return a.segment(a.LIST, b"(", a.name(name), arguments(text) + a.REDUCE, again, b"e")

    assert len(PickleSerializer(allow).load_value(value(0))) == 1
    with pytest.raises(PayloadError, match="max_expanded"):
        PickleSerializer(allow).load_value(value(900))


def test_texts_of_their_own_are_accepted() -> None:
    """As the pickler writes them: each has its own text."""
    serializer = PickleSerializer(make_allow())
    value = [[Markup("x") * 250 for _ in range(500)], [Label("y" * 100) for _ in range(500)]]

    assert serializer.load_value(serializer.dump_value(value)) == value


def test_fields_that_are_kept_are_bounded() -> None:
    """Found by an attack: one tuple of names, for hundreds of records, in hundreds of megabytes."""
    kept = KeptFields()
    kept.keep(object(), dict.fromkeys(map(str, range(MOST_KEPT))))

    with pytest.raises(ValueError, match="more fields"):
        kept.keep(object(), {"one": 1})


def test_empty_payload_beyond_the_limit() -> None:
    """There is no largest key to name."""
    with pytest.raises(LimitExceededError, match="session"):
        PickleSerializer(limits=Limits(max_size=2)).dumps({})


@dataclass
class Old:
    n: int


@dataclass
class Gained:
    n: int
    token: UUID = field(default_factory=uuid4)


@dataclass
class Unlisted:
    n: int
    mode: Mode = Mode.READ


def test_default_that_is_another_one_each_time_is_no_change() -> None:
    """Found by an attack: a page that only read wrote, and undid what another one had written."""
    old, new = AllowList(), AllowList()
    old(Old, name="app:Cart")
    new(Gained, name="app:Cart")
    serializer, kept = PickleSerializer(new), KeptFields()
    stored = PickleSerializer(old).dump_value([Old(1)])
    value = serializer.load_value(stored, kept)
    as_built = serializer.as_built(value, kept)

    assert as_built is not None
    assert serializer.same_value(value, stored, "v", kept, as_built) is None
    value[0].n = 2
    changed = serializer.same_value(value, stored, "v", kept, as_built)
    assert changed is not None
    assert serializer.load_value(changed)[0] == value[0]
    assert serializer.as_built([], kept) is None


def test_values_that_gain_too_much() -> None:
    """Found by an attack: to write what thousands of records gain took three seconds."""
    serializer, kept = PickleSerializer(limits=Limits(max_size=1000)), KeptFields()

    for _value in range(3):
        kept.has_gained = True
        assert serializer.as_built("x" * 800, kept)
    kept.has_gained = True
    with pytest.raises(PayloadError, match="max_size"):
        serializer.as_built("x" * 800, kept)


class Restless:
    """Cannot be written the second time."""

    def __init__(self, number: int) -> None:
        self.number = number

    def reduced(self) -> tuple[int]:
        raise ZeroDivisionError


def test_gain_that_fails_with_an_error_of_the_application() -> None:
    """Planted: no error of the request."""
    allow = AllowList()
    allow(Restless, reduce=Restless.reduced, restore=Restless)
    serializer, kept = PickleSerializer(allow), KeptFields()
    kept.has_gained = True

    with pytest.raises(PayloadError, match="it ZeroDivisionError"):
        serializer.as_built(Restless(1), kept)


@pytest.mark.parametrize("cls", [Unlisted, Gained], ids=["not on the list", "too many objects"])
def test_what_cannot_be_stored_with_what_it_has_gained(cls: type) -> None:
    """Found by an attack: it was read, and what a request changed in it was lost without a word. Quarantined."""
    old, new = AllowList(), AllowList()
    old(Old, name="app:Cart")
    new(cls, name="app:Cart")
    serializer, kept = PickleSerializer(new), KeptFields()
    value = serializer.load_value(PickleSerializer(old).dump_value([Old(n) for n in range(3_700)]), kept)

    with pytest.raises(PayloadError, match="with the fields that it has gained it cannot be stored again") as caught:
        serializer.as_built(value, kept)

    assert caught.value.type_name == (f"{__name__}:Mode" if cls is Unlisted else None)
