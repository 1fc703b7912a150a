from __future__ import annotations

import pytest

from flask_picklesession.merge import Changes, merge


def _any(stored: object) -> bool:
    return True


def test_different_keys_of_both_sides_survive() -> None:
    """What others added and what I added stand side by side."""
    merged = merge({"a": 1}, Changes({"b": 2}, frozenset()), {"a": 1, "c": 3}, is_restorable=_any)

    assert merged.values == {"a": 1, "b": 2, "c": 3}


def test_my_deletion_stays() -> None:
    """A key that I removed does not come back with what others saved."""
    merged = merge({"a": 1}, Changes({}, frozenset({"a"})), {"a": 1, "c": 3}, is_restorable=_any)

    assert merged.values == {"c": 3}


def test_their_deletion_stays() -> None:
    """A key that others removed does not come back with what I saved."""
    merged = merge({"a": 1, "b": 1}, Changes({"b": 2}, frozenset()), {"b": 1}, is_restorable=_any)

    assert merged.values == {"b": 2}


def test_last_writer_wins_the_same_key() -> None:
    """Of two values for one key the one that is written last stands."""
    merged = merge({"a": 1}, Changes({"a": 2}, frozenset()), {"a": 3}, is_restorable=_any)

    assert merged.values == {"a": 2}
    assert merged.given_way == ()


@pytest.mark.parametrize("changes", [Changes({"a": b"mine"}, frozenset()), Changes({}, frozenset({"a"}))])
def test_their_unknown_type_stands(changes: Changes) -> None:
    """A value of a type that this worker does not know is not overwritten by one that never saw it."""
    merged = merge({"a": b"base"}, changes, {"a": b"newer"}, is_restorable=lambda stored: stored != b"newer")

    assert merged.values == {"a": b"newer"}
    assert merged.given_way == ("a",)


def test_unknown_type_that_they_did_not_touch_gives_way() -> None:
    """Only a value that others changed meanwhile is protected; the one I loaded I may remove."""
    merged = merge({"a": b"x"}, Changes({}, frozenset({"a"})), {"a": b"x"}, is_restorable=lambda stored: False)

    assert merged.values == {}


def test_nothing_changed_is_false() -> None:
    """Changes are true only if there are any."""
    assert not Changes({}, frozenset())
    assert Changes({"a": 1}, frozenset())
    assert Changes({}, frozenset({"a"}))


def test_touches_tells_assigned_and_deleted_keys() -> None:
    """A key is touched whether it was assigned or removed."""
    changes = Changes({"a": 1}, frozenset({"b"}))

    assert changes.touches("a")
    assert changes.touches("b")
    assert not changes.touches("c")
