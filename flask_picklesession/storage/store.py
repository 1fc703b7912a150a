"""The store: records in Redis, one key a session.

The contract, in four verbs. All take a storage key, records as bytes, and a deadline on the clock of
:func:`time.monotonic`:

* :meth:`Store.create` writes only where nothing stands. It is not *save*: a new id can never take over a session.
* :meth:`Store.load` returns what stands there, or ``None``. An absent record is no error.
* :meth:`Store.save` replaces the record that the caller knows, and no other. It never creates.
* :meth:`Store.end` puts a record in place whatever stands there. Only ended records are written so: delete wins.

Errors are for system failures only: :exc:`~flask_picklesession.exceptions.StoreUnavailableError`. A command
whose reply was lost is sent once more with the same bytes; :class:`Saved` tells the caller, who can see from
the nonces in the record whether the first one was applied.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import sha1
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from redis.exceptions import NoPermissionError, NoScriptError, OutOfMemoryError, ReadOnlyError, ResponseError

from ..exceptions import RecordError, StoreUnavailableError
from .connection import LARGEST_REPLY, Command, Link, ReplyTooLargeError
from .record import NONCE_END, NONCE_START

T = TypeVar("T")

#: Bytes of a record that are read at most, where it is not said otherwise.
LARGEST_RECORD = LARGEST_REPLY - 1024

#: Times that a transaction is tried where there are no scripts.
MOST_TRANSACTIONS = 20

_NO_RECORD = "another type of value, or one that is too large, stands in the record's place"

#: Characters of a handle: SHA-256 in base64url.
HANDLE_LENGTH = 43

_HANDLE = re.compile(rb"[A-Za-z0-9_-]{43}")
_HANDLE_TEXT = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)

# What has a meaning in a pattern of SCAN.
_GLOB = re.compile(rb"[*?\[\]\\^]")

# Compares the newest nonce only, not the whole value: 2.4 times quicker at 64 KiB.
_SAVE_SCRIPT = f"""\
if redis.call('GETRANGE', KEYS[1], {NONCE_START}, {NONCE_END}) == ARGV[1] then
  if ARGV[3] == '' then
    redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
  else
    redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
  end
  return 1
end
return redis.call('GETRANGE', KEYS[1], 0, ARGV[4])
"""

# What stood there before matters: a renewed session leads to another one. Another type of value has no range.
_END_SCRIPT = """\
local before = redis.pcall('GETRANGE', KEYS[1], 0, ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return type(before) == 'table' and 'x' or before
"""


class _Script:
    """A script, and the name that EVALSHA wants; nothing rests on its strength."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = sha1(text.encode("ascii"), usedforsecurity=False).hexdigest()


_SAVE, _END = _Script(_SAVE_SCRIPT), _Script(_END_SCRIPT)

# Servers that refuse writes but still read: a replica, one without memory, one that cannot persist or replicate.
# redis-py has classes for the first two, and takes their codes out of the text.
_REFUSES_WRITES = (ReadOnlyError, OutOfMemoryError)
_REFUSES_WRITES_CODES = ("MISCONF", "NOREPLICAS")


def is_handle(text: object) -> bool:
    """Tell whether this can be a handle. Whatever else stands behind the prefix is no session's key."""
    if isinstance(text, bytes):
        return _HANDLE.fullmatch(text) is not None
    return isinstance(text, str) and _HANDLE_TEXT.fullmatch(text) is not None


class Saved(NamedTuple):
    """What came of a :meth:`Store.create` or :meth:`Store.save`."""

    #: Whether the record stands now.
    applied: bool
    #: Where it does not: what stands there instead, or ``None`` where nothing does, or what is no record at all.
    current: bytes | None
    #: Whether an earlier sending of the same command, whose reply was lost, may have been applied.
    repeated: bool


class Store:
    """Records in Redis.

    :param link: the way to the server.
    :param prefix: what each storage key begins with.
    :param largest: bytes of a record that are read at most: what is larger is none.
    """

    def __init__(self, link: Link, *, prefix: str, largest: int = LARGEST_RECORD) -> None:
        self._link = link
        self._prefix = prefix.encode("ascii")
        self._largest = largest
        # Capabilities are found by using them: managed servers and ACLs differ from what a version number promises.
        # GETEX returns all that stands there: for links that read whatever comes, GETRANGE bounds it on the server.
        self._has_getex = link.bounds_replies
        self._has_scripts = True

    @property
    def has_scripts(self) -> bool:
        """Whether the server runs scripts, as far as is known."""
        return self._has_scripts

    def storage_key(self, handle: str) -> bytes:
        """Return the Redis key of a session."""
        return self._prefix + handle.encode("ascii")

    def create(
        self, storage_key: bytes, record: bytes, *, ttl: int, deadline: float, before: Sequence[Command] = ()
    ) -> Saved:
        """Write a record where nothing stands.

        :param ttl: seconds until Redis drops it.
        :param before: commands that go out before it, in the same round trip.
        :raises StoreUnavailableError: if the store failed, or refuses writes.
        """
        reply, repeated = self._write(deadline, before, ("SET", storage_key, record, "EX", ttl, "NX"))
        if reply is not None:
            return Saved(True, None, repeated)
        try:
            current = self.load(storage_key, ttl=None, deadline=deadline)
        except RecordError:
            current = None
        return Saved(current == record, current, repeated)

    def load(self, storage_key: bytes, *, ttl: int | None, deadline: float) -> bytes | None:
        """Return the record, and let it live for another *ttl* seconds.

        :param ttl: seconds, or ``None`` to leave the time to live as it is.
        :raises RecordError: if something else than a record stands there.
        :raises StoreUnavailableError: if the store failed.
        """
        try:
            try:
                reply = self._read(storage_key, ttl, deadline)
            except StoreUnavailableError:
                # Often it was an idle connection that a restarted server had closed.
                if monotonic() >= deadline:
                    raise
                reply = self._read(storage_key, ttl, deadline)
        except ResponseError as error:
            if _is_no_record(error):
                raise RecordError(_NO_RECORD) from error
            raise _unavailable(error) from None
        if reply is None or isinstance(reply, bytes):
            # GETRANGE of nothing is empty.
            return reply or None
        raise StoreUnavailableError("the client decodes replies; it must return bytes")

    def save(
        self,
        storage_key: bytes,
        expected: bytes,
        record: bytes,
        *,
        ttl: int | None,
        deadline: float,
        before: Sequence[Command] = (),
    ) -> Saved:
        """Replace the record whose newest nonce is *expected*; otherwise return what stands there.

        :param expected: the nonce of the record that the caller loaded.
        :param ttl: seconds until Redis drops it, or ``None`` to leave that as it is.
        :param before: commands that go out before it, in the same round trip.
        :raises StoreUnavailableError: if the store failed, or refuses writes.
        """

        def send() -> Any:
            if self._has_scripts:
                try:
                    arguments = (expected, record, "" if ttl is None else ttl, self._largest)
                    return self._run(_SAVE, storage_key, arguments, deadline, before)
                except ResponseError as error:
                    if not _is_unsupported(error):
                        raise
            if before:
                self._put_in_index(before, self._link.pipeline(deadline, before), deadline)
            reply = self._save_by_transaction(storage_key, expected, record, ttl, deadline)
            # Not before it is known that there is another way: a Cluster has none.
            self._has_scripts = False
            return reply

        try:
            reply, repeated = with_one_repeat(send, deadline)
        except ResponseError as error:
            if _is_no_record(error):
                return Saved(False, None, False)
            raise _unavailable(error) from None
        _require(reply is None or reply == 1 or isinstance(reply, bytes))
        applied = reply == 1
        return Saved(applied, None if applied else reply or None, repeated)

    def end(self, storage_key: bytes, record: bytes, *, ttl: int, deadline: float) -> bytes | None:
        """Put an ended record in place, whatever stands there.

        :return: what stood there, or ``None``.
        :raises StoreUnavailableError: if the store failed, or refuses writes: the session may not be over.
        """

        def send() -> Any:
            if self._has_scripts:
                try:
                    return self._run(_END, storage_key, (record, ttl, self._largest), deadline)
                except ResponseError as error:
                    if not _is_unsupported(error):
                        raise
            before, done = self._link.pipeline(
                deadline, [self._get(storage_key), ("SET", storage_key, record, "EX", ttl)]
            )
            if isinstance(done, ResponseError):
                raise done
            found = self._record(before)
            return b"x" if isinstance(found, RecordError) else found

        try:
            reply, _repeated = with_one_repeat(send, deadline)
        except ResponseError as error:
            raise _unavailable(error) from None
        _require(reply is None or isinstance(reply, bytes))
        return reply or None

    def send(self, commands: Sequence[Command], *, deadline: float) -> None:
        """Send commands of the index by themselves.

        :raises StoreUnavailableError: if the store failed, or refuses writes.
        """
        try:
            replies, _repeated = with_one_repeat(lambda: self._link.pipeline(deadline, commands), deadline)
            self._put_in_index(commands, replies, deadline)
        except ResponseError as error:
            raise _unavailable(error) from None

    def scan(self, cursor: str, *, count: int, deadline: float) -> tuple[str, list[str]]:
        """Return the handles of some sessions, and the cursor to go on with: ``"0"`` when all were seen.

        A session may come twice; one that is there all the time comes at least once.

        :param cursor: ``"0"`` to begin.
        :param count: about how many keys the server looks at in this step.
        :raises StoreUnavailableError: if the store failed.
        """
        pattern = _GLOB.sub(rb"\\\g<0>", self._prefix) + b"?" * HANDLE_LENGTH
        try:
            (following, keys), _repeated = with_one_repeat(
                lambda: self._link.scan(deadline, cursor, pattern, count), deadline
            )
        except ResponseError as error:
            raise _unavailable(error) from None
        _require(all(isinstance(key, bytes) for key in keys))
        found = [key[len(self._prefix) :] for key in keys]
        return following, [handle.decode("ascii") for handle in found if is_handle(handle)]

    def count_keys(self, *, deadline: float) -> int:
        """Return how many keys the server has, sessions or not; 0 where it may not be asked.

        :raises StoreUnavailableError: if the store failed.
        """
        try:
            return int(self._link.call(deadline, "DBSIZE"))
        except ResponseError:
            return 0

    def load_many(self, handles: Sequence[str], *, deadline: float) -> list[bytes | RecordError | None]:
        """Return the records of several sessions, without any effect on how long they live.

        :return: for each what stands there, ``None``, or an error where it is no record at all.
        :raises StoreUnavailableError: if the store failed.
        """
        if not handles:
            return []
        reads = [self._get(self.storage_key(handle)) for handle in handles]
        replies, _repeated = with_one_repeat(lambda: self._link.pipeline(deadline, reads), deadline)
        return [self._record(reply) for reply in replies]

    def load_many_with_ttl(
        self, handles: Sequence[str], *, deadline: float
    ) -> list[tuple[bytes | RecordError | None, float | None]]:
        """Return the records of several sessions as :meth:`load_many` does, each with the seconds that Redis keeps it.

        :raises StoreUnavailableError: if the store failed.
        """
        records = self.load_many(handles, deadline=deadline)
        if not handles:
            return []
        reads = [("PTTL", self.storage_key(handle)) for handle in handles]
        times, _repeated = with_one_repeat(lambda: self._link.pipeline(deadline, reads), deadline)
        for time in times:
            _require_answer(time)
        return [
            (record, time / 1000 if isinstance(time, int) and time >= 0 else None)
            for record, time in zip(records, times, strict=True)
        ]

    def close(self) -> None:
        """Close the connections."""
        self._link.close()

    def _get(self, storage_key: bytes) -> Command:
        """Return the command that reads what stands there, a byte more than a record may have at most."""
        return ("GETRANGE", storage_key, 0, self._largest)

    def _record(self, reply: Any) -> bytes | RecordError | None:
        """Return what one read of a pipeline found.

        :raises StoreUnavailableError: if the server refused it: then nobody knows what stands there.
        """
        _require_answer(reply)
        if not isinstance(reply, bytes) or len(reply) > self._largest:
            return RecordError(_NO_RECORD)
        return reply or None

    def _write(self, deadline: float, before: Sequence[Command], command: Command) -> tuple[Any, bool]:
        def send() -> Any:
            return self._send(deadline, before, command) if before else self._link.call(deadline, *command)

        try:
            return with_one_repeat(send, deadline)
        except ResponseError as error:
            raise _unavailable(error) from None

    def _send(self, deadline: float, before: Sequence[Command], command: Command) -> Any:
        """Send commands of the index and another one in one round trip, and return the reply of that one."""
        *earlier, reply = self._link.pipeline(deadline, [*before, command])
        self._put_in_index(before, earlier, deadline)
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    def _put_in_index(self, commands: Sequence[Command], replies: Sequence[Any], deadline: float) -> None:
        """Look at the replies to commands of the index.

        What is no index in its place is worth nothing: it is replaced, so that who can write to Redis does not keep
        anybody from signing in.
        """
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, ResponseError):
                if not str(reply).startswith("WRONGTYPE"):
                    raise reply
                self._link.pipeline(deadline, [("DEL", command[1]), command])

    def _read(self, storage_key: bytes, ttl: int | None, deadline: float) -> Any:
        if ttl is None:
            return self._link.call(deadline, *self._get(storage_key))
        if self._has_getex:
            try:
                return self._link.call(deadline, "GETEX", storage_key, "EX", ttl)
            except ResponseError as error:
                if _is_unsupported(error):
                    self._has_getex = False
                elif isinstance(error, _REFUSES_WRITES) or str(error).startswith(_REFUSES_WRITES_CODES):
                    # A server that refuses writes still answers reads. The TTL stays; nobody is logged out.
                    return self._link.call(deadline, *self._get(storage_key))
                else:
                    raise
        reply, _touched = self._link.pipeline(deadline, [self._get(storage_key), ("EXPIRE", storage_key, ttl)])
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    def _run(
        self,
        script: _Script,
        storage_key: bytes,
        arguments: tuple[bytes | str | int, ...],
        deadline: float,
        before: Sequence[Command] = (),
    ) -> Any:
        """Run a script on one key, sending its text only where the server does not know it."""
        rest = (1, storage_key, *arguments)
        try:
            if before:
                return self._send(deadline, before, ("EVALSHA", script.sha, *rest))
            return self._link.call(deadline, "EVALSHA", script.sha, *rest)
        except NoScriptError:
            return self._link.call(deadline, "EVAL", script.text, *rest)

    def _save_by_transaction(
        self, storage_key: bytes, expected: bytes, record: bytes, ttl: int | None, deadline: float
    ) -> Any:
        with self._link.held(deadline) as held:
            for _attempt in range(MOST_TRANSACTIONS):
                held.call("WATCH", storage_key)
                if held.call("GETRANGE", storage_key, NONCE_START, NONCE_END) != expected:
                    held.call("UNWATCH")
                    return held.call(*self._get(storage_key))
                held.call("MULTI")
                held.call("SET", storage_key, record, *(("KEEPTTL",) if ttl is None else ("EX", ttl)))
                if held.call("EXEC") is not None:
                    return 1
                # Somebody has written, or has only read: that sets the time to live, which counts as a write here.
        raise StoreUnavailableError("others came between each time")


def with_one_repeat(send: Callable[[], T], deadline: float) -> tuple[T, bool]:
    """Send once more if the connection was lost: often it was an idle one that a restarted server had closed.

    :return: the reply, and whether the first sending may have been applied already.
    """
    try:
        return send(), False
    except StoreUnavailableError as error:
        if monotonic() >= deadline:
            raise
        maybe_applied = error.maybe_applied
    try:
        return send(), maybe_applied
    except StoreUnavailableError as error:
        error.maybe_applied = error.maybe_applied or maybe_applied
        raise


def _require(is_as_expected: bool) -> None:
    if not is_as_expected:
        raise StoreUnavailableError("the server gave an answer of another type", maybe_applied=True)


def _require_answer(reply: Any) -> None:
    """Let no refusal of the server, such as that it is busy, pass for what stands there."""
    if isinstance(reply, ResponseError) and not _is_no_record(reply):
        raise _unavailable(reply)


def _is_no_record(error: ResponseError) -> bool:
    """Tell whether an error says that something else than a record stands there."""
    return isinstance(error, ReplyTooLargeError) or "WRONGTYPE" in str(error)


def _is_unsupported(error: ResponseError) -> bool:
    return isinstance(error, NoPermissionError) or "unknown command" in str(error).lower()


def _unavailable(error: ResponseError) -> StoreUnavailableError:
    # Its type only, and not as the cause, which a traceback shows: the text can quote arguments.
    return StoreUnavailableError(f"the server refused the command ({type(error).__name__})")
