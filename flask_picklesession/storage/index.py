"""The index of users: which sessions a user has, as one sorted set a user.

A session is in the index before it is stored, and again with each of its writes, in the same round trip: whoever lists
a user's sessions misses none. Members are handles, scores the times of birth. Nothing removes a member when its session
ends: lists look at the records, and prune what is gone. No keyspace events, and no command over two keys: on Cluster
they stand in different slots.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from redis.exceptions import ResponseError

from ..exceptions import StoreUnavailableError
from .connection import Command, Link, ReplyTooLargeError
from .record import ENDED_SECONDS
from .store import is_handle

#: Members that are read in one step. Behind each a record of the largest size may stand.
PAGE = 100


class Member(NamedTuple):
    """A session that the index names. Whether it lives, its record tells."""

    handle: str
    #: When it began, in milliseconds since 1970.
    born: int


def _born(score: bytes | str | float) -> int:
    """Return the time of birth that a score tells: none, where somebody put there what is no time."""
    number = float(score)
    return int(number) if 0 <= number < _LATEST else 0


# Milliseconds up to which a float is exact.
_LATEST = 2.0**53


class UserIndex:
    """The sessions of each user.

    :param link: the way to the server.
    :param prefix: what each key begins with.
    :param absolute_timeout: seconds after which any session is over, and its index with it; ``None`` if never.
    """

    def __init__(self, link: Link, *, prefix: str, absolute_timeout: float | None) -> None:
        self._link = link
        self._prefix = prefix.encode("ascii") + b"user:"
        self._ttl = None if absolute_timeout is None else int(absolute_timeout) + ENDED_SECONDS

    def key(self, user_digest: bytes) -> bytes:
        """Return the Redis key of a user's sessions."""
        return self._prefix + base64.urlsafe_b64encode(user_digest)[:43]

    def adding(self, user_digest: bytes, handle: str, *, born: int) -> list[Command]:
        """Return the commands that put a session in the index, to go out before the one that stores it.

        :param born: milliseconds since 1970.
        """
        key = self.key(user_digest)
        commands: list[Command] = [("ZADD", key, born, handle)]
        if self._ttl is not None:
            commands.append(("EXPIRE", key, self._ttl))
        return commands

    def pages(self, user_digest: bytes, *, deadline: float) -> Iterator[list[Member]]:
        """Yield the members, newest first, some at a time.

        :raises StoreUnavailableError: if the store failed.
        """
        start = 0
        while True:
            replies = self._call(deadline, "ZREVRANGE", self.key(user_digest), start, start + PAGE - 1, "WITHSCORES")
            yield [
                Member(handle.decode("ascii"), _born(score))
                for handle, score in zip(replies[::2], replies[1::2], strict=False)
                # Who can write to Redis can put anything there.
                if is_handle(handle)
            ]
            if len(replies) < 2 * PAGE:
                return
            start += PAGE

    def remove(self, user_digest: bytes, handles: Sequence[str], *, deadline: float) -> None:
        """Remove members.

        :raises StoreUnavailableError: if the store failed.
        """
        if handles:
            self._call(deadline, "ZREM", self.key(user_digest), *handles)

    def _call(self, deadline: float, *command: bytes | str | int) -> list[bytes]:
        try:
            replies = self._link.call(deadline, *command)
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
