"""Three-way merge by key: base, mine, theirs -> merged.

The base is what a request loaded, mine what it made of it, theirs what others saved meanwhile. Values are
compared and merged as stored bytes; nothing is built. Without the common ancestor a merge brings deleted
keys back and takes old values for new ones (connect-redis 6.1.0, reverted for that).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

#: Stands for the value of a key that is not there.
ABSENT: Any = type("_Absent", (), {"__slots__": (), "__repr__": lambda self: "ABSENT"})()

#: base, mine, theirs, as stored or :data:`ABSENT` -> what is to be stored, or :data:`ABSENT`.
Resolver = Callable[[Any, Any, Any], Any]


class Changes(NamedTuple):
    """What one request changed."""

    #: New and changed keys with their stored values.
    assigned: dict[str, Any]
    #: Keys that were removed.
    deleted: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.assigned or self.deleted)

    def touches(self, key: str) -> bool:
        """Tell whether a key was assigned or removed."""
        return key in self.assigned or key in self.deleted


class Merged(NamedTuple):
    """What a merge made."""

    values: dict[str, Any]
    #: My keys that gave way to theirs, since this worker cannot restore theirs.
    given_way: tuple[str, ...]


def merge(
    base: Mapping[str, object],
    changes: Changes,
    theirs: Mapping[str, object],
    *,
    is_restorable: Callable[[object], bool],
    resolvers: Mapping[str, Resolver] | None = None,
) -> Merged:
    """Apply my changes to theirs.

    A key that both sides changed takes what its resolver makes of it, and my value where there is none: I wrote
    last. Where theirs is of a type that this worker cannot restore, theirs stands: a newer worker wrote it, and
    mine was made without seeing it.

    :param base: what this request loaded, key by key.
    :param changes: what it changed.
    :param theirs: what stands in the store now.
    :param is_restorable: tells whether this worker can restore a stored value.
    :param resolvers: key -> what makes one stored value of three, or :data:`ABSENT`.
    """
    values = dict(theirs)
    given_way = []
    for key in (*changes.assigned, *changes.deleted):
        before, their = base.get(key, ABSENT), theirs.get(key, ABSENT)
        mine = changes.assigned.get(key, ABSENT)
        if their is ABSENT and mine is ABSENT:
            # Both removed it.
            continue
        if not is_same(before, their):
            if their is not ABSENT and not is_restorable(their):
                given_way.append(key)
                continue
            if resolvers and key in resolvers:
                mine = resolvers[key](before, mine, their)
        if mine is ABSENT:
            values.pop(key, None)
        else:
            values[key] = mine
    return Merged(values, tuple(given_way))


def is_same(left: object, right: object) -> bool:
    """Tell whether two stored values are the same: ``1`` is not ``True``."""
    return left is right or (type(left) is type(right) and left == right)
