"""One class of each kind that an application may register."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import attrs
import pydantic

from flask_picklesession import AllowList


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"
    CRIMSON = "r"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: int = 0


@dataclass
class Node:
    name: str
    children: list[Node] = field(default_factory=list)
    parent: Node | None = None
    kind: ClassVar[str] = "node"

    @cached_property
    def size(self) -> int:
        return 1 + sum(child.size for child in self.children)


@dataclass
class Leaf(Node):
    weight: float = 1.0


@dataclass(frozen=True)
class Money:
    amount: Any
    currency: str = "EUR"


@dataclass(frozen=True)
class Single:
    only: Any


@dataclass(slots=True)
class Slotted:
    a: Any
    b: Any = None


@dataclass(frozen=True, slots=True)
class FrozenSlotted:
    a: Any


@dataclass
class Late:
    a: int
    b: int = field(init=False)


@attrs.define
class Attrs:
    a: Any
    b: Any = 5
    c: list[Any] = attrs.Factory(list)


@attrs.define(slots=False)
class AttrsDict:
    a: Any


class Plain:
    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and (self.a, self.b) == (other.a, other.b)

    __hash__ = None  # type: ignore[assignment]  # mutable


class Model(pydantic.BaseModel):
    a: int
    b: list[str] = []


class Bag(dict[str, Any]):
    pass


class Row(list[Any]):
    pass


class Label(str):
    pass


class Hashed:
    """Its hash looks at a field."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.friends: set[Hashed] = set()

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hashed) and self.key == other.key


@dataclass
class Product:
    """Hashed by one field, compared by all."""

    number: int
    options: Any

    def __hash__(self) -> int:
        return hash(self.number)


class Temperature:
    """Only a reduce and a restore can tell how to build it."""

    def __init__(self, kelvin: float) -> None:
        self._kelvin = kelvin

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Temperature) and self._kelvin == other._kelvin

    __hash__ = None  # type: ignore[assignment]  # not needed

    def to_kelvin(self) -> tuple[float]:
        return (self._kelvin,)


def make_allow() -> AllowList:
    """Return an allow-list with all of them."""
    allow = AllowList()
    for cls in (Color, Level, Right, Point, Node, Leaf, Money, Single, Slotted, FrozenSlotted, Late, Attrs, AttrsDict):
        allow(cls)
    allow(Product)
    allow(Plain, fields=("a", "b"))
    for cls in (Model, Bag, Row, Label):
        allow(cls)
    allow(Hashed, fields=("key", "friends"))
    allow(Temperature, reduce=Temperature.to_kelvin, restore=Temperature)
    return allow
