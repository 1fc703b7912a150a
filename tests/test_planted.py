"""Values that somebody planted who holds the secret key, where the library and Flask themselves look at them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from ipaddress import IPv6Network
from typing import Any

import numpy as np
import pytest
from flask import Flask, flash, get_flashed_messages, session

from flask_picklesession import AllowList, PickleSession, TypeRefusedError, session_quarantined, session_saved
from flask_picklesession.pickling.unpickler import unpickle
from flask_picklesession.session import MOST_NOT_BUILT

from .conftest import MakeApp
from .pickling import assembler as a
from .pickling.models import Single
from .pickling.test_walks import circle_of_hashes
from .support import Browser, plant, recorded

REFUSED = a.segment(b"cos\nsystem\n", a.text("true"), a.TUPLE1, a.REDUCE)


@pytest.fixture(name="app")
def _app(make_app: MakeApp) -> Flask:
    return make_app()


@pytest.fixture(name="browser")
def _browser(app: Flask) -> Browser:
    browser = Browser(app)
    browser.visit(lambda: session.update(n=1, user_id=7))
    return browser


def written(app: Flask, value: Any) -> bytes:
    return app.extensions["picklesession"].serializer.written(value)  # type: ignore[no-any-return]


def test_flashed_messages_that_cannot_be_read_give_way(app: Flask, browser: Browser) -> None:
    """Flask knows nothing of quarantine: flash() was a 500 for ever."""
    plant(app, browser, _flashes=REFUSED, n=1)
    browser.visit(lambda: flash("hello"))

    assert browser.ask(get_flashed_messages) == ["hello"]


def test_what_is_refused_replaces_nothing(app: Flask, browser: Browser) -> None:
    """Read in review: the quarantined value was gone although the new one was refused."""

    def view() -> str:
        with pytest.raises(TypeRefusedError):
            session["_flashes"] = object()
        session["n"] = 2
        return ""

    plant(app, browser, _flashes=REFUSED, n=1)

    assert browser.visit(view).status_code == 200
    assert browser.ask(lambda: list(session.quarantined)) == ["_flashes"]  # type: ignore[attr-defined]  # our own


def test_permanent_that_cannot_be_read_gives_way(app: Flask, browser: Browser) -> None:
    """Setting it is one line of many applications."""

    def view() -> str:
        session.permanent = True
        return ""

    plant(app, browser, _permanent=REFUSED, n=1)

    assert browser.visit(view).status_code == 200
    assert browser.ask(lambda: session["_permanent"]) is True


def test_user_that_cannot_be_read_can_sign_in(app: Flask, browser: Browser) -> None:
    """And is who signs in."""
    plant(app, browser, user_id=REFUSED, n=1)

    assert browser.visit(lambda: session.update(user_id=8)).status_code == 200
    assert browser.ask(lambda: session["user_id"]) == 8
    assert len(PickleSession(app).sessions_of(8)) == 1


def test_user_who_is_not_the_records(app: Flask, browser: Browser) -> None:
    """Found by an attack: an atomic change, which changed nothing of that, was an error."""
    plant(app, browser, user_id=8, n=1)

    assert browser.ask(lambda: session.atomic(lambda stored: stored.update(n=2))) is None  # type: ignore[attr-defined]
    assert browser.ask(lambda: dict(session)) == {"user_id": 8, "n": 2}


def costly() -> Any:
    """Return a value of a few hundred bytes whose text takes a second."""
    shared: Any = IPv6Network("::/10")
    for _level in range(12):
        shared = [shared, shared]
    return shared


@pytest.mark.parametrize(
    "value", [costly(), [1], {"a": 1}, b"x", 1.5], ids=["costly", "list", "dict", "bytes", "float"]
)
def test_identity_of_another_type_is_not_asked_for_its_text(app: Flask, browser: Browser, value: Any) -> None:
    """It cannot be assigned, so nobody has; whose session it is says the record."""
    plant(app, browser, user_id=written(app, value), n=1)

    assert browser.visit(lambda: session.update(n=2)).status_code == 200
    assert browser.ask(lambda: session["n"]) == 2
    assert len(PickleSession(app).sessions_of(7)) == 1


def test_thousands_of_values_are_ten_lines(app: Flask, browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    """Each is signalled."""
    plant(app, browser, **{f"k{number}": b"garbage" + bytes([number]) for number in range(200)})
    with caplog.at_level(logging.WARNING), recorded(session_quarantined, app) as sent:
        browser.visit(lambda: session.update(x=len(session)))

    assert len(caplog.records) == 10
    assert len(sent) == 200


class Fickle:
    """Restored as something that cannot be stored."""

    def __init__(self, held: object) -> None:
        self.held = held


def test_value_that_cannot_be_stored_again_is_no_change(make_app: MakeApp) -> None:
    """A request that only reads it is no 500, and writes nothing."""
    allow = AllowList()
    allow(Fickle, reduce=lambda value: (value.held,), restore=lambda held: Fickle(object()))
    app = make_app(PICKLESESSION_ALLOW=allow)
    browser = Browser(app)
    browser.visit(lambda: session.update(kept=Fickle(1), n=1))

    with recorded(session_saved, app) as saved:
        assert browser.ask(lambda: type(session["kept"])) is Fickle
    assert saved == []
    browser.visit(lambda: (session["kept"], session.update(n=2)))
    assert browser.ask(lambda: session["n"]) == 2


@pytest.mark.parametrize("value", ["x", 5, {"a": 1}, [1], [("a",)], None, True], ids=repr)
def test_flashed_messages_that_are_none_give_way(app: Flask, browser: Browser, value: Any) -> None:
    """Found in review: of an allowed type, but not what flash() stores, they were a 500 for ever."""
    plain = value is None or isinstance(value, str | int)
    plant(app, browser, _flashes=value if plain else written(app, value), n=1)

    assert browser.ask(lambda: get_flashed_messages(category_filter=["message"])) == []
    assert browser.visit(lambda: flash("hello")).status_code == 200
    assert browser.ask(get_flashed_messages) == ["hello"]


@pytest.fixture(name="arrays")
def _arrays(make_app: MakeApp) -> Flask:
    return make_app(PICKLESESSION_ALLOW=[np.ndarray])


def test_permanent_that_is_neither_true_nor_false_gives_way(arrays: Flask) -> None:
    """Found in review: an array in its place was a 500 at each use."""
    browser = Browser(arrays)
    browser.visit(lambda: session.update(n=1))
    plant(arrays, browser, _permanent=written(arrays, np.array([1, 2])), n=1)

    assert browser.ask(lambda: (session["n"], session.permanent)) == (1, False)
    browser.visit(lambda: setattr(session, "permanent", True))
    assert browser.ask(lambda: session.permanent) is True


def test_permanent_of_any_scalar_type_is_taken(app: Flask, browser: Browser) -> None:
    """Whatever type the application assigned by hand."""
    for value in (0, 1, 1.5, "yes", "", 2**200, None):
        browser.visit(lambda value=value: session.update(_permanent=value))

        assert browser.ask(lambda: session["_permanent"]) == value


@dataclass(eq=False)
class Fussy:
    """Compares itself with its like only."""

    fussy: int = 1

    def __eq__(self, other: object) -> bool:
        return other.fussy == self.fussy  # type: ignore[attr-defined]  # that is the point

    __hash__ = object.__hash__


def test_categories_that_cannot_be_compared_give_way(make_app: MakeApp) -> None:
    """Found in review: an array as a category was a 500 where messages are filtered."""
    app = make_app(PICKLESESSION_ALLOW=[np.ndarray, Fussy])
    browser = Browser(app)
    browser.visit(lambda: session.update(n=1))
    for category in (np.array([1, 2]), Fussy()):
        plant(app, browser, _flashes=written(app, [(category, "hello")]), n=1)

        assert browser.ask(lambda: get_flashed_messages(category_filter=["message"])) == []


def test_identity_that_is_too_long_for_a_text(make_app: MakeApp) -> None:
    """Found in review: Python refuses to show it, and the save was a 500."""
    app = make_app(PICKLESESSION_MAX_INT_DIGITS=10_000)
    browser = Browser(app)

    def view() -> str:
        with pytest.raises(TypeRefusedError, match="cannot be an int of more than 1000 bits"):
            session["user_id"] = 2**1000
        session["user_id"] = 2**1000 - 1
        return ""

    assert browser.visit(view).status_code == 200
    assert len(PickleSession(app).sessions_of(2**1000 - 1)) == 1
    plant(app, browser, user_id=written(app, 10**5000), n=1)
    assert browser.visit(lambda: session.update(n=2)).status_code == 200
    assert len(PickleSession(app).sessions_of(2**1000 - 1)) == 1


def test_categories_are_the_applications(app: Flask, browser: Browser) -> None:
    """Read in review: messages of a category that is no str were moved aside; Flask takes whatever there is."""
    browser.visit(lambda: flash("hello", category=5))  # type: ignore[arg-type]  # as applications do

    assert browser.ask(lambda: get_flashed_messages(with_categories=True)) == [(5, "hello")]


def test_value_that_is_too_deep_to_be_stored_again_can_be_read(app: Flask, browser: Browser) -> None:
    """Found in review: to name what is too deep, the end of the request showed its keys, for ever."""
    lists = b"".join(a.get(number) + b"a0" + a.get(0) + b"0" for number in range(699, 0, -1))
    deep = a.segment(a.LIST, a.MARK, a.LIST * 700, lists, a.get(700), a.APPENDS)
    plant(app, browser, deep=deep, n=1)

    with recorded(session_saved, app) as saved:
        assert browser.ask(lambda: len(session["deep"])) == 2
    assert saved == []
    assert browser.visit(lambda: session.update(n=len(session["deep"]))).status_code == 200
    assert browser.ask(lambda: (session["n"], len(session["deep"]))) == (2, 2)


#: What passes the verifier and is refused by what builds it.
NOT_BUILT: dict[str, bytes] = {
    "hashes in a circle": circle_of_hashes(8, a.NONE),
    "keys that collide": a.segment(
        a.SET, b"(", *(a.long(number * ((1 << 61) - 1)) for number in range(1, 40)), a.ADDITEMS
    ),
    "a Decimal of no number": a.segment(a.name("decimal:Decimal"), a.NONE, a.TUPLE1, a.REDUCE),
}


@pytest.mark.parametrize("kind", NOT_BUILT)
def test_values_that_cannot_be_built_are_tried_a_few_times(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Each may take a tenth of a second, and there can be hundreds: the others are quarantined as they are."""
    app = make_app(PICKLESESSION_ALLOW=[Single])
    browser = Browser(app)
    browser.visit(lambda: session.update(n=1))
    plant(app, browser, **{f"key{number}": NOT_BUILT[kind] for number in range(20)})
    tried = []

    def counting(*arguments: Any) -> Any:
        tried.append(arguments)
        return unpickle(*arguments)

    monkeypatch.setattr("flask_picklesession.pickling.serializer.unpickle", counting)

    quarantined = browser.ask(lambda: session.quarantined)  # type: ignore[attr-defined]  # ours

    # The container is built, too.
    assert len(tried) == 1 + MOST_NOT_BUILT
    assert len(quarantined) == 20
