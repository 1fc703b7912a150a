"""What becomes of a key that two requests changed at once: a policy for each key, by name or as a function.

A policy takes the values of the base, mine and theirs, and returns the one that is stored. :data:`ABSENT` stands for
"the key is not there", in and out. Where values are not of the kind that a policy is for, the last one wins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from .merge import ABSENT
from .pickling.unpickler import MOST_COMPARED, parts_compared

#: What comparing or adding values raises that are no numbers, dates out of range, or records in a circle.
NOT_OF_A_KIND: Final = (TypeError, ValueError, ArithmeticError, RecursionError)

_NUMBERS = (int, float, complex, Decimal, Fraction)

#: base, mine, theirs -> the merged value.
Policy = Callable[[Any, Any, Any], Any]


def last(base: Any, mine: Any, theirs: Any) -> Any:
    """Take the value that is written last: mine."""
    return mine


def first(base: Any, mine: Any, theirs: Any) -> Any:
    """Keep the value that was written first: theirs."""
    return theirs


def largest(base: Any, mine: Any, theirs: Any) -> Any:
    """Take the larger value: for what only grows, such as the last time that something was seen."""
    if mine is ABSENT or theirs is ABSENT:
        return theirs if mine is ABSENT else mine
    if not _are_quick(mine, theirs):
        return mine
    try:
        return max(mine, theirs)
    except NOT_OF_A_KIND:
        return mine


def counter(base: Any, mine: Any, theirs: Any) -> Any:
    """Add up what both sides added: for numbers."""
    if not all(
        _are_quick(*side) if type(side) is Counter else _are_quick(_zero(side)) for side in (base, mine, theirs)
    ):
        return mine
    try:
        return _zero(theirs) + _zero(mine) - _zero(base)
    except NOT_OF_A_KIND:
        return mine


def _are_quick(*values: object) -> bool:
    """Tell whether values are numbers, or made of few plain parts, as what these policies are for is.

    What holds itself may be compared for minutes before Python gives up, and the sum of two arrays takes the product of
    their sizes.
    """
    return all(isinstance(value, _NUMBERS) or parts_compared(value) <= MOST_COMPARED for value in values)


def _zero(value: Any) -> Any:
    return 0 if value is ABSENT else value


def _itself(item: Any) -> Hashable:
    return item  # type: ignore[no-any-return]  # or TypeError, as from any dict


def append(base: Any, mine: Any, theirs: Any, key: Callable[[Any], Hashable] = _itself) -> Any:
    """Append what both sides appended, and forget what one side removed: for lists, such as flashed messages.

    :param key: an item -> what it is told apart by. Each is looked at once: to compare each with each takes half a
        minute for lists that somebody else has filled. Where it raises, mine is taken.
    """
    sides = [_items(list, side) for side in (base, mine, theirs)]
    if None in sides:
        return mine
    before, my_items, their_items = sides
    try:
        known = [key(item) for item in before]
        my_new, my_old = _apart(my_items, known, key)
        their_new, their_old = _apart(their_items, known, key)
    except NOT_OF_A_KIND:
        return mine
    both = my_old & their_old
    kept = []
    for item, known_as in zip(before, known, strict=True):
        if both[known_as] > 0:
            both[known_as] -= 1
            kept.append(item)
    return _or_absent(kept + their_new + my_new, mine, theirs)


def _apart(
    items: list[Any], known: list[Hashable], key: Callable[[Any], Hashable]
) -> tuple[list[Any], Counter[Hashable]]:
    """Return those items that are new, and how many of each known one are there."""
    left = Counter(known)
    new, old = [], Counter[Hashable]()
    for item in items:
        known_as = key(item)
        if left[known_as] > 0:
            left[known_as] -= 1
            old[known_as] += 1
        else:
            new.append(item)
    return new, old


def union(base: Any, mine: Any, theirs: Any) -> Any:
    """Take what both sides added, without what one of them removed: for sets."""
    sides = [_items(set, side) for side in (base, mine, theirs)]
    if None in sides:
        return mine
    before, my_items, their_items = sides
    if not all(_are_quick(*side) for side in sides):
        return mine
    try:
        merged = (before & my_items & their_items) | (my_items - before) | (their_items - before)
    except NOT_OF_A_KIND:
        return mine
    return _or_absent(merged, mine, theirs)


def _items(kind: type, side: Any) -> Any:
    if side is ABSENT:
        return kind()
    return side if isinstance(side, kind) else None


def _or_absent(merged: Any, mine: Any, theirs: Any) -> Any:
    """Leave the key out where nothing is left and one side had removed it."""
    return merged if merged or (mine is not ABSENT and theirs is not ABSENT) else ABSENT


#: What a configuration may name.
POLICIES: Final[Mapping[str, Policy]] = {
    "last": last,
    "first": first,
    "max": largest,
    "counter": counter,
    "append": append,
    "union": union,
}

#: Policies that hold unless a configuration says otherwise: Flask's flashed messages.
DEFAULT_POLICIES: Final[Mapping[str, Policy]] = {"_flashes": append}
