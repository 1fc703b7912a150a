"""What an application's settings come to, and which rows of the standards they meet.

Sources: OWASP Application Security Verification Standard 5.0 (V3.3, V7); NIST SP 800-63B-4 (sections 2 and 5).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from flask import Flask

from .config import Settings
from .keys import secret_keys, weak_keys
from .profiles import PROFILES


class Verdict(StrEnum):
    """How a row of a standard stands."""

    MET = "met"
    NOT_MET = "NOT MET"
    #: Up to the application: the call that does it is named.
    YOURS = "yours"


class Row(NamedTuple):
    """A row of a standard."""

    name: str
    asked: str
    verdict: Verdict
    why: str


def in_force(app: Flask, settings: Settings) -> dict[str, str]:
    """Return the settings that decide how long sessions live and what ends them."""
    idle = settings.idle_timeout or app.permanent_session_lifetime.total_seconds()
    most = settings.max_sessions_per_user
    return {
        "profile": settings.profile.name if settings.profile else "none",
        "idle timeout": f"{idle:.0f} s",
        "absolute timeout": _seconds(settings.absolute_timeout),
        "new id by itself": "never" if settings.renew_every is None else f"every {settings.renew_every:.0f} s",
        "grace of an old id": f"{settings.grace:.0f} s",
        "reuse of an old id": settings.on_reuse.value,
        "sessions of one user": "any number" if most is None else f"{most}, then {settings.on_max_sessions}",
        "dropped writes": settings.on_drop,
        "encrypted at rest": "yes" if settings.encrypt else "no",
        "cookie": ", ".join(_cookie(app)),
    }


def _seconds(value: float | None) -> str:
    return "none" if value is None else f"{value:.0f} s"


def _cookie(app: Flask) -> Iterator[str]:
    config = app.config
    yield str(config["SESSION_COOKIE_NAME"])
    yield "Secure" if config["SESSION_COOKIE_SECURE"] else "not Secure"
    yield "HttpOnly" if config["SESSION_COOKIE_HTTPONLY"] else "not HttpOnly"
    yield f"SameSite={config['SESSION_COOKIE_SAMESITE'] or 'not set'}"
    yield f"Domain={config['SESSION_COOKIE_DOMAIN'] or 'not set'}"


def rows(app: Flask, settings: Settings) -> list[Row]:
    """Return the rows of the standards, each with how it stands."""
    return [*_asvs_cookies(app), *_asvs_sessions(app, settings), *_nist(app, settings)]


def _row(name: str, asked: str, is_met: bool, why: str) -> Row:
    return Row(name, asked, Verdict.MET if is_met else Verdict.NOT_MET, why)


def _asvs_cookies(app: Flask) -> Iterator[Row]:
    config = app.config
    name, secure = str(config["SESSION_COOKIE_NAME"]), bool(config["SESSION_COOKIE_SECURE"])
    is_host = name.startswith("__Host-") and secure and not config["SESSION_COOKIE_DOMAIN"]
    yield _row(
        "ASVS 3.3.1",
        "Secure, and the name begins with __Host- or __Secure-",
        secure and name.startswith(("__Host-", "__Secure-")),
        'SESSION_COOKIE_SECURE=True, SESSION_COOKIE_NAME="__Host-session"',
    )
    yield _row("ASVS 3.3.2", "SameSite is set", bool(config["SESSION_COOKIE_SAMESITE"]), "SESSION_COOKIE_SAMESITE")
    yield _row("ASVS 3.3.3", "the name begins with __Host-", is_host, "SESSION_COOKIE_NAME, no SESSION_COOKIE_DOMAIN")
    yield _row("ASVS 3.3.4", "HttpOnly", bool(config["SESSION_COOKIE_HTTPONLY"]), "SESSION_COOKIE_HTTPONLY")
    yield _row("ASVS 3.3.5", "name and value within 4096 bytes", True, "about 120 bytes")


def _asvs_sessions(app: Flask, settings: Settings) -> Iterator[Row]:
    secrets = secret_keys(app.config, app.secret_key or "")
    yield _row("ASVS 7.1.1", "lifetimes are documented", settings.profile is not None, "PICKLESESSION_PROFILE")
    yield _row(
        "ASVS 7.1.2",
        "how many sessions an account may have is decided",
        settings.max_sessions_per_user is not None,
        "PICKLESESSION_MAX_SESSIONS_PER_USER",
    )
    yield _row("ASVS 7.2.1", "verified by the server", True, "signed cookie, signed record")
    yield _row("ASVS 7.2.2", "made for each session, no static secret", True, "")
    yield _row(
        "ASVS 7.2.3", "128 random bits", not any(weak_keys([key for key in secrets if key])), "256 bits; SECRET_KEY"
    )
    yield _row(
        "ASVS 7.2.4",
        "a new id at authentication and re-authentication, the old one over",
        True,
        "at once; session.reauthenticated()",
    )
    yield _row("ASVS 7.3.1", "inactivity timeout", True, "idle timeout")
    yield _row(
        "ASVS 7.3.2", "absolute lifetime", settings.absolute_timeout is not None, "PICKLESESSION_ABSOLUTE_TIMEOUT"
    )
    yield _row("ASVS 7.4.1", "termination disallows any further use", True, "delete wins over late writes")
    yield Row("ASVS 7.4.2", "all sessions end with the account", Verdict.YOURS, "sessions.revoke_user(user_id)")
    yield Row(
        "ASVS 7.4.3", "end all others after a new password", Verdict.YOURS, "sessions.revoke_user(user_id, keep=...)"
    )
    yield Row("ASVS 7.4.4", "signing out is easy to find", Verdict.YOURS, "session.destroy()")
    yield Row("ASVS 7.4.5", "administrators can end sessions", Verdict.YOURS, "flask session revoke")
    yield Row("ASVS 7.5.1", "proven again before changes of the account", Verdict.YOURS, "session.fresh_within(300)")
    yield Row("ASVS 7.5.2", "users see and end their sessions", Verdict.YOURS, "sessions.sessions_of(user_id)")
    yield Row("ASVS 7.5.3", "proven again before what matters most", Verdict.YOURS, "session.fresh_within(300)")


def _nist(app: Flask, settings: Settings) -> Iterator[Row]:
    config = app.config
    idle = settings.idle_timeout or app.permanent_session_lifetime.total_seconds()
    yield _row("NIST 5.1", "64 random bits, made after authentication", True, "256 bits, replaced at sign-in")
    yield _row(
        "NIST 5.1.1",
        "cookie: Secure, narrow in host and path",
        bool(config["SESSION_COOKIE_SECURE"]) and not config["SESSION_COOKIE_DOMAIN"],
        "SESSION_COOKIE_SECURE=True, no SESSION_COOKIE_DOMAIN",
    )
    yield _row(
        "NIST 5.2", "overall and inactivity timeouts", settings.absolute_timeout is not None, "PICKLESESSION_PROFILE"
    )
    for name, profile in PROFILES.items():
        is_met = (
            settings.absolute_timeout is not None
            and settings.absolute_timeout <= profile.absolute_timeout
            and (profile.idle_timeout is None or idle <= profile.idle_timeout)
        )
        idle_text = "" if profile.idle_timeout is None else f", {profile.idle_timeout:.0f} s without use"
        yield _row(
            f"NIST {name.upper()}",
            f"{profile.absolute_timeout:.0f} s overall{idle_text}",
            is_met,
            f'PICKLESESSION_PROFILE="{name}"',
        )
