"""What concurrent requests, sign-ins and ends make of a session. Views let other browsers' requests run within."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from threading import Barrier, Thread
from typing import Any

import pytest
from flask import Flask, session
from redis import Redis

from flask_picklesession import (
    Drop,
    EndReason,
    session_dropped,
    session_ended,
    session_regenerated,
    session_saved,
)
from flask_picklesession.cookie import handle_of
from flask_picklesession.storage.record import SIGNATURE_SIZE, Kind, Record

from .samples import Basket
from .support import Browser, recorded, set_cookies

MakeApp = Callable[..., Flask]


def put(**values: Any) -> Callable[[], None]:
    """Return a view that assigns these keys."""
    return lambda: session.update(values)


def content(browser: Browser) -> dict[str, Any]:
    """Return what the next request finds."""
    found: dict[str, Any] = browser.ask(lambda: dict(session))
    return found


@pytest.fixture(name="browser")
def _browser(app: Flask) -> Browser:
    browser = Browser(app)
    browser.visit(put(n=1, cart=[]))
    return browser


@pytest.fixture(name="record_of")
def _record_of(raw: Redis, prefix: str) -> Callable[[str | None], Record | None]:
    """Return what stands under a cookie's storage key."""

    def record_of(cookie: str | None) -> Record | None:
        assert cookie is not None
        stored = raw.get(prefix + handle_of(cookie[:43]))
        assert stored is None or isinstance(stored, bytes)
        return None if stored is None else Record.unpack(stored[SIGNATURE_SIZE:])

    return record_of


RecordOf = Callable[[str | None], Record]


class TestMerge:
    def test_different_keys_survive(self, browser: Browser) -> None:
        """Two requests that change different keys both keep their change."""
        other = browser.copy()

        browser.visit(lambda: (session.update(a=1), other.visit(put(b=2)), None)[2])

        assert content(browser) == {"n": 1, "cart": [], "b": 2, "a": 1}

    def test_many_writers_survive(self, browser: Browser) -> None:
        """Twenty requests in flight at once, each with its own key, lose none."""

        def nested(depth: int) -> Callable[[], None]:
            def view() -> None:
                session[f"key{depth}"] = depth
                if depth:
                    browser.copy().visit(nested(depth - 1))

            return view

        browser.visit(nested(19))

        assert len(content(browser)) == 22

    def test_threads_lose_nothing(self, make_app: MakeApp) -> None:
        """Twenty threads, each of which stores five keys of its own as fast as it can: every write stands."""
        browser = Browser(make_app(PICKLESESSION_TIMEOUT=30))
        browser.visit(put(start=[]))
        barrier, codes = Barrier(20), []

        def write(number: int) -> None:
            window = browser.copy()
            barrier.wait()
            codes.extend(window.visit(put(**{f"key{number}_{turn}": [number]})).status_code for turn in range(5))

        threads = [Thread(target=write, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert codes == [200] * 100
        assert len(content(browser)) == 101

    def test_nested_change_and_other_key_survive(self, browser: Browser) -> None:
        """A nested change is a change of its key only."""
        browser.visit(lambda: (session["cart"].append(1), browser.copy().visit(put(b=2)), None)[2])

        assert content(browser) == {"n": 1, "cart": [1], "b": 2}

    def test_deletions_of_both_sides_stay(self, browser: Browser) -> None:
        """No deletion is undone by the other's write."""
        browser.visit(lambda: (session.pop("n"), browser.copy().visit(lambda: session.pop("cart")), put(x=1)())[2])

        assert content(browser) == {"x": 1}

    def test_read_only_request_reverts_nothing(self, browser: Browser) -> None:
        """A request that only read does not write back what it read."""
        browser.visit(lambda: (dict(session), browser.copy().visit(put(n=2)), None)[2])

        assert content(browser)["n"] == 2

    def test_last_writer_wins_the_same_key(self, browser: Browser) -> None:
        """Of two values for one key the one that is saved last stands."""
        browser.visit(lambda: (put(n="outer")(), browser.copy().visit(put(n="inner")), None)[2])

        assert content(browser)["n"] == "outer"

    def test_popping_everything_merges(self, browser: Browser) -> None:
        """Emptied by popping is an ordinary write: what others added stays, and so does the session."""

        def view() -> None:
            session.pop("n")
            session.pop("cart")
            browser.copy().visit(put(b=2))

        assert set_cookies(browser.visit(view)) == []
        assert content(browser) == {"b": 2}

    def test_emptied_session_ends(self, app: Flask, browser: Browser, record_of: RecordOf) -> None:
        """An empty result ends the session, with a signal."""
        cookie = browser.cookie
        with recorded(session_ended, app) as ended:
            browser.visit(lambda: (session.pop("n"), session.pop("cart"), None)[2])

        assert browser.cookie is None
        assert record_of(cookie).kind == Kind.ENDED
        assert [event["reason"] for event in ended] == [EndReason.DESTROYED]

    def test_unknown_type_of_a_newer_worker_stands(self, make_app: MakeApp) -> None:
        """Where both changed a key and theirs cannot be restored here, theirs stands and mine is reported."""
        old_app = make_app()
        newer, older = Browser(make_app(PICKLESESSION_ALLOW=[Basket])), Browser(old_app)
        newer.visit(put(basket="plain", n=1))
        assert newer.cookie is not None
        older.cookie = newer.cookie

        with recorded(session_dropped, old_app) as dropped:
            older.visit(lambda: (put(basket="mine", n=2)(), newer.visit(put(basket=Basket(["x"]))), None)[2])

        assert content(newer) == {"basket": Basket(["x"]), "n": 2}
        assert dropped == [{"reason": Drop.QUARANTINED, "keys": ("basket",)}]

    def test_unchanged_session_is_not_written(self, app: Flask, browser: Browser, record_of: RecordOf) -> None:
        """Reading, or assigning what is there already, writes nothing."""
        before = record_of(browser.cookie)
        with recorded(session_saved, app) as saved:
            browser.visit(lambda: (dict(session), put(n=1, cart=[])(), None)[2])

        assert saved == []
        assert record_of(browser.cookie) == before

    def test_modified_by_hand_writes(self, browser: Browser, record_of: RecordOf) -> None:
        """``session.modified = True`` forces a write."""
        before = record_of(browser.cookie)
        browser.visit(lambda: setattr(session, "modified", True))

        assert record_of(browser.cookie).nonce != before.nonce


class TestDeleteWins:
    @pytest.mark.parametrize("end", [lambda: session.clear(), lambda: session.destroy()], ids=["clear", "destroy"])  # type: ignore[attr-defined]  # our own
    def test_late_write_does_not_bring_it_back(
        self, app: Flask, browser: Browser, record_of: RecordOf, end: Callable[[], None]
    ) -> None:
        """A request in flight while the session is destroyed is dropped, reported, and sets no cookie."""
        cookie, other = browser.cookie, browser.copy()
        with recorded(session_dropped, app) as dropped:
            response = browser.visit(lambda: (put(a=1)(), other.visit(end), None)[2])

        assert set_cookies(response) == []
        assert record_of(cookie).kind == Kind.ENDED
        assert dropped == [{"reason": Drop.ENDED, "keys": ("a",)}]
        assert content(browser) == {}

    def test_absent_is_ended(self, app: Flask, browser: Browser, raw: Redis, prefix: str) -> None:
        """A record that expired or was evicted meanwhile is not created again."""
        assert browser.cookie is not None
        key = prefix + handle_of(browser.cookie[:43])
        with recorded(session_dropped, app) as dropped:
            browser.visit(lambda: (put(a=1)(), raw.delete(key), None)[2])

        assert raw.get(key) is None
        assert len(dropped) == 1

    def test_destroy_wins_over_others_writes(self, browser: Browser, record_of: RecordOf) -> None:
        """A destroy ends the session also if others wrote since it was loaded."""
        cookie = browser.cookie
        browser.visit(lambda: (session.clear(), browser.copy().visit(put(b=2)), None)[2])

        assert record_of(cookie).kind == Kind.ENDED
        assert browser.cookie is None

    def test_destroyed_twice(self, browser: Browser, record_of: RecordOf) -> None:
        """A second logout finds nothing to do."""
        cookie, other = browser.cookie, browser.copy()
        browser.visit(lambda: session.clear())

        assert other.visit(lambda: session.clear()).status_code == 200
        assert record_of(cookie).kind == Kind.ENDED

    def test_what_follows_a_destroy_is_a_new_session(self, browser: Browser) -> None:
        """``session.destroy()`` and a flash message: the message stands in a session of its own."""
        cookie = browser.cookie
        browser.visit(lambda: (session.destroy(), put(message="bye")(), None)[2])  # type: ignore[attr-defined]  # our own

        assert content(browser) == {"message": "bye"}
        assert browser.cookie != cookie

    def test_clear_of_a_new_session(self, app: Flask) -> None:
        """A session that was never stored is simply empty."""
        browser = Browser(app)
        browser.visit(lambda: (put(a=1)(), session.clear(), None)[2])

        assert browser.cookie is None


class TestIdentity:
    def test_sign_in_replaces_the_id_and_keeps_the_content(
        self, app: Flask, browser: Browser, record_of: RecordOf
    ) -> None:
        """A sign-in gets a new id, and the old one is over: a fixed id is worth nothing."""
        before = browser.cookie
        with recorded(session_regenerated, app) as regenerated:
            browser.visit(put(user_id=7))

        assert browser.cookie != before
        assert content(browser) == {"n": 1, "cart": [], "user_id": 7}
        assert record_of(before).kind == Kind.ENDED
        assert len(regenerated) == 1

    def test_attacker_with_the_old_id_sees_nothing(self, browser: Browser) -> None:
        """Session fixation: who planted the id before the sign-in is left with an empty session."""
        attacker = browser.copy()
        browser.visit(put(user_id=7))

        assert content(attacker) == {}

    @pytest.mark.parametrize("key", ["_user_id", "user_id"])
    def test_each_identity_key_counts(self, browser: Browser, key: str) -> None:
        """Flask-Login's key and that of Flask's tutorial."""
        before = browser.cookie
        browser.visit(lambda: session.update({key: "7"}))

        assert browser.cookie != before

    def test_configured_identity_key(self, make_app: MakeApp) -> None:
        """PICKLESESSION_IDENTITY_KEYS names others."""
        browser = Browser(make_app(PICKLESESSION_IDENTITY_KEYS=["account"]))
        browser.visit(put(user_id=1))
        before = browser.cookie
        browser.visit(put(user_id=2))
        assert browser.cookie == before

        browser.visit(put(account=2))

        assert browser.cookie != before

    def test_same_identity_keeps_the_id(self, browser: Browser) -> None:
        """Assigning the same identity again, also as another type, changes nothing."""
        browser.visit(put(user_id=7))
        before = browser.cookie
        browser.visit(put(user_id="7", x=1))

        assert browser.cookie == before
        assert content(browser)["x"] == 1

    def test_sign_out_replaces_the_id_and_keeps_the_rest(self, browser: Browser) -> None:
        """Flask-Login pops its keys: the rest goes on under a new id."""
        browser.visit(put(user_id=7))
        before, other = browser.cookie, browser.copy()
        browser.visit(lambda: session.pop("user_id"))

        assert browser.cookie != before
        assert content(browser) == {"n": 1, "cart": []}
        assert content(other) == {}

    def test_sign_out_that_leaves_nothing_ends_the_session(self, app: Flask) -> None:
        """Nothing is left to store under a new id."""
        browser = Browser(app)
        browser.visit(put(user_id=7))
        browser.visit(lambda: session.pop("user_id"))

        assert browser.cookie is None

    def test_sign_out_that_leaves_nothing_takes_others_writes_along(self, app: Flask) -> None:
        """What another request stored meanwhile goes on under a new id."""
        browser = Browser(app)
        browser.visit(put(user_id=7))
        browser.visit(lambda: (session.pop("user_id"), browser.copy().visit(put(b=2)), None)[2])

        assert content(browser) == {"b": 2}

    def test_tutorial_sign_in(self, browser: Browser) -> None:
        """Flask's tutorial: ``session.clear(); session["user_id"] = ...`` takes nothing along."""
        before = browser.cookie
        browser.visit(lambda: (session.clear(), put(user_id=7)(), browser.copy().visit(put(late=1)), None)[3])

        assert content(browser) == {"user_id": 7}
        assert browser.cookie != before

    def test_tutorial_sign_in_of_the_same_user(self, browser: Browser) -> None:
        """What is assigned after clear() is stored, also where it is what was there before."""
        browser.visit(put(user_id=7))
        browser.visit(lambda: (session.clear(), put(user_id=7, n=1, new=[1])())[1])

        assert content(browser) == {"user_id": 7, "n": 1, "new": [1]}

    def test_objects_that_are_taken_across_clear(self, browser: Browser) -> None:
        """The very objects that were there before, immutable ones, too."""
        browser.visit(put(price=Decimal(9)))

        def view() -> None:
            price, cart = session["price"], session["cart"]
            session.clear()
            session.update(price=price, cart=cart)

        browser.visit(view)

        assert content(browser) == {"price": Decimal(9), "cart": []}

    def test_what_was_saved_before_goes_along(self, browser: Browser) -> None:
        """A write that was saved before the sign-in is in the new session."""
        browser.visit(lambda: (put(user_id=7)(), browser.copy().visit(put(b=2)), None)[2])

        assert content(browser) == {"n": 1, "cart": [], "user_id": 7, "b": 2}

    def test_what_is_saved_after_it_is_dropped(self, app: Flask, browser: Browser) -> None:
        """A write with the old id that comes later is dropped and reported, and sets no cookie."""
        slow = browser.copy()
        with recorded(session_dropped, app) as dropped:
            response = slow.visit(lambda: (put(late=1)(), browser.visit(put(user_id=7)), None)[2])

        assert set_cookies(response) == []
        assert [event["reason"] for event in dropped] == [Drop.ENDED]
        assert "late" not in content(browser)

    def test_slower_neighbour_sets_no_cookie(self, app: Flask, browser: Browser) -> None:
        """For a few seconds a request with the replaced id writes nothing: its cookie would undo the sign-in."""
        neighbour = browser.copy()
        browser.visit(put(user_id=7))

        with recorded(session_dropped, app) as dropped:
            response = neighbour.visit(put(csrf="x"))

        assert set_cookies(response) == []
        assert dropped == [{"reason": Drop.ENDED, "keys": ("csrf",)}]

    def test_after_the_grace_it_is_a_new_session(self, make_app: MakeApp, move_clock: Callable[[float], None]) -> None:
        """Later the old id is nothing but a stale cookie."""
        browser = Browser(make_app(PICKLESESSION_GRACE=10))
        browser.visit(put(n=1))
        neighbour = browser.copy()
        browser.visit(put(user_id=7))
        move_clock(11)

        neighbour.visit(put(csrf="x"))

        assert content(neighbour) == {"csrf": "x"}

    def test_sign_in_with_a_replaced_id_gets_its_own_session(self, browser: Browser) -> None:
        """A second sign-in that begins after the first one ended is a session of its own."""
        other = browser.copy()
        browser.visit(put(user_id=7))
        other.visit(put(user_id=8))

        assert content(other) == {"user_id": 8}
        assert content(browser)["user_id"] == 7

    def test_double_clicked_sign_in(self, browser: Browser) -> None:
        """Two sign-ins from one anonymous session at once: both end signed in, with the cart."""
        other = browser.copy()
        browser.visit(lambda: (put(user_id=7)(), other.visit(put(user_id=7)), None)[2])

        assert content(browser) == content(other) == {"n": 1, "cart": [], "user_id": 7}
        assert browser.cookie != other.cookie

    def test_sign_in_on_a_session_that_was_destroyed(self, browser: Browser) -> None:
        """What a destroyed session held does not come back: only what the sign-in assigned is stored."""
        browser.visit(lambda: (put(user_id=7)(), browser.copy().visit(lambda: session.clear()), None)[2])

        assert content(browser) == {"user_id": 7}

    def test_switch_of_user_on_a_session_that_was_replaced(self, browser: Browser) -> None:
        """A signed-in base that another sign-in replaced gives nothing of the first user to the second."""
        browser.visit(put(user_id=7, secret="of 7"))
        other = browser.copy()
        browser.visit(lambda: (put(user_id=8)(), other.visit(put(user_id=9)), None)[2])

        assert content(browser) == {"user_id": 8}

    def test_sign_out_on_a_session_that_is_gone(self, app: Flask, browser: Browser) -> None:
        """Without an identity assigned there is nothing to save it for."""
        browser.visit(put(user_id=7))
        with recorded(session_dropped, app) as dropped:
            browser.visit(lambda: (session.pop("user_id"), browser.copy().visit(lambda: session.clear()), None)[2])

        assert len(dropped) == 1

    def test_regenerate_keeps_content_and_birth(self, browser: Browser, record_of: RecordOf) -> None:
        """regenerate(): a new id, the same session, and no longer life."""
        before = browser.cookie
        born = record_of(before).born
        browser.visit(lambda: session.regenerate())  # type: ignore[attr-defined]  # our own

        assert browser.cookie != before
        assert content(browser) == {"n": 1, "cart": []}
        assert record_of(browser.cookie).born == born
        assert record_of(before).kind == Kind.ENDED

    def test_regenerate_of_a_session_that_is_gone(self, app: Flask, browser: Browser, record_of: RecordOf) -> None:
        """A session that was destroyed meanwhile does not live on under a new id."""
        before = browser.cookie
        with recorded(session_dropped, app) as dropped:
            response = browser.visit(
                lambda: (session.regenerate(), browser.copy().visit(lambda: session.clear()), None)[2]  # type: ignore[attr-defined]  # our own
            )

        assert set_cookies(response) == []
        assert len(dropped) == 1
        assert record_of(before).kind == Kind.ENDED

    def test_sign_in_is_a_birth(self, browser: Browser, record_of: RecordOf) -> None:
        """A change of identity starts the absolute timeout anew and notes when the identity was proven."""
        anonymous = record_of(browser.cookie)
        browser.visit(put(user_id=7))
        signed_in = record_of(browser.cookie)

        assert anonymous.authenticated == 0
        assert signed_in.authenticated == signed_in.born >= anonymous.born

    def test_user_digest_is_that_of_prefix_and_identity(
        self, browser: Browser, record_of: RecordOf, prefix: str
    ) -> None:
        """A record tells whose it is without naming the user."""
        from hashlib import sha256

        browser.visit(put(user_id=7))

        assert record_of(browser.cookie).user_digest == sha256(f"{prefix}7".encode()).digest()


class TestTimeouts:
    def test_idle_timeout_is_the_ttl(self, make_app: MakeApp, raw: Redis, prefix: str) -> None:
        """A record lives for the idle timeout, counted from its last use."""
        browser = Browser(make_app(PICKLESESSION_IDLE_TIMEOUT=100))
        browser.visit(put(n=1))
        assert browser.cookie is not None
        key = prefix + handle_of(browser.cookie[:43])
        raw.expire(key, 10)

        browser.visit(lambda: str(session["n"]))

        assert 90 < raw.ttl(key) <= 100  # type: ignore[operator]  # a sync client

    def test_absolute_timeout_ends_a_used_session(self, make_app: MakeApp, move_clock: Callable[[float], None]) -> None:
        """However much it is used, a session ends at its absolute timeout."""
        browser = Browser(make_app(PICKLESESSION_ABSOLUTE_TIMEOUT=100))
        browser.visit(put(n=1))
        move_clock(60)
        assert content(browser) == {"n": 1}

        move_clock(41)

        assert content(browser) == {}

    def test_write_does_not_outlive_the_absolute_timeout(
        self, make_app: MakeApp, raw: Redis, prefix: str, move_clock: Callable[[float], None]
    ) -> None:
        """A write near the end is kept for the rest of the time only."""
        browser = Browser(make_app(PICKLESESSION_ABSOLUTE_TIMEOUT=100))
        browser.visit(put(n=1))
        move_clock(60)
        browser.visit(put(n=2))
        assert browser.cookie is not None

        assert raw.ttl(prefix + handle_of(browser.cookie[:43])) <= 40  # type: ignore[operator]  # a sync client

    def test_write_that_comes_after_the_absolute_timeout_is_dropped(
        self, make_app: MakeApp, move_clock: Callable[[float], None]
    ) -> None:
        """A session that ends during a request is over for its write."""
        app = make_app(PICKLESESSION_ABSOLUTE_TIMEOUT=100)
        browser = Browser(app)
        browser.visit(put(n=1))
        with recorded(session_dropped, app) as dropped:
            browser.visit(lambda: (put(n=2)(), browser.copy().visit(put(n=3)), move_clock(101), None)[3])

        assert len(dropped) == 1


class TestRareConflicts:
    """What only a configuration change, an eviction or a forger can bring about."""

    @pytest.mark.parametrize(
        "assign", [lambda: session.update(a=1), lambda: session.update(user_id=9)], ids=["a", "id"]
    )
    def test_record_that_changed_hands(
        self, assign: Callable[[], None], app: Flask, browser: Browser, raw: Redis, prefix: str
    ) -> None:
        """Another identity under the same id: this request's write belonged to somebody else and is dropped."""
        assert browser.cookie is not None
        key = (prefix + handle_of(browser.cookie[:43])).encode()

        def give_away() -> None:
            stored = raw.get(key)
            assert isinstance(stored, bytes)
            record = Record.unpack(stored[SIGNATURE_SIZE:]).with_nonce(b"12345678")._replace(user_digest=b"u" * 32)
            signer = app.extensions["picklesession"].signers(app).record
            raw.set(key, signer.seal(key, record))

        with recorded(session_dropped, app) as dropped:
            browser.visit(lambda: (assign(), give_away(), None)[2])

        assert [event["reason"] for event in dropped] == [Drop.IDENTITY]

    def test_replacement_keeps_an_unknown_type_of_a_newer_worker(self, make_app: MakeApp) -> None:
        """At a sign-in, too, a value that this worker cannot restore stands."""
        old_app = make_app()
        newer, older = Browser(make_app(PICKLESESSION_ALLOW=[Basket])), Browser(old_app)
        newer.visit(put(basket="plain", n=1))
        assert newer.cookie is not None
        older.cookie = newer.cookie

        with recorded(session_dropped, old_app) as dropped:
            older.visit(lambda: (put(basket="mine", user_id=7)(), newer.visit(put(basket=Basket(["x"]))), None)[2])

        assert [event["reason"] for event in dropped] == [Drop.QUARANTINED]
        assert list(older.ask(lambda: session.quarantined)) == ["basket"]  # type: ignore[attr-defined]  # our own

    def test_sign_out_that_leaves_nothing_on_a_session_that_is_gone(self, app: Flask) -> None:
        """There is neither an old record to end nor a new one to keep."""
        browser = Browser(app)
        browser.visit(put(user_id=7))
        with recorded(session_dropped, app) as dropped:
            browser.visit(lambda: (session.pop("user_id"), browser.copy().visit(lambda: session.clear()), None)[2])

        assert len(dropped) == 1

    def test_new_record_that_is_lost_during_a_sign_in(
        self, app: Flask, browser: Browser, raw: Redis, prefix: str
    ) -> None:
        """Evicted between its creation and the merge: a 503, and the old cookie is good."""
        cookie = browser.cookie
        store = app.extensions["picklesession"].store
        create = store.create

        def lose(key: bytes, *arguments: Any, **options: Any) -> Any:
            saved = create(key, *arguments, **options)
            raw.delete(key)
            browser.copy().visit(put(b=2))
            return saved

        store.create = lose
        response = browser.visit(put(user_id=7))
        del store.create

        assert response.status_code == 503
        assert browser.cookie == cookie
        assert content(browser) == {"n": 1, "cart": [], "b": 2}

    def test_quarantined_identity_is_unchanged(self, make_app: MakeApp, app: Flask) -> None:
        """An identity that this worker cannot read was not changed by it: no new id."""
        from uuid import UUID

        browser = Browser(app)
        browser.visit(put(user_id=UUID(int=7), n=1))
        older = make_app()
        allow = older.extensions.setdefault("picklesession", None)
        del older.extensions["picklesession"]
        assert allow is None
        visitor = Browser(older)
        assert browser.cookie is not None
        visitor.cookie = browser.cookie
        visitor.visit(put(n=2))
        from flask_picklesession.interface import state_of

        state_of(older).serializer._entries.pop(b"uuid:UUID")
        state_of(older).serializer._verdicts._passed.clear()
        visitor.visit(put(n=3))

        assert visitor.cookie == browser.cookie
        assert content(browser)["n"] == 3

    def test_modified_by_hand_after_use(self, browser: Browser, record_of: RecordOf) -> None:
        """The flag works on a session that is loaded already, and regenerate() on one that is used."""
        before = record_of(browser.cookie)
        browser.visit(lambda: (session["n"], setattr(session, "modified", True), None)[2])
        assert record_of(browser.cookie).nonce != before.nonce

        cookie = browser.cookie
        browser.visit(lambda: (session["n"], session.regenerate(), None)[2])  # type: ignore[attr-defined]  # our own
        assert browser.cookie != cookie
