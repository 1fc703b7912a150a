"""numpy arrays, for applications that allow them: ``allow(numpy.ndarray)``."""

from __future__ import annotations

import math
import re
import sys
from typing import Any

import numpy

from .restorers import Refused

# Plain numbers, booleans and fixed-width text and bytes. No objects, and no structures.
_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c(8|16)|[SU]\d{1,5})\Z")
# numpy shows six items of each dimension.
_MAX_DIMENSIONS = 5
# Rows of an array without bytes: one of 2**40 empty rows takes none, and ends the process that makes a list of it.
_MOST_OF_NOTHING = 1_000_000


def reduce_array(array: numpy.ndarray[Any, Any]) -> tuple[Any, ...]:
    """Return what an array is stored as: dtype, shape, bytes."""
    if not _DTYPE.match(array.dtype.str) or array.ndim > _MAX_DIMENSIONS:
        raise Refused(f"has the dtype {array.dtype.str}; plain numbers, booleans, text and bytes can be stored")
    return array.dtype.str, array.shape, array.tobytes()


def restore_array(dtype: str, shape: tuple[int, ...], data: bytes) -> numpy.ndarray[Any, Any]:
    """Return the array that was stored. Copies: ``numpy.ndarray(shape)`` would show uninitialised memory."""
    if type(dtype) is not str or not _DTYPE.match(dtype) or type(shape) is not tuple or type(data) is not bytes:
        raise ValueError("arguments that we do not write")
    if len(shape) > _MAX_DIMENSIONS or not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError("arguments that we do not write")
    if not data and math.prod(max(length, 1) for length in shape) > _MOST_OF_NOTHING:
        raise ValueError("an empty array whose rows would go on for ever")
    array = numpy.frombuffer(data, dtype=dtype).reshape(shape).copy()
    _check_items(array)
    return array


def _check_items(array: numpy.ndarray[Any, Any]) -> None:
    """Refuse bytes that no item has: numpy takes them as they are, and fails later."""
    if array.dtype.kind == "U" and array.size:
        characters = array.reshape(-1).view(numpy.dtype("u4").newbyteorder(array.dtype.byteorder))
        if characters.max() > sys.maxunicode:
            raise ValueError("characters beyond Unicode")
    if array.dtype.kind == "b" and array.size and array.view("u1").max() > 1:
        raise ValueError("booleans that are neither")
