from __future__ import annotations

import re

import pytest
from itsdangerous import TimestampSigner

from flask_picklesession.cookie import CookieSigner, attributes_mark, handle_of, new_session_id

MARK = attributes_mark("domain", "/")


def test_session_ids_are_256_random_bits() -> None:
    """A session id is 43 URL-safe characters, and no two are alike."""
    ids = {new_session_id() for _ in range(100)}

    assert len(ids) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", session_id) for session_id in ids)


def test_handle_is_the_digest_of_the_id() -> None:
    """The handle is base64url(SHA-256(id)), 43 characters."""
    # printf id | openssl dgst -sha256 -binary | base64
    assert handle_of("id") == "pWFFJwzms769HdAStzlIZ33WGNSWSIvGCKPLQ841R90"


def test_unsign_returns_the_signed_id() -> None:
    """A cookie that was signed gives its session id back."""
    signer = CookieSigner(["secret"])
    session_id = new_session_id()

    signed = signer.unsign(signer.sign(session_id, MARK))

    assert signed is not None
    assert signed.session_id == session_id
    assert signed.mark == MARK
    assert signed.is_current


def test_timestamp_of_another_form_is_due() -> None:
    """Who holds the secret key can sign any text; a cookie of no time is set again."""
    signer = CookieSigner(["secret"])
    content = f"{new_session_id()}{MARK}.A"
    signature = signer._newest_first[0].get_signature(content.encode()).decode()

    signed = signer.unsign(f"{content}.{signature}")

    assert signed is not None
    assert signed.signed_at() == 0


def test_older_key_is_told() -> None:
    """A cookie of a fallback key is accepted, and known to be on an old key."""
    cookie = CookieSigner(["old"]).sign(new_session_id(), MARK)

    signed = CookieSigner(["old", "new"]).unsign(cookie)

    assert signed is not None
    assert not signed.is_current


def test_newest_key_signs() -> None:
    """The last key signs: the first does not verify it."""
    cookie = CookieSigner(["old", "new"]).sign(new_session_id(), MARK)

    assert CookieSigner(["new"]).unsign(cookie) is not None
    assert CookieSigner(["old"]).unsign(cookie) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda cookie: "",
        lambda cookie: "x",
        lambda cookie: "a.b.c",
        lambda cookie: cookie[:-9] + ("A" if cookie[-9] != "A" else "E") + cookie[-8:],
        lambda cookie: cookie.upper(),
        lambda cookie: "A" + cookie,
        lambda cookie: cookie + "A",
        lambda cookie: cookie.replace(".", ""),
        lambda cookie: cookie + "\u20ac",
        lambda cookie: cookie * 50,
    ],
    ids=["empty", "x", "dots", "one character", "upper", "before", "after", "no dots", "not ascii", "long"],
)
def test_tampered_cookie_is_none(change: object) -> None:
    """A cookie that we did not sign as it is, is no cookie."""
    signer = CookieSigner(["secret"])

    assert signer.unsign(change(signer.sign(new_session_id(), MARK))) is None  # type: ignore[operator]  # a lambda


@pytest.mark.parametrize("session_id", ["", "short", "x" * 44, "x" * 42 + "/", "x" * 42 + "\n"])
def test_signed_by_us_but_not_a_session_id(session_id: str) -> None:
    """Even with the right signature only the form of a session id is accepted."""
    signer = CookieSigner(["secret"])

    assert signer.unsign(signer.sign(session_id, MARK)) is None


def test_cookie_of_another_salt_is_none() -> None:
    """A value that the same secret signed for another purpose is no cookie of ours."""
    cookie = TimestampSigner("secret", salt="cookie-session").sign(new_session_id() + MARK).decode()

    assert CookieSigner(["secret"]).unsign(cookie) is None
