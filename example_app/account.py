"""Sign in and out. The session id is replaced by itself; the cart goes along."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_user, logout_user
from werkzeug.wrappers import Response

from . import users

bp = Blueprint("account", __name__)


@bp.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> Response | str | tuple[str, int]:
    """Show the form, or sign in."""
    if request.method == "GET":
        return render_template("sign_in.html", users=users.USERS, current_user=current_user)
    user = users.check(request.form.get("name", ""), request.form.get("password", ""))
    if user is None:
        flash("This name and password do not belong together.", "error")
        return render_template("sign_in.html", users=users.USERS, current_user=current_user), 401
    login_user(user)
    flash(f"Welcome, {user.id}. Your session has a new id, and your cart came along.")
    return redirect(url_for("browser.show"))


@bp.post("/sign-out")
def sign_out() -> Response:
    """Sign out. The old session id is worth nothing from now on."""
    logout_user()
    flash("You are signed out.")
    return redirect(url_for("shop.index"))
