"""Dump, verify and load, as a part of Flask's TaggedJSONSerializer in the same run."""

from __future__ import annotations

import pickle
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from flask.json.tag import TaggedJSONSerializer

from flask_picklesession import PickleSerializer

from .measure import microseconds, table


@dataclass
class Line:
    """A mutable record: it may take part in cycles."""

    name: str
    price: Decimal
    quantity: int
    added: datetime


@dataclass(frozen=True)
class FrozenLine:
    """A frozen record: stored flat."""

    name: str
    price: Decimal
    quantity: int
    added: datetime


def lines(cls: Any) -> list[Any]:
    """Return a cart of 50."""
    return [
        cls(f"Product number {n}", Decimal(n) + Decimal("0.99"), n % 5, datetime(2026, 11, 1, 12, n % 60, tzinfo=UTC))
        for n in range(50)
    ]


TEN = {"_user_id": "42", "_fresh": True, "_id": "f" * 64, "csrf": "c" * 40, "lang": "en", "theme": "dark", "n": 7,
       "seen": 1790000000, "ratio": 0.5, "next": None}  # fmt: skip
HUNDRED = {f"key{n}": f"value {n}" if n % 2 else n for n in range(100)}


def plain(line: Line) -> dict[str, Any]:
    """Return a line as tagged JSON can carry it: it has no Decimal."""
    return {**asdict(line), "price": str(line.price)}


_PLAIN_CART = {"cart": [plain(line) for line in lines(Line)]}

#: Session -> ours, what tagged JSON can carry of it, target cold, target warm.
SESSIONS: dict[str, tuple[dict[str, Any], dict[str, Any], float, float | None]] = {
    "10 plain keys": (TEN, TEN, 0.5, None),
    "100 plain keys": (HUNDRED, HUNDRED, 1.0, None),
    "cart of 50, records": ({"cart": lines(Line)}, _PLAIN_CART, 1.0, 0.3),
    "cart of 50, flat records": ({"cart": lines(FrozenLine)}, _PLAIN_CART, 0.7, 0.3),
}


def main() -> None:
    """Print the table."""
    allow = [Line, FrozenLine]
    cold, warm = PickleSerializer(allow, verdicts_kept=0), PickleSerializer(allow)
    tagged = TaggedJSONSerializer()
    rows = []
    for name, (session, for_json, cold_target, warm_target) in SESSIONS.items():
        found = microseconds(
            {
                "cold": lambda session=session: cold.loads(cold.dumps(session)),
                "warm": lambda session=session: warm.loads(warm.dumps(session)),
                "tagged": lambda for_json=for_json: tagged.loads(tagged.dumps(for_json)),
                "pickle": lambda session=session: pickle.loads(pickle.dumps(session, 5)),  # noqa: S301, TID251 - ours
                "msgpack": lambda for_json=for_json: msgspec.msgpack.decode(msgspec.msgpack.encode(for_json)),
            },
            calls=100,
        )
        part = {key: value / found["tagged"] for key, value in found.items()}
        rows.append(
            [
                name,
                f"{found['tagged']:.0f} us",
                f"{part['cold']:.2f}",
                _target(cold_target),
                f"{part['warm']:.2f}",
                _target(warm_target),
                f"{part['pickle']:.2f}",
                f"{part['msgpack']:.2f}",
            ]
        )
    header = [
        "dumps + loads as a part of TaggedJSON",
        "TaggedJSON",
        "cold",
        "target",
        "warm",
        "target",
        "pickle",
        "msgpack",
    ]
    table("Serializer (cold: nothing was verified before; warm: all was)", header, rows)


def _target(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
