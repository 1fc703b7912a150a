"""A user's sessions: listed, and kept to a number."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Any, NamedTuple

from .exceptions import NewerRecordError, PayloadError, RecordError
from .pickling import PickleSerializer
from .renewal import next_handle
from .revocation import CLOCKS_DIFFER_MS
from .session import CLIENT_KEY
from .storage.index import Member, UserIndex, new_member
from .storage.record import Kind, Record, now_ms
from .storage.sealing import RecordSealer
from .storage.store import Store

#: Pages of the index that are looked at: who can write to Redis can name a million sessions that there are not. One
#: that is renewed every five minutes of a month has nine thousand ids.
MOST_PAGES = 100

#: Looks at all sessions of a user, where some take new ids all the time.
MOST_LOOKS = 4

#: Bytes of payloads that are looked into for what browsers said of themselves. To read a megabyte takes a tenth of a
#: second, and who holds the secret key can plant as many as there are members.
MOST_LOOKED_INTO = 4 << 20

#: Seconds between two looks at a sign-in that goes on at the same time.
WAIT_SECONDS = 0.005

#: Seconds for which a sign-in counts that is not stored yet.
PENDING_SECONDS = 30

#: Characters of an address and of a user agent that are kept.
LONGEST_ADDRESS, LONGEST_AGENT = 64, 200


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One session of a user, as a page "your devices" shows it. Times are in UTC."""

    #: The public handle: it can list and revoke, never log in.
    handle: str
    created_at: datetime
    #: When it ends if it is not used again, or ``None`` if Redis does not tell.
    expires_at: datetime | None
    #: When it was used last, to some seconds; ``None`` if Redis does not tell.
    last_seen: datetime | None
    #: Bytes of its payload.
    size: int
    #: What the browser said it is, where ``PICKLESESSION_REMEMBER_CLIENT`` is on.
    user_agent: str | None
    #: The address it signed in from, where ``PICKLESESSION_REMEMBER_CLIENT`` is on.
    address: str | None


class _Live(NamedTuple):
    member: Member
    #: ``None`` for one that is about to be stored.
    record: Record | None
    #: Seconds that Redis keeps it, or ``None``.
    ttl: float | None
    #: Whether anybody may have its id: what an outage, or a worker that died, has left behind nobody has.
    is_reachable: bool = False

    @property
    def is_confirmed(self) -> bool:
        """Whether a browser is known to have its id."""
        return self.record is not None and self.record.confirmed > 0

    @property
    def last_writes(self) -> frozenset[bytes]:
        """What its last writes are known by."""
        return frozenset() if self.record is None else self.record.last_writes


class _Seen(NamedTuple):
    """What the members of a user's index stand for."""

    live: list[_Live]
    #: All handles.
    handles: set[str]
    #: Those at which nothing was found.
    absent: set[str]
    #: The handle of a record that was renewed or replaced -> the one that it names.
    leads: dict[str, str]


# The last second that a datetime can tell. Redis takes times to live that end far beyond.
_END_OF_TIME = datetime.max.replace(tzinfo=UTC).timestamp() - 1


class UserSessions:
    """The live sessions of each user.

    :param store: where the records are.
    :param sealer: verifies and decrypts them.
    :param users: the index of users.
    :param serializer: reads what browsers said of themselves.
    :param step_seconds: how long one step of a list may take.
    """

    def __init__(
        self,
        store: Store,
        sealer: RecordSealer,
        users: UserIndex,
        serializer: PickleSerializer,
        *,
        step_seconds: float,
    ) -> None:
        self._step_seconds = step_seconds
        self._store = store
        self._sealer = sealer
        self._users = users
        self._serializer = serializer

    def infos(self, user_digest: bytes, idle_timeout: Callable[[], float]) -> list[SessionInfo]:
        """Return a user's sessions, newest first.

        :param idle_timeout: returns the seconds that a session lives on without use: tells when it was used last.
        :raises StoreUnavailableError: if the store failed.
        """
        seen = self._look_twice(user_digest, deadline=lambda: monotonic() + self._step_seconds)
        left, infos = MOST_LOOKED_INTO, []
        for one, *_rest in self._sessions(_marked(seen.live, seen.leads)):
            if one.record is not None and one.is_reachable:
                left -= len(one.record.body)
                infos.append(self._info(one, one.record, idle_timeout(), is_looked_into=left > 0))
        return infos

    def next_birth(self, user_digest: bytes, *, deadline: float) -> int:
        """Return the time of birth for a session that begins now: later than any before, whose clock may be ahead.

        :return: milliseconds since 1970.
        :raises StoreUnavailableError: if the store failed.
        """
        newest, now = self._users.newest(user_digest, deadline=deadline), now_ms()
        # What lies further ahead was put there by somebody.
        return newest.born + 1 if newest is not None and 0 <= newest.born - now < CLOCKS_DIFFER_MS else now

    def make_room(
        self, user_digest: bytes, mine: str, most: int, *, replaced: Iterable[str], deadline: float
    ) -> list[Member] | None:
        """Return the members to end so that a user has no more than a number of sessions, the newest of which are kept.

        Of two sign-ins at once each is stored before it looks: whoever looks last sees both, and both agree who is too
        many.

        :param mine: the handle of the session that begins. It must be stored already.
        :param most: how many sessions a user may have.
        :param replaced: handles that do not count: they end when the new session stands.
        :return: ``None`` where newer ones have taken its place.
        :raises StoreUnavailableError: if the store failed.
        """
        found = self._counted(user_digest, mine, replaced, deadline)
        stored = [one for one in found if one.is_reachable or (one.record is not None and one.member.handle == mine)]
        sessions = sorted(self._sessions(stored), key=lambda session: _order(session[0].member), reverse=True)
        if not any(one.member.handle == mine for session in sessions[:most] for one in session):
            return None
        return [one.member for session in sessions[most:] for one in session]

    def has_room(
        self, user_digest: bytes, mine: Member, most: int, *, replaced: Iterable[str], deadline: float
    ) -> bool:
        """Tell whether one more session is within a number.

        Of two sign-ins at once the older one goes first. It waits until the newer one has found out.

        :param mine: the session that begins. It must be in the index already.
        :param most: how many sessions a user may have.
        :param replaced: handles that do not count: they end when the new session stands.
        :raises StoreUnavailableError: if the store failed.
        """
        # The rest of the time is for what follows.
        patience = monotonic() + (deadline - monotonic()) / 2
        while True:
            # One that failed half-way, and could not be taken back, keeps nobody out for long.
            latest = now_ms() - PENDING_SECONDS * 1000
            sessions = [one for one, *_ in self._sessions(self._counted(user_digest, mine.handle, replaced, deadline))]
            births = {one.member.born for one in sessions if one.is_reachable}
            others = [
                one
                for one in sessions
                if one.member.handle != mine.handle and (one.is_reachable or one.member.born > latest)
            ]
            # One that has a session's time of birth and no record is what that one is about to go on under, or another
            # sign-in in the same millisecond: soon it has a record, which tells.
            certain = [one for one in others if one.is_reachable or one.member.born not in births]
            before = [one for one in certain if one.is_reachable or _order(one.member) < _order(mine)]
            if len(before) >= most:
                return False
            if len(others) < most:
                return True
            if monotonic() >= patience:
                return len(certain) < most
            sleep(WAIT_SECONDS)

    def _counted(self, user_digest: bytes, mine: str, replaced: Iterable[str], deadline: float) -> list[_Live]:
        """Return the sessions, but for those that are replaced.

        :param mine: the handle of the session that begins: it is there, however many members are before it.
        """
        seen = self._look_twice(user_digest, deadline=lambda: deadline)
        live = seen.live if mine in seen.handles else [*seen.live, *self._one(mine, deadline)]
        ending = _with_what_follows(replaced, seen.leads)
        return [one for one in _marked(live, seen.leads) if one.member.handle not in ending]

    def _one(self, handle: str, deadline: float) -> list[_Live]:
        (content,) = self._store.load_many([handle], deadline=deadline)
        member = new_member(handle, now_ms())
        record = self._read(member, content)
        if record is None or record.kind != Kind.LIVE:
            return []
        return [_Live(member._replace(born=record.born), record, None)]

    @staticmethod
    def _sessions(found: list[_Live]) -> list[list[_Live]]:
        """Return the sessions, newest first, each with what belongs to it: a successor that is not in use yet.

        A renewal that died half-way leaves one, too: nobody can reach it. By the last writes, and not by the time at
        which they began: two sign-ins can have one.
        """
        sessions = [[one] for one in found if one.is_confirmed]
        by_write = {write: session for session in sessions for write in session[0].last_writes}
        for one in found:
            if not one.is_confirmed:
                session = next((by_write[write] for write in one.last_writes if write in by_write), None)
                if session is None:
                    sessions.append([one])
                else:
                    session.append(one)
        return sorted(sessions, key=lambda group: group[0].member.born, reverse=True)

    def _look_twice(self, user_digest: bytes, *, deadline: Callable[[], float]) -> _Seen:
        """Look at a user's sessions, and again where one has just gone on under an id that was not in the index yet."""
        ahead: set[str] = set()
        for _look in range(MOST_LOOKS):
            seen = self._look(user_digest, deadline=deadline)
            # An id may have been stored behind the look at it, and before that at the one that it replaced.
            before, ahead = ahead, set(seen.leads.values()) - (seen.handles - seen.absent)
            # What is ahead at two looks has gone: its record has ended long ago.
            if ahead <= before:
                break
        return seen

    def _look(self, user_digest: bytes, *, deadline: Callable[[], float]) -> _Seen:
        seen = _Seen([], set(), set(), {})

        def look(page: list[Member]) -> list[str]:
            gone = []
            stored = self._store.load_many_with_ttl([member.handle for member in page], deadline=deadline())
            for member, (content, ttl) in zip(page, stored, strict=True):
                seen.handles.add(member.handle)
                record = self._read(member, content)
                if content is None:
                    seen.absent.add(member.handle)
                    if member.is_settled:
                        gone.append(member.handle)
                    else:
                        seen.live.append(_Live(member, None, ttl))
                elif record is not None and record.user_digest == user_digest:
                    self._sort_in(member, record, ttl, seen)
            return gone

        self._users.go_through(user_digest, look, deadline=deadline, most_pages=MOST_PAGES)
        return seen

    @staticmethod
    def _sort_in(member: Member, record: Record, ttl: float | None, seen: _Seen) -> None:
        following = next_handle(record)
        if record.kind == Kind.LIVE:
            # The index lies, a record does not.
            seen.live.append(_Live(member._replace(born=record.born), record, ttl))
        elif following is not None:
            seen.leads[member.handle] = following

    def _read(self, member: Member, content: bytes | RecordError | None) -> Record | None:
        if not isinstance(content, bytes):
            return None
        try:
            record = self._sealer.unseal(self._store.storage_key(member.handle), content)[0]
        except (RecordError, NewerRecordError):
            # Whose a newer version's is, that knows: somebody may have put any handle there.
            return None
        return None if record.is_past(now_ms()) else record

    def _info(self, live: _Live, record: Record, idle_timeout: float, *, is_looked_into: bool) -> SessionInfo:
        now, deadline = now_ms() / 1000, record.deadline / 1000
        expires = None if live.ttl is None else now + live.ttl
        if deadline:
            expires = min(expires or deadline, deadline)
        # Each use of a session gives it the whole idle timeout again.
        seen = None if live.ttl is None else min(now, max(record.born / 1000, now - (idle_timeout - live.ttl)))
        agent, address = self._client_of(record) if is_looked_into else (None, None)
        return SessionInfo(
            live.member.handle,
            datetime.fromtimestamp(record.born / 1000, UTC),
            None if expires is None or expires > _END_OF_TIME else datetime.fromtimestamp(expires, UTC),
            None if seen is None else datetime.fromtimestamp(seen, UTC),
            len(record.body),
            agent,
            address,
        )

    def _client_of(self, record: Record) -> tuple[str | None, str | None]:
        try:
            text: Any = self._serializer.load_container(record.body).get(CLIENT_KEY)
        except PayloadError:
            return None, None
        if type(text) is not str:
            return None, None
        address, _line, agent = text.partition("\n")
        # As at sign-in: who holds the secret key can plant longer ones.
        return agent[:LONGEST_AGENT] or None, address[:LONGEST_ADDRESS] or None


def _marked(live: list[_Live], leads: dict[str, str]) -> list[_Live]:
    """Return the same, each with whether it is reachable: used, or what a session goes on under."""
    used = {write for one in live if one.is_confirmed for write in one.last_writes}
    led_to = set(leads.values())
    return [
        one._replace(
            is_reachable=one.record is not None
            and (one.is_confirmed or one.member.handle in led_to or not used.isdisjoint(one.last_writes))
        )
        for one in live
    ]


def _with_what_follows(handles: Iterable[str], leads: dict[str, str]) -> set[str]:
    """Return handles, and those that they lead to."""
    found: set[str] = set()
    for handle in handles:
        following: str | None = handle
        while following is not None and following not in found:
            found.add(following)
            following = leads.get(following)
    return found


def _order(member: Member) -> tuple[int, str]:
    """Return what sign-ins are told apart by, the same for whoever looks."""
    return member.born, member.handle


def client_text(address: str | None, agent: str | None) -> str:
    """Return what a session keeps of its browser."""
    # Behind a proxy that is trusted too much, the address is what the browser says, too.
    return f"{(address or '')[:LONGEST_ADDRESS]}\n{(agent or '')[:LONGEST_AGENT]}"
