"""Find where in a value something stands: ``session['cart'].items[3].price``. Slow; only after a refusal.

The value may be one that somebody planted, and is what could not be stored. So no code of any value runs here, no
``__repr__``, ``__eq__`` or ``__hash__``, and the search ends after so many references, whatever they lead to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, NamedTuple

from .limits import DEEPEST

#: References that are looked at: as many as a value within the default limits may have. Each takes a microsecond.
MOST_REFERENCES = 300_000

#: Levels that are looked through: the pickler gives up before.
MOST_LEVELS = 2 * DEEPEST

#: Characters and bits of a key, or of a name, that are shown.
MOST_CHARACTERS, MOST_BITS = 60, 128

_LEAVES = frozenset({str, bytes, bytearray, int, float, complex, bool, type(None)})

_KEYED, _KEY, _ELEMENT, _ATTRIBUTE = "[{}]", " key {}", " element", ".{}"

# Stands for a slot that holds nothing: it was looked at, too.
_UNSET = object()

#: What a value holds: the part, the form of the step that leads to it, and what that shows.
_Part = tuple[Any, str, object]


class _Place(NamedTuple):
    """An object that was found, and the way to it."""

    # It is held, so that no id is used twice.
    value: object
    depth: int
    holder: _Place | None
    form: str
    shown: object


def find_path(root: object, path: str, matches: Callable[[object, int], bool]) -> str | None:
    """Return the path of the first object that matches, breadth first: the shortest one.

    :param root: the value to look through.
    :param path: its own path.
    :param matches: takes an object and its depth.
    """
    seen = {id(root), id(_UNSET)}
    queue = deque([_Place(root, 0, None, "", None)])
    references = 0
    while queue:
        place = queue.popleft()
        if matches(place.value, place.depth):
            return path + _way_to(place)
        if place.depth >= MOST_LEVELS:
            continue
        for part, form, shown in _parts(place.value):
            references += 1
            if references > MOST_REFERENCES:
                return None
            if id(part) not in seen:
                seen.add(id(part))
                queue.append(_Place(part, place.depth + 1, place, form, shown))
    return None


def _way_to(place: _Place) -> str:
    steps = []
    holder = place.holder
    while holder is not None:
        shown = place.shown
        if place.form == _ATTRIBUTE and type(shown) is str:
            steps.append(f".{shown[:MOST_CHARACTERS]}")
        else:
            steps.append(place.form.format(shown_key(shown)))
        place, holder = holder, holder.holder
    return "".join(reversed(steps))


def _parts(value: Any) -> Iterator[_Part]:
    """Yield what a value holds. By its type: what ``isinstance`` goes by, too, a proxy makes up."""
    kind = type(value)
    if kind in _LEAVES or issubclass(kind, type):
        return
    if issubclass(kind, dict):
        for key, part in dict.items(value):
            yield part, _KEYED, key
            yield key, _KEY, key
    elif issubclass(kind, set | frozenset):
        of_set = set if issubclass(kind, set) else frozenset
        for part in of_set.__iter__(value):
            yield part, _ELEMENT, None
    elif issubclass(kind, tuple):
        yield from _items(tuple.__iter__(value), getattr(kind, "_fields", ()))
    elif issubclass(kind, list | deque):
        of_list = list if issubclass(kind, list) else deque
        yield from _items(of_list.__iter__(value), ())
    yield from _attributes(value, kind)


def _items(parts: Iterator[Any], names: tuple[str, ...]) -> Iterator[_Part]:
    for index, part in enumerate(parts):
        if index < len(names):
            yield part, _ATTRIBUTE, names[index]
        else:
            yield part, _KEYED, index


def _attributes(value: Any, kind: type) -> Iterator[_Part]:
    """Yield what stands in a value's ``__dict__`` and slots. No property is asked."""
    for base in kind.__mro__:
        members = vars(base)
        own = members.get("__dict__")
        if type(own) is GetSetDescriptorType:
            for name, part in own.__get__(value).items():
                yield part, _ATTRIBUTE, name
        if "__slots__" not in members:
            continue
        for name, member in members.items():
            if type(member) is MemberDescriptorType:
                try:
                    yield member.__get__(value), _ATTRIBUTE, name
                except AttributeError:
                    yield _UNSET, _ATTRIBUTE, name


def shown_key(key: object) -> str:
    """Return what a path shows of a key: short plain ones themselves, their type for all else."""
    kind = type(key)
    if isinstance(key, str | bytes) and kind in (str, bytes):
        text = repr(key[:MOST_CHARACTERS])
    elif key is None or kind is bool or (isinstance(key, int) and kind is int and key.bit_length() <= MOST_BITS):
        text = repr(key)
    else:
        text = kind.__qualname__
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 3] + "..."
