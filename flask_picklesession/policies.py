"""What becomes of a key that two requests changed at once: a policy for each key, by name or as a function.

A policy takes the values of the base, mine and theirs, and returns the one that is stored. :data:`ABSENT` stands for
"the key is not there", in and out. Where values are not of the kind that a policy is for, the last one wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from .merge import ABSENT

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
    try:
        return max(mine, theirs)
    except TypeError:
        return mine


def counter(base: Any, mine: Any, theirs: Any) -> Any:
    """Add up what both sides added: for numbers."""
    try:
        return _zero(theirs) + _zero(mine) - _zero(base)
    except TypeError:
        return mine


def _zero(value: Any) -> Any:
    return 0 if value is ABSENT else value


def append(base: Any, mine: Any, theirs: Any) -> Any:
    """Append what both sides appended, and forget what one side removed: for lists, such as flashed messages."""
    sides = [_items(list, side) for side in (base, mine, theirs)]
    if None in sides:
        return mine
    before, my_items, their_items = sides
    kept, mine_left, theirs_left = [], list(my_items), list(their_items)
    for item in before:
        in_mine, in_theirs = _took(mine_left, item), _took(theirs_left, item)
        if in_mine and in_theirs:
            kept.append(item)
    return _or_absent(kept + theirs_left + mine_left, mine, theirs)


def union(base: Any, mine: Any, theirs: Any) -> Any:
    """Take what both sides added, without what one of them removed: for sets."""
    sides = [_items(set, side) for side in (base, mine, theirs)]
    if None in sides:
        return mine
    before, my_items, their_items = sides
    return _or_absent((before & my_items & their_items) | (my_items - before) | (their_items - before), mine, theirs)


def _items(kind: type, side: Any) -> Any:
    if side is ABSENT:
        return kind()
    return side if isinstance(side, kind) else None


def _took(items: list[Any], item: Any) -> bool:
    """Remove the first item that is equal, if there is one."""
    try:
        items.remove(item)
    except ValueError:
        return False
    return True


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
