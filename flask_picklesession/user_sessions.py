"""A user's sessions: listed, and kept to a number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from time import monotonic, sleep
from typing import Any, NamedTuple

from .exceptions import NewerRecordError, PayloadError, RecordError
from .pickling import PickleSerializer
from .revocation import STEP_SECONDS, is_settled
from .session import CLIENT_KEY
from .storage.index import Member, UserIndex
from .storage.record import Kind, Record, now_ms
from .storage.sealing import RecordSealer
from .storage.store import Store

#: Pages of the index that are looked at: who can write to Redis can name a million sessions that there are not.
MOST_PAGES = 50

#: Bytes of payloads that are looked into for what browsers said of themselves. To read a megabyte takes a tenth of a
#: second, and who holds the secret key can plant as many as there are members.
MOST_LOOKED_INTO = 4 << 20

#: Seconds between two looks at a sign-in that goes on at the same time.
WAIT_SECONDS = 0.005

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


# The last second that a datetime can tell. Redis takes times to live that end far beyond.
_END_OF_TIME = datetime.max.replace(tzinfo=UTC).timestamp() - 1


class UserSessions:
    """The live sessions of each user.

    :param store: where the records are.
    :param sealer: verifies and decrypts them.
    :param users: the index of users.
    :param serializer: reads what browsers said of themselves.
    """

    def __init__(self, store: Store, sealer: RecordSealer, users: UserIndex, serializer: PickleSerializer) -> None:
        self._store = store
        self._sealer = sealer
        self._users = users
        self._serializer = serializer

    def infos(self, user_digest: bytes, idle_timeout: Callable[[], float]) -> list[SessionInfo]:
        """Return a user's sessions, newest first.

        :param idle_timeout: returns the seconds that a session lives on without use: tells when it was used last.
        :raises StoreUnavailableError: if the store failed.
        """
        found = self._sessions(user_digest, deadline=monotonic() + STEP_SECONDS)
        left, infos = MOST_LOOKED_INTO, []
        for one, *_rest in found:
            if one.record is not None:
                left -= len(one.record.body)
                infos.append(self._info(one, one.record, idle_timeout(), is_looked_into=left > 0))
        return infos

    def make_room(self, user_digest: bytes, mine: Member, most: int, *, deadline: float) -> list[Member] | None:
        """Return the members to end so that one more session is within a number, the newest of which are kept.

        Those that are about to be stored count, too: of two sign-ins at once each sees the other, or the later one of
        them sees both, and whoever looks last ends what is too many.

        :param mine: the session that begins. It must be in the index already.
        :param most: how many sessions a user may have.
        :return: ``None`` where newer ones have taken its place.
        :raises StoreUnavailableError: if the store failed.
        """
        sessions = self._sessions(user_digest, deadline=deadline)
        sessions.sort(key=lambda found: (found[0].member.born, found[0].member.handle), reverse=True)
        beyond = [one.member for found in sessions[most:] for one in found]
        return None if mine in beyond else beyond

    def has_room(self, user_digest: bytes, mine: Member, most: int, *, deadline: float) -> bool:
        """Tell whether one more session is within a number.

        Of two sign-ins at once the older one goes first. It waits until the newer one has found out.

        :param mine: the session that begins. It must be in the index already.
        :param most: how many sessions a user may have.
        :raises StoreUnavailableError: if the store failed.
        """
        # The rest of the time is for what follows.
        patience = monotonic() + (deadline - monotonic()) / 2
        while True:
            others = [found[0] for found in self._sessions(user_digest, deadline=deadline) if found[0].member != mine]
            before = [
                one
                for one in others
                if one.record is not None or (one.member.born, one.member.handle) < (mine.born, mine.handle)
            ]
            if len(before) >= most:
                return False
            if len(others) < most:
                return True
            if monotonic() >= patience:
                return False
            sleep(WAIT_SECONDS)

    def _sessions(self, user_digest: bytes, *, deadline: float) -> list[list[_Live]]:
        """Return the sessions, newest first, each with what belongs to it: a successor that is not in use yet.

        A renewal that died half-way leaves one, too: nobody can reach it.
        """
        found = self._live(user_digest, deadline=deadline)
        sessions = {one.member.born: [one] for one in found if one.record is not None and one.record.confirmed}
        rest: list[list[_Live]] = []
        for one in found:
            if one.record is not None and one.record.confirmed:
                if sessions[one.member.born][0] is not one:
                    # Of another sign-in in the same millisecond.
                    rest.append([one])
            elif one.record is not None and one.member.born in sessions:
                sessions[one.member.born].append(one)
            else:
                rest.append([one])
        return sorted([*sessions.values(), *rest], key=lambda group: group[0].member.born, reverse=True)

    def _live(self, user_digest: bytes, *, deadline: float) -> list[_Live]:
        found: list[_Live] = []
        gone: list[str] = []
        for page in islice(self._users.pages(user_digest, deadline=deadline), MOST_PAGES):
            stored = self._store.load_many_with_ttl([member.handle for member in page], deadline=deadline)
            for member, (content, ttl) in zip(page, stored, strict=True):
                if content is None:
                    if is_settled(member):
                        gone.append(member.handle)
                    else:
                        found.append(_Live(member, None, None))
                    continue
                record = self._read(member, content)
                if record is not None and record.user_digest == user_digest:
                    found.append(_Live(member, record, ttl))
        self._users.remove(user_digest, gone, deadline=deadline)
        return found

    def _read(self, member: Member, content: bytes | RecordError) -> Record | None:
        if isinstance(content, RecordError):
            return None
        try:
            record = self._sealer.unseal(self._store.storage_key(member.handle), content)[0]
        except (RecordError, NewerRecordError):
            return None
        return record if record.kind == Kind.LIVE and not record.is_past(now_ms()) else None

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
        return agent or None, address or None


def client_text(address: str | None, agent: str | None) -> str:
    """Return what a session keeps of its browser."""
    # Behind a proxy that is trusted too much, the address is what the browser says, too.
    return f"{(address or '')[:LONGEST_ADDRESS]}\n{(agent or '')[:LONGEST_AGENT]}"
