"""How long one request may wait for the store."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic


class Budget:
    """The seconds that one request may spend on the store, over all its attempts.

    Used as a context manager around each use of the store; time spent in the view does not count.

    :param seconds: the whole budget.
    :param prepare: called before each use; the time that it takes is not spent.
    """

    __slots__ = ("_entered", "_left", "_prepare")

    def __init__(self, seconds: float, prepare: Callable[[], None]) -> None:
        self._left = seconds
        self._prepare = prepare
        self._entered = 0.0

    @property
    def is_left(self) -> bool:
        """Whether anything is left of it."""
        return self._left > 0

    def __enter__(self) -> float:
        """Start to spend.

        :return: the deadline, on the clock of :func:`time.monotonic`.
        :raises StoreUnavailableError: if a server of our own does not start.
        """
        self._prepare()
        self._entered = monotonic()
        return self._entered + self._left

    def __exit__(self, *exc_info: object) -> None:
        self._left -= monotonic() - self._entered
