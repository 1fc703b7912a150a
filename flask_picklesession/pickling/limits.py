"""What a payload may cost, the same at write and at read."""

from __future__ import annotations

from dataclasses import dataclass, fields

#: Deepest nesting that may be allowed: pickling takes up to three levels of CPython's recursion limit of 1000 for each,
#: and a web request's own frames need the rest.
DEEPEST = 250

#: Places of their tables through which ints may lead all keys of a value, if they are chosen so: each of thousands, in
#: the order in which CPython looks at them, through as many. A place takes a nanosecond.
MOST_WALKED = 9_000_000

#: Keys of a container from which on these count.
MANY_KEYS = 256


#: Levels that ``max_expanded`` items may stand below; half as many items, twice as deep. ``repr`` copies the text of
#: what is within, again at each level: half a million texts of 15 characters, 190 levels deep, took nine seconds.
LEVELS_EXPANDED = 24


#: Part of the objects that a value may have which is verified and measured as a graph; and of these, and of the items
#: that hashing may meet, where it is built by the guarded unpickler, too.
PART_IN_CYCLES, PART_GUARDED = 0.8, 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one payload and of each value in it. What exceeds one is refused when it is stored.

    Each has a setting of the same name: ``PICKLESESSION_MAX_SIZE`` and so on.

    :raises ValueError: if one is not a positive int, or the depth is beyond :data:`DEEPEST`.
    """

    #: Bytes of a payload: of all values of a session together. The worst that is accepted takes a tenth of a second
    #: (``benchmarks/worst.py``). Django's cookies hold 4096, Rails' MessagePack and Java's streams have no bound.
    max_size: int = 262_144

    #: Bytes of one value.
    max_value_size: int = 262_144

    #: How deep containers and records may nest (PHP's ``unserialize_max_depth``: 4096; JEP 290's ``maxdepth``: none).
    max_depth: int = 200

    #: Items in a value as a walk meets them, shared parts counted each time: bounds what ``repr`` and ``==`` cost,
    #: which a few shared tuples can double again and again ("billion laughs"). So can a few cycles: each path through
    #: these counts, from wherever a walk begins. What is slow to show counts as several: floats, long ints, paths. The
    #: deeper a value is, the fewer it may have (:data:`LEVELS_EXPANDED`).
    max_expanded: int = 500_000

    #: Items of one container (JEP 290's ``maxarray``), and keys of a session.
    max_items: int = 100_000

    #: Containers, records, str, bytes and restored values in one value, each shared one once; paths and networks count
    #: tenfold. In a value with cycles, four fifths of that; and with keys whose hash a writer can choose, three fifths,
    #: and fewer where it has all the bytes that it may have. Each costs some microseconds to verify and build, however
    #: small it is: this bounds the worst of ``benchmarks/worst.py``.
    max_objects: int = 15_000

    #: Decimal digits of an int: what CPython converts to text (CVE-2020-10735).
    max_int_digits: int = 4_300

    #: Dict keys and set elements in one value whose hash a writer can choose: all but str, bytes, ints up to 65,535 and
    #: records without a hash of their own. Chosen well, they stand in each other's way in a table without having one
    #: hash: for so many that takes milliseconds. Those of one hash are found by :class:`.unpickler.GuardedUnpickler`,
    #: and ints of any size in containers of thousands, where they are not one after the other.
    max_odd_keys: int = 3_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{field.name} must be an int of at least 1")
        if self.max_depth > DEEPEST:
            raise ValueError(f"max_depth must be at most {DEEPEST}")

    def max_objects_in_cycles(self, *, is_guarded: bool) -> int:
        """Return how many objects a value with cycles may have.

        :param is_guarded: whether it will be built by the guarded unpickler.
        """
        return int(self.max_objects * (PART_GUARDED if is_guarded else PART_IN_CYCLES))

    @property
    def max_copied(self) -> int:
        """Items, each counted as often as it has levels around it, that a walk may meet."""
        return LEVELS_EXPANDED * self.max_expanded

    @property
    def max_int_bytes(self) -> int:
        """Bytes of an int that has no more digits: a digit has log2(10) bits, and one bit is the sign's.

        Eight at least: so many have ids and times.
        """
        return max(8, self.max_int_digits * 33_219 // 80_000)


DEFAULT_LIMITS = Limits()
