from __future__ import annotations

import copy
import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from flask import Flask, copy_current_request_context, session

from flask_picklesession import LimitExceededError, QuarantinedKeyError, Session, TypeRefusedError
from flask_picklesession.cookie import handle_of

from .support import Browser

LOGIN = {"_user_id": "7", "cart": [Decimal("9.99")], "n": 1}


@pytest.fixture(name="browser")
def _browser(app: Flask) -> Browser:
    return Browser(app)


@pytest.fixture(name="shopper")
def _shopper(browser: Browser) -> Browser:
    browser.visit(lambda: session.update(LOGIN))
    return browser


@pytest.mark.parametrize("write", [False, True])
def test_threads_of_one_request(app: Flask, shopper: Browser, write: bool) -> None:
    """Found by an attack: all but the first that used the session found nothing, and what they wrote was lost."""
    store = app.extensions["picklesession"].store
    load = store.load

    def slow(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.05)
        return load(*arguments, **options)

    store.load = slow
    found: list[object] = []

    def use(number: int) -> None:
        found.append(session.get("_user_id"))
        # All are to have the same object.
        session["cart"].append(Decimal(number))
        if write:
            session[f"key {number}"] = number

    def view() -> None:
        threads = [threading.Thread(target=copy_current_request_context(use), args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    shopper.visit(view)

    assert found == ["7"] * 4
    assert shopper.ask(lambda: len(session["cart"])) == 5
    assert shopper.ask(lambda: sum(key.startswith("key") for key in session)) == (4 if write else 0)


class TestMapping:
    def test_objects_come_back(self, browser: Browser) -> None:
        """What one request stores the next one finds, equal and of the same type."""
        stored = {
            "price": Decimal("9.90"),
            "when": datetime(2026, 11, 23, 12, 0, tzinfo=UTC),
            "tags": {"red", "blue"},
            "pair": (1, 2),
            "raw": b"bytes",
            "id": UUID(int=5),
            "n": 1,
            "f": 1.5,
            "yes": True,
            "none": None,
            "text": "text",
        }
        browser.visit(lambda: session.update(stored))

        found = browser.ask(lambda: dict(session))

        assert found == stored
        assert {key: type(value) for key, value in found.items()} == {k: type(v) for k, v in stored.items()}

    def test_order_of_keys_is_kept(self, browser: Browser) -> None:
        """Keys come back in the order in which they were added."""
        browser.visit(lambda: session.update(z=1, a=[], m=2))

        assert browser.ask(lambda: list(session)) == ["z", "a", "m"]

    def test_shared_and_circular_references_are_kept_within_a_key(self, browser: Browser) -> None:
        """Identity inside one value survives."""
        shared: list[Any] = []
        shared.append(shared)
        browser.visit(lambda: session.update(value=[shared, shared]))

        found = browser.ask(lambda: session["value"])

        assert found[0] is found[1]
        assert found[0][0] is found[0]

    @pytest.mark.parametrize(
        ("operation", "expected"),
        [
            (lambda s: s | {"n": 2, "x": 1}, {**LOGIN, "n": 2, "x": 1}),
            (lambda s: {"n": 0, "x": 1} | s, {"n": 1, "x": 1, **LOGIN}),
            (lambda s: s.copy(), LOGIN),
            (lambda s: copy.copy(s), LOGIN),
            (lambda s: copy.deepcopy(s), LOGIN),
            (lambda s: list(reversed(s)), ["n", "cart", "_user_id"]),
            (lambda s: s.popitem(), ("n", 1)),
            (lambda s: s.pop("cart"), LOGIN["cart"]),
            (lambda s: s.pop("absent", "default"), "default"),
            (lambda s: s.setdefault("n", 5), 1),
            (lambda s: s.setdefault("x", 5), 5),
            (lambda s: s.get("absent"), None),
            (lambda s: "cart" in s, True),
            (lambda s: "absent" in s, False),
            (lambda s: 5 in s, False),
            (lambda s: len(s), 3),
            (lambda s: bool(s), True),
            (lambda s: s == LOGIN, True),
            (lambda s: s != LOGIN, False),
            (lambda s: s == {"n": 1}, False),
            (lambda s: s == 5, False),
            (lambda s: sorted(s.keys()), ["_user_id", "cart", "n"]),
            (lambda s: list(s.items())[2], ("n", 1)),
            (lambda s: {**s}, LOGIN),
        ],
        ids=itertools.count(),
    )
    def test_behaves_as_a_dict(self, shopper: Browser, operation: Callable[[Session], Any], expected: object) -> None:
        """Each operation gives what a dict gives, on a session that was loaded from the store."""
        found = shopper.ask(lambda: operation(session._get_current_object()))  # type: ignore[attr-defined]  # a proxy

        assert found == expected
        assert type(found) is type(expected)

    @pytest.mark.parametrize("other", [5, None, "text"])
    def test_union_with_something_else_is_a_type_error(self, browser: Browser, other: Any) -> None:
        """As with a dict."""
        with browser_session(browser) as found:
            with pytest.raises(TypeError):
                found | other
            with pytest.raises(TypeError):
                other | found

    def test_in_place_union_updates(self, shopper: Browser) -> None:
        """``session |= {...}`` is an update."""

        def view() -> None:
            current = session._get_current_object()  # type: ignore[attr-defined]  # a proxy
            current |= {"n": 2}

        shopper.visit(view)

        assert shopper.ask(lambda: session["n"]) == 2

    def test_copies_are_not_the_session(self, shopper: Browser) -> None:
        """A deep copy shares nothing with the session."""
        assert shopper.ask(lambda: copy.deepcopy(session._get_current_object())["cart"] is not session["cart"])  # type: ignore[attr-defined]  # a proxy

    def test_missing_key_is_a_key_error(self, browser: Browser) -> None:
        """As with a dict."""
        with browser_session(browser) as found:
            with pytest.raises(KeyError):
                found["absent"]
            with pytest.raises(KeyError):
                del found["absent"]
            with pytest.raises(KeyError):
                found.popitem()

    def test_is_not_hashable(self, browser: Browser) -> None:
        """As a dict."""
        with browser_session(browser) as found, pytest.raises(TypeError):
            hash(found)

    def test_key_that_is_no_str_is_refused_at_the_assignment(self, browser: Browser) -> None:
        """Keys are str; anything else is a TypeError where it happens."""
        with browser_session(browser) as found, pytest.raises(TypeError, match="a session key is a str, not int"):
            found[5] = 1  # type: ignore[index]  # what is tested

    def test_key_of_a_str_subclass_becomes_a_str(self, browser: Browser) -> None:
        """A str subclass is stored as its plain str, without running its own code."""

        class Loud(str):
            __slots__ = ()

            def __str__(self) -> str:
                raise AssertionError

        browser.visit(lambda: session.update({Loud("key"): 1}))

        assert browser.ask(lambda: [type(key) for key in session]) == [str]

    def test_repr_shows_neither_values_nor_id(self, shopper: Browser) -> None:
        """A repr may be logged."""
        assert shopper.ask(lambda: repr(session._get_current_object())) == "<Session: not loaded>"  # type: ignore[attr-defined]  # a proxy
        assert shopper.ask(lambda: (session["n"], repr(session._get_current_object()))[1]) == "<Session: 3 keys>"  # type: ignore[attr-defined]  # a proxy


class TestRefusal:
    def test_refused_type_raises_at_the_assignment(self, browser: Browser) -> None:
        """What could not be restored is refused in the view, with path, type and fix."""
        with browser_session(browser) as found:
            with pytest.raises(TypeRefusedError) as caught:
                found["lock"] = {"nested": [object()]}

            assert caught.value.path == "session['lock']['nested'][0]"
            assert caught.value.type_name == "builtins:object"
            assert "lock" not in found

    def test_nested_refusal_raises_at_the_end_of_the_request(self, app: Flask, browser: Browser) -> None:
        """A nested change is seen when the session is saved: the request fails, with the path."""
        browser.visit(lambda: session.update(cart=[]))
        app.testing = True

        with pytest.raises(TypeRefusedError) as caught:
            browser.visit(lambda: session["cart"].append(object()))

        assert caught.value.path == "session['cart'][0]"

    def test_nested_refusal_is_one_500_and_the_session_stays(self, browser: Browser) -> None:
        """The request that stored it fails; what was stored before stays."""
        browser.visit(lambda: session.update(cart=[]))

        assert browser.visit(lambda: session["cart"].append(object())).status_code == 500
        assert browser.ask(lambda: session["cart"]) == []

    def test_too_large_raises_at_the_assignment(self, browser: Browser) -> None:
        """Nothing can be stored that could not be read."""
        with browser_session(browser) as found, pytest.raises(LimitExceededError) as caught:
            found["text"] = ["x" * 300_000]

        assert caught.value.path.startswith("session['text']")

    @pytest.mark.parametrize("value", [None, 1.5, ["7"], True], ids=repr)
    def test_identity_of_another_type_is_refused(self, browser: Browser, value: object) -> None:
        """Whose session it is, is told by a str, an int or a UUID."""
        with browser_session(browser) as found, pytest.raises(TypeRefusedError, match="user_id"):
            found["user_id"] = value

    @pytest.mark.parametrize("value", ["7", 7, UUID(int=7)], ids=repr)
    def test_identity_of_an_allowed_type(self, browser: Browser, value: object) -> None:
        """A str, an int and a UUID can tell whose session it is."""
        browser.visit(lambda: session.update(user_id=value))

        assert browser.ask(lambda: session["user_id"]) == value


class TestChanges:
    def test_nested_change_is_saved(self, shopper: Browser) -> None:
        """``session["cart"].append(...)`` needs no ``session.modified = True``."""
        shopper.visit(lambda: session["cart"].append(5))

        assert shopper.ask(lambda: session["cart"]) == [Decimal("9.99"), 5]

    def test_deleted_key_stays_deleted(self, shopper: Browser) -> None:
        """A removed key is gone in the next request."""
        shopper.visit(lambda: session.pop("cart"))

        assert shopper.ask(lambda: sorted(session)) == ["_user_id", "n"]

    def test_none_replaces_a_value(self, shopper: Browser) -> None:
        """None is a value like others."""
        shopper.visit(lambda: session.update(n=None))

        assert shopper.ask(lambda: session["n"]) is None

    def test_type_of_an_equal_scalar_is_a_change(self, shopper: Browser) -> None:
        """``True`` is not ``1``."""
        shopper.visit(lambda: session.update(n=True))

        assert shopper.ask(lambda: session["n"]) is True

    def test_rollback_forgets_the_changes(self, shopper: Browser) -> None:
        """After rollback() nothing is written, and the request sees what was stored."""

        def view() -> Any:
            session["n"] = 2
            session["cart"].append(1)
            session.rollback()  # type: ignore[attr-defined]  # our own
            return [session["n"], session["cart"], session.modified]

        assert shopper.ask(view) == [1, [Decimal("9.99")], False]
        assert shopper.ask(lambda: dict(session)) == LOGIN

    def test_rollback_takes_back_clear(self, shopper: Browser) -> None:
        """clear() is undone as well: the session goes on under its id."""
        cookie = shopper.cookie
        shopper.visit(lambda: (session.clear(), session.rollback())[1])  # type: ignore[attr-defined]  # our own

        assert shopper.ask(lambda: dict(session)) == LOGIN
        assert shopper.cookie == cookie

    def test_rollback_of_an_unused_session_loads_nothing(self, shopper: Browser) -> None:
        """There is nothing to forget."""
        assert shopper.ask(lambda: (session.rollback(), repr(session._get_current_object()))[1]) == (  # type: ignore[attr-defined]  # our own
            "<Session: not loaded>"
        )


class TestFlags:
    def test_new_session_is_empty(self, browser: Browser) -> None:
        """Nothing is planted in a new session."""
        assert browser.ask(lambda: (len(session), session.new, session.modified, session.permanent)) == (
            0,
            True,
            False,
            False,
        )

    def test_stored_session_is_not_new(self, shopper: Browser) -> None:
        """``new`` tells whether a stored session stands behind it."""
        assert shopper.ask(lambda: session.new) is False

    def test_assignment_sets_modified(self, browser: Browser) -> None:
        """As Flask's own session does."""
        assert browser.ask(lambda: (session.update(a=1), session.modified)[1]) is True

    def test_modified_can_be_set_and_reset(self, shopper: Browser) -> None:
        """The flag can be set by hand."""

        def view() -> list[bool]:
            seen = [session.modified]
            session.modified = True
            seen.append(session.modified)
            session.modified = False
            seen.append(session.modified)
            return seen

        assert shopper.ask(view) == [False, True, False]

    def test_handle_is_the_digest_of_the_id(self, shopper: Browser) -> None:
        """The handle can be shown: it does not tell the id."""
        assert shopper.cookie is not None
        session_id = shopper.cookie[:43]

        assert shopper.ask(lambda: session.handle) == handle_of(session_id)  # type: ignore[attr-defined]  # our own

    def test_unstored_session_has_no_handle_and_no_times(self, browser: Browser) -> None:
        """Before it is stored there is nothing to tell."""
        assert browser.ask(lambda: (session.handle, session.created_at, session.expires_at)) == (None, None, None)  # type: ignore[attr-defined]  # our own

    def test_times_are_aware(self, shopper: Browser) -> None:
        """created_at is now, expires_at one lifetime later, both in UTC."""
        created, expires = shopper.ask(lambda: (session.created_at, session.expires_at))  # type: ignore[attr-defined]  # our own
        now = datetime.now(UTC)

        assert now - timedelta(minutes=1) < created <= now
        assert timedelta(days=30) < expires - now <= timedelta(days=31)

    def test_expires_at_respects_the_absolute_timeout(self, make_app: Callable[..., Flask]) -> None:
        """The earlier of both timeouts ends a session."""
        browser = Browser(make_app(PICKLESESSION_ABSOLUTE_TIMEOUT=60))
        browser.visit(lambda: session.update(n=1))

        expires = browser.ask(lambda: session.expires_at)  # type: ignore[attr-defined]  # our own

        assert expires - datetime.now(UTC) <= timedelta(seconds=60)


class TestQuarantine:
    @pytest.fixture(name="old_worker")
    def _old_worker(self, make_app: Callable[..., Flask]) -> Browser:
        """A worker that does not know a type which a newer one has stored."""
        from .samples import Basket

        newer = Browser(make_app(PICKLESESSION_ALLOW=[Basket]))
        newer.visit(lambda: session.update(basket=Basket(["apple"]), n=1, user_id=7))
        older = Browser(make_app())
        assert newer.cookie is not None
        older.cookie = newer.cookie
        return older

    def test_unknown_type_is_absent_and_listed(self, old_worker: Browser) -> None:
        """A value that cannot be restored is not in the mapping; quarantined names its type."""

        def view() -> Any:
            return session.quarantined, "basket" in session, list(session), session.get("basket"), len(session)  # type: ignore[attr-defined]  # our own

        quarantined, present, keys, value, length = old_worker.ask(view)

        assert list(quarantined) == ["basket"]
        assert "Basket" in quarantined["basket"]
        assert (present, keys, value, length) == (False, ["n", "user_id"], None, 2)

    def test_quarantined_value_survives_a_write(self, old_worker: Browser, make_app: Callable[..., Flask]) -> None:
        """The older worker writes, and the newer one finds its value."""
        from .samples import Basket

        old_worker.visit(lambda: (session.get("basket"), session.update(n=2)))

        newer = Browser(make_app(PICKLESESSION_ALLOW=[Basket]))
        assert old_worker.cookie is not None
        newer.cookie = old_worker.cookie
        assert newer.ask(lambda: (session["basket"], session["n"])) == (Basket(["apple"]), 2)

    @pytest.mark.parametrize("seen", [True, False])
    def test_assigning_to_it_is_an_error(self, old_worker: Browser, seen: bool) -> None:
        """An assignment would lose the value, whether it was asked for before or not."""

        def view() -> str:
            if seen:
                session.get("basket")
            with pytest.raises(QuarantinedKeyError, match="del session"):
                session["basket"] = 1
            return ""

        assert old_worker.visit(view).status_code == 200

    @pytest.mark.parametrize("seen", [True, False])
    def test_del_removes_it(self, old_worker: Browser, seen: bool) -> None:
        """``del`` removes the kept value for good."""

        def view() -> None:
            if seen:
                session.get("basket")
            del session["basket"]

        old_worker.visit(view)

        assert old_worker.ask(lambda: session.quarantined) == {}  # type: ignore[attr-defined]  # our own

    def test_clear_removes_it(self, old_worker: Browser) -> None:
        """clear() leaves nothing."""
        old_worker.visit(lambda: (session.get("basket"), session.clear(), session.update(n=1)))

        assert old_worker.ask(lambda: session.quarantined) == {}  # type: ignore[attr-defined]  # our own

    def test_counts_as_content(self, old_worker: Browser) -> None:
        """A session that holds nothing else is not over."""
        cookie = old_worker.cookie
        old_worker.visit(lambda: (session.pop("n"), session.get("basket")))
        old_worker.visit(lambda: session.pop("user_id"))

        assert old_worker.ask(lambda: list(session.quarantined)) == ["basket"]  # type: ignore[attr-defined]  # our own
        assert old_worker.cookie != cookie


def browser_session(browser: Browser) -> Any:
    """Return a context manager with the session of the browser's next request."""
    return browser._client.session_transaction()
