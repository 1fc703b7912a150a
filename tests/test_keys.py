from __future__ import annotations

import logging
import secrets
from itertools import pairwise
from typing import Any

import pytest
from flask import session

from flask_picklesession import ConfigurationError, PickleSession
from flask_picklesession.keys import weak_keys
from flask_picklesession.storage.record import SIGNATURE_SIZE

from .conftest import MakeApp
from .support import Browser

STRONG = secrets.token_hex()


class TestWeakKeys:
    @pytest.mark.parametrize(
        ("secret", "reason"),
        [
            ("dev", "examples use"),
            (b"secret", "examples use"),
            ("CHANGE_ME", "examples use"),
            ("192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf", "examples use"),
            ("short", "has 5 characters"),
            ("x" * 40, "repeats"),
        ],
    )
    def test_is_named(self, secret: str | bytes, reason: str) -> None:
        """The setting is named, never what it holds."""
        (found,) = weak_keys([secret])

        assert found.startswith("SECRET_KEY ")
        assert reason in found
        assert str(secret) not in found

    def test_fallbacks_are_counted_as_they_are_configured(self) -> None:
        """The position is that in SECRET_KEY_FALLBACKS."""
        (found,) = weak_keys([STRONG, "dev", STRONG])

        assert found.startswith("SECRET_KEY_FALLBACKS[1] ")

    def test_strong_keys_are_not(self) -> None:
        """What the secrets module makes is fine."""
        assert list(weak_keys([STRONG, secrets.token_bytes(16)])) == []

    def test_logged_once(self, make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
        """One line for each weak key when it is first used, and none at the next request."""
        app = make_app(SECRET_KEY="dev")
        browser = Browser(app)
        with caplog.at_level(logging.WARNING, "flask_picklesession"):
            for _request in range(3):
                browser.visit(lambda: session.get("x"))

        assert [record.getMessage().split(" is ")[0] for record in caplog.records] == ["SECRET_KEY"]


@pytest.mark.parametrize("fallbacks", ["abc", [""], [None], b"abc", ["a key", 1]], ids=repr)
def test_fallbacks_that_are_no_list_of_keys(make_app: MakeApp, fallbacks: Any) -> None:
    """Found in review: each character of a str was a key, and so was an empty one."""
    with pytest.raises(ConfigurationError, match="SECRET_KEY_FALLBACKS must be a list"):
        PickleSession(make_app(SECRET_KEY_FALLBACKS=fallbacks))


@pytest.mark.parametrize("secret", [12345, ["a key"], bytearray(b"a key")], ids=repr)
def test_secret_key_that_is_none(make_app: MakeApp, secret: Any) -> None:
    """Found in review: an error in the middle of ours instead of what to do."""
    with pytest.raises(ConfigurationError, match="SECRET_KEY must be a str or bytes"):
        PickleSession(make_app(SECRET_KEY=secret))


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"SECRET_KEY": "hunter2-\udcff" * 5}, "SECRET_KEY"),
        ({"SECRET_KEY_FALLBACKS": [STRONG, "hunter2-\ud800" * 5]}, "SECRET_KEY_FALLBACKS[1]"),
    ],
    ids=["key", "fallback"],
)
def test_secret_key_that_cannot_be_encoded(make_app: MakeApp, config: dict[str, Any], name: str) -> None:
    """Found in review: an environment variable with bytes that are no UTF-8 was a raw error; it is not quoted."""
    with pytest.raises(ConfigurationError) as caught:
        PickleSession(make_app(**config))
    (problem,) = caught.value.problems

    assert problem.startswith(f"{name} holds bytes that are no UTF-8")
    assert "hunter2" not in problem


def test_secret_key_may_be_any_text(make_app: MakeApp) -> None:
    """What UTF-8 can write is a key."""
    browser = Browser(make_app(SECRET_KEY="Schl\u00fcssel, \U0001f511 und Riegel"))
    browser.visit(lambda: session.update(n=1))

    assert browser.ask(lambda: session["n"]) == 1


def test_key_that_changes_later_is_checked(make_app: MakeApp) -> None:
    """At the next request, as it is used then."""
    app = make_app()
    PickleSession(app)
    app.config["SECRET_KEY_FALLBACKS"] = "abc"
    app.testing = True

    with pytest.raises(ConfigurationError, match="SECRET_KEY_FALLBACKS must be a list"):
        Browser(app).visit(lambda: session.get("n"))


class TestRotation:
    """The order that the documentation gives: fallback everywhere, promote, drop."""

    @pytest.mark.parametrize("encrypt", [False, True])
    def test_during_a_rolling_deploy(self, make_app: MakeApp, raw: Any, prefix: str, encrypt: bool) -> None:
        """Workers of two steps serve the same browser in turns: nothing is lost, nobody is logged out."""
        old, new = STRONG, secrets.token_hex()
        steps: list[dict[str, Any]] = [
            {"SECRET_KEY": old},
            {"SECRET_KEY": old, "SECRET_KEY_FALLBACKS": [new]},
            {"SECRET_KEY": new, "SECRET_KEY_FALLBACKS": [old]},
            {"SECRET_KEY": new},
        ]
        apps = [make_app(PICKLESESSION_ENCRYPT=encrypt, **step) for step in steps]
        browser = Browser(apps[0])
        browser.visit(lambda: session.update(user_id=1, seen=[]))

        for before, after in pairwise(apps):
            for app in (before, after, before, after):
                following = Browser(app)
                assert browser.cookie is not None
                following.cookie = browser.cookie
                following.visit(lambda: session["seen"].append(1))
                browser = following

        assert browser.ask(lambda: (session["user_id"], len(session["seen"]))) == (1, 12)

    def test_record_and_cookie_are_signed_anew_together(self, make_app: MakeApp, raw: Any, prefix: str) -> None:
        """A read is enough, and after it the old key can be dropped."""
        new = secrets.token_hex()
        browser = Browser(make_app(SECRET_KEY=STRONG))
        browser.visit(lambda: session.update(user_id=1))
        between, after = (
            Browser(make_app(SECRET_KEY=new, SECRET_KEY_FALLBACKS=[STRONG])),
            Browser(make_app(SECRET_KEY=new)),
        )
        assert browser.cookie is not None
        between.cookie = browser.cookie
        (key,) = raw.keys(prefix + "?" * 43)
        signature = raw.get(key)[:SIGNATURE_SIZE]

        between.visit(lambda: session.get("user_id"))

        assert between.cookie != browser.cookie
        assert raw.get(key)[:SIGNATURE_SIZE] != signature
        after.cookie = between.cookie
        assert after.ask(lambda: session["user_id"]) == 1


class TestEncryption:
    def test_contents_cannot_be_read_in_redis(self, make_app: MakeApp, raw: Any, prefix: str) -> None:
        """Not even the names of keys stand there."""
        browser = Browser(make_app(PICKLESESSION_ENCRYPT=True))
        browser.visit(lambda: session.update(diagnosis="what nobody should read"))
        (key,) = raw.keys(prefix + "*")

        assert b"read" not in raw.get(key)
        assert b"diagnosis" not in raw.get(key)
        assert browser.ask(lambda: session["diagnosis"]) == "what nobody should read"

    def test_plain_session_ends_without_a_migration(self, make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
        """Once on, what is plain is no session: a fresh one, and a log line."""
        plain, encrypting = Browser(make_app()), Browser(make_app(PICKLESESSION_ENCRYPT=True))
        plain.visit(lambda: session.update(user_id=1))
        assert plain.cookie is not None
        encrypting.cookie = plain.cookie

        assert encrypting.ask(lambda: dict(session)) == {}
        assert "session rejected: record" in caplog.text

    def test_migration_is_a_read(self, make_app: MakeApp, raw: Any, prefix: str) -> None:
        """Until the day a plain session goes on, and is encrypted at its next use."""
        plain = Browser(make_app())
        migrating = Browser(make_app(PICKLESESSION_ENCRYPT=True, PICKLESESSION_PLAIN_UNTIL="9000-01-01"))
        plain.visit(lambda: session.update(name="plainly"))
        assert plain.cookie is not None
        migrating.cookie = plain.cookie
        (key,) = raw.keys(prefix + "*")

        assert migrating.ask(lambda: session["name"]) == "plainly"
        assert b"plainly" not in raw.get(key)
