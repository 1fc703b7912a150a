"""Profiles of timeouts: what NIST SP 800-63B-4 (section 2, reauthentication) asks for at each assurance level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


class Profile(NamedTuple):
    """The longest timeouts of one assurance level, in seconds."""

    name: str
    #: ``None`` where the level asks for none: Flask's ``PERMANENT_SESSION_LIFETIME`` then.
    idle_timeout: float | None
    absolute_timeout: float


#: What a configuration may name. AAL1: 30 days overall; AAL2: a day overall, an hour without use; AAL3: twelve hours
#: overall, fifteen minutes without use.
PROFILES: Final[Mapping[str, Profile]] = {
    "aal1": Profile("aal1", None, 30 * _DAY),
    "aal2": Profile("aal2", _HOUR, _DAY),
    "aal3": Profile("aal3", 15 * _MINUTE, 12 * _HOUR),
}
