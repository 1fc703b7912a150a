"""What the shop keeps in the session: a cart of real objects."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from flask_picklesession import AllowList

allow = AllowList()


@allow
class Wrap(enum.Enum):
    """How a line is wrapped."""

    NONE = "as it is"
    PAPER = "in paper"
    BOX = "in a gift box"


@allow
@dataclass
class Parcel:
    """What is sent together. Several lines share one parcel."""

    service: str
    fee: Decimal
    sent_by: datetime


@allow
@dataclass
class Line:
    """Some pieces of one product."""

    number: int
    name: str
    price: Decimal
    quantity: int
    tags: set[str]
    parcel: Parcel
    cart: Cart = field(repr=False, compare=False)
    wrap: Wrap = Wrap.NONE
    added_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def total(self) -> Decimal:
        """The price of all pieces."""
        return self.price * self.quantity


@allow
@dataclass
class Cart:
    """The lines, each of which knows its cart: a cycle."""

    lines: list[Line] = field(default_factory=list)

    def add(self, number: int, name: str, price: Decimal, tags: set[str], parcel: Parcel) -> None:
        """Put one piece of a product into the cart."""
        for line in self.lines:
            if line.number == number:
                line.quantity += 1
                return
        # One parcel for the whole cart: the second line shares the first one's.
        shared = self.lines[0].parcel if self.lines else parcel
        self.lines.append(Line(number, name, price, 1, tags, shared, self))

    def change(self, number: int, quantity: int, wrap: Wrap) -> None:
        """Change a line; none left removes it."""
        for line in self.lines:
            if line.number == number:
                line.quantity, line.wrap = quantity, wrap
        self.lines = [line for line in self.lines if line.quantity > 0]

    @property
    def parcels(self) -> list[Parcel]:
        """The parcels, each once."""
        return list({id(line.parcel): line.parcel for line in self.lines}.values())

    @property
    def total(self) -> Decimal:
        """The price of all lines and parcels."""
        return sum((line.total for line in self.lines), Decimal(0)) + sum(parcel.fee for parcel in self.parcels)
