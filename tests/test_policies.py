from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Any

import numpy
import pytest
from flask import flash, get_flashed_messages, session

from flask_picklesession import PickleSerializer
from flask_picklesession.merge import ABSENT
from flask_picklesession.policies import POLICIES, append

from .conftest import MakeApp
from .samples import Basket
from .support import Browser, plant


@pytest.mark.parametrize(
    ("name", "base", "mine", "theirs", "merged"),
    [
        ("last", 1, 2, 3, 2),
        ("last", 1, ABSENT, 3, ABSENT),
        ("first", 1, 2, 3, 3),
        ("first", 1, 2, ABSENT, ABSENT),
        ("max", 1, 2, 3, 3),
        ("max", 1, 5, 3, 5),
        ("max", 1, ABSENT, 3, 3),
        ("max", 1, 2, ABSENT, 2),
        ("max", 1, "x", 3, "x"),
        ("max", ABSENT, 1e-300, 1e300, 1e300),
        ("max", ABSENT, 10**100, 10**200, 10**200),
        ("max", ABSENT, (1, "a"), (2, "a"), (2, "a")),
        ("max", ABSENT, "a", "b" * 1000, "b" * 1000),
        ("max", ABSENT, [1] * 40, [2] * 40, [1] * 40),
        ("counter", 5, 6, 8, 9),
        ("counter", Counter(a=1), Counter(a=2), Counter(a=1, b=1), Counter(a=2, b=1)),
        ("counter", ABSENT, timedelta(1), timedelta(2), timedelta(1)),
        ("counter", ABSENT, 1, 1, 2),
        ("counter", 5, 4, ABSENT, -1),
        ("counter", 5, "x", 3, "x"),
        ("append", ["a"], ["a", "b"], ["a", "c"], ["a", "c", "b"]),
        ("append", ABSENT, ["b"], ["c"], ["c", "b"]),
        ("append", ["a"], ABSENT, ["a", "b"], ["b"]),
        ("append", ["a"], ["a", "b"], ABSENT, ["b"]),
        ("append", ["a"], ABSENT, ["a"], ABSENT),
        ("append", ["a"], [], ["a"], ABSENT),
        ("append", ["a", "a"], ["a", "a", "b"], ["a"], ["a", "b"]),
        ("append", ["a"], "x", ["b"], "x"),
        ("counter", timedelta.max, timedelta.max, timedelta.max, timedelta.max),
        ("counter", Decimal("Infinity"), Decimal("Infinity"), Decimal("-Infinity"), Decimal("Infinity")),
        ("counter", ABSENT, IPv4Address(1), 2**40, IPv4Address(1)),
        ("append", ["a", "b", "c"], ["c", "a", "b"], ["b", "x"], ["b", "x"]),
        ("append", ["a", "b"], ["b"], ["a", "b", "c"], ["b", "c"]),
        ("union", {1}, {1, 2}, {1, 3}, {1, 2, 3}),
        ("union", {1}, set(), {1, 3}, {3}),
        ("union", {1}, ABSENT, {1}, ABSENT),
        ("union", {1}, [2], {1}, [2]),
    ],
)
def test_policy(name: str, base: Any, mine: Any, theirs: Any, merged: Any) -> None:
    """What a policy makes of three values, one of them perhaps not there."""
    expected = ABSENT if name == "append" and merged is ABSENT and mine == [] else merged
    found = POLICIES[name](base, mine, theirs)

    assert found == ([] if mine == [] else expected)


def test_items_are_told_apart_one_by_one() -> None:
    """Not each with each: for 50,000 flashed messages in reverse, which somebody may plant, that is minutes."""
    items = [[number] for number in range(1000)]
    asked: list[object] = []

    def key(item: list[int]) -> int:
        asked.append(item)
        return item[0]

    assert append(items, items[::-1], items[::-1], key) == items
    assert len(asked) == 3 * len(items)


class Unequal:
    """Of one hash, and cannot be compared: as records in a circle."""

    def __init__(self) -> None:
        self.number = 1

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise RecursionError


def test_items_that_cannot_be_compared() -> None:
    """The last one wins."""
    mine = {Unequal()}

    assert POLICIES["union"]({Unequal()}, mine, {Unequal()}) is mine


def test_items_that_cannot_be_told_apart() -> None:
    """The last one wins."""
    mine = [{}]

    assert append([], mine, [{}]) is mine


def doubled_circle() -> Any:
    """Return what compares its like for a second, and would for minutes were it made of records."""
    inner: Any = ("x",)
    for _level in range(16):
        inner = (inner, inner)
    whole = [inner]
    whole.append(whole)
    return whole


class Compared:
    """Cannot be compared without it being seen."""

    def __init__(self, *parts: object) -> None:
        self.parts = parts

    def __add__(self, other: object) -> Any:
        raise AssertionError("compared or added")

    __gt__ = __lt__ = __sub__ = __radd__ = __add__


@pytest.mark.parametrize("policy", ["max", "counter"])
@pytest.mark.parametrize("make", [doubled_circle, lambda: [0] * 100, lambda: numpy.zeros((1, 50))], ids=range(3))
def test_values_that_are_slow_to_merge(policy: str, make: Callable[[], Any]) -> None:
    """Found in review: two planted circles are compared for as long as Python does, two arrays make a huge one."""
    mine, theirs = Compared(make()), Compared(make())

    assert POLICIES[policy](ABSENT, mine, theirs) is mine


def test_arrays_are_not_added() -> None:
    """A row and a column make all their products."""
    row, column = numpy.zeros((1, 100)), numpy.zeros((100, 1))

    assert POLICIES["counter"](ABSENT, row, column) is row
    assert POLICIES["max"](ABSENT, row, column) is row


def both(app: Any, mine: Callable[[], object], theirs: Callable[[], object], **content: Any) -> Any:
    """Let two requests change one session at once, and return what the next one sees."""
    browser = Browser(app)
    browser.visit(lambda: session.update(content))
    other = browser.copy()
    browser.visit(lambda: (session.get("x"), other.visit(theirs), mine(), None)[-1])
    return browser.ask(lambda: dict(session))


def add(key: str, item: Any) -> Callable[[], object]:
    """Return a view that changes a value in place."""
    return lambda: session[key].add(item) if isinstance(session[key], set) else session[key].append(item)


def put(**values: Any) -> Callable[..., None]:
    """Return what assigns keys of the request's session, or of the one that it is given."""
    return lambda stored=session: stored.update(values)


def drop(key: str) -> Callable[[], None]:
    """Return what removes a key."""
    return lambda: session.pop(key)


class TestInASession:
    def test_flashed_messages_of_both(self, app: Any) -> None:
        """Two requests that flash at once: both messages are shown."""
        browser = Browser(app)
        browser.visit(lambda: session.update(n=1))
        other = browser.copy()
        browser.visit(lambda: (session.get("n"), other.visit(lambda: flash("theirs")), flash("mine"), None)[-1])

        assert browser.ask(get_flashed_messages) == ["theirs", "mine"]

    def test_shown_message_does_not_come_back(self, app: Any) -> None:
        """One request shows what the other one adds to."""
        browser = Browser(app)
        browser.visit(lambda: (session.update(n=1), flash("old")))
        other = browser.copy()
        browser.visit(
            lambda: (session.get("n"), other.visit(lambda: str(get_flashed_messages())), flash("new"), None)[-1]
        )

        assert browser.ask(get_flashed_messages) == ["new"]

    def test_counter(self, make_app: MakeApp) -> None:
        """Both increments count."""
        app = make_app(PICKLESESSION_MERGE={"n": "counter"})

        def increment() -> None:
            session["n"] += 1

        assert both(app, increment, increment, n=5) == {"n": 7}

    def test_union_and_append_of_values_changed_in_place(self, make_app: MakeApp) -> None:
        """Nested changes are merged, too; objects among them."""
        app = make_app(PICKLESESSION_MERGE={"s": "union", "l": "append"}, PICKLESESSION_ALLOW=[Basket])

        assert both(app, add("s", 1), add("s", 2), s={0}) == {"s": {0, 1, 2}}
        assert both(app, add("l", Basket(["mine"])), add("l", Basket(["theirs"])), l=[]) == {
            "l": [Basket(["theirs"]), Basket(["mine"])]
        }

    def test_function(self, make_app: MakeApp) -> None:
        """A function of the application's own gets all three."""
        seen: list[Any] = []

        def shortest(base: Any, mine: Any, theirs: Any) -> Any:
            seen.append((base, mine, theirs))
            return min(mine, theirs, key=len)

        app = make_app(PICKLESESSION_MERGE={"name": shortest})

        assert both(app, lambda: session.update(name="longer"), lambda: session.update(name="long"), name="x") == {
            "name": "long"
        }
        assert seen == [("x", "longer", "long")]

    def test_request_goes_on_from_the_merged_value(self, make_app: MakeApp) -> None:
        """What was merged stands in the session after the save."""
        app = make_app(PICKLESESSION_MERGE={"n": "counter"})
        browser = Browser(app)
        browser.visit(lambda: session.update(n=0))
        other = browser.copy()
        with app.test_request_context("/", headers={"Cookie": f"session={browser.cookie}"}):
            session["n"] += 1
            other.visit(lambda: session.update(n=session["n"] + 10))
            app.session_interface.save_session(app, session, app.response_class())  # type: ignore[arg-type]  # a proxy

            assert session["n"] == 11

    @pytest.mark.parametrize(
        ("policy", "before", "after"),
        [("counter", 5, 1), ("counter", 5, 5), ("first", 1, 2), ("append", [1], [1, 2]), ("union", {1}, {1, 2})],
    )
    def test_nothing_is_merged_across_a_barrier(
        self, make_app: MakeApp, policy: str, before: object, after: object
    ) -> None:
        """What clear() ended is not there: what is assigned behind it is new."""
        browser = Browser(make_app(PICKLESESSION_MERGE={"here": policy, "gone": policy}))
        browser.visit(lambda: (session.update(here=before, gone=before), flash("Sign in"))[0])

        browser.visit(lambda: (session.clear(), session.update(here=after, user_id=7), flash("Sign in"))[0])

        expected = {"here": after, "user_id": 7, "_flashes": [("message", "Sign in")]}
        assert browser.ask(lambda: dict(session)) == expected

    @pytest.mark.parametrize("policy", ["counter", "last", "max", "union", "append"])
    def test_what_both_removed_is_gone(self, make_app: MakeApp, policy: str) -> None:
        """There is nothing to merge."""
        app = make_app(PICKLESESSION_MERGE={"n": policy})

        assert both(app, lambda: session.pop("n"), lambda: session.pop("n"), n=5, x=1) == {"x": 1}

    @pytest.mark.parametrize("theirs", [100, None], ids=["changed", "removed"])
    def test_atomic_change_of_another_key(self, make_app: MakeApp, theirs: int | None) -> None:
        """What this request and another one changed before is merged all the same."""
        app = make_app(PICKLESESSION_MERGE={"n": "counter", "gone": "counter", "new": "counter"})

        def change_theirs() -> None:
            session.update(gone=7, new=3)
            session["n"] += theirs or 0
            if theirs is None:
                del session["n"]
            flash("theirs")

        def change_mine() -> None:
            session["n"] += 1
            session["new"] = 1
            del session["gone"]
            flash("mine")
            session.atomic(lambda stored: stored.update(stock=stored["stock"] + 1))  # type: ignore[attr-defined]

        assert both(app, change_mine, change_theirs, n=10, stock=1, gone=5) == {
            "n": 111 if theirs else 1,
            "new": 4,
            "gone": 2,
            "stock": 2,
            "_flashes": [("message", "theirs"), ("message", "mine")],
        }

    @pytest.mark.parametrize(
        ("before", "change", "atomically", "again", "after"),
        [
            ({"n": 1}, put(n=2), put(n=5), put(n=1), {"n": 1}),
            ({"n": 1}, drop("n"), put(n=5), put(n=1), {"n": 1}),
            ({}, put(n=2), put(n=5), drop("n"), {}),
            ({"n": [1]}, lambda: session["n"].append(2), put(n=[5]), lambda: session["n"].pop(), {"n": [1]}),
        ],
        ids=["assigned", "removed", "new", "nested"],
    )
    def test_key_that_is_taken_back_behind_an_atomic_change(
        self, app: Any, before: Any, change: Any, atomically: Any, again: Any, after: Any
    ) -> None:
        """What the view sees at its end is what is stored: its value is no change against the first one."""
        browser = Browser(app)
        browser.visit(lambda: session.update(before, x=1))

        browser.visit(
            lambda: (change(), session.atomic(lambda stored: atomically(stored)), again(), None)[-1]  # type: ignore[attr-defined]
        )

        assert browser.ask(lambda: dict(session)) == {**after, "x": 1}

    @pytest.mark.parametrize("refilled", [{}, {"mine": 2}])
    def test_atomic_change_behind_a_barrier(self, app: Any, refilled: dict[str, Any]) -> None:
        """What it finds was stored under the session that ends: nothing of it goes on."""
        browser = Browser(app)
        browser.visit(lambda: session.update(user_id=7))
        other = browser.copy()

        def change() -> None:
            dict(session)
            other.visit(lambda: session.update(secret="of user 7"))
            session.clear()
            session.update(refilled)
            session.atomic(lambda stored: stored.update(n=1))  # type: ignore[attr-defined]

        browser.visit(change)

        assert browser.ask(lambda: dict(session)) == refilled
        assert other.ask(lambda: dict(session)) == {}

    def test_atomic_change_of_the_same_key(self, make_app: MakeApp) -> None:
        """Both changes of one request count."""
        browser = Browser(make_app(PICKLESESSION_MERGE={"n": "counter"}))
        browser.visit(lambda: session.update(n=10))

        def change() -> None:
            session["n"] += 1
            session.atomic(lambda stored: stored.update(n=stored["n"] + 1))  # type: ignore[attr-defined]

        browser.visit(change)

        assert browser.ask(lambda: session["n"]) == 12

    def test_value_that_is_what_it_was_before_both_changes(self, make_app: MakeApp) -> None:
        """The request goes on from that, too: saved twice, its change is not there twice."""
        app = make_app(PICKLESESSION_MERGE={"n": "counter"})
        browser = Browser(app)
        browser.visit(lambda: session.update(n=1000))
        other = browser.copy()
        with app.test_request_context("/", headers={"Cookie": f"session={browser.cookie}"}):
            session["n"] += 1
            other.visit(lambda: session.update(n=session["n"] - 1))
            app.session_interface.save_session(app, session, app.response_class())  # type: ignore[arg-type]  # a proxy

            assert session["n"] == 1000

    def test_key_that_another_request_removed_stays_away(self, app: Any) -> None:
        """It had been looked at, and the request is saved twice."""
        browser = Browser(app)
        browser.visit(lambda: session.update(cart=[1], seen=[1]))
        other = browser.copy()
        with app.test_request_context("/", headers={"Cookie": f"session={browser.cookie}"}):
            session["seen"].append(session["cart"][0])
            other.visit(drop("cart"))
            for _turn in range(2):
                app.session_interface.save_session(app, session, app.response_class())  # type: ignore[arg-type]
                assert dict(session) == {"seen": [1, 1]}

        assert browser.ask(lambda: dict(session)) == {"seen": [1, 1]}

    def test_base_that_cannot_be_restored(self, make_app: MakeApp) -> None:
        """Where this worker cannot read the base, the last value wins."""
        newer, older = make_app(PICKLESESSION_ALLOW=[Basket]), make_app(PICKLESESSION_MERGE={"b": "append"})
        browser = Browser(newer)
        browser.visit(lambda: session.update(b=Basket([]), n=1))
        mine, theirs = Browser(older), browser.copy()
        assert browser.cookie is not None
        mine.cookie = browser.cookie

        def view() -> None:
            del session["b"]
            theirs.visit(lambda: session.update(b=[1]))
            session["b"] = [2]

        mine.visit(view)

        assert mine.ask(lambda: session["b"]) == [2]

    def test_items_that_lead_to_all_others(self, app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Found in review: each of a thousand planted messages was written with all others, for many seconds."""
        flashes: list[Any] = []
        flashes += [("a", flashes)] * 1_000
        flashes.append(("b", (7,) * 90_000))
        browser = Browser(app)
        browser.visit(lambda: session.update(n=1))
        serializer = app.extensions["picklesession"].serializer
        plant(app, browser, n=1, _flashes=serializer.written(flashes))
        sizes: list[int] = []

        def written(self: PickleSerializer, item: object, kept: Any = None) -> bytes:
            sizes.append(len(found := original(self, item, kept)))
            return found

        original = PickleSerializer.written
        monkeypatch.setattr(PickleSerializer, "written", written)
        other = browser.copy()
        browser.visit(lambda: (session.get("n"), other.visit(lambda: flash("theirs")), flash("mine"), None)[-1])

        assert sizes
        assert sum(sizes) < 5_000_000
        assert browser.ask(lambda: session["_flashes"][-1]) == ("message", "mine")
