"""numpy arrays, for applications that allow them: ``allow(numpy.ndarray)``."""

from __future__ import annotations

import re
from typing import Any

import numpy

from .restorers import Refused

# Plain numbers, booleans and fixed-width text and bytes. No objects, and no structures.
_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c(8|16)|[SU]\d{1,5})\Z")
# numpy shows six items of each dimension.
_MAX_DIMENSIONS = 5


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
    return numpy.frombuffer(data, dtype=dtype).reshape(shape).copy()
