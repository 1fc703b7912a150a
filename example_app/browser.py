"""This browser's session: what it holds, what it refuses, and what becomes of an attack on it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from datetime import UTC, datetime
from typing import cast

from flask import Blueprint, Flask, abort, current_app, flash, redirect, render_template, url_for
from flask import session as flask_session
from flask_login import current_user
from werkzeug.wrappers import Response

from flask_picklesession import Session, TypeRefusedError

from . import attack

# Flask types its session as any session; this one can tell more.
session = cast(Session, flask_session)

bp = Blueprint("browser", __name__, url_prefix="/session")


class RecentLines(logging.Handler):
    """Keeps the last lines of a log, to be shown."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=5)

    def emit(self, record: logging.LogRecord) -> None:
        when = datetime.fromtimestamp(record.created, UTC)
        self.lines.append(f"{when:%H:%M:%S} {record.levelname} {record.name}: {record.getMessage()}")


def init_app(app: Flask) -> None:
    """Keep the log lines of the session library."""
    app.extensions["recent_lines"] = handler = RecentLines()
    logging.getLogger("flask_picklesession").addHandler(handler)
    app.register_blueprint(bp)


@bp.get("/")
def show() -> str:
    """Show what the session holds: types and sizes, no values."""
    values = list(session.items())
    sizes = {key: len(stored) if isinstance(stored, str | bytes) else 8 for key, stored in session.base.items()}
    keys = [(key, f"{type(value).__module__}.{type(value).__qualname__}", sizes.get(key)) for key, value in values]
    lines = list(current_app.extensions["recent_lines"].lines)
    return render_template("session.html", keys=keys, lines=lines, now=datetime.now(UTC), current_user=current_user)


@bp.post("/lock")
def store_a_lock() -> str:
    """Try to store what cannot be restored. The refusal comes here, where it is stored."""
    cart = session.get("cart")
    try:
        session["checkout"] = {"cart": cart, "steps": ["address", threading.Lock()]}
    except TypeRefusedError as error:
        return render_template("refused.html", error=error)
    return abort(500)


@bp.post("/attack")
def plant() -> Response:
    """Write an attack into this browser's own record."""
    if session.handle is None:
        flash("Put something into your cart first: there is no stored session to attack.", "error")
        return redirect(url_for(".show"))
    attack.plant(session.handle)
    return redirect(url_for(".show"))


@bp.post("/end")
def end() -> Response:
    """End the session."""
    session.destroy()
    return redirect(url_for("shop.index"))
