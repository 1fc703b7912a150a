"""Take the frames out of what the C pickler writes.

Frames are a hint for readers of files. Inside them a reader can be led to other opcodes than a checker saw
(gh-154848), so nothing that we store has any, and the verifier refuses them.
"""

from __future__ import annotations

import pickletools

_FRAME = 0x95
_PROTO = b"\x80\x05"
_FRAME_HEADER = 9
_FIRST = len(_PROTO) + _FRAME_HEADER

# What the pickler leaves outside of frames: large str, bytes and bytearray. Opcode -> bytes of its length.
_UNFRAMED = {ord("X"): 4, ord("B"): 4, 0x8D: 8, 0x8E: 8, 0x96: 8}


def without_frames(pickled: bytes) -> bytes:
    """Return a pickle of protocol 5 without its FRAME opcodes.

    :param pickled: what :class:`pickle.Pickler` wrote.
    """
    if len(pickled) <= _FIRST:
        # The pickler makes no frame for less than four bytes.
        return pickled
    if pickled[len(_PROTO)] == _FRAME and _frame_end(pickled, len(_PROTO)) == len(pickled):
        return _PROTO + pickled[_FIRST:]
    return _walk(pickled)


def _frame_end(pickled: bytes, start: int) -> int:
    return start + _FRAME_HEADER + int.from_bytes(pickled[start + 1 : start + _FRAME_HEADER], "little")


def _walk(pickled: bytes) -> bytes:
    """Take several frames apart, between which large objects stand."""
    parts, position = [_PROTO], len(_PROTO)
    while position < len(pickled):
        opcode = pickled[position]
        if opcode == _FRAME:
            end = _frame_end(pickled, position)
            parts.append(pickled[position + _FRAME_HEADER : end])
        elif opcode in _UNFRAMED:
            body = position + 1 + _UNFRAMED[opcode]
            end = body + int.from_bytes(pickled[position + 1 : body], "little")
            parts.append(pickled[position:end])
        else:
            # Fewer than four bytes between two large objects have no frame.
            return _by_opcodes(pickled)
        position = end
    return b"".join(parts)


def _by_opcodes(pickled: bytes) -> bytes:
    opcodes = [(opcode.name, position) for opcode, _argument, position in pickletools.genops(pickled)]
    ends = [position for _name, position in opcodes[1:]] + [len(pickled)]
    return b"".join(pickled[start:end] for (name, start), end in zip(opcodes, ends, strict=True) if name != "FRAME")
