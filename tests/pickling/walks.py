"""Count what a walk through a value meets, as ``repr`` goes: the oracle for what the verifier promises of cycles.

It knows which types CPython, and pydantic, guard against recursion: that is what the package must not get wrong.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from enum import Enum
from typing import Any

from pydantic import BaseModel


class TooLong(Exception):
    """A walk met more than it may."""


def parts_of(value: Any) -> list[Any]:
    """Return what a value holds."""
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(value)
    # What members of enumerations, and instances of the standard library, hold is their own.
    if isinstance(value, Enum) or type(value).__module__ in sys.stdlib_module_names:
        return []
    return list(getattr(value, "__dict__", {}).values())


def is_guarded(value: Any) -> bool:
    """Tell whether ``repr`` stops where it comes to a value within itself."""
    return not isinstance(value, Counter | BaseModel) and not (isinstance(value, tuple) and hasattr(value, "_fields"))


def walk(root: Any, most: int) -> tuple[int, int]:
    """Return how many items a walk meets that stops where it comes to what it is within, and how deep it goes.

    :raises TooLong: at more than *most* items.
    """
    size, depth = 1, 0
    within = {id(root)} if is_guarded(root) else set()
    path = [(root, iter(parts_of(root)))]
    while path:
        value, left = path[-1]
        for part in left:
            size += 1
            if size > most:
                raise TooLong
            parts = parts_of(part)
            # A model stops at a field that is itself, and nowhere else.
            if parts and id(part) not in within and (part is not value or not isinstance(part, BaseModel)):
                if is_guarded(part):
                    within.add(id(part))
                path.append((part, iter(parts)))
                depth = max(depth, len(path))
                break
        else:
            path.pop()
            within.discard(id(value))
    return size, depth


def containers_of(root: Any) -> list[Any]:
    """Return a value and all in it that hold something, each once."""
    found: dict[int, Any] = {}
    left = [root]
    while left:
        value = left.pop()
        if id(value) not in found and (parts := parts_of(value)):
            found[id(value)] = value
            left += parts
    return list(found.values())
