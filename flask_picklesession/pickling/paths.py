"""Find where in a value something stands: ``session['cart'].items[3].price``. Slow; only after a refusal."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

_ROUNDS = 1_000_000


def find_path(root: object, path: str, matches: Callable[[object, int], bool]) -> str | None:
    """Return the path of the first object that matches, breadth first: the shortest one.

    :param root: the value to look through.
    :param path: its own path.
    :param matches: takes an object and its depth.
    """
    seen = {id(root)}
    # The objects are held, so that no id is used twice.
    queue: deque[tuple[object, str, int]] = deque([(root, path, 0)])
    rounds = 0
    while queue and rounds < _ROUNDS:
        rounds += 1
        value, at, depth = queue.popleft()
        if matches(value, depth):
            return at
        for child, step in _children(value):
            if id(child) not in seen:
                seen.add(id(child))
                queue.append((child, at + step, depth + 1))
    return None


def _children(value: Any) -> Iterator[tuple[Any, str]]:
    """Yield what a value holds, each with the step that leads to it."""
    if isinstance(value, str | bytes | bytearray | int | float | complex | type):
        return
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield child, f"[{_short(key)}]"
            yield key, f" key {_short(key)}"
    elif isinstance(value, AbstractSet):
        for child in value:
            yield child, " element"
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for name, child in zip(value._fields, value, strict=False):
            yield child, f".{name}"
    elif isinstance(value, list | tuple | deque):
        for index, child in enumerate(value):
            yield child, f"[{index}]"
    for name in _attributes(value):
        try:
            yield getattr(value, name), f".{name}"
        except AttributeError:
            continue


def _attributes(value: Any) -> list[str]:
    names = list(getattr(value, "__dict__", ()))
    if dataclasses.is_dataclass(value):
        names += [field.name for field in dataclasses.fields(value) if field.name not in names]
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        names += [name for name in ([slots] if isinstance(slots, str) else slots) if name not in names]
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def _short(key: object) -> str:
    text = repr(key) if isinstance(key, str | int | float | bytes | tuple) else type(key).__qualname__
    return text if len(text) <= 60 else text[:57] + "..."
