"""What the session cookie looks like, and when it is set: one attribute, one case a test."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask, Response, request, session

from flask_picklesession import PickleSessionInterface, Rejection, session_rejected
from flask_picklesession.cookie import CookieSigner, new_session_id

from .support import Browser, make_app, recorded, set_cookies

MakeApp = Callable[..., Flask]


def store() -> None:
    session["n"] = 1


def set_header(app: Flask) -> str:
    """Return the Set-Cookie header of a new session."""
    (header,) = set_cookies(Browser(app).visit(store))
    return header


def delete_header(app: Flask) -> str:
    """Return the Set-Cookie header of a session that ends."""
    browser = Browser(app)
    browser.visit(store)
    (header,) = set_cookies(browser.visit(lambda: session.clear()))
    return header


@pytest.mark.parametrize("header_of", [set_header, delete_header])
class TestAttributes:
    """Each attribute stands on the cookie that is set and on the one that deletes it."""

    def test_defaults(self, make_app: MakeApp, header_of: Callable[[Flask], str]) -> None:
        """HttpOnly and the root path; no domain, no Secure."""
        header = header_of(make_app())

        assert "; HttpOnly" in header
        assert "; Path=/" in header
        assert "Domain=" not in header
        assert "Secure" not in header

    def test_domain(self, make_app: MakeApp, header_of: Callable[[Flask], str]) -> None:
        """SESSION_COOKIE_DOMAIN stands on it."""
        assert "; Domain=localhost" in header_of(make_app(SESSION_COOKIE_DOMAIN="localhost"))

    def test_path(self, make_app: MakeApp, header_of: Callable[[Flask], str]) -> None:
        """SESSION_COOKIE_PATH stands on it."""
        app = make_app(SESSION_COOKIE_PATH="/")
        app.config["APPLICATION_ROOT"] = "/elsewhere"

        assert "; Path=/" in header_of(app)

    def test_httponly_can_be_turned_off(self, make_app: MakeApp, header_of: Callable[[Flask], str]) -> None:
        """SESSION_COOKIE_HTTPONLY is honoured."""
        assert "HttpOnly" not in header_of(make_app(SESSION_COOKIE_HTTPONLY=False))

    def test_secure(self, make_app: MakeApp, header_of: Callable[[Flask], str]) -> None:
        """SESSION_COOKIE_SECURE stands on it."""
        assert "; Secure" in header_of(make_app(SESSION_COOKIE_SECURE=True))

    def test_samesite(self, make_app: MakeApp, header_of: Callable[[Flask], str]) -> None:
        """SESSION_COOKIE_SAMESITE stands on it."""
        assert "; SameSite=Lax" in header_of(make_app(SESSION_COOKIE_SAMESITE="Lax"))

    def test_partitioned(self, make_app: MakeApp, header_of: Callable[[Flask], str]) -> None:
        """SESSION_COOKIE_PARTITIONED stands on it."""
        assert "; Partitioned" in header_of(make_app(SESSION_COOKIE_PARTITIONED=True, SESSION_COOKIE_SECURE=True))


class TestName:
    def test_config_names_the_cookie(self, make_app: MakeApp) -> None:
        """SESSION_COOKIE_NAME is used to set and to read."""
        client = make_app(SESSION_COOKIE_NAME="id").test_client()
        client.get("/", environ_overrides={"tests.view": store})

        assert client.get_cookie("id") is not None
        seen = client.get("/", environ_overrides={"tests.view": lambda: str(session["n"])})
        assert seen.text == "1"

    def test_name_may_depend_on_the_request(self, make_app: MakeApp) -> None:
        """An interface may choose the name at each request, as Flask's own tests do."""

        class ByPath(PickleSessionInterface):
            def get_cookie_name(self, app: Flask) -> str:
                return "cookie-" + request.args["who"]

        app = make_app()
        app.session_interface = ByPath()
        client = app.test_client()
        for who in ("a", "b"):
            client.get(f"/?who={who}", environ_overrides={"tests.view": lambda who=who: session.update(who=who)})

        for who in ("a", "b"):
            seen = client.get(f"/?who={who}", environ_overrides={"tests.view": lambda: session["who"]})
            assert seen.text == who


class TestWhenItIsSet:
    def test_new_session_sets_it(self, app: Flask) -> None:
        """The first write sets the cookie."""
        assert len(set_cookies(Browser(app).visit(store))) == 1

    def test_read_does_not_set_it(self, app: Flask) -> None:
        """A request that only reads leaves the cookie."""
        browser = Browser(app)
        browser.visit(store)

        assert set_cookies(browser.visit(lambda: str(session["n"]))) == []

    def test_change_does_not_set_it(self, app: Flask) -> None:
        """A change of content is no change of the cookie."""
        browser = Browser(app)
        browser.visit(store)

        assert set_cookies(browser.visit(lambda: session.update(n=2))) == []

    def test_permanent_sets_it_once_with_an_expiry(self, app: Flask) -> None:
        """``session.permanent = True`` on every request writes once."""
        browser = Browser(app)
        browser.visit(store)

        first = set_cookies(browser.visit(lambda: setattr(session, "permanent", True)))
        second = set_cookies(browser.visit(lambda: setattr(session, "permanent", True)))

        assert len(first) == 1
        assert "; Expires=" in first[0]
        assert second == []

    def test_no_longer_permanent_sets_it_without_an_expiry(self, app: Flask) -> None:
        """A session that is no longer permanent becomes one of the browser's session again."""
        browser = Browser(app)
        browser.visit(lambda: (store(), setattr(session, "permanent", True)))

        (header,) = set_cookies(browser.visit(lambda: setattr(session, "permanent", False)))

        assert "Expires=" not in header

    def test_permanent_cookie_is_set_again_after_a_tenth(self, app: Flask, move_clock: Callable[[float], None]) -> None:
        """A permanent cookie slides, also in requests that only read."""
        app.permanent_session_lifetime = timedelta(seconds=1000)
        browser = Browser(app)
        browser.visit(lambda: (store(), setattr(session, "permanent", True)))

        move_clock(90)
        early = set_cookies(browser.visit(lambda: str(session["n"])))
        move_clock(20)
        late = set_cookies(browser.visit(lambda: str(session["n"])))

        assert early == []
        assert len(late) == 1

    def test_unused_session_does_not_slide_its_cookie(self, app: Flask, move_clock: Callable[[float], None]) -> None:
        """A request that does not use the session cannot know that it is live."""
        app.permanent_session_lifetime = timedelta(seconds=1000)
        browser = Browser(app)
        browser.visit(lambda: (store(), setattr(session, "permanent", True)))
        move_clock(500)

        assert set_cookies(browser.visit(lambda: None)) == []

    def test_refresh_can_be_turned_off(self, make_app: MakeApp, move_clock: Callable[[float], None]) -> None:
        """SESSION_REFRESH_EACH_REQUEST=False: never."""
        app = make_app(SESSION_REFRESH_EACH_REQUEST=False)
        browser = Browser(app)
        browser.visit(lambda: (store(), setattr(session, "permanent", True)))
        move_clock(86400 * 10)

        assert set_cookies(browser.visit(lambda: str(session["n"]))) == []

    def test_changed_attributes_set_it_once(self, app: Flask) -> None:
        """When an operator turns on SameSite, cookies that were set before are set again at their next use."""
        browser = Browser(app)
        browser.visit(store)
        app.config["SESSION_COOKIE_SAMESITE"] = "Strict"

        first = set_cookies(browser.visit(lambda: str(session["n"])))
        second = set_cookies(browser.visit(lambda: str(session["n"])))

        assert "; SameSite=Strict" in first[0]
        assert second == []

    def test_emptied_session_deletes_it(self, app: Flask) -> None:
        """A session without content is over, and so is its cookie."""
        browser = Browser(app)
        browser.visit(store)

        (header,) = set_cookies(browser.visit(lambda: session.pop("n")))

        assert "Max-Age=0" in header

    def test_clear_without_a_cookie_sets_nothing(self, app: Flask) -> None:
        """There is no cookie to delete."""
        assert set_cookies(Browser(app).visit(lambda: session.clear())) == []

    def test_clear_deletes_a_cookie_that_is_not_valid(self, app: Flask) -> None:
        """A logout removes whatever the browser holds under our name."""
        browser = Browser(app)
        browser.cookie = "nonsense"

        assert len(set_cookies(browser.visit(lambda: session.clear()))) == 1


class TestVaryAndCaching:
    def test_vary_exactly_when_used(self, app: Flask) -> None:
        """``Vary: Cookie`` stands on responses that depend on the session, and on no others."""
        browser = Browser(app)

        assert "Vary" not in browser.visit(lambda: None).headers
        assert browser.visit(lambda: str("n" in session)).headers["Vary"] == "Cookie"
        assert browser.visit(store).headers["Vary"] == "Cookie"

    def test_other_vary_values_stay(self, app: Flask) -> None:
        """What the view says of other headers is kept."""

        def view() -> Response:
            store()
            return Response("", headers={"Vary": "Accept-Encoding"})

        assert Browser(app).visit(view).headers["Vary"] == "Accept-Encoding, Cookie"

    def test_vary_is_not_doubled(self, app: Flask) -> None:
        """A view that says it itself is heard once."""

        def view() -> Response:
            store()
            return Response("", headers={"Vary": "Cookie"})

        assert Browser(app).visit(view).headers.getlist("Vary") == ["Cookie"]

    def test_response_with_the_cookie_is_not_stored(self, app: Flask) -> None:
        """A cache that kept it would hand somebody's session to others."""
        browser = Browser(app)

        assert browser.visit(store).headers["Cache-Control"] == "no-store"
        assert "Cache-Control" not in browser.visit(lambda: str(session["n"])).headers

    def test_no_store_can_be_turned_off(self, make_app: MakeApp) -> None:
        """PICKLESESSION_NO_STORE=False leaves caching to the application."""
        assert "Cache-Control" not in Browser(make_app(PICKLESESSION_NO_STORE=False)).visit(store).headers


class TestForeignCookies:
    @pytest.mark.parametrize(
        "value",
        [
            "",
            "nonsense",
            "a.b.c",
            "x" * 3000,
            "\u00e9",
            '"',
            pytest.param(CookieSigner(["other"]).sign(new_session_id(), "mark"), id="of another key"),
        ],
    )
    def test_is_a_new_session(self, app: Flask, value: str) -> None:
        """A cookie that we did not sign is reported and leads to a new, empty session."""
        browser = Browser(app)
        browser.cookie = value

        with recorded(session_rejected, app) as sent:
            assert browser.ask(lambda: (len(session), session.new)) == (0, True)

        assert sent == [{"reason": Rejection.COOKIE}]

    def test_id_is_never_adopted(self, app: Flask) -> None:
        """A correctly signed id without a record gets a new id when it is written."""
        browser = Browser(app)
        planted = new_session_id()
        browser.cookie = CookieSigner([app.secret_key or ""]).sign(planted, "mark")

        browser.visit(store)

        assert browser.cookie is not None
        assert browser.cookie[:43] != planted


class TestKeyRotation:
    @pytest.fixture(name="rotated")
    def _rotated(self, redis_url: str, prefix: str) -> tuple[Browser, Browser]:
        """A browser of an app with the old key, and the same browser at the app with the new one."""
        before = Browser(make_app(redis_url, prefix, SECRET_KEY="old"))
        before.visit(store)
        after = Browser(make_app(redis_url, prefix, SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"]))
        assert before.cookie is not None
        after.cookie = before.cookie
        return before, after

    def test_session_on_a_fallback_key_is_read(self, rotated: tuple[Browser, Browser]) -> None:
        """Nobody is logged out by a rotation."""
        assert rotated[1].ask(lambda: session["n"]) == 1

    def test_cookie_and_record_are_signed_anew_together(
        self, rotated: tuple[Browser, Browser], redis_url: str, prefix: str
    ) -> None:
        """After one use, also one that only reads, the old key is not needed any more."""
        _before, after = rotated
        after.visit(lambda: str(session["n"]))
        without = Browser(make_app(redis_url, prefix, SECRET_KEY="new"))
        assert after.cookie is not None
        without.cookie = after.cookie

        assert without.ask(lambda: session["n"]) == 1
        assert set_cookies(after.visit(lambda: str(session["n"]))) == []

    def test_dropped_key_is_a_new_session(self, redis_url: str, prefix: str) -> None:
        """A cookie of a key that is no longer listed is not ours."""
        before = Browser(make_app(redis_url, prefix, SECRET_KEY="old"))
        before.visit(store)
        after = Browser(make_app(redis_url, prefix, SECRET_KEY="new"))
        assert before.cookie is not None
        after.cookie = before.cookie

        assert after.ask(lambda: session.new) is True
