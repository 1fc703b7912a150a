"""What a payload may cost, the same at write and at read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one payload and of each value in it. What exceeds one is refused when it is stored."""

    #: Bytes of a payload, and of the segment of one value.
    max_bytes: int = 262_144

    #: How deep containers and records may nest. Pickling takes up to three levels of CPython's recursion limit of
    #: 1000 for each, and a web request's own frames need the rest.
    max_depth: int = 200

    #: Items in a value as a walk meets them, shared parts counted each time: bounds what ``repr``, ``==`` and hashing
    #: cost, which a few shared tuples can double again and again ("billion laughs").
    max_expanded: int = 500_000

    #: Bytes of an int: those of the 4300 decimal digits that CPython converts to text (CVE-2020-10735).
    max_int_bytes: int = 1_786

    #: Dict keys and set elements in one value whose hash a writer can choose: all but str, bytes and small ints. Keys
    #: that collide cost the square of their number.
    max_odd_keys: int = 1_000


DEFAULT_LIMITS = Limits()
