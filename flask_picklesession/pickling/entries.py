"""What stands for a value while bytes are verified: one int, so that ``sum`` and ``max`` over items run in C.

::

    depth << shift | size << 1 | odd

*Size* counts the items that a walk through the value meets, shared parts each time; *odd* says that a writer can
choose the value's hash. Ints from ``special`` on are no plain values; the lowest bits say what they are, those above
where more is known of them::

    special | index << INDEX_SHIFT | kind

A plain ``max`` over items shows whether one of these is among them. A :class:`Layout` packs them as tightly as the
limits allow: with the default ones each fits in the 30 bits that CPython computes with quickly.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from ..exceptions import PayloadError
from .limits import Limits
from .names import MARKER

INDEX_SHIFT = 4
KIND_MASK = 15

#: A small item, and one whose hash a writer can choose. In sizes one item counts 2, as bit 0 is taken.
ITEM = 2
ODD = 3

#: Items that a float counts as: to find its 17 digits takes up to two microseconds, where it is very large or small.
FLOAT_WEIGHT = 5
FLOAT = FLOAT_WEIGHT * ITEM + 1


class Kind(IntEnum):
    """What a special entry is."""

    #: The text that stands before each name, and is a plain value when it is used as data.
    MARKER = 0
    #: Containers that may still be filled.
    LIST = 1
    DICT = 2
    SET = 3
    #: A record that must be filled in.
    RECORD = 4
    #: A restorer that makes a whole value of its arguments, and takes its time.
    HEAVY = 5
    #: A restorer that makes a whole value or record of its arguments, and counts for more than these.
    FLAT = 6
    #: A restorer that makes a whole value of its arguments.
    VALUE = 7
    #: A restorer that makes an empty record.
    MAKER = 8
    #: A restorer that fills in what its maker made.
    SETTER = 9


#: In the number of a restorer: whether the hash of what it restores looks at what that holds, whether comparing two
#: looks at what differs twice, whether showing one goes on where it is within itself, and whether it copies the text or
#: bytes that it is restored from.
HASHED, DOUBLED, UNGUARDED, COPIES = 1, 2, 4, 8

#: Where in the number of a restorer stands how many items what it restores counts for beside those in the bytes: fields
#: that are filled in by default, if they were not stored, and a hash that is slow. And the most that can stand there.
EXTRA_SHIFT, MOST_EXTRA = 4, 1023
_NUMBER_SHIFT = 14

#: Bits of a restorer's number, of what stands below it, and the types that may have one: it is told from ``special``,
#: however small the limits are.
_NUMBER_BITS = 29
MOST_TYPES = 1 << (_NUMBER_BITS - _NUMBER_SHIFT - INDEX_SHIFT)

#: Items that what copies its text may copy for each object of a value, beside those of all its bytes once: the pickler
#: writes such a text for each. By reference, 16 KB took 32 MiB, and a session of them half a gigabyte.
COPIED_PER_OBJECT = 8

#: Objects that a heavy restorer counts as: it takes as long as making so many. And items: so does showing it.
WEIGHT = 10
HEAVY_SIZE = WEIGHT * ITEM


def long_weight(length: int) -> int:
    """Return the items that an int counts as, beside one.

    Making text of a long one takes a time that grows with the square of its length (CVE-2020-10735), 250 microseconds
    for the longest; and eight bytes are twenty digits.

    :param length: of its pickle, in bytes.
    """
    return max(length * length >> 10, length >> 3)


def text_weight(length: int) -> int:
    """Return the items that a str or bytes counts as, beside one: copying and showing long ones costs more.

    :param length: in bytes.
    """
    return length >> 4


# Length -> entry of a short str or bytes.
SHORT = tuple(ITEM + ITEM * text_weight(length) for length in range(256))

MARKER_AS_DATA = SHORT[len(MARKER)]


class Layout(NamedTuple):
    """Where depth and size stand in an entry, for given limits."""

    one_deep: int
    two_deep: int
    size_mask: int
    special: int
    too_deep: int
    #: Length of a short str or bytes -> its entry, that of the tuple around it, and of what is restored from that.
    leaves: tuple[tuple[int, int, int], ...]


@lru_cache(maxsize=8)
def layout_for(limits: Limits) -> Layout:
    """Return the tightest layout in which no size of a value within these limits runs into its depth."""
    # Each byte can push one odd item, those of long strings and ints more, and all that is read back from the memo
    # counts again.
    longest = limits.max_int_bytes
    per_byte = max(ODD, ITEM * long_weight(longest) / longest) + 1 / 8
    heavy = ITEM * (limits.max_objects + WEIGHT)
    largest = int(limits.max_value_size * per_byte) + heavy + ITEM * limits.max_expanded
    shift = largest.bit_length()
    one_deep, two_deep = 1 << shift, 2 << shift
    leaves = tuple((size, (size + one_deep + 2) | 1, (size + two_deep + 2) | 1) for size in SHORT)
    too_deep = (limits.max_depth + 1) << shift
    # Two levels above the deepest may be computed before they are refused.
    special = 1 << max(_NUMBER_BITS, (too_deep + two_deep).bit_length())
    return Layout(one_deep, two_deep, one_deep - 1, special, too_deep, leaves)


def restorer_entry(kind: Kind, number: int, flags: int, extra: int) -> int:
    """Return what stands for a restorer, above :attr:`Layout.special`.

    :param kind: :attr:`Kind.HEAVY` or what stands behind it there.
    :param number: the same for a maker and its setter.
    :param flags: which of :data:`HASHED`, :data:`DOUBLED` and :data:`UNGUARDED` hold for what it restores.
    :param extra: items that it counts for beside those in the bytes.
    """
    extra = min(extra, MOST_EXTRA)
    return (number << _NUMBER_SHIFT | extra << EXTRA_SHIFT | flags) << INDEX_SHIFT | kind


def has_flag(entry: int, flag: int) -> bool:
    """Tell whether a flag holds for what a restorer restores."""
    return bool(entry >> INDEX_SHIFT & flag)


def extra_of(entry: int) -> int:
    """Return how many items what a restorer restores counts for beside those in the bytes."""
    return entry >> (INDEX_SHIFT + EXTRA_SHIFT) & MOST_EXTRA


class LimitError(PayloadError):
    """The bytes are well-formed but exceed a limit."""

    def __init__(self, limit: str) -> None:
        #: The limit's name.
        self.limit = limit
        super().__init__(f"the value exceeds the limit {limit}")
