"""Your devices: where a user is signed in, and how to sign out there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

from flask import Blueprint, Flask, flash, redirect, render_template, request, url_for
from flask import session as flask_session
from flask_login import current_user, login_required
from werkzeug.wrappers import Response

from flask_picklesession import PickleSession, Session

session = cast(Session, flask_session)

#: Lists and ends the sessions of the shop's users.
sessions = PickleSession()

bp = Blueprint("devices", __name__, url_prefix="/devices")


#: What user agents say -> what people call it, the most special first.
BROWSERS = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrom", "Chromium"), ("Safari/", "Safari"), ("curl/", "curl"))
SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


def init_app(app: Flask) -> None:
    """Give the application its sessions, and the page."""
    sessions.init_app(app)
    app.register_blueprint(bp)
    app.add_template_filter(device)


def device(agent: str) -> str:
    """Return what people call a browser, from its user agent."""
    browser = next((name for mark, name in BROWSERS if mark in agent), "A browser")
    system = next((name for mark, name in SYSTEMS if mark in agent), None)
    return browser if system is None else f"{browser} on {system}"


@bp.get("/")
@login_required  # type: ignore[untyped-decorator]  # Flask-Login's
def show() -> str:
    """List the sessions of who asks."""
    found = sessions.sessions_of(current_user.id)
    return render_template("devices.html", found=found, here=session.handle, now=datetime.now(UTC))


@bp.post("/sign-out")
@login_required  # type: ignore[untyped-decorator]  # Flask-Login's
def sign_out() -> Response:
    """End one of the user's own sessions."""
    # With the user's id: a form that names somebody else's session ends nothing.
    if sessions.revoke(request.form.get("handle", ""), user_id=current_user.id):
        flash("That device is signed out.")
    else:
        flash("That device was signed out already.")
    return redirect(url_for(".show"))


@bp.post("/sign-out-everywhere-else")
@login_required  # type: ignore[untyped-decorator]  # Flask-Login's
def sign_out_everywhere_else() -> Response:
    """End all of the user's sessions but this one."""
    count = sessions.revoke_user(current_user.id, keep=session.handle)
    flash(f"{count} other {'device was' if count == 1 else 'devices were'} signed out.")
    return redirect(url_for(".show"))
