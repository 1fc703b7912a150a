"""The index of users: which sessions a user has, as one sorted set a user.

A session is in the index before it is stored, and again with each of its writes, in the same round trip: whoever lists
a user's sessions misses none. Members are handles, scores the times of birth. Nothing removes a member when its session
ends: lists look at the records, and prune what is gone. No keyspace events, and no command over two keys: on Cluster
they stand in different slots.

A session that goes on under a new id is as old as it was, so its time of birth does not tell whether its record is only
about to be stored. The fraction of the score does: the minute in which the member was put there, modulo
:data:`ADDED_MINUTES`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import NamedTuple

from redis.exceptions import ResponseError

from ..exceptions import StoreUnavailableError
from .connection import Command, Link, ReplyTooLargeError
from .record import ENDED_SECONDS, now_ms
from .store import is_handle, with_one_repeat

#: Members that are read in one step. Behind each a record of the largest size may stand.
PAGE = 100

#: Minutes after which the time at which a member was added begins again: a power of two, so that a float holds the
#: fraction beside a time of birth, until the year 2248.
ADDED_MINUTES = 1024

#: Minutes by which the clocks of two machines may differ, at most.
_CLOCKS_DIFFER = 2

_MINUTE_MS = 60_000

#: Seconds that an index lives without a write where sessions have no absolute timeout: ten years.
LONGEST_INDEX = 10 * 365 * 86_400


class Member(NamedTuple):
    """A session that the index names. Whether it lives, its record tells."""

    handle: str
    #: When it began, in milliseconds since 1970.
    born: int
    #: The minute in which it was put there last, modulo :data:`ADDED_MINUTES`.
    added: int

    @property
    def is_settled(self) -> bool:
        """Whether no create of this session can be under way any more."""
        now = now_ms()
        minutes = (now // _MINUTE_MS - self.added) % ADDED_MINUTES
        # One that begins later than any clock may go was put there by somebody who wants it to be looked for.
        return (
            abs(now - self.born) > ENDED_SECONDS * 1000
            and ENDED_SECONDS // 60 < minutes < ADDED_MINUTES - _CLOCKS_DIFFER
        )


def new_member(handle: str, born: int) -> Member:
    """Return a member that is added now."""
    return Member(handle, born, now_ms() // _MINUTE_MS % ADDED_MINUTES)


def _member(handle: bytes, score: bytes | str | float) -> Member:
    """Return the member with a score: born never, where somebody put there what is no time."""
    number = float(score)
    if not 0 <= number < _LATEST:
        number = 0
    return Member(handle.decode("ascii"), int(number), int(number % 1 * ADDED_MINUTES))


# Milliseconds up to which a float is exact.
_LATEST = 2.0**53


class UserIndex:
    """The sessions of each user.

    :param link: the way to the server.
    :param prefix: what each key begins with.
    :param absolute_timeout: seconds after which any session is over, and its index with it; ``None`` if never.
        Said with each write: it may have been another one before.
    """

    def __init__(self, link: Link, *, prefix: str, absolute_timeout: float | None) -> None:
        self._link = link
        self._prefix = prefix.encode("ascii") + b"user:"
        self._ttl = LONGEST_INDEX if absolute_timeout is None else int(absolute_timeout) + ENDED_SECONDS

    def key(self, user_digest: bytes) -> bytes:
        """Return the Redis key of a user's sessions."""
        return self._prefix + base64.urlsafe_b64encode(user_digest)[:43]

    def adding(self, user_digest: bytes, handle: str, *, born: int) -> list[Command]:
        """Return the commands that put a session in the index, to go out before the one that stores it.

        :param born: milliseconds since 1970.
        """
        key = self.key(user_digest)
        score = born + new_member(handle, born).added / ADDED_MINUTES
        return [("ZADD", key, repr(score), handle), ("EXPIRE", key, self._ttl)]

    def go_through(
        self,
        user_digest: bytes,
        look: Callable[[list[Member]], Sequence[str]],
        *,
        deadline: Callable[[], float],
        most_pages: int | None = None,
    ) -> None:
        """Go through the members, newest first, some at a time, and prune those that are gone.

        :param look: some members -> the handles of those that are gone.
        :param deadline: returns the deadline of one step.
        :param most_pages: how many times it is called at most.
        :raises StoreUnavailableError: if the store failed.
        """
        start = pages = 0
        while most_pages is None or pages < most_pages:
            pages += 1
            page, count = self._page(user_digest, start, deadline=deadline())
            gone = look(page)
            self.remove(user_digest, gone, deadline=deadline())
            if count < PAGE:
                return
            start += PAGE - len(gone)

    def newest(self, user_digest: bytes, *, deadline: float) -> Member | None:
        """Return the member that began last.

        :raises StoreUnavailableError: if the store failed.
        """
        page, _count = self._page(user_digest, 0, size=1, deadline=deadline)
        return page[0] if page else None

    def _page(self, user_digest: bytes, start: int, *, deadline: float, size: int = PAGE) -> tuple[list[Member], int]:
        """Return some members, and how many there were, those among them that somebody made up included."""
        replies = self._call(deadline, "ZREVRANGE", self.key(user_digest), start, start + size - 1, "WITHSCORES")
        try:
            # Who can write to Redis can put anything there.
            page = [
                _member(handle, score)
                for handle, score in zip(replies[::2], replies[1::2], strict=True)
                if is_handle(handle)
            ]
        except (TypeError, ValueError):
            raise StoreUnavailableError("the server gave an answer of another type") from None
        return page, len(replies) // 2

    def remove(self, user_digest: bytes, handles: Sequence[str], *, deadline: float) -> None:
        """Remove members.

        :raises StoreUnavailableError: if the store failed.
        """
        if handles:
            self._call(deadline, "ZREM", self.key(user_digest), *handles)

    def _call(self, deadline: float, *command: bytes | str | int) -> list[bytes]:
        try:
            # Each of these commands can be sent twice.
            replies, _repeated = with_one_repeat(lambda: self._link.call(deadline, *command), deadline)
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                # What is no index names nobody. The next write of a session puts one in its place.
                return []
            if isinstance(error, ReplyTooLargeError) and command[0] == "ZREVRANGE":
                # A page of members is much smaller. Neither does this name anybody; left there, no page could be read.
                self._call(deadline, "DEL", command[1])
                return []
            raise StoreUnavailableError(f"the server refused the command ({type(error).__name__})") from None
        if isinstance(replies, list):
            # redis-py's clients return pairs where they know the command.
            return [part for reply in replies for part in (reply if isinstance(reply, tuple | list) else (reply,))]
        return []
