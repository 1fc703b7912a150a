"""Turn a finished response into a 503, where the session could not be loaded or saved.

Flask cannot do this by itself: an error that ``save_session`` raises becomes a 500 whatever handlers exist, and
``save_session`` is called once more for that one.
"""

from __future__ import annotations

from flask import Flask, Response

from .exceptions import SessionUnavailableError

_OUTAGE = 503

# What describes the body that is thrown away, or would act on a response that failed.
_DROPPED_HEADERS = (
    "Accept-Ranges",
    "Cache-Control",
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
    "Set-Cookie",
)


def render_unavailable(app: Flask, error: SessionUnavailableError, response: Response) -> None:
    """Make the response the one that the application's error handlers give for the error.

    :param app: the application, whose ``errorhandler(503)`` is asked.
    :param error: the failure.
    :param response: the response as the view left it; changed in place.
    """
    if response.status_code != _OUTAGE:
        page = _page(app, error)
        body = page.get_data()
        _close_body(response)
        for name in _DROPPED_HEADERS:
            response.headers.pop(name, None)
        response.status_code = _OUTAGE
        response.direct_passthrough = False
        response.set_data(body)
        response.headers["Content-Type"] = page.headers.get("Content-Type", "text/html; charset=utf-8")
        response.headers["Cache-Control"] = "no-store"
    # A handler of the application's own drops it easily.
    response.headers.setdefault("Retry-After", str(error.RETRY_AFTER))


def _page(app: Flask, error: SessionUnavailableError) -> Response:
    """Ask the application's handlers; fall back on the plain page where they raise, redirect or answer otherwise."""
    try:
        page = app.make_response(app.handle_user_exception(error))
    except Exception:
        app.logger.exception("The error handler for an unavailable session failed")
    else:
        if page.status_code == _OUTAGE and not page.is_streamed:
            return page
    return app.make_response(error.get_response())


def _close_body(response: Response) -> None:
    close = getattr(response.response, "close", None)
    if close is not None:
        close()
