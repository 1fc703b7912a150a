from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from flask_picklesession.exceptions import StoreUnavailableError
from flask_picklesession.storage.connection import Link
from flask_picklesession.storage.store import Store

KEY = b"key"

VERBS: dict[str, Callable[[Store, float], object]] = {
    "create": lambda store, deadline: store.create(KEY, b"x", ttl=9, deadline=deadline),
    "load": lambda store, deadline: store.load(KEY, ttl=9, deadline=deadline),
    "save": lambda store, deadline: store.save(KEY, b"y", b"x", ttl=9, deadline=deadline),
    "end": lambda store, deadline: store.end(KEY, b"x", ttl=9, deadline=deadline),
}


@pytest.mark.parametrize("verb", VERBS)
def test_passed_deadline_is_no_second_attempt(link: Link, prefix: str, verb: str) -> None:
    """What has no time left is unavailable at once, and sends nothing."""
    store = Store(link, prefix=prefix)

    with pytest.raises(StoreUnavailableError):
        VERBS[verb](store, time.monotonic() - 1)

    assert link.call(time.monotonic() + 5, "EXISTS", KEY) == 0
