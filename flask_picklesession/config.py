"""Our settings, read and checked once an application."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

from .cookie import cookie_problems
from .exceptions import ConfigurationError, RegistrationError
from .keys import key_problems
from .manager import OnReuse
from .pickling import AllowList, Limits
from .pickling.limits import DEFAULT_LIMITS
from .policies import DEFAULT_POLICIES, POLICIES, Policy
from .profiles import PROFILES, Profile
from .save import SaveRules
from .storage.connection import LARGEST_REPLY, Link, connect, from_client
from .storage.record import ENDED_SECONDS

#: What each of our keys begins with.
PREFIX = "PICKLESESSION_"

#: Seconds that one request may spend on the store, over all attempts.
DEFAULT_TIMEOUT = 1.0

#: Seconds in which requests with a replaced id must not set a cookie (lua-resty-session: ``stale_ttl``).
DEFAULT_GRACE = 10.0

#: Seconds of the longest times that may be set: ten years. Far beyond, Redis and :class:`datetime.datetime` fail, each
#: in its own way.
LONGEST_TIME = 10 * 366 * 86_400

#: Where Flask-Login and Flask's tutorial keep the user's id.
DEFAULT_IDENTITY_KEYS = ("_user_id", "user_id")

# Its length has two bytes; signature, encryption and the frame of a reply are smaller by far.
_HEADER_ROOM = 128 << 10

#: Bytes of the largest payload: what a string in Redis can hold, less the header.
LARGEST_PAYLOAD = (512 << 20) - _HEADER_ROOM

#: Characters of the longest key prefix: it goes into each command, and with its length into the signature.
LONGEST_PREFIX = 200

#: The shortest time that is one, in seconds.
SHORTEST_TIME = 0.001

_FLASKS_KEYS = frozenset({"_flashes", "_permanent"})

# Flask's own default.
_DEFAULT_LIFETIME = timedelta(days=31)

_NO_STORE_SENTENCE = (
    "Where the sessions are is not said. Set one of\n"
    '  PICKLESESSION_URL = "redis://localhost:6379/0"\n'
    "  PICKLESESSION_CLIENT = redis.Redis(...)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One application's settings. Times are in seconds, sizes in bytes."""

    link: Link
    allow: AllowList
    key_prefix: str
    #: ``None``: Flask's ``PERMANENT_SESSION_LIFETIME``, as it is at each request.
    idle_timeout: float | None
    absolute_timeout: float | None
    limits: Limits
    identity_keys: tuple[str, ...]
    grace: float
    timeout: float
    no_store: bool
    #: Key of a session -> its policy.
    merge: Mapping[str, Policy]
    #: What becomes of a dropped write: ``"signal"`` or ``"error"``.
    on_drop: str
    #: Seconds after which a session goes on under a new id, or ``None``.
    renew_every: float | None
    on_reuse: OnReuse
    max_sessions_per_user: int | None
    #: What becomes of one session too many: ``"reject"`` or ``"evict_oldest"``.
    on_max_sessions: str
    remember_client: bool
    #: The profile that gave the timeouts, or ``None``.
    profile: Profile | None
    encrypt: bool
    #: Until when plain records are read although records are encrypted, in seconds since 1970.
    plain_until: float

    @property
    def rules(self) -> SaveRules:
        """What these settings say about saving."""
        return SaveRules(
            absolute_timeout=self.absolute_timeout,
            policies=self.merge,
            is_drop_error=self.on_drop == "error",
            renew_every=self.renew_every,
            max_sessions=self.max_sessions_per_user,
            evicts=self.on_max_sessions == "evict_oldest",
        )


def read_settings(config: Mapping[str, Any]) -> Settings:
    """Read and check the keys that begin with ``PICKLESESSION_``, the cookie's settings and the secret keys.

    :param config: Flask's configuration.
    :raises ConfigurationError: if anything is wrong, with all problems at once.
    """
    given = {key.removeprefix(PREFIX): value for key, value in config.items() if key.startswith(PREFIX)}
    problems = [_unknown(key) for key in given if key not in _KEYS]
    limits = _read_limits(given, problems)
    values: dict[str, Any] = {}
    for key, (read, default) in _READERS.items():
        try:
            values[key.lower()] = read(given.get(key, default))
        except (ValueError, RegistrationError) as error:
            problems.append(f"{PREFIX}{key}: {error}")
    is_idle_timeout = values.get("idle_timeout", 0) is None
    _apply_profile(values, problems)
    _apply_lifetime(config, values, problems, is_idle_timeout=is_idle_timeout)
    link = None
    try:
        link = _read_link(given, values.get("timeout", DEFAULT_TIMEOUT), largest_record(limits))
    except ValueError as error:
        problems.append(str(error))
    problems.extend(cookie_problems(config))
    problems.extend(key_problems(config, config.get("SECRET_KEY")))
    if problems or link is None:
        raise ConfigurationError(problems)
    return Settings(link=link, limits=limits, **values)


def _apply_profile(values: dict[str, Any], problems: list[str]) -> None:
    """Let a profile give the timeouts, and refuse longer ones."""
    profile: Profile | None = values.get("profile")
    if profile is None:
        return
    for key, most in (("idle_timeout", profile.idle_timeout), ("absolute_timeout", profile.absolute_timeout)):
        given = values.get(key)
        if given is None:
            values[key] = most
        elif most is not None and given > most:
            problems.append(
                f"{PREFIX}{key.upper()}: {given:.0f} seconds; the profile {profile.name} allows {most:.0f} at most"
            )


def _apply_lifetime(
    config: Mapping[str, Any], values: dict[str, Any], problems: list[str], *, is_idle_timeout: bool
) -> None:
    """Look at Flask's setting: the cookie's lifetime, and the idle timeout where there is no other one.

    A profile makes that shorter, never longer. Refuse what Redis would, as an outage at each request, or Flask.
    """
    try:
        lifetime = _seconds(config.get("PERMANENT_SESSION_LIFETIME", _DEFAULT_LIFETIME))
    except ValueError as error:
        problems.append(f"PERMANENT_SESSION_LIFETIME: {error}")
        return
    if is_idle_timeout and values["idle_timeout"] is not None:
        values["idle_timeout"] = min(values["idle_timeout"], lifetime)


def _unknown(key: str) -> str:
    near = get_close_matches(key, _KEYS, n=1, cutoff=0)
    return f"{PREFIX}{key} is not a setting. Did you mean {PREFIX}{near[0]}?"


def _read_limits(given: Mapping[str, Any], problems: list[str]) -> Limits:
    limits = DEFAULT_LIMITS
    for key in _LIMITS & given.keys():
        try:
            limits = replace(limits, **{key.lower(): given[key]})
        except ValueError as error:
            problems.append(f"{PREFIX}{key}: {str(error).partition(' ')[2]}")
    problems.extend(
        f"{PREFIX}{name.upper()}: must be at most {LARGEST_PAYLOAD}, what a string in Redis can hold"
        for name in ("max_size", "max_value_size")
        if getattr(limits, name) > LARGEST_PAYLOAD
    )
    return limits


def largest_record(limits: Limits) -> int:
    """Return how many bytes of a record are read at most: its payload, and more than a header can have."""
    return limits.max_size + _HEADER_ROOM


def _read_link(given: Mapping[str, Any], timeout: float, largest: int) -> Link:
    url, client = given.get("URL"), given.get("CLIENT")
    if (url is None) == (client is None):
        raise ValueError(
            _NO_STORE_SENTENCE if url is None else "PICKLESESSION_URL and PICKLESESSION_CLIENT are both set; keep one."
        )
    try:
        return (
            from_client(client)
            if url is None
            else connect(_text(url), timeout=timeout, largest_reply=max(largest, LARGEST_REPLY))
        )
    except ValueError as error:
        raise ValueError(f"{PREFIX}{'CLIENT' if url is None else 'URL'}: {error}") from error


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"must be a str, not {type(value).__qualname__}")
    return value


def _key_prefix(value: object) -> str:
    text = _text(value)
    if not text.isascii() or not text.isprintable():
        raise ValueError("must be printable ASCII")
    if len(text) > LONGEST_PREFIX:
        raise ValueError(f"must have at most {LONGEST_PREFIX} characters")
    return text


def _seconds(value: object) -> float:
    """Read a positive number of seconds, or a timedelta."""
    seconds = _seconds_or_zero(value)
    # Records count in milliseconds.
    if seconds < SHORTEST_TIME:
        raise ValueError(f"must be more than 0 seconds: {SHORTEST_TIME} at least")
    return seconds


def _seconds_or_zero(value: object) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    # Not "value < 0": that is false of what is not a number, too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError("must be a number of seconds or a timedelta")
    if value > LONGEST_TIME:
        raise ValueError(f"must be at most {LONGEST_TIME} seconds, ten years")
    return float(value)


def _grace(value: object) -> float:
    """Read how long a request may be late."""
    return _within_ended(_seconds_or_zero(value))


def _timeout(value: object) -> float:
    """Read what a request may spend on the store."""
    return _within_ended(_seconds(value))


def _within_ended(seconds: float) -> float:
    if seconds > ENDED_SECONDS:
        raise ValueError(f"must be at most {ENDED_SECONDS} seconds: for so long an ended session leaves a record")
    return seconds


def _optional(read: Callable[[object], float]) -> Callable[[object], float | None]:
    return lambda value: None if value is None else read(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be True or False")
    return value


def _encrypt(value: object) -> bool:
    if _flag(value) and find_spec("cryptography") is None:
        raise ValueError('needs cryptography: pip install "flask-picklesession[encryption]"')
    return bool(value)


def _end_of_day(value: object) -> float:
    """Read a date, and return when it ends in UTC, in seconds since 1970."""
    if value is None:
        return 0
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        day = None
    if type(day) is not date:
        raise ValueError("must be a date, or a str such as '2026-12-31'")
    # The day after the last one that there is has no date.
    return datetime.combine(day, time(), UTC).timestamp() + 86_400


def _policies(value: object) -> Mapping[str, Policy]:
    if not isinstance(value, Mapping):
        raise ValueError("must be a dict of session keys with policies")
    found = dict(DEFAULT_POLICIES)
    for key, policy in value.items():
        if not isinstance(key, str):
            raise ValueError(f"the key {key!r} must be a str, as all keys of a session are")
        if not callable(policy) and not (isinstance(policy, str) and policy in POLICIES):
            raise ValueError(f"the policy of {key!r} must be a function or one of {', '.join(POLICIES)}")
        found[key] = POLICIES[policy] if isinstance(policy, str) else policy
    return found


def _choice(*choices: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(map(repr, choices))}")
        return str(value)

    return read


def _count(value: object) -> int | None:
    if value is not None and (type(value) is not int or value < 1):
        raise ValueError("must be an int of at least 1")
    return value


def _profile(value: object) -> Profile | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in PROFILES:
        raise ValueError(f"must be one of {', '.join(map(repr, PROFILES))}")
    return PROFILES[value]


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) for name in value):
        raise ValueError("must be a list of session keys")
    if not _FLASKS_KEYS.isdisjoint(value):
        raise ValueError(f"must name no key of Flask's own: {', '.join(sorted(_FLASKS_KEYS))}")
    return tuple(value)


# Key -> how its value is read, and its default.
_READERS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "ALLOW": (AllowList.of, ()),
    "KEY_PREFIX": (_key_prefix, "session:"),
    "IDLE_TIMEOUT": (_optional(_seconds), None),
    "ABSOLUTE_TIMEOUT": (_optional(_seconds), None),
    "IDENTITY_KEYS": (_names, DEFAULT_IDENTITY_KEYS),
    "GRACE": (_grace, DEFAULT_GRACE),
    "TIMEOUT": (_timeout, DEFAULT_TIMEOUT),
    "NO_STORE": (_flag, True),
    "MERGE": (_policies, {}),
    "ON_DROP": (_choice("signal", "error"), "signal"),
    "RENEW_EVERY": (_optional(_seconds), None),
    "ON_REUSE": (lambda value: OnReuse(_choice(*OnReuse)(value)), "signal"),
    "MAX_SESSIONS_PER_USER": (_count, None),
    "ON_MAX_SESSIONS": (_choice("reject", "evict_oldest"), "evict_oldest"),
    "REMEMBER_CLIENT": (_flag, False),
    "PROFILE": (_profile, None),
    "ENCRYPT": (_encrypt, False),
    "PLAIN_UNTIL": (_end_of_day, None),
}

# Each limit is a setting.
_LIMITS = frozenset(field.name.upper() for field in fields(Limits))

_KEYS = (*_READERS, *sorted(_LIMITS), "URL", "CLIENT")
