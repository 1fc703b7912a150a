"""How long one request may wait for the store."""

from __future__ import annotations

from time import monotonic


class Budget:
    """The seconds that one request may spend on the store, over all its attempts.

    Used as a context manager around each use of the store; time spent in the view does not count.

    :param seconds: the whole budget.
    """

    __slots__ = ("_entered", "_left")

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._entered = 0.0

    @property
    def is_left(self) -> bool:
        """Whether anything is left of it."""
        return self._left > 0

    def __enter__(self) -> float:
        """Start to spend.

        :return: the deadline, on the clock of :func:`time.monotonic`.
        """
        self._entered = monotonic()
        return self._entered + self._left

    def __exit__(self, *exc_info: object) -> None:
        self._left -= monotonic() - self._entered
