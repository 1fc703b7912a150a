"""Three-way merge by key: base, mine, theirs -> merged.

The base is what a request loaded, mine what it made of it, theirs what others saved meanwhile. Values are
compared and merged as stored bytes; nothing is built. Without the common ancestor a merge brings deleted
keys back and takes old values for new ones (connect-redis 6.1.0, reverted for that).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


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
) -> Merged:
    """Apply my changes to theirs.

    A key that both sides changed takes my value: I wrote last. Where theirs is of a type that this worker
    cannot restore, theirs stands: a newer worker wrote it, and mine was made without seeing it.

    :param base: what this request loaded, key by key.
    :param changes: what it changed.
    :param theirs: what stands in the store now.
    :param is_restorable: tells whether this worker can restore a stored value.
    """
    values = dict(theirs)
    given_way = []
    for key in (*changes.assigned, *changes.deleted):
        is_theirs_too = key in theirs and theirs[key] != base.get(key)
        if is_theirs_too and not is_restorable(theirs[key]):
            given_way.append(key)
        elif key in changes.assigned:
            values[key] = changes.assigned[key]
        else:
            values.pop(key, None)
    return Merged(values, tuple(given_way))
