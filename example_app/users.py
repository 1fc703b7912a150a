"""The demo's users. A real shop has them in a database, with hashed passwords."""

from __future__ import annotations

import hmac

from flask import Flask, Response
from flask_login import LoginManager, UserMixin

USERS = {"ada": "lovelace", "grace": "hopper", "alan": "turing"}


class User(UserMixin):
    """A user who signed in.

    :param name: the name, which is the id.
    """

    def __init__(self, name: str) -> None:
        self.id = name


class QuietLoginManager(LoginManager):
    """Flask-Login without "remember me".

    Flask-Login looks for that in the session after every response. Then every page would use the session, and none
    could be shown while the store is away.
    """

    def _update_remember_cookie(self, response: Response) -> Response:
        return response


def init_app(app: Flask) -> None:
    """Let the application know its users."""
    # Its context processor would look for the user, and so use the session, whenever a template is rendered.
    manager = QuietLoginManager(app, add_context_processor=False)
    manager.login_view = "account.sign_in"
    manager.user_loader(lambda name: User(name) if name in USERS else None)


def check(name: str, password: str) -> User | None:
    """Return the user, or ``None`` if name and password do not belong together."""
    expected = USERS.get(name, "")
    if expected and hmac.compare_digest(expected.encode(), password.encode()):
        return User(name)
    return None
