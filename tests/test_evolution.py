"""Classes change while sessions live: a newer and an older worker serve the same browser in turns, both writing."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask, session

from flask_picklesession import AllowList, PickleSession, session_quarantined
from flask_picklesession.cookie import handle_of

from .conftest import MakeApp
from .support import Browser, recorded


@dataclass
class Old:
    name: str
    price: int = 1


@dataclass
class Added:
    name: str
    price: int = 1
    tags: list[str] = field(default_factory=lambda: ["new"])


@dataclass
class Removed:
    name: str


@dataclass
class Renamed:
    name: str
    cost: int = 0


@dataclass(frozen=True)
class Frozen:
    name: str
    price: int = 1


class OldColor(enum.Enum):
    RED = 1
    BLUE = 2


class NewColor(enum.Enum):
    RED = "red"


def allow(cls: type, **options: Any) -> AllowList:
    """Return a list on which a class is known under the name that all its versions share."""
    allowed = AllowList()
    allowed(cls, name="item", **options)
    return allowed


@pytest.fixture(name="workers")
def _workers(make_app: MakeApp) -> Callable[[AllowList, AllowList], Callable[[int, Callable[[], Any]], Any]]:
    """Makes two workers, and returns what lets the same browser visit one of them."""

    def make(*lists: AllowList) -> Callable[[int, Callable[[], Any]], Any]:
        apps = [make_app(PICKLESESSION_ALLOW=allowed) for allowed in lists]
        cookie: list[str | None] = [None]

        def visit(worker: int, view: Callable[[], Any]) -> Any:
            browser = Browser(apps[worker])
            if cookie[0] is not None:
                browser.cookie = cookie[0]
            result = browser.ask(view)
            cookie[0] = browser.cookie
            return result

        return visit

    return make


def count() -> None:
    """Write something beside the value."""
    session["n"] = session.get("n", 0) + 1


@pytest.mark.parametrize("version", [Added, Removed, Renamed, Frozen])
class TestFields:
    def test_old_value_through_a_new_worker(self, workers: Any, version: Any) -> None:
        """The newer worker changes a field that both know; the older one finds all that it stored."""
        visit = workers(allow(Old), allow(version))
        visit(0, lambda: session.update(item=Old("a", 7), user_id=1))

        def change() -> None:
            item = session["item"]
            if version is Frozen:
                session["item"] = Frozen("b", item.price)
            else:
                item.name = "b"
            count()

        visit(1, change)

        assert visit(0, lambda: (session["item"], session["user_id"], session["n"])) == (Old("b", 7), 1, 1)

    def test_new_value_through_an_old_worker(self, workers: Any, version: Any) -> None:
        """The other direction: what only the newer one knows is written back by the older one."""
        visit = workers(allow(Old), allow(version))
        arguments = {Added: ("a", 7, ["kept"]), Removed: ("a",), Renamed: ("a", 7), Frozen: ("a", 7)}[version]
        visit(1, lambda: session.update(item=version(*arguments)))

        def change() -> None:
            session["item"].name = "b"
            count()

        visit(0, change)
        found = visit(1, lambda: session["item"])

        assert found == version("b", *arguments[1:])

    def test_in_turns(self, workers: Any, version: Any) -> None:
        """Ten writes of each: nothing is lost, nobody is logged out."""
        visit = workers(allow(Old), allow(version))
        visit(0, lambda: session.update(item=Old("a", 7), user_id=1))
        for turn in range(20):
            visit(turn % 2, lambda: (session["item"], count()))

        assert visit(0, lambda: (session["item"], session["n"], session["user_id"])) == (Old("a", 7), 20, 1)


def into_the_stored_one() -> None:
    session.atomic(lambda stored: stored.update(copy=session["item"]))  # type: ignore[attr-defined]  # ours


def out_of_the_stored_one() -> None:
    with session.atomic() as stored:  # type: ignore[attr-defined]  # ours
        item = stored["item"]
    session["copy"] = item


def across_a_rollback() -> None:
    item = session["item"]
    session.rollback()  # type: ignore[attr-defined]  # ours
    session["copy"] = item


def across_a_barrier() -> None:
    item = session["item"]
    session.clear()
    session["copy"] = item


@pytest.mark.parametrize(
    "move",
    [into_the_stored_one, out_of_the_stored_one, across_a_rollback, across_a_barrier],
    ids=lambda view: view.__name__,
)
def test_fields_go_where_their_record_goes(workers: Any, move: Callable[[], None]) -> None:
    """An older worker puts a newer one's record somewhere else in the same request."""
    visit = workers(allow(Old), allow(Added))
    visit(1, lambda: session.update(item=Added("a", 7, ["kept"])))

    visit(0, move)

    assert visit(1, lambda: session["copy"]) == Added("a", 7, ["kept"])


@dataclass
class Tokened:
    name: str
    number: int = 0
    token: UUID = field(default_factory=uuid4)


def assigned() -> None:
    session["item"] = session["item"]


def put_back() -> None:
    session["item"] = session.pop("item")


def forced() -> None:
    _ = session["item"]
    session.modified = True


@pytest.mark.parametrize("view", [assigned, put_back, forced], ids=lambda view: view.__name__)
def test_gained_field_is_stored_where_it_is_asked_for(workers: Any, view: Callable[[], None]) -> None:
    """Found by an attack: the next request got another one. Who only reads stores none."""
    visit = workers(allow(Old), allow(Tokened))
    visit(0, lambda: session.update(item=Old("a", 1)))
    assert visit(1, lambda: session["item"].token) != visit(1, lambda: session["item"].token)

    visit(1, view)

    assert visit(1, lambda: session["item"].token) == visit(1, lambda: session["item"].token)


def test_fields_go_into_a_session_that_is_opened(make_app: MakeApp) -> None:
    """Found by an attack: an older worker lost them where a view put a record into another session."""
    older, newer = make_app(PICKLESESSION_ALLOW=allow(Old)), make_app(PICKLESESSION_ALLOW=allow(Added))
    sessions, browser, other = PickleSession(older), Browser(newer), Browser(newer)
    other.visit(lambda: session.update(n=1))
    browser.visit(lambda: session.update(item=Added("a", 7, ["kept"])))
    window = Browser(older)
    window.cookie = browser.cookie

    def hand_over() -> None:
        with sessions.open(handle_of((other.cookie or "")[:43])) as opened:
            opened["copy"] = session["item"]

    window.visit(hand_over)

    assert other.ask(lambda: session["copy"]) == Added("a", 7, ["kept"])


class TestNames:
    def test_moved_class(self, workers: Any) -> None:
        """A class that moved is known under its old name, too."""
        old = AllowList()
        old(Old, name="old_shop.models:Item")
        visit = workers(old, allow(Old, aliases=["old_shop.models:Item"]))
        visit(0, lambda: session.update(item=Old("a", 7)))

        assert visit(1, lambda: session["item"]) == Old("a", 7)

    def test_older_worker_that_lacks_the_new_name(
        self, workers: Any, caplog: pytest.LogCaptureFixture, make_app: MakeApp
    ) -> None:
        """It keeps what it cannot read, through its own writes, and logs the type once."""
        old = AllowList()
        old(Old, name="old_shop.models:Item")
        visit = workers(old, allow(Old, aliases=["old_shop.models:Item"]))
        visit(0, lambda: session.update(item=Old("a", 7), user_id=1))
        visit(1, lambda: session.update(item=Old("b", 8)))
        with caplog.at_level(logging.WARNING, "flask_picklesession"):
            for _request in range(5):
                assert visit(0, lambda: (session.get("item"), list(session.quarantined), count()))[:2] == (  # type: ignore[attr-defined]  # our own
                    None,
                    ["item"],
                )

        assert [record.getMessage() for record in caplog.records].count(
            "session value quarantined: item is not on the allow-list"
        ) == 1
        assert visit(1, lambda: (session["item"], session["n"], session["user_id"])) == (Old("b", 8), 5, 1)


class TestEnums:
    def test_removed_member_is_quarantined_until_it_is_back(self, workers: Any) -> None:
        """By name: a changed value is no loss, a removed member is kept aside."""
        visit = workers(allow(OldColor), allow(NewColor))
        visit(0, lambda: session.update(a=OldColor.RED, b=OldColor.BLUE))

        assert visit(1, lambda: (session["a"], session.get("b"), list(session.quarantined), count()))[:3] == (  # type: ignore[attr-defined]  # our own
            NewColor.RED,
            None,
            ["b"],
        )
        assert visit(0, lambda: (session["a"], session["b"])) == (OldColor.RED, OldColor.BLUE)


class TestClassTakenOff:
    def test_value_is_kept_aside(self, workers: Any) -> None:
        """A class that is no longer allowed: the key is absent, its bytes stay, all else goes on."""
        visit = workers(allow(Old), AllowList())
        visit(0, lambda: session.update(item=[Old("a")], user_id=1))
        visit(1, lambda: (session.get("item"), count()))

        assert visit(0, lambda: (session["item"], session["user_id"])) == ([Old("a")], 1)

    def test_each_request_signals(self, make_app: MakeApp) -> None:
        """The signal counts; the log tells once."""
        newer, older = Browser(make_app(PICKLESESSION_ALLOW=allow(Old))), make_app()
        newer.visit(lambda: session.update(item=Old("a")))
        browser = Browser(older)
        assert newer.cookie is not None
        browser.cookie = newer.cookie
        with recorded(session_quarantined, older) as sent:
            for _request in range(3):
                browser.visit(lambda: session.get("item"))

        assert [data["type_name"] for data in sent] == ["item"] * 3

    def test_names_that_an_attacker_makes_up_are_bounded(self, app: Flask) -> None:
        """What is remembered to have been logged does not grow for ever."""
        from flask_picklesession.interface import state_of
        from flask_picklesession.report import MOST_LOGGED_TYPES

        report = state_of(app).report
        for number in range(MOST_LOGGED_TYPES + 5):
            assert report._is_news(f"made:up{number}")

        assert len(report._logged_types) == MOST_LOGGED_TYPES
        # What has no type to remember is told each time.
        assert report._is_news(None)
