"""Turn a finished response into an error page, where the session could not be loaded or saved.

Flask cannot do this by itself: an error that ``save_session`` raises becomes a 500 whatever handlers exist, and
``save_session`` is called once more for that one.
"""

from __future__ import annotations

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

# What describes the body that is thrown away, or would act on a response that failed.
_DROPPED_HEADERS = (
    "Accept-Ranges",
    "Cache-Control",
    "Clear-Site-Data",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-Location",
    "Content-Range",
    "Content-Type",
    "ETag",
    "Expires",
    "Last-Modified",
    "Location",
    "Refresh",
    "Set-Cookie",
    "X-Accel-Redirect",
    "X-Lighttpd-Send-File",
    "X-Sendfile",
)


def render_failure(app: Flask, error: HTTPException, response: Response) -> None:
    """Make the response the one that the application's error handlers give for the error.

    :param app: the application, whose ``errorhandler`` is asked.
    :param error: the failure: 503 where the store is away, 409 for a dropped write, 403 for one session too many.
    :param response: the response as the view left it; changed in place.
    """
    status = error.code or 500
    if response.status_code != status:
        page = _page(app, error, status)
        body = page.get_data()
        _close_body(response)
        for name in _DROPPED_HEADERS:
            response.headers.pop(name, None)
        response.status_code = status
        response.direct_passthrough = False
        response.set_data(body)
        response.headers["Content-Type"] = page.headers.get("Content-Type", "text/html; charset=utf-8")
        response.headers["Cache-Control"] = "no-store"
    retry_after = getattr(error, "RETRY_AFTER", None)
    if retry_after is not None:
        # A handler of the application's own drops it easily.
        response.headers.setdefault("Retry-After", str(retry_after))


def _page(app: Flask, error: HTTPException, status: int) -> Response:
    """Ask the application's handlers; fall back on the plain page where they raise, redirect or answer otherwise."""
    try:
        page = app.make_response(app.handle_user_exception(error))
    except Exception:
        app.logger.exception("The error handler for a failed session failed")
    else:
        if page.status_code == status and not page.is_streamed:
            return page
    return app.make_response(error.get_response())


def _close_body(response: Response) -> None:
    close = getattr(response.response, "close", None)
    if close is not None:
        close()
