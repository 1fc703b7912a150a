"""A verified segment as a graph: which containers and records hold which. Nothing is built."""

from __future__ import annotations

from collections.abc import Mapping

from ..exceptions import PayloadError
from .entries import (
    DOUBLED,
    FLOAT_WEIGHT,
    HASHED,
    KIND_MASK,
    UNGUARDED,
    WEIGHT,
    Kind,
    extra_of,
    has_flag,
    long_weight,
    text_weight,
)

_MAKER, _HEAVY = int(Kind.MAKER), int(Kind.HEAVY)

# From here on what stands on the stack is a restorer.
_RESTORER = 1 << 40


class Graph:
    """The containers, records and restored values of one verified segment, by number, and what they hold.

    Tuples and restored values that hold none of these count as items of what holds them.

    :param data: verified bytes.
    :param restorers: as the verifier was given them.
    """

    def __init__(self, data: bytes, restorers: Mapping[bytes, int]) -> None:
        #: Items that each holds itself, and one for itself.
        self.items: list[int] = []
        #: Nodes that each holds, as often as it does.
        self.parts: list[list[int]] = []
        #: Whether hashing it goes on to its parts; what is mutable has no hash, or one that does not look at them.
        self.is_hashed: list[bool] = []
        #: Whether it is a record that is filled in: hashing it is a call of its own.
        self.is_record: list[bool] = []
        #: Whether a walk stops where it comes to it while it is within it.
        self.is_guarded: list[bool] = []
        #: Nodes that are keys or elements, as often as they are.
        self.keys: list[int] = []
        # Of each tuple with a node in it: the first item.
        self._first: dict[int, int] = {}
        #: The whole value: a node, or the number of its items below zero.
        self.root = self._read(data, restorers)

    def _mutable(self, *, is_hashed: bool = False, is_record: bool = False, is_guarded: bool = True) -> int:
        self.items.append(1)
        self.parts.append([])
        self.is_hashed.append(is_hashed)
        self.is_record.append(is_record)
        self.is_guarded.append(is_guarded)
        return len(self.items) - 1

    def _immutable(self, items: list[int], *, is_hashed: bool = True) -> int:
        if max(items, default=-1) < 0:
            return sum(items) - 1
        number = self._mutable(is_hashed=is_hashed)
        self._first[number] = items[0]
        self._put(number, items)
        return number

    def _put(self, number: int, items: list[int]) -> None:
        parts = [item for item in items if item >= 0]
        self.parts[number] += parts
        self.items[number] -= sum(items) - sum(parts)

    def _restored(self, restorer: int, arguments: int) -> int:
        weight = WEIGHT if restorer & KIND_MASK == _HEAVY else extra_of(restorer)
        is_hashed = has_flag(restorer, HASHED)
        if arguments < 0:
            return self._immutable([arguments, *([-weight] if weight else [])], is_hashed=is_hashed)
        # The tuple of its arguments is there for this one only, or read back: then it gets a node of its own. Not as a
        # record: a hash that looks at them is a tuple's.
        self.items[arguments] += 1 + weight
        self.is_hashed[arguments] = is_hashed
        self.is_guarded[arguments] = not has_flag(restorer, UNGUARDED)
        return arguments

    def _apart(self, arguments: int, items: int) -> int:
        """Return a node for a tuple that is a value, and was the arguments of another one, too.

        :param items: that it holds itself.
        """
        number = self._immutable(self.parts[arguments])
        self.items[number] = items
        self._first[number] = self._first[arguments]
        return number

    def _fill_record(self, record: int, state: int, times: int) -> None:
        self._require_fresh(record, state)
        if state >= 0 and self.is_hashed[state]:
            # The parts of a tuple that is there for this record only.
            self.items[record] += self.items[state] * times
            parts = self.parts[state]
        else:
            parts = [state]
        if not self.is_guarded[record]:
            parts = self._emptied(record, parts)
        self._put(record, parts * times)

    def _require_fresh(self, record: int, state: int) -> None:
        """Refuse content that was there before the record: it may not be whole yet, and is taken out of its container.

        The pickler writes a copy, behind the record.
        """
        content = self._first.get(state, state)
        # A tuple that many records are filled in with would be gone through for each.
        if 0 <= state < record or (0 <= content < record and self._is_container(content)):
            raise PayloadError("a record filled in with what was there before it")

    def _is_container(self, node: int) -> bool:
        """Tell whether it is a list, dict or set."""
        return not self.is_hashed[node] and not self.is_record[node]

    def _emptied(self, record: int, parts: list[int]) -> list[int]:
        """Return what is in the containers that a Counter or a model is filled in with, which are no parts of it.

        They are emptied, and have a guard, which the Counter has not.
        """
        found: list[int] = []
        of_containers = [part for part in parts if part >= 0 and self._is_container(part)]
        containers = set(of_containers)
        if len(containers) != len(of_containers) or min(containers, default=record) < record:
            # What thousands of references lead to would be gone through as often: 36 KB took gigabytes.
            raise PayloadError("a record filled in with what was there before it, or with one container twice")
        for part in parts:
            if part in containers:
                found += [*self.parts[part], -self.items[part]]
            else:
                found.append(part)
        for container in containers:
            self.items[container], self.parts[container] = 1, []
        return found

    def _read(self, data: bytes, restorers: Mapping[bytes, int]) -> int:
        stack: list[int] = []
        frames: list[list[int]] = []
        memo: list[int] = []
        # Where a tuple of arguments stands in the memo: its node, and what that held.
        arguments_at: dict[int, tuple[int, int]] = {}
        name = b""
        i = 2
        while True:
            opcode = data[i]
            i += 1
            if opcode == 0x68 or opcode == 0x6A:  # BINGET, LONG_BINGET
                width = 1 if opcode == 0x68 else 4
                index = int.from_bytes(data[i : i + width], "little")
                if index in arguments_at:
                    memo[index] = self._apart(*arguments_at.pop(index))
                stack.append(memo[index])
                i += width
            elif opcode == 0x94:  # MEMOIZE
                memo.append(stack[-1])
            elif opcode in _FIXED:
                stack.append(-1)
                i += _FIXED[opcode]
            elif opcode == 0x47:  # BINFLOAT
                stack.append(-FLOAT_WEIGHT)
                i += 8
            elif opcode in _LENGTHS:
                start = i + _LENGTHS[opcode]
                length = int.from_bytes(data[i:start], "little")
                i = start + length
                name = data[start:i]
                stack.append(-1 - (long_weight(length) if opcode in _LONGS else text_weight(length)))
            elif opcode == 0x86 and data[i] == 0x52 and stack[-3] >= _RESTORER:  # TUPLE2 REDUCE POP of a setter
                state, record, setter = stack.pop(), stack.pop(), stack.pop() ^ _RESTORER
                self.items[record] += extra_of(setter)
                self._fill_record(record, state, 2 if has_flag(setter, DOUBLED) else 1)
                i += 2
            elif opcode in _TUPLES:
                if opcode == 0x74:
                    items, stack = stack, frames.pop()
                else:
                    rest = len(stack) - _TUPLES[opcode]
                    items = stack[rest:]
                    del stack[rest:]
                stack.append(self._immutable(items))
            elif opcode == 0x52:  # REDUCE
                arguments, restorer = stack.pop(), stack.pop() ^ _RESTORER
                if restorer & KIND_MASK == _MAKER:
                    is_hashed, is_guarded = has_flag(restorer, HASHED), not has_flag(restorer, UNGUARDED)
                    stack.append(self._mutable(is_hashed=is_hashed, is_record=True, is_guarded=is_guarded))
                else:
                    if arguments >= 0:
                        arguments_at[len(memo) - 1] = arguments, self.items[arguments]
                    stack.append(self._restored(restorer, arguments))
            elif opcode in (0x5D, 0x7D, 0x8F):  # EMPTY_LIST, EMPTY_DICT, EMPTY_SET
                stack.append(self._mutable())
            elif opcode == 0x28:  # MARK
                frames.append(stack)
                stack = []
            elif opcode in (0x61, 0x65):  # APPEND, APPENDS
                items, stack = ([stack.pop()], stack) if opcode == 0x61 else (stack, frames.pop())
                self._put(stack[-1], items)
            elif opcode in (0x73, 0x75, 0x90, 0x91):  # SETITEM, SETITEMS, ADDITEMS, FROZENSET
                if opcode == 0x73:
                    items = stack[-2:]
                    del stack[-2:]
                else:
                    items, stack = stack, frames.pop()
                keys = items[:: 2 if opcode in (0x73, 0x75) else 1]
                self.keys += [key for key in keys if key >= 0]
                if opcode in (0x73, 0x75):
                    # As an OrderedDict compares them, where they are more than one item and not told apart by identity.
                    self._put(stack[-1], [key for key in keys if key < -1 or (key >= 0 and self.is_hashed[key])])
                if opcode == 0x91:
                    stack.append(self._immutable(items))
                else:
                    self._put(stack[-1], items)
            elif opcode == 0x93:  # STACK_GLOBAL
                del stack[-2:]
                stack.append(_RESTORER | restorers[name])
            elif opcode == 0x30:  # POP
                stack.pop()
            elif opcode == 0x31:  # POP_MARK
                stack = frames.pop()
            else:  # STOP
                return stack[-1]


# Opcode -> bytes of its operand, of those that push one item.
_FIXED = {0x4E: 0, 0x88: 0, 0x89: 0, 0x29: 0, 0x4B: 1, 0x4D: 2, 0x4A: 4}

# Opcode -> bytes of the length of what follows, of those that push a text, bytes or an int.
_LENGTHS = {0x8C: 1, 0x43: 1, 0x8A: 1, 0x58: 4, 0x42: 4, 0x8B: 4, 0x96: 8}

# LONG1, LONG4
_LONGS = (0x8A, 0x8B)

# Opcode -> items. TUPLE takes all behind the mark.
_TUPLES = {0x85: 1, 0x86: 2, 0x87: 3, 0x74: 0}
