"""What Flask and its extensions expect of a session interface."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from flask import Flask, Response, flash, get_flashed_messages, render_template_string, session, stream_with_context
from flask.sessions import NullSession
from markupsafe import Markup

from flask_picklesession import PickleSessionInterface

from .support import Browser, set_cookies

MakeApp = Callable[..., Flask]


def test_null_session_without_a_secret_key(make_app: MakeApp) -> None:
    """Without SECRET_KEY Flask's null session explains itself; nothing else is looked at."""
    app = make_app(SECRET_KEY=None, PICKLESESSION_URL="nonsense")
    browser = Browser(app)

    assert browser.ask(lambda: isinstance(session._get_current_object(), NullSession))  # type: ignore[attr-defined]  # a proxy
    app.testing = True
    with pytest.raises(RuntimeError, match="secret key"):
        browser.visit(lambda: session.update(n=1))


def test_untouched_session_is_not_accessed(app: Flask) -> None:
    """Flask's flags stay down until the session is used."""
    with app.test_request_context("/"):
        from flask.globals import request_ctx

        assert request_ctx._session is not None
        assert request_ctx._session.accessed is False
        assert request_ctx._session.modified is False


def test_session_transaction(app: Flask) -> None:
    """A test prepares a session and looks at it afterwards."""
    client = app.test_client()
    with client.session_transaction() as transaction:
        assert len(transaction) == 0
        transaction["cart"] = [1]
    with client.session_transaction() as transaction:
        transaction["cart"].append(2)

    with client.session_transaction() as transaction:
        assert transaction["cart"] == [1, 2]


def test_change_in_after_request_is_saved(app: Flask) -> None:
    """The session is saved after all after_request functions."""

    @app.after_request
    def change(response: Response) -> Response:
        session["late"] = True
        return response

    browser = Browser(app)
    browser.visit(lambda: None)

    assert browser.ask(lambda: session["late"]) is True


def test_change_of_a_request_that_fails_is_saved(app: Flask) -> None:
    """As with Flask's own session: an error page does not undo the session."""

    def view() -> None:
        session["n"] = 1
        raise ZeroDivisionError

    browser = Browser(app)
    assert browser.visit(view).status_code == 500

    assert browser.ask(lambda: session["n"]) == 1


def test_error_handler_uses_the_session(app: Flask) -> None:
    """An error handler reads and writes as a view does."""

    @app.errorhandler(404)
    def not_found(error: Exception) -> tuple[str, int]:
        session["seen"] = "404"
        return session["seen"], 404

    client = app.test_client()
    assert client.get("/nowhere").text == "404"

    with client.session_transaction() as transaction:
        assert transaction["seen"] == "404"


def test_failing_after_request_saves_once_more(app: Flask) -> None:
    """Where the first response cannot be finished, Flask saves with the error page: the session stands once."""

    @app.after_request
    def fail(response: Response) -> Response:
        if response.status_code == 200:
            raise ZeroDivisionError
        return response

    browser = Browser(app)
    assert browser.visit(lambda: session.update(n=1)).status_code == 500

    assert browser.cookie is not None


def test_save_session_twice_and_without_a_session(app: Flask) -> None:
    """Flask may call save_session again, and older versions with None."""
    interface = app.session_interface
    with app.test_request_context("/"):
        session["n"] = 1
        opened = session._get_current_object()  # type: ignore[attr-defined]  # a proxy
        first, second, third = Response(), Response(), Response()
        interface.save_session(app, opened, first)
        interface.save_session(app, opened, second)
        interface.save_session(app, None, third)  # type: ignore[arg-type]  # what is tested

    assert "Set-Cookie" in first.headers
    assert "Set-Cookie" not in third.headers


def test_one_session_saved_several_times(app: Flask) -> None:
    """Flask-SocketIO saves one session after each event: each save adds to the last."""
    interface = app.session_interface
    browser = Browser(app)
    browser.visit(lambda: session.update(n=0, cart=[]))
    assert browser.cookie is not None
    with app.test_request_context("/", headers={"Cookie": f"session={browser.cookie}"}):
        opened = session._get_current_object()  # type: ignore[attr-defined]  # a proxy
        for number in range(3):
            opened["n"] = number
            opened["cart"].append(number)
            interface.save_session(app, opened, Response())
            browser.copy().visit(lambda number=number: session.update({f"other{number}": number}))

    assert browser.ask(lambda: dict(session)) == {"n": 2, "cart": [0, 1, 2], "other0": 0, "other1": 1, "other2": 2}


def test_stream_with_context_reads_the_session(app: Flask) -> None:
    """A streamed body may read the session."""

    def view() -> Response:
        session["n"] = 5

        def body() -> Iterator[str]:
            yield str(session["n"])

        return Response(stream_with_context(body()))

    assert Browser(app).visit(view).text == "5"


def test_async_view(app: Flask) -> None:
    """A view that is a coroutine uses the session as others do."""

    @app.route("/async")
    async def view() -> str:
        await asyncio.sleep(0)
        session["n"] = [1]
        return str(session["n"])

    client = app.test_client()
    assert client.get("/async").text == "[1]"

    with client.session_transaction() as transaction:
        assert transaction["n"] == [1]


def test_flash_keeps_markup(app: Flask) -> None:
    """A flashed Markup is a Markup in the next request: what was escaped stays so, what was not stays so."""
    browser = Browser(app)
    browser.visit(lambda: (flash(Markup("<b>one</b>")), flash("<two>", "error"), None)[2])

    messages = browser.ask(lambda: get_flashed_messages(with_categories=True))

    assert messages == [("message", Markup("<b>one</b>")), ("error", "<two>")]
    assert [type(message) for _category, message in messages] == [Markup, str]
    assert browser.ask(lambda: get_flashed_messages()) == []


def test_template_that_ignores_the_session_does_not_use_it(app: Flask) -> None:
    """Rendering alone does not depend on the cookie."""
    response = Browser(app).visit(lambda: render_template_string("plain"))

    assert "Vary" not in response.headers


def test_template_that_reads_the_session_uses_it(app: Flask) -> None:
    """A template is a user like a view."""
    response = Browser(app).visit(lambda: render_template_string("{{ session.get('n', 'none') }}"))

    assert response.text == "none"
    assert response.headers["Vary"] == "Cookie"


def test_static_file_uses_no_session(app: Flask) -> None:
    """A request that does not use the session gets no cookie and no Vary."""
    response = app.test_client().get("/static/nothing.css")

    assert response.status_code == 404
    assert "Vary" not in response.headers
    assert set_cookies(response) == []


def test_subclass_overrides_one_cookie_attribute(app: Flask) -> None:
    """The policy methods of Flask's interface can be overridden one by one."""

    class Strict(PickleSessionInterface):
        def get_cookie_samesite(self, app: Flask) -> str:
            return "Strict"

    app.session_interface = Strict()

    (header,) = set_cookies(Browser(app).visit(lambda: session.update(n=1)))
    assert "; SameSite=Strict" in header
