"""The session cookie: session id and attributes mark, signed, with the time of signing."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from itsdangerous import BadData, Signer, TimestampSigner
from itsdangerous.encoding import base64_decode, bytes_to_int
from itsdangerous.signer import SigningAlgorithm

#: Random bytes of a session id: 256 bits, where OWASP ASVS 5.0 (7.2.3) asks for 128.
SESSION_ID_BYTES = 32

_SALT = b"flask-picklesession.cookie"
_ID_LENGTH = 43
_MARK_LENGTH = 4

# Session id and mark, time, signature, all base64url. What does not look like it costs no HMAC.
_COOKIE = re.compile(rf"[A-Za-z0-9_-]{{{_ID_LENGTH + _MARK_LENGTH}}}\.[A-Za-z0-9_-]{{1,11}}\.[A-Za-z0-9_-]{{43}}\Z")


# A token of RFC 9110, 5.6.2, as RFC 6265, 4.1.1 wants a cookie's name.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# What ends an attribute of the cookie, or its header.
_ENDS_ATTRIBUTE = re.compile("[;\x00-\x20\x7f]")

_SAME_SITE = ("strict", "lax", "none")


def cookie_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each of Flask's settings of the session cookie that browsers or Werkzeug would refuse.

    At each request, that is, or by leaving everybody without a session.
    """
    name, same_site = config.get("SESSION_COOKIE_NAME", "session"), config.get("SESSION_COOKIE_SAMESITE")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield "SESSION_COOKIE_NAME must be a str of letters, digits and !#$%&'*+-.^_`|~"
    if same_site is not None and (not isinstance(same_site, str) or same_site.lower() not in _SAME_SITE):
        yield 'SESSION_COOKIE_SAMESITE must be "Strict", "Lax", "None" or None.'
    for setting, encoding in (("SESSION_COOKIE_DOMAIN", "idna"), ("SESSION_COOKIE_PATH", "utf-8")):
        value = config.get(setting)
        # Flask takes what is false as not set.
        if value and not _is_attribute(value, encoding):
            yield f"{setting} must be a str that a cookie can have, without semicolons and spaces, or None."
    # Browsers do not mind the case (RFC 6265bis, 5.6).
    prefix = name.lower() if isinstance(name, str) else ""
    if prefix.startswith(("__host-", "__secure-")) and not config.get("SESSION_COOKIE_SECURE"):
        yield "SESSION_COOKIE_SECURE must be True where SESSION_COOKIE_NAME begins with __Host- or __Secure-."
    if prefix.startswith("__host-"):
        # RFC 6265bis, 4.1.3.2.
        if config.get("SESSION_COOKIE_DOMAIN"):
            yield "SESSION_COOKIE_DOMAIN must be None where SESSION_COOKIE_NAME begins with __Host-."
        if (config.get("SESSION_COOKIE_PATH") or config.get("APPLICATION_ROOT") or "/") != "/":
            yield 'SESSION_COOKIE_PATH must be "/" where SESSION_COOKIE_NAME begins with __Host-.'
    if isinstance(same_site, str) and same_site.lower() == "none" and not config.get("SESSION_COOKIE_SECURE"):
        yield 'SESSION_COOKIE_SECURE must be True where SESSION_COOKIE_SAMESITE is "None".'
    for setting in ("SESSION_COOKIE_SECURE", "SESSION_COOKIE_HTTPONLY", "SESSION_COOKIE_PARTITIONED"):
        if not isinstance(config.get(setting), bool | int | str | None):
            yield f"{setting} must be True or False."


def _is_attribute(value: object, encoding: str) -> bool:
    if not isinstance(value, str) or _ENDS_ATTRIBUTE.search(value):
        return False
    try:
        # As Werkzeug does it.
        value.partition(":")[0].lstrip(".").encode(encoding)
    except UnicodeError:
        return False
    return True


class Outcome(NamedTuple):
    """What a save means for the cookie."""

    #: The session id to set, or ``None`` where the browser's cookie is good as it is.
    set_id: str | None = None
    #: Whether the cookie is to be deleted.
    delete: bool = False


class SignedId(NamedTuple):
    """What a valid cookie holds."""

    session_id: str
    #: What :func:`attributes_mark` gave for the attributes that it was set with.
    mark: str
    #: When it was signed, as itsdangerous writes it.
    timestamp: str
    #: Whether the newest secret key signed it.
    is_current: bool

    def signed_at(self) -> int:
        """Return when it was signed, in seconds since 1970.

        Tells when a cookie is due to be set again, never when a session ends.
        """
        try:
            return bytes_to_int(base64_decode(self.timestamp))
        except BadData:
            # Whoever holds the secret key can sign any text. It is due.
            return 0


class _Keyed(SigningAlgorithm):
    """HMAC-SHA-256 with the key set once: it takes longer than all else for a text as short as a cookie."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod=sha256)

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        signature = self._keyed.copy()
        signature.update(value)
        return signature.digest()


class CookieSigner:
    """Sign and verify session ids.

    :param secrets: the secret keys, oldest to newest: the last one signs, all verify.
    """

    def __init__(self, secrets: Sequence[str | bytes]) -> None:
        # Deriving a key costs half of a verification, so it is done here, once a key.
        derived = [
            Signer(secret, salt=_SALT, key_derivation="hmac", digest_method=sha256).derive_key() for secret in secrets
        ]
        signers = [TimestampSigner(key, key_derivation="none", algorithm=_Keyed(key)) for key in derived]
        self._newest_first = tuple(reversed(signers))

    def sign(self, session_id: str, mark: str) -> str:
        """Return the cookie's value.

        :param session_id: the session id.
        :param mark: what :func:`attributes_mark` gives for the attributes that the cookie is set with.
        """
        return self._newest_first[0].sign(session_id + mark).decode("ascii")

    def unsign(self, value: str) -> SignedId | None:
        """Return what the cookie holds, or ``None`` if it is not one of ours."""
        if not _COOKIE.match(value):
            return None
        content, _dot, signature = value.rpartition(".")
        for position, signer in enumerate(self._newest_first):
            # Not the signer's unsign, which also makes a datetime of the timestamp: nobody asks for most of them, as
            # the record decides how long a session lives.
            if signer.verify_signature(content, signature):
                text, _dot, timestamp = content.partition(".")
                return SignedId(text[:_ID_LENGTH], text[_ID_LENGTH:], timestamp, position == 0)
        return None


@lru_cache(maxsize=16)
def attributes_mark(*attributes: object) -> str:
    """Return a short mark of a cookie's attributes.

    A browser never tells with which attributes a cookie was set. The mark does: when an operator turns on ``Secure``
    or ``SameSite``, cookies that were set before are set again at their next use.
    """
    return base64.urlsafe_b64encode(sha256(repr(attributes).encode()).digest()[:3]).decode("ascii")


def new_session_id() -> str:
    """Return a new session id."""
    return secrets.token_urlsafe(SESSION_ID_BYTES)


def handle_of(session_id: str) -> str:
    """Return the session's handle: its public digest, which can list and revoke but never log in."""
    return base64.urlsafe_b64encode(sha256(session_id.encode("ascii")).digest())[:-1].decode("ascii")
