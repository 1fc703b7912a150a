"""A small pickle assembler: hostile streams are written opcode by opcode, in the form they take in our format."""

from __future__ import annotations

from flask_picklesession.pickling.names import MARKER, STATE_SUFFIX

PROTO = b"\x80\x05"
STOP = b"."
MEMOIZE = b"\x94"
MARK = b"("
POP = b"0"
POP_MARK = b"1"
NONE = b"N"
TRUE = b"\x88"
EMPTY_TUPLE = b")"
TUPLE = b"t" + MEMOIZE
TUPLE1 = b"\x85" + MEMOIZE
TUPLE2 = b"\x86" + MEMOIZE
TUPLE3 = b"\x87" + MEMOIZE
LIST = b"]" + MEMOIZE
DICT = b"}" + MEMOIZE
SET = b"\x8f" + MEMOIZE
FROZENSET = b"\x91" + MEMOIZE
APPEND = b"a"
APPENDS = b"e"
SETITEM = b"s"
SETITEMS = b"u"
ADDITEMS = b"\x90"
REDUCE = b"R" + MEMOIZE
#: Apply a setter to the record below: TUPLE2 REDUCE POP.
APPLY = b"\x86R0"


def segment(*parts: bytes) -> bytes:
    """Return a segment of these parts."""
    return b"".join((PROTO, *parts, STOP))


def text(value: str) -> bytes:
    """Push a short str."""
    encoded = value.encode()
    return b"\x8c" + bytes((len(encoded),)) + encoded + MEMOIZE


def long_text(value: str) -> bytes:
    """Push a str of any length."""
    encoded = value.encode()
    return b"X" + len(encoded).to_bytes(4, "little") + encoded + MEMOIZE


def raw(value: bytes) -> bytes:
    """Push short bytes."""
    return b"C" + bytes((len(value),)) + value + MEMOIZE


def small(value: int) -> bytes:
    """Push an int below 256."""
    return b"K" + bytes((value,))


def long(value: int) -> bytes:
    """Push an int of any size, as the pickler does beyond two bytes."""
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + value.to_bytes(4, "little", signed=True)
    encoded = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    if len(encoded) < 256:
        return b"\x8a" + bytes((len(encoded),)) + encoded
    return b"\x8b" + len(encoded).to_bytes(4, "little") + encoded


def get(index: int) -> bytes:
    """Push what the memo holds."""
    return b"h" + bytes((index,)) if index < 256 else b"j" + index.to_bytes(4, "little")


def name(allowed: str, *, marker: str = MARKER) -> bytes:
    """Push the restorer of a name. Takes three memo entries: marker, name, restorer."""
    return text(marker) + text(allowed.replace(".", "/")) + b"\x93" + MEMOIZE


def setter(allowed: str) -> bytes:
    """Push what fills in a record."""
    return name(allowed + STATE_SUFFIX)
