"""A small shop that keeps its visitors' carts in sessions of real objects."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask, Response, abort, render_template, request

from . import account, browser, devices, shop, users
from .models import allow

# No scripts at all. The framework's form controls are drawn with data: images.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def create_app() -> Flask:
    """Return the application.

    ``PICKLESESSION_URL`` in the environment names the store; without it an embedded server keeps the sessions in the
    instance folder. Every other setting comes from ``FLASK_...`` variables.
    """
    app = Flask(__name__)
    instance = Path(os.environ.get("SHOP_INSTANCE") or app.instance_path)
    instance.mkdir(parents=True, exist_ok=True)
    app.config.update(
        SECRET_KEY=_secret_key(instance),
        SESSION_COOKIE_SAMESITE="Lax",
        PICKLESESSION_URL=os.environ.get("PICKLESESSION_URL") or f"embedded://{instance / 'valkey'}",
        PICKLESESSION_ALLOW=allow,
        # Each id is good for an hour; the browser gets the next one by itself.
        PICKLESESSION_RENEW_EVERY=3600,
        PICKLESESSION_REMEMBER_CLIENT=True,
    )
    app.config.from_prefixed_env()
    devices.init_app(app)
    users.init_app(app)
    browser.init_app(app)
    app.register_blueprint(shop.bp)
    app.register_blueprint(account.bp)
    app.before_request(_refuse_foreign_forms)
    app.after_request(_add_headers)
    app.register_error_handler(503, lambda error: (render_template("unavailable.html"), 503))
    app.register_error_handler(404, lambda error: (render_template("not_found.html"), 404))
    return app


def _secret_key(instance: Path) -> str:
    """Return the key, made at the first start. Workers that start together get the same one."""
    path, mine = instance / "secret_key", instance / f"secret_key.{os.getpid()}"
    if not path.exists():
        mine.touch(mode=0o600)
        mine.write_text(secrets.token_hex(32))
        with suppress(FileExistsError):
            os.link(mine, path)
        mine.unlink()
    return path.read_text()


def _refuse_foreign_forms() -> None:
    """Refuse forms of other sites, by what every browser of today says of them (OWASP: Fetch Metadata)."""
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site not in (None, "same-origin", "none") or (origin and urlsplit(origin).netloc != request.host):
        abort(403)


def _add_headers(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response
