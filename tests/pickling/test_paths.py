"""Where in a value something stands: found without running any of the value's own code, and within bounds."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import pytest

from flask_picklesession.pickling import paths
from flask_picklesession.pickling.paths import find_path, shown_key


class Wanted:
    pass


class Loud:
    """Whatever code of it is asked raises, once it is armed."""

    is_armed = False

    def _raise(self, *_arguments: object) -> Any:
        if Loud.is_armed:
            raise AssertionError("code of a value ran")
        return 1

    def __repr__(self) -> str:
        return str(self._raise())

    def __hash__(self) -> int:
        return int(self._raise())

    def __eq__(self, other: object) -> bool:
        return bool(self._raise())

    __str__ = __repr__
    __getattr__ = __len__ = __iter__ = __bool__ = _raise
    asked = property(_raise)


class LoudList(Loud, list[Any]):
    pass


class LoudDict(Loud, dict[Any, Any]):
    items = keys = values = __getitem__ = Loud._raise  # type: ignore[assignment]  # what is tested


class LoudSet(Loud, set[Any]):
    pass


class LoudTuple(Loud, tuple[Any, ...]):
    pass


class LoudDeque(Loud, deque[Any]):
    pass


class Proxy:
    """Says that it is something else, as proxies do."""

    __class__ = property(lambda self: dict)  # type: ignore[assignment]  # what is tested


class WithSlots:
    __slots__ = ("held", "unset")


class Pair(NamedTuple):
    left: Any
    right: Any = None


def find(value: object) -> str | None:
    return find_path(value, "v", lambda item, _depth: type(item) is Wanted)


def loud_attribute() -> Loud:
    value = Loud()
    value.__dict__["held"] = Wanted()
    return value


def slot() -> WithSlots:
    value = WithSlots()
    value.held = Wanted()
    return value


def odd_attribute() -> Wanted:
    value = Wanted()
    value.__dict__[5] = Wanted  # type: ignore[index]  # what is tested
    return value


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: [{Loud(): 1, (Loud(), 1): 1}, Proxy(), Wanted()], "v[2]"),
        (lambda: {(Loud(), 1): Wanted()}, "v[tuple]"),
        (lambda: LoudList([Loud(), Wanted()]), "v[1]"),
        (lambda: LoudDict({Loud(): Wanted()}), "v[Loud]"),
        (lambda: LoudSet([Wanted()]), "v element"),
        (lambda: frozenset([Wanted()]), "v element"),
        (lambda: LoudTuple([Loud(), Wanted()]), "v[1]"),
        (lambda: LoudDeque([Loud(), Wanted()]), "v[1]"),
        (lambda: Pair(1, Wanted()), "v.right"),
        (loud_attribute, "v.held"),
        (slot, "v.held"),
    ],
    ids=["list", "key", "list of a class", "dict", "set", "frozenset", "tuple", "deque", "named", "attribute", "slot"],
)
def test_no_code_of_a_value_runs(monkeypatch: pytest.MonkeyPatch, make: Any, path: str) -> None:
    """Neither what shows, compares and hashes it, nor what its class does on access."""
    value = make()
    monkeypatch.setattr(Loud, "is_armed", True)

    assert find(value) == path


def test_classes_are_not_looked_through() -> None:
    """What they hold is no part of a value."""
    holder = type("Holder", (), {"held": Wanted()})

    assert find([holder]) is None


def test_attribute_whose_name_is_no_text() -> None:
    """It is shown as a key is."""
    value = odd_attribute()

    assert find_path(value, "v", lambda item, _depth: item is Wanted) == "v.5"


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("k", "'k'"),
        (b"k", "b'k'"),
        ("x" * 10_000, "'" + "x" * 56 + "..."),
        (7, "7"),
        (True, "True"),
        (None, "None"),
        (1 << 127, str(1 << 127)),
        (1 << 128, "int"),
        (10**5000, "int"),
        (1.5, "float"),
        (("k",), "tuple"),
        (type("T" * 100, (), {})(), "T" * 57 + "..."),
    ],
    ids=range(12),
)
def test_keys_are_shown_short(key: object, shown: str) -> None:
    """Texts are cut before they are shown; what holds something is its type."""
    assert shown_key(key) == shown


def test_long_attribute_is_cut() -> None:
    """Any text may be one."""
    value = Loud()
    value.__dict__["n" * 10_000] = Wanted()

    assert find(value) == "v." + "n" * 60


def test_search_ends_after_so_many_references(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where all of them lead to one object."""
    monkeypatch.setattr(paths, "MOST_REFERENCES", 10)

    assert find([[None] * 7, Wanted()]) == "v[1]"
    assert find([[None] * 20, [Wanted()]]) is None
    assert find([[WithSlots()], Wanted()]) == "v[1]"
    assert find([*(WithSlots() for _ in range(5)), [Wanted()]]) is None


def test_search_ends_at_a_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked for below."""
    monkeypatch.setattr(paths, "MOST_LEVELS", 2)

    assert find([[Wanted()]]) == "v[0][0]"
    assert find([[[Wanted()]]]) is None
