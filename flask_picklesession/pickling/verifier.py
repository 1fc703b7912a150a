"""Decide, before anything is built, whether bytes are what our pickler writes, within the limits.

:func:`verify_segment` reads the pickle of one value as an abstract stack machine, with one int for each value
(:mod:`.entries`).

What makes it a boundary (each line closes published attacks, see ``tests/pickling/test_bypasses.py``):

* only opcodes that the C pickler writes for us: no GLOBAL, INST, OBJ, NEWOBJ, BUILD, EXT, PERSID, DUP, PUT, FRAME;
* REDUCE only on a restorer of this allow-list, with an argument tuple made right there; a restorer is never data;
* APPENDS, ADDITEMS, SETITEMS only on a list, set or dict that was made right there, never on one out of the memo:
  these opcodes call methods of whatever stands there (CVE-2026-24747);
* a record is made empty and filled in once, by its own restorer, in one fixed sequence;
* memo entries are numbered by MEMOIZE only; what is read back is added to the expanded size;
* a value with references back to what is still open is measured as the graph that it is (:mod:`.cycles`);
* keys count by what hashing them meets, and whether some may collide is told to the caller, who builds such a value
  with an eye on it (:class:`.unpickler.GuardedUnpickler`).

The pickler writes MEMOIZE after certain opcodes and after no others. The loop takes such sequences in one turn:
that, and the plain ints, make it fast in an interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..exceptions import PayloadError
from .cycles import check_cycles
from .entries import (
    COPIED_PER_OBJECT,
    COPIES,
    DOUBLED,
    EXTRA_SHIFT,
    FLOAT,
    HASHED,
    HEAVY_SIZE,
    INDEX_SHIFT,
    ITEM,
    KIND_MASK,
    MARKER_AS_DATA,
    MOST_EXTRA,
    ODD,
    SHORT,
    WEIGHT,
    Kind,
    Layout,
    LimitError,
    layout_for,
    long_weight,
    text_weight,
)
from .limits import DEFAULT_LIMITS, MANY_KEYS, MOST_WALKED, PART_GUARDED, Limits
from .names import MARKER, read_name

# ruff: noqa: SIM108, SIM109 - ternaries and `in (...)` cost more than plain branches and comparisons of ints.

PROTO = b"\x80\x05"

# Plain ints: comparing members of an IntEnum costs several times as much.
_LIST, _DICT, _SET, _RECORD = int(Kind.LIST), int(Kind.DICT), int(Kind.SET), int(Kind.RECORD)
_MARKER, _HEAVY, _FLAT, _VALUE, _MAKER, _SETTER = (
    int(Kind.MARKER),
    int(Kind.HEAVY),
    int(Kind.FLAT),
    int(Kind.VALUE),
    int(Kind.MAKER),
    int(Kind.SETTER),
)

#: Set in the entry of a restorer that copies its text.
_COPIES = COPIES << INDEX_SHIFT

#: Set in the number of a restorer of records that count as more than what stands in the bytes.
_MORE = DOUBLED | MOST_EXTRA << EXTRA_SHIFT

_MARKER_TEXT = MARKER.encode("ascii")
_MARKER_LENGTH = len(_MARKER_TEXT)

#: Bytes that an object takes as long as which the guarded unpickler builds, and a container with keys once more; and
#: how many there may be of all, for each byte that a value may have, with cycles and without.
GUARDED_OBJECT, MOST_GUARDED_IN_CYCLES, MOST_GUARDED = 11, 1, 3 / 2

#: Items that hashing all keys may meet, for two bytes of a value and beside that. Without shared parts there are fewer,
#: but for long ints; the slowest take fifty nanoseconds each, and the guarded unpickler hashes each key three times.
HASHED_PER_TWO_BYTES, SPARE_HASHED = 3, 1_000

# Bytes of the shortest int that the pickler writes so: below there are opcodes for one, two and four bytes. Of no bytes
# at all, many took twice as long as anything else.
SHORTEST_LONG, SHORTEST_LONG4 = 5, 256

# The pickler fills containers in batches of this many items.
_BATCH = 1000

# The pickler throws away the items of a short tuple one by one.
_MOST_POPS = 3

# MEMOIZE TUPLE1 MEMOIZE REDUCE MEMOIZE
_LEAF_END = b"\x94\x85\x94R\x94"

# EMPTY_TUPLE REDUCE MEMOIZE: a maker without arguments.
_MADE = b")R\x94"

# TUPLE2 REDUCE POP: a setter with the record and its state.
_FILLED = b"\x86R0"

_MEMOIZE = 0x94
_STACK_GLOBAL = 0x93
_REDUCE = ord("R")
_POP = ord("0")
_BINGET = ord("h")
_LONG_BINGET = ord("j")


def verify_segment(data: bytes, restorers: Mapping[bytes, int], limits: Limits) -> bool:
    """Pass a segment, or refuse it.

    :param data: the bytes.
    :param restorers: written name -> :func:`.entries.restorer_entry`, of the allow-list.
    :param limits: the bounds.
    :return: whether its keys could be chosen to collide, or to be hashed too early: then it is to be built by a guarded
        unpickler first.
    :raises PayloadError: if these bytes are not what our pickler writes with this allow-list and these limits.
    """
    if len(data) > limits.max_value_size:
        raise LimitError("max_value_size")
    if data[:2] != PROTO:
        raise PayloadError("not a pickle of protocol 5")
    try:
        return _run(data, restorers, limits)
    except LookupError:
        # Of the bytes, the stack, the memo or the records that wait to be filled in.
        raise PayloadError("truncated, or an opcode without its operands") from None


def _run(data: bytes, restorers: Mapping[bytes, int], limits: Limits) -> bool:
    # One function, with everything in locals: a call for each opcode would double its time.
    layout = layout_for(limits)
    one_deep, _two_deep, size_mask, special, too_deep, leaves = layout
    marker = special | _MARKER
    max_spent = limits.max_expanded * 2
    max_items = limits.max_items
    max_objects = limits.max_objects
    max_depth = limits.max_depth
    many = min(_BATCH, max_items + 1)
    memo: list[int] = []
    remember = memo.append
    if data.count(_MEMOIZE) > max_objects:
        # Perhaps: the byte may be part of a text. Counted one by one then, so that no more are read than are allowed.
        remember = _counting(memo, max_objects)
    open_ones = _Open(memo, layout, limits)
    settle, fill = open_ones.settle, open_ones.fill
    has_cycles = False
    records: dict[int, int] = {}
    frames: list[list[int]] = []
    stack: list[int] = []
    push = stack.append
    spent = 0
    # Objects that the memo does not hold: what is thrown away again, and what heavy restorers count for.
    uncounted = 0
    # Of texts that are copied.
    copied = 0
    # A key that was made of shared parts is hashed whole each time.
    odd_keys = odd_size = granted = 0
    # Ints of two bytes, which may be keys, and keys of containers that have thousands.
    shorts = many_keys = 0
    # Batches of keys.
    keyed = 0
    most_odd_size = ITEM * (HASHED_PER_TWO_BYTES * len(data) // 2 + SPARE_HASHED)
    max_odd_keys = limits.max_odd_keys
    max_int_bytes = limits.max_int_bytes
    i = 2
    while True:
        opcode = data[i]

        if opcode == 0x8C:  # SHORT_BINUNICODE .. MEMOIZE
            start = i + 2
            i = start + data[i + 1]
            if data[i] != _MEMOIZE:
                raise PayloadError("a str without MEMOIZE")
            i += 1
            if data[i] == _STACK_GLOBAL:
                if stack.pop() != marker or data[i + 1] != _MEMOIZE:
                    raise PayloadError("a name without its marker")
                name = data[start : i - 1]
                entry = special | restorers.get(name, 0)
                if entry == special:
                    type_name = read_name(name)
                    raise PayloadError(f"{type_name} is not on the allow-list", type_name=type_name)
                remember(ITEM)
                remember(entry)
                i += 2
                if entry & KIND_MASK == _SETTER:
                    i = _bind_setter(data, i, entry, stack, records, special)
                push(entry)
            else:
                length = data[start - 1]
                if length == _MARKER_LENGTH and data[start : i - 1] == _MARKER_TEXT:
                    entry = marker
                else:
                    entry = SHORT[length]
                remember(entry)
                push(entry)

        elif opcode == _BINGET or opcode == _LONG_BINGET:
            if opcode == _BINGET:
                index = data[i + 1]
                i += 2
            else:
                index = int.from_bytes(data[i + 1 : i + 5], "little")
                i += 5
            entry = memo[index]
            if entry < special:
                spent += entry & size_mask
                if spent > max_spent:
                    raise LimitError("max_expanded")
                push(entry)
                continue
            kind = entry & KIND_MASK
            if kind == _VALUE:
                opcode = data[i]
                if opcode == 0x8C or opcode == 0x43:
                    # Most values are restored from one short str or bytes: take the whole sequence at once.
                    length = data[i + 1]
                    end = i + 2 + length
                    # The marker's length is left to the long way: it may be the marker, for a later name to refer to.
                    if data[end : end + 5] == _LEAF_END and length != _MARKER_LENGTH:
                        leaf = leaves[length]
                        memo += leaf
                        push(leaf[2])
                        i = end + 5
                        continue
                push(entry)
                if opcode != 0x28:
                    continue
            elif kind == _MAKER:
                push(entry)
                if data[i : i + 3] != _MADE:
                    continue
                index = len(memo)
                records[index] = entry >> INDEX_SHIFT
                stack[-1] = made = special | index << INDEX_SHIFT | _RECORD
                remember(made)
                i += 3
                # The setter of the same record is the next number.
                entry += 1
                if data[i] != _BINGET or memo[data[i + 1]] != entry:
                    continue
                i = _bind_setter(data, i + 2, entry, stack, records, special)
                push(entry)
            elif kind == _SETTER:
                i = _bind_setter(data, i, entry, stack, records, special)
                push(entry)
            elif kind == _FLAT:
                push(entry)
            elif kind == _MARKER or kind == _HEAVY:
                push(entry)
                continue
            else:
                # A container or record that is still open: a reference back, so a cycle. Its size is not known yet.
                has_cycles = True
                push(ODD)
                continue
            if data[i] == 0x28 and data[i + 1] == _BINGET:
                entry = memo[data[i + 2]]
                if entry < special:
                    # MARK and a memo read: the fields of a record begin with their names.
                    spent += entry & size_mask
                    if spent > max_spent:
                        raise LimitError("max_expanded")
                    frames.append(stack)
                    if len(frames) > max_depth:
                        raise LimitError("max_depth")
                    stack = [entry]
                    push = stack.append
                    i += 3

        elif opcode == 0x4B:  # BININT1
            i += 2
            push(ITEM)

        elif opcode == 0x74 or opcode == 0x85 or opcode == 0x86 or opcode == 0x87 or opcode == 0x29:
            # TUPLE, TUPLE1, TUPLE2, TUPLE3, EMPTY_TUPLE
            state = 0
            if opcode == 0x86 and data[i + 1] == _REDUCE:
                state = stack.pop()
                if state >= special:
                    (state,) = settle([state])
            else:
                if opcode == 0x74:
                    items = stack
                    stack = frames.pop()
                    push = stack.append
                    if len(items) < 4:
                        raise PayloadError("TUPLE where the pickler writes a shorter opcode")
                    if len(items) > max_items:
                        raise LimitError("max_items")
                elif opcode == 0x29:
                    items = []
                else:
                    count = 0x84 - opcode
                    items = stack[count:]
                    if len(items) != -count:
                        raise PayloadError("a tuple of more than there is")
                    del stack[count:]
                i += 1
                if items:
                    deepest = max(items)
                    if deepest >= special:
                        items = settle(items)
                        deepest = max(items)
                    entry = ((deepest & ~size_mask) + one_deep + (sum(items) & size_mask) + 2) | 1
                    if entry >= too_deep:
                        raise LimitError("max_depth")
                    if data[i] != _MEMOIZE:
                        raise PayloadError("a tuple without MEMOIZE")
                    remember(entry)
                    i += 1
                else:
                    entry = ODD
                if data[i] != _REDUCE:
                    if data[i] != 0x86 or data[i + 1] != _REDUCE:
                        push(entry)
                        continue
                    state = entry
            if state:
                # SETTER, the record, the state: TUPLE2 REDUCE POP
                if data[i : i + 3] != _FILLED:
                    raise PayloadError("a tuple without MEMOIZE")
                setter, record = stack.pop(), stack[-1]
                if setter < special or setter & KIND_MASK != _SETTER:
                    raise PayloadError("a state without its record")
                entry = state + one_deep + 2
                flags = setter >> INDEX_SHIFT
                if flags & _MORE:
                    # To compare two looks at what differs once more, and so does each within it; and fields that were
                    # not stored get their defaults. Counts as read back, so that it fits a Layout's sizes.
                    again = (flags >> EXTRA_SHIFT & MOST_EXTRA) * ITEM
                    if flags & DOUBLED:
                        again += state & size_mask
                    spent += again
                    if spent > max_spent:
                        raise LimitError("max_expanded")
                    entry += again
                # Most records have no hash, or one that does not look at what they hold.
                entry = entry | 1 if flags & HASHED else entry & ~1
                if entry >= too_deep:
                    raise LimitError("max_depth")
                stack[-1] = memo[(record ^ special) >> INDEX_SHIFT] = entry
                # Making it and filling it in are two calls.
                uncounted += 1
                i += 3
                continue
            restorer = stack.pop()
            kind = restorer & KIND_MASK
            if restorer < special or not _HEAVY <= kind <= _MAKER:
                raise PayloadError("REDUCE on something else than a restorer")
            i += 1
            if kind == _MAKER:
                index = len(memo)
                records[index] = restorer >> INDEX_SHIFT
                entry = special | index << INDEX_SHIFT | _RECORD
            else:
                entry += one_deep
                if entry >= too_deep:
                    raise LimitError("max_depth")
                if restorer & _COPIES and items:
                    # The first argument, and the bytes of an array.
                    copied += items[0] & size_mask
                    if len(items) > 2:
                        copied += items[2] & size_mask
                if kind < _VALUE:
                    if kind == _HEAVY:
                        # To show one takes as long as that, too.
                        entry += HEAVY_SIZE
                        uncounted += WEIGHT
                        if uncounted > max_objects:
                            raise LimitError("max_objects")
                    else:
                        flags = restorer >> INDEX_SHIFT
                        again = (flags >> EXTRA_SHIFT & MOST_EXTRA) * ITEM
                        # Each that is made may be hashed; what is read back counts with the rest.
                        granted += again
                        most_odd_size += again
                        if flags & DOUBLED:
                            again += entry & size_mask
                        spent += again
                        if spent > max_spent:
                            raise LimitError("max_expanded")
                        entry += again
            if data[i] == _MEMOIZE:
                remember(entry)
                i += 1
            elif data[i] != _POP or kind == _MAKER:
                # POP and a memo read follow where the arguments led back to the value itself.
                raise PayloadError("REDUCE without MEMOIZE")
            else:
                uncounted += 1
            push(entry)

        elif opcode == 0x28:  # MARK
            i += 1
            frames.append(stack)
            # What stands within so many marks is at least as deep. Each costs a list: 200,000 take a tenth of a second.
            if len(frames) > max_depth:
                raise LimitError("max_depth")
            stack = []
            push = stack.append

        elif opcode == 0x4D:  # BININT2
            i += 3
            shorts += 1
            push(ITEM)

        elif opcode == 0x4E or opcode == 0x88 or opcode == 0x89:  # NONE, NEWTRUE, NEWFALSE
            i += 1
            push(ITEM)

        elif opcode == 0x75 or opcode == 0x73:  # SETITEMS, SETITEM
            i += 1
            if opcode == 0x75:
                items = stack
                stack = frames.pop()
                push = stack.append
            else:
                items = stack[-2:]
                del stack[-2:]
            if len(items) % 2:
                raise PayloadError("a key without its value")
            keyed += 1
            target = stack[-1]
            if target < special or target & KIND_MASK != _DICT:
                raise PayloadError("SETITEMS on something else than a new dict")
            if not items:
                stack[-1] = open_ones.close_empty(target)
                continue
            deepest = max(items)
            if deepest >= special:
                items = settle(items)
                deepest = max(items)
            before = odd_size
            for entry in items[::2]:
                if entry & 1:
                    odd_keys += 1
                    odd_size += entry & size_mask
            if odd_size > most_odd_size or odd_keys > max_odd_keys:
                raise LimitError("max_odd_keys")
            # It may be an OrderedDict's: to compare two looks at each key once more. Counts as read back, as where a
            # record is doubled.
            again = odd_size - before
            spent += again
            if spent > max_spent:
                raise LimitError("max_expanded")
            entry = ((deepest & ~size_mask) + one_deep + (sum(items) & size_mask) + 2 + again) | 1
            count = len(items) // 2
            if entry >= too_deep:
                raise LimitError("max_depth")
            if count >= MANY_KEYS:
                many_keys += count
            if count >= many or open_ones.batches:
                stack[-1] = fill(target, entry, count)
            else:
                stack[-1] = memo[(target ^ special) >> INDEX_SHIFT] = entry

        elif opcode == 0x61:  # APPEND
            i += 1
            entry = stack.pop()
            target = stack[-1]
            if target < special or target & KIND_MASK != _LIST:
                raise PayloadError("APPEND on something else than a new list")
            if entry >= special:
                (entry,) = settle([entry])
            entry = (entry + one_deep + 2) | 1
            if entry >= too_deep:
                raise LimitError("max_depth")
            stack[-1] = memo[(target ^ special) >> INDEX_SHIFT] = entry
            if open_ones.batches:
                stack[-1] = fill(target, entry, 1)

        elif opcode == 0x65:  # APPENDS
            i += 1
            items = stack
            stack = frames.pop()
            push = stack.append
            target = stack[-1]
            if target < special or target & KIND_MASK != _LIST:
                raise PayloadError("APPENDS on something else than a new list")
            if not items:
                raise PayloadError("an empty batch")
            deepest = max(items)
            if deepest >= special:
                items = settle(items)
                deepest = max(items)
            entry = ((deepest & ~size_mask) + one_deep + (sum(items) & size_mask) + 2) | 1
            count = len(items)
            if entry >= too_deep:
                raise LimitError("max_depth")
            if count >= many or open_ones.batches:
                stack[-1] = fill(target, entry, count)
            else:
                stack[-1] = memo[(target ^ special) >> INDEX_SHIFT] = entry

        elif opcode == 0x5D or opcode == 0x7D or opcode == 0x8F:  # EMPTY_LIST, EMPTY_DICT, EMPTY_SET .. MEMOIZE
            if data[i + 1] != _MEMOIZE:
                raise PayloadError("a container without MEMOIZE")
            i += 2
            kind = _LIST if opcode == 0x5D else _DICT if opcode == 0x7D else _SET
            entry = special | len(memo) << INDEX_SHIFT | kind
            remember(entry)
            push(entry)

        elif opcode == 0x43:  # SHORT_BINBYTES .. MEMOIZE
            length = data[i + 1]
            i += 2 + length
            if data[i] != _MEMOIZE:
                raise PayloadError("bytes without MEMOIZE")
            i += 1
            entry = SHORT[length]
            remember(entry)
            push(entry)

        elif opcode == 0x47:  # BINFLOAT
            i += 9
            push(FLOAT)

        elif opcode == 0x4A:  # BININT
            # Odd: 33,000 of them, chosen to stand in each other's way in one dict, took more than a second.
            i += 5
            push(ODD)

        elif opcode == 0x58 or opcode == 0x42 or opcode == 0x96:  # BINUNICODE, BINBYTES, BYTEARRAY8 .. MEMOIZE
            start = i + (9 if opcode == 0x96 else 5)
            length = int.from_bytes(data[i + 1 : start], "little")
            i = start + length
            if data[i] != _MEMOIZE:
                raise PayloadError("a str or bytes without MEMOIZE")
            i += 1
            entry = ITEM + ITEM * text_weight(length)
            remember(entry)
            push(entry)

        elif opcode == 0x90 or opcode == 0x91:  # ADDITEMS, FROZENSET .. MEMOIZE
            i += 1
            keyed += 1
            items = stack
            stack = frames.pop()
            push = stack.append
            deepest = max(items) if items else 0
            if deepest >= special:
                items = settle(items)
                deepest = max(items)
            for entry in items:
                if entry & 1:
                    odd_keys += 1
                    odd_size += entry & size_mask
            if odd_size > most_odd_size or odd_keys > max_odd_keys:
                raise LimitError("max_odd_keys")
            entry = ((deepest & ~size_mask) + one_deep + (sum(items) & size_mask) + 2) | 1
            if entry >= too_deep:
                raise LimitError("max_depth")
            if opcode == 0x91:
                if data[i] != _MEMOIZE:
                    raise PayloadError("a frozenset without MEMOIZE")
                if len(items) > max_items:
                    raise LimitError("max_items")
                if len(items) >= MANY_KEYS:
                    many_keys += len(items)
                i += 1
                remember(entry)
                push(entry)
            else:
                target = stack[-1]
                if target < special or target & KIND_MASK != _SET:
                    raise PayloadError("ADDITEMS on something else than a new set")
                if not items:
                    stack[-1] = open_ones.close_empty(target)
                    continue
                count = len(items)
                if count >= MANY_KEYS:
                    many_keys += count
                if count >= many or open_ones.batches:
                    stack[-1] = fill(target, entry, count)
                else:
                    stack[-1] = memo[(target ^ special) >> INDEX_SHIFT] = entry

        elif opcode == 0x8A:  # LONG1
            length = data[i + 1]
            if length > max_int_bytes:
                raise LimitError("max_int_digits")
            if length < SHORTEST_LONG:
                raise PayloadError("LONG1 where the pickler writes a shorter opcode")
            i += 2 + length
            push(ODD + ITEM * long_weight(length))

        elif opcode == 0x8B:  # LONG4
            length = int.from_bytes(data[i + 1 : i + 5], "little")
            if length > limits.max_int_bytes:
                raise LimitError("max_int_digits")
            if length < SHORTEST_LONG4:
                raise PayloadError("LONG4 where the pickler writes a shorter opcode")
            i += 5 + length
            push(ODD + ITEM * long_weight(length))

        elif opcode == _POP or opcode == 0x31:  # POP, POP_MARK
            # Written where a tuple, or the arguments of a restorer, led back to the value itself, which is read then.
            start = i
            i += 1
            if opcode == _POP:
                while data[i] == _POP:
                    i += 1
                count = i - start
                items = stack[-count:]
                if count > _MOST_POPS or len(items) != count:
                    raise PayloadError("more POPs than the pickler writes, or than there are values")
                del stack[-count:]
            else:
                count = 1
                items = stack
                stack = frames.pop()
                push = stack.append
                if not items:
                    raise PayloadError("POP_MARK of nothing")
            if max(items) >= special:
                settle(items)
            if data[i] != _BINGET and data[i] != _LONG_BINGET:
                raise PayloadError("POP where nothing is read instead")
            # To read something, throw it away and read something else took twice as long as anything else.
            uncounted += count
            if uncounted > max_objects:
                raise LimitError("max_objects")

        elif opcode == 0x2E:  # STOP
            if i + 1 != len(data) or frames or len(stack) != 1:
                raise PayloadError("STOP before the end, or with more or less than one value")
            if len(memo) + uncounted > max_objects:
                raise LimitError("max_objects")
            if copied > ITEM * (text_weight(len(data)) + COPIED_PER_OBJECT * len(memo)):
                raise LimitError("max_expanded")
            (entry,) = settle(stack)
            size = entry & size_mask
            # What stands in the bytes themselves counts, too.
            if size > max_spent or (size >> 1) * (entry // one_deep) > limits.max_copied:
                raise LimitError("max_expanded")
            is_guarded = odd_keys > 0 or shorts * many_keys > MOST_WALKED
            objects = len(memo) + uncounted
            if is_guarded:
                most: float = MOST_GUARDED_IN_CYCLES if has_cycles else MOST_GUARDED
                most *= limits.max_value_size * max(1, max_objects / DEFAULT_LIMITS.max_objects)
                if len(data) + GUARDED_OBJECT * (objects + keyed) > most:
                    raise LimitError("max_objects")
            if has_cycles:
                most_odd_size = granted + int((most_odd_size - granted) * PART_GUARDED)
                if objects > limits.max_objects_in_cycles(is_guarded=is_guarded):
                    raise LimitError("max_objects")
                if odd_size > most_odd_size:
                    raise LimitError("max_odd_keys")
                return check_cycles(data, restorers, limits, most_odd_size // ITEM, is_guarded=is_guarded)
            return is_guarded

        else:
            raise PayloadError(f"opcode 0x{opcode:02x} is none that we write")


def _counting(memo: list[int], most: int) -> Callable[[int], None]:
    """Return what notes an entry in the memo, and refuses one too many."""

    def remember(entry: int) -> None:
        if len(memo) >= most:
            raise LimitError("max_objects")
        memo.append(entry)

    return remember


class _Open:
    """The containers that may still be filled."""

    def __init__(self, memo: list[int], layout: Layout, limits: Limits) -> None:
        self._memo = memo
        self._layout = layout
        self._max_items = limits.max_items
        #: Of those that were filled in full batches so far: items and entry.
        self.batches: dict[int, tuple[int, int]] = {}

    def settle(self, items: list[int]) -> list[int]:
        """Return the items as plain values.

        :raises PayloadError: if a restorer, or a record that was not filled in, is among them.
        """
        special = self._layout.special
        return [item if item < special else self._settled(item) for item in items]

    def _settled(self, item: int) -> int:
        kind = item & KIND_MASK
        if kind == _MARKER:
            return MARKER_AS_DATA
        if kind > _SET:
            raise PayloadError("a restorer or an unfinished record used as a value")
        return self._closed(item)

    def _closed(self, target: int) -> int:
        """Note that nothing more can be put in a container: it has its last batch, or was taken as a value."""
        _count, entry = self.batches.pop(target, (0, ODD))
        self._memo[(target ^ self._layout.special) >> INDEX_SHIFT] = entry
        return entry

    def close_empty(self, target: int) -> int:
        """Note an empty batch, which the pickler writes behind a full last one only, and return what stands for it."""
        if target not in self.batches:
            raise PayloadError("an empty batch")
        return self._closed(target)

    def fill(self, target: int, entry: int, count: int) -> int:
        """Note a batch of a container that is filled in more than one, and return what stands for it.

        :param target: the container.
        :param entry: what would stand for it with this batch alone.
        :param count: items of the batch.
        """
        if count > _BATCH:
            raise PayloadError("a batch longer than the pickler writes")
        items, before = self.batches.get(target, (0, 0))
        if items + count > self._max_items:
            raise LimitError("max_items")
        mask = self._layout.size_mask
        entry = (max(before & ~mask, entry & ~mask) + (before & mask) + (entry & mask)) | 1
        self.batches[target] = items + count, entry
        # Behind a full batch another one may follow.
        return target if count == _BATCH else self._closed(target)


def _bind_setter(data: bytes, i: int, setter: int, stack: list[int], records: dict[int, int], special: int) -> int:
    """Check that a setter is followed by a read of the record that stands below, and of its own kind.

    :return: where the next opcode stands.
    """
    if data[i] == _BINGET:
        index, i = data[i + 1], i + 2
    elif data[i] == _LONG_BINGET:
        index, i = int.from_bytes(data[i + 1 : i + 5], "little"), i + 5
    else:
        raise PayloadError("a setter without its record")
    if stack[-1] != special | index << INDEX_SHIFT | _RECORD or records[index] != setter >> INDEX_SHIFT:
        raise PayloadError("a setter on another record than the one just made")
    return i


def verify_container(data: bytes, limits: Limits) -> int:
    """Pass a payload's container, or refuse it: a dict of str keys, whose values are scalars or bytes.

    :return: the number of keys, for the caller to see that none stands twice.
    :raises PayloadError: if these bytes are not what we write within these limits.
    """
    if len(data) > limits.max_size:
        raise LimitError("max_size")
    if data[:3] != b"\x80\x05}":
        raise PayloadError("not a payload")
    try:
        keys = _run_container(data, limits)
    except IndexError:
        raise PayloadError("truncated") from None
    if keys > limits.max_items:
        raise LimitError("max_items")
    return keys


def _run_container(data: bytes, limits: Limits) -> int:
    keys = 0
    i = 3
    while True:
        opcode = data[i]
        i += 1
        if opcode == 0x2E:  # STOP
            if i != len(data):
                raise PayloadError("bytes after STOP")
            return keys
        is_batch = opcode == 0x28  # MARK
        if not is_batch:
            i -= 1
        elif data[i] == 0x75:
            # The pickler closes a last full batch with an empty one.
            i += 1
            continue
        while True:
            keys += 1
            # The key.
            opcode = data[i]
            if opcode == 0x8C:  # SHORT_BINUNICODE
                i += 2 + data[i + 1]
            elif opcode == 0x58:  # BINUNICODE
                i += 5 + int.from_bytes(data[i + 1 : i + 5], "little")
            else:
                raise PayloadError("a key that is not a str")
            # The value.
            opcode = data[i]
            if opcode == 0x8C or opcode == 0x43 or opcode == 0x8A:  # SHORT_BINUNICODE, SHORT_BINBYTES, LONG1
                if opcode == 0x8A and data[i + 1] > limits.max_int_bytes:
                    raise LimitError("max_int_digits")
                i += 2 + data[i + 1]
            elif opcode == 0x4B:  # BININT1
                i += 2
            elif opcode == 0x42 or opcode == 0x58:  # BINBYTES, BINUNICODE
                i += 5 + int.from_bytes(data[i + 1 : i + 5], "little")
            elif opcode == 0x4E or opcode == 0x88 or opcode == 0x89:  # NONE, NEWTRUE, NEWFALSE
                i += 1
            elif opcode == 0x4D:  # BININT2
                i += 3
            elif opcode == 0x4A:  # BININT
                i += 5
            elif opcode == 0x47:  # BINFLOAT
                i += 9
            elif opcode == 0x8B:  # LONG4
                length = int.from_bytes(data[i + 1 : i + 5], "little")
                if length > limits.max_int_bytes:
                    raise LimitError("max_int_digits")
                i += 5 + length
            else:
                raise PayloadError(f"opcode 0x{opcode:02x} is none that a payload holds")
            if not is_batch:
                if data[i] != 0x73:  # SETITEM
                    raise PayloadError("a key and value outside of a batch")
                i += 1
                break
            if data[i] == 0x75:  # SETITEMS
                i += 1
                break
