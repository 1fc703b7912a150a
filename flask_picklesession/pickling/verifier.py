"""Decide, before anything is built, whether bytes are what our pickler writes, within the limits.

:func:`verify_segment` reads the pickle of one value as an abstract stack machine. Each value on its stack is one
int, so that ``sum`` and ``max`` over a container's items run in C::

    depth << shift | size << 1 | odd

*Size* counts the items that a walk through the value meets, shared parts each time; *odd* says that a writer can
choose the value's hash. Ints from ``special`` on are no plain values: restorers, containers that may still be
filled, and records that must be. A plain ``max`` over items shows whether one of these is among them. A
:class:`Layout` packs them as tightly as the limits allow: with the default ones each fits in the 30 bits that CPython
computes with quickly.

What makes it a boundary (each line closes published attacks, see ``tests/pickling/test_bypasses.py``):

* only opcodes that the C pickler writes for us: no GLOBAL, INST, OBJ, NEWOBJ, BUILD, EXT, PERSID, DUP, PUT, FRAME;
* REDUCE only on a restorer of this allow-list, with an argument tuple made right there; a restorer is never data;
* APPENDS, ADDITEMS, SETITEMS only on a list, set or dict that was made right there, never on one out of the memo:
  these opcodes call methods of whatever stands there (CVE-2026-24747);
* a record is made empty and filled in once, by its own restorer, in one fixed sequence;
* memo entries are numbered by MEMOIZE only; what is read back is added to the expanded size.

The pickler writes MEMOIZE after certain opcodes and after no others. The loop takes such sequences in one turn:
that, and the plain ints, make it fast in an interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from ..exceptions import PayloadError
from .limits import Limits
from .names import MARKER, read_name

# ruff: noqa: SIM108, SIM109 - ternaries and `in (...)` cost more than plain branches and comparisons of ints.

PROTO = b"\x80\x05"

_INDEX_SHIFT = 3
_KIND_MASK = 7

# A small item, and one whose hash a writer can choose. In sizes one item counts 2, as bit 0 is taken.
_EVEN = 2
_ODD = 3


class Kind(IntEnum):
    """What a special entry is. The first four become plain values when they are used as data."""

    MARKER = 0
    LIST = 1
    DICT = 2
    SET = 3
    RECORD = 4
    #: A restorer that makes a whole value of its arguments.
    VALUE = 5
    #: A restorer that makes an empty record.
    MAKER = 6
    #: A restorer that fills in what its maker made.
    SETTER = 7


# Plain ints: comparing members of an IntEnum costs several times as much.
_KIND_MARKER, _KIND_LIST, _KIND_DICT, _KIND_SET, _KIND_RECORD, _KIND_VALUE, _KIND_MAKER, _KIND_SETTER = map(int, Kind)

_MARKER_TEXT = MARKER.encode("ascii")
_MARKER_LENGTH = len(_MARKER_TEXT)
_MARKER_AS_DATA = _EVEN + ((_MARKER_LENGTH >> 4) << 1)

# Length -> entry of a short str or bytes. Long ones count more: copying and showing them costs more.
_SHORT = tuple(_EVEN + ((length >> 4) << 1) for length in range(256))

# Items to hash for a byte of the value: without shared parts there is less than one.
_HASHED_PER_BYTE = 4

# The pickler fills containers in batches of this many items.
_BATCH = 1000

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
    # Each byte can push one item, long strings count more, and all that is read back from the memo counts again.
    largest = 2 * limits.max_value_size + limits.max_value_size // 8 + 2 * limits.max_expanded
    shift = largest.bit_length()
    one_deep, two_deep = 1 << shift, 2 << shift
    leaves = tuple((size, (size + one_deep + 2) | 1, (size + two_deep + 2) | 1) for size in _SHORT)
    too_deep = (limits.max_depth + 1) << shift
    # Two levels above the deepest may be computed before they are refused.
    special = 1 << (too_deep + two_deep).bit_length()
    return Layout(one_deep, two_deep, one_deep - 1, special, too_deep, leaves)


def restorer_entry(kind: Kind, number: int) -> int:
    """Return what stands for a restorer on the abstract stack, above :attr:`Layout.special`.

    :param kind: :attr:`Kind.VALUE`, :attr:`Kind.MAKER` or :attr:`Kind.SETTER`.
    :param number: the same for a maker and its setter.
    """
    return number << _INDEX_SHIFT | kind


class LimitError(PayloadError):
    """The bytes are well-formed but exceed a limit."""

    def __init__(self, limit: str) -> None:
        #: The limit's name.
        self.limit = limit
        super().__init__(f"the value exceeds the limit {limit}")


def verify_segment(data: bytes, restorers: Mapping[bytes, int], limits: Limits) -> None:
    """Pass a segment, or refuse it.

    :param data: the bytes.
    :param restorers: written name -> :func:`restorer_entry`, of the allow-list.
    :param limits: the bounds.
    :raises PayloadError: if these bytes are not what our pickler writes with this allow-list and these limits.
    """
    if len(data) > limits.max_value_size:
        raise LimitError("max_value_size")
    if data[:2] != PROTO:
        raise PayloadError("not a pickle of protocol 5")
    try:
        _run(data, restorers, limits)
    except LookupError:
        # Of the bytes, the stack, the memo or the records that wait to be filled in.
        raise PayloadError("truncated, or an opcode without its operands") from None


def _run(data: bytes, restorers: Mapping[bytes, int], limits: Limits) -> None:
    # One function, with everything in locals: a call for each opcode would double its time.
    layout = layout_for(limits)
    one_deep, _two_deep, size_mask, special, too_deep, leaves = layout
    marker = special | _KIND_MARKER
    max_spent = limits.max_expanded * 2
    max_items = limits.max_items
    max_depth = limits.max_depth
    # Containers filled in more than one batch -> their items so far.
    batches: dict[int, int] = {}
    many = min(_BATCH, max_items + 1)
    memo: list[int] = []
    remember = memo.append
    if data.count(_MEMOIZE) > limits.max_objects:
        # Perhaps: the byte may be part of a text. Counted one by one then, so that no more are read than are allowed.
        remember = _counting(memo, limits.max_objects)
    records: dict[int, int] = {}
    frames: list[list[int]] = []
    stack: list[int] = []
    push = stack.append
    spent = 0
    # A key that was made of shared parts is hashed whole each time; keys that collide are compared, each with each.
    odd_keys = odd_size = 0
    most_odd_size = 2 * (_HASHED_PER_BYTE * len(data) + limits.max_odd_keys)
    most_odd_work = 3 * limits.max_odd_keys * limits.max_odd_keys
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
                remember(_EVEN)
                remember(entry)
                i += 2
                if entry & _KIND_MASK == _KIND_SETTER:
                    i = _bind_setter(data, i, entry, stack, records, special)
                push(entry)
            else:
                length = data[start - 1]
                if length == _MARKER_LENGTH and data[start : i - 1] == _MARKER_TEXT:
                    entry = marker
                else:
                    entry = _SHORT[length]
                remember(entry)
                push(entry)

        elif opcode == _BINGET or opcode == _LONG_BINGET:
            if opcode == _BINGET:
                entry = memo[data[i + 1]]
                i += 2
            else:
                entry = memo[int.from_bytes(data[i + 1 : i + 5], "little")]
                i += 5
            if entry < special:
                spent += entry & size_mask
                if spent > max_spent:
                    raise LimitError("max_expanded")
                push(entry)
                continue
            kind = entry & _KIND_MASK
            if kind == _KIND_VALUE:
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
            elif kind == _KIND_MAKER:
                push(entry)
                if data[i : i + 3] != _MADE:
                    continue
                index = len(memo)
                records[index] = entry >> _INDEX_SHIFT
                stack[-1] = made = special | index << _INDEX_SHIFT | _KIND_RECORD
                remember(made)
                i += 3
                # The setter of the same record is the next number.
                entry += 1
                if data[i] != _BINGET or memo[data[i + 1]] != entry:
                    continue
                i = _bind_setter(data, i + 2, entry, stack, records, special)
                push(entry)
            elif kind == _KIND_MARKER:
                push(entry)
                continue
            elif kind == _KIND_SETTER:
                i = _bind_setter(data, i, entry, stack, records, special)
                push(entry)
            else:
                # A container or record that is still open: a reference back, so a cycle.
                push(_ODD)
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
            push(_EVEN)

        elif opcode == 0x74 or opcode == 0x85 or opcode == 0x86 or opcode == 0x87 or opcode == 0x29:
            # TUPLE, TUPLE1, TUPLE2, TUPLE3, EMPTY_TUPLE
            state = 0
            if opcode == 0x86 and data[i + 1] == _REDUCE:
                state = stack.pop()
                if state >= special:
                    state = _settle([state], memo, layout)[0]
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
                        items = _settle(items, memo, layout)
                        deepest = max(items)
                    entry = ((deepest & ~size_mask) + one_deep + (sum(items) & size_mask) + 2) | 1
                    if entry >= too_deep:
                        raise LimitError("max_depth")
                    if data[i] != _MEMOIZE:
                        raise PayloadError("a tuple without MEMOIZE")
                    remember(entry)
                    i += 1
                else:
                    entry = _ODD
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
                if setter < special or setter & _KIND_MASK != _KIND_SETTER:
                    raise PayloadError("a state without its record")
                entry = (state + one_deep + 2) | 1
                if entry >= too_deep:
                    raise LimitError("max_depth")
                stack[-1] = memo[(record ^ special) >> _INDEX_SHIFT] = entry
                i += 3
                continue
            restorer = stack.pop()
            if restorer < special or not _KIND_VALUE <= restorer & _KIND_MASK <= _KIND_MAKER:
                raise PayloadError("REDUCE on something else than a restorer")
            i += 1
            if restorer & _KIND_MASK == _KIND_MAKER:
                index = len(memo)
                records[index] = restorer >> _INDEX_SHIFT
                entry = special | index << _INDEX_SHIFT | _KIND_RECORD
            elif entry + one_deep >= too_deep:
                raise LimitError("max_depth")
            else:
                entry += one_deep
            if data[i] == _MEMOIZE:
                remember(entry)
                i += 1
            elif data[i] != _POP or entry >= special:
                # POP and a memo read follow where the arguments led back to the value itself.
                raise PayloadError("REDUCE without MEMOIZE")
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
            push(_EVEN)

        elif opcode == 0x4E or opcode == 0x88 or opcode == 0x89:  # NONE, NEWTRUE, NEWFALSE
            i += 1
            push(_EVEN)

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
            target = stack[-1]
            if target < special or target & _KIND_MASK != _KIND_DICT:
                raise PayloadError("SETITEMS on something else than a new dict")
            if not items:
                continue
            deepest = max(items)
            if deepest >= special:
                items = _settle(items, memo, layout)
                deepest = max(items)
            for entry in items[::2]:
                if entry & 1:
                    odd_keys += 1
                    odd_size += entry & size_mask
            if odd_size > most_odd_size or odd_keys * odd_size > most_odd_work:
                raise LimitError("max_odd_keys")
            count = len(items) // 2
            if count >= many or batches:
                _count(batches, target, count, max_items)
            entry = _filled(memo, target, deepest, sum(items), layout)
            if entry >= too_deep:
                raise LimitError("max_depth")
            if count != _BATCH:
                stack[-1] = entry

        elif opcode == 0x65 or opcode == 0x61:  # APPENDS, APPEND
            i += 1
            if opcode == 0x65:
                items = stack
                stack = frames.pop()
                push = stack.append
            else:
                items = [stack.pop()]
            target = stack[-1]
            if target < special or target & _KIND_MASK != _KIND_LIST:
                raise PayloadError("APPENDS on something else than a new list")
            if not items:
                continue
            deepest = max(items)
            if deepest >= special:
                items = _settle(items, memo, layout)
                deepest = max(items)
            count = len(items)
            if count >= many or batches:
                _count(batches, target, count, max_items)
            entry = _filled(memo, target, deepest, sum(items), layout)
            if entry >= too_deep:
                raise LimitError("max_depth")
            if count != _BATCH:
                stack[-1] = entry

        elif opcode == 0x5D or opcode == 0x7D or opcode == 0x8F:  # EMPTY_LIST, EMPTY_DICT, EMPTY_SET .. MEMOIZE
            if data[i + 1] != _MEMOIZE:
                raise PayloadError("a container without MEMOIZE")
            i += 2
            kind = _KIND_LIST if opcode == 0x5D else _KIND_DICT if opcode == 0x7D else _KIND_SET
            entry = special | len(memo) << _INDEX_SHIFT | kind
            remember(entry)
            push(entry)

        elif opcode == 0x43:  # SHORT_BINBYTES .. MEMOIZE
            length = data[i + 1]
            i += 2 + length
            if data[i] != _MEMOIZE:
                raise PayloadError("bytes without MEMOIZE")
            i += 1
            entry = _SHORT[length]
            remember(entry)
            push(entry)

        elif opcode == 0x47:  # BINFLOAT
            i += 9
            push(_ODD)

        elif opcode == 0x4A:  # BININT
            i += 5
            push(_EVEN)

        elif opcode == 0x58 or opcode == 0x42 or opcode == 0x96:  # BINUNICODE, BINBYTES, BYTEARRAY8 .. MEMOIZE
            start = i + (9 if opcode == 0x96 else 5)
            length = int.from_bytes(data[i + 1 : start], "little")
            i = start + length
            if data[i] != _MEMOIZE:
                raise PayloadError("a str or bytes without MEMOIZE")
            i += 1
            entry = _EVEN + ((length >> 4) << 1)
            remember(entry)
            push(entry)

        elif opcode == 0x90 or opcode == 0x91:  # ADDITEMS, FROZENSET .. MEMOIZE
            i += 1
            items = stack
            stack = frames.pop()
            push = stack.append
            deepest = max(items, default=0)
            if deepest >= special:
                items = _settle(items, memo, layout)
                deepest = max(items)
            for entry in items:
                if entry & 1:
                    odd_keys += 1
                    odd_size += entry & size_mask
            if odd_size > most_odd_size or odd_keys * odd_size > most_odd_work:
                raise LimitError("max_odd_keys")
            if opcode == 0x91:
                if data[i] != _MEMOIZE:
                    raise PayloadError("a frozenset without MEMOIZE")
                if len(items) > max_items:
                    raise LimitError("max_items")
                i += 1
                entry = ((deepest & ~size_mask) + one_deep + (sum(items) & size_mask) + 2) | 1
                remember(entry)
                push(entry)
            else:
                target = stack[-1]
                if target < special or target & _KIND_MASK != _KIND_SET:
                    raise PayloadError("ADDITEMS on something else than a new set")
                if not items:
                    continue
                count = len(items)
                if count >= many or batches:
                    _count(batches, target, count, max_items)
                entry = _filled(memo, target, deepest, sum(items), layout)
                if count != _BATCH:
                    stack[-1] = entry
            if entry >= too_deep:
                raise LimitError("max_depth")

        elif opcode == 0x8A:  # LONG1
            # By its length: a Decimal that is compared with an int converts the whole of it.
            length = data[i + 1]
            i += 2 + length
            push(_ODD + ((length >> 4) << 1))

        elif opcode == 0x8B:  # LONG4
            length = int.from_bytes(data[i + 1 : i + 5], "little")
            if length > limits.max_int_bytes:
                raise LimitError("max_int_digits")
            i += 5 + length
            push(_ODD + ((length >> 4) << 1))

        elif opcode == _POP:
            # Written where a tuple, or the arguments of a restorer, led back to the value itself.
            i += 1
            if stack.pop() & (special | 4) > special:
                raise PayloadError("POP of a restorer or an unfinished record")

        elif opcode == 0x31:  # POP_MARK, for the same reason
            i += 1
            _settle(stack, memo, layout)
            stack = frames.pop()
            push = stack.append

        elif opcode == 0x2E:  # STOP
            if i + 1 != len(data) or frames or len(stack) != 1:
                raise PayloadError("STOP before the end, or with more or less than one value")
            if len(memo) > limits.max_objects:
                raise LimitError("max_objects")
            _settle(stack, memo, layout)
            return

        else:
            raise PayloadError(f"opcode 0x{opcode:02x} is none that we write")


def _counting(memo: list[int], most: int) -> Callable[[int], None]:
    """Return what notes an entry in the memo, and refuses one too many."""

    def remember(entry: int) -> None:
        if len(memo) >= most:
            raise LimitError("max_objects")
        memo.append(entry)

    return remember


def _count(batches: dict[int, int], target: int, count: int, max_items: int) -> None:
    """Count the items of a container that is filled in batches."""
    if count > _BATCH:
        raise PayloadError("a batch longer than the pickler writes")
    batches[target] = count + batches.get(target, 0)
    if batches[target] > max_items:
        raise LimitError("max_items")


def _filled(memo: list[int], target: int, deepest: int, total: int, layout: Layout) -> int:
    """Return the entry of a container after a batch of items, and note it in the memo."""
    index = (target ^ layout.special) >> _INDEX_SHIFT
    before = memo[index]
    if before >= layout.special:
        before = _ODD
    depth = max(before & ~layout.size_mask, (deepest & ~layout.size_mask) + layout.one_deep)
    entry = (depth + (before & layout.size_mask) + (total & layout.size_mask)) | 1
    memo[index] = entry
    return entry


def _settle(items: list[int], memo: list[int], layout: Layout) -> list[int]:
    """Return the items as plain values.

    :raises PayloadError: if a restorer, or a record that was not filled in, is among them.
    """
    return [item if item < layout.special else _settled(item, memo, layout) for item in items]


def _settled(item: int, memo: list[int], layout: Layout) -> int:
    kind = item & _KIND_MASK
    if kind == _KIND_MARKER:
        return _MARKER_AS_DATA
    if kind > _KIND_SET:
        raise PayloadError("a restorer or an unfinished record used as a value")
    filled = memo[(item ^ layout.special) >> _INDEX_SHIFT]
    return _ODD if filled >= layout.special else filled


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
    if stack[-1] != special | index << _INDEX_SHIFT | _KIND_RECORD or records[index] != setter >> _INDEX_SHIFT:
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
