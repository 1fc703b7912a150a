"""Sign in, sign out, switch the user, prove it again, click twice: in every order of two and of three requests.

Two requests in every order of their commands, three in every order of their loads and saves. Each browser's windows
share its cookie; responses come in the order in which requests end.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, session
from flask_login import LoginManager, UserMixin, login_user, logout_user

from flask_picklesession.cookie import handle_of
from flask_picklesession.interface import state_of
from flask_picklesession.storage.record import Kind

from . import support
from .stepping import Stepped, SteppingLink
from .support import Browser, set_cookies

ours: Any = session

#: Of the orders of three requests, each so many-th is run; the long mode runs all.
STRIDE = 1 if int(os.environ.get("PICKLESESSION_TEST_EXAMPLES", "0")) >= 20_000 else 23


class User(UserMixin):
    def __init__(self, name: str) -> None:
        self.id = name


def sign_in(name: str) -> Callable[[], object]:
    """With Flask-Login."""
    return lambda: login_user(User(name))


def tutorial(name: str) -> Callable[[], object]:
    """As in Flask's tutorial."""
    return lambda: (session.clear(), session.update(user_id=name))


def prove() -> None:
    if "_user_id" in session or "user_id" in session:
        ours.reauthenticated()


#: Kind -> what its view does, and whom it signs in.
KINDS: dict[str, tuple[Callable[[], object], str | None]] = {
    "write": (lambda: session.update(written=1), None),
    "sign in": (sign_in("ada"), "ada"),
    "switch": (sign_in("grace"), "grace"),
    "tutorial": (tutorial("ada"), "ada"),
    "sign out": (lambda: logout_user(), None),
    "clear": (lambda: session.clear(), None),
    "farewell": (lambda: (session.clear(), session.update(_flashes=[("message", "bye")])), None),
    "prove": (prove, None),
}

#: Kinds that end the id that they came with, if they are acknowledged.
REPLACES = ("sign in", "switch", "tutorial", "clear", "farewell")

#: Kinds that sign out whom they find signed in, if they are acknowledged, and those that sign nobody in beside them.
LEAVES = ("sign out", "clear", "farewell")
SIGNS_NOBODY_IN = {*LEAVES, "write", "prove"}


class Site:
    """An application whose requests go on from command to command."""

    def __init__(self, url: str, prefix: str) -> None:
        self.app: Flask = support.make_app(url, prefix, PICKLESESSION_TIMEOUT=300)
        self.prefix = prefix
        manager = LoginManager(self.app)
        manager.user_loader(User)
        state = state_of(self.app)
        self.link = state.settings.link
        link: Any = SteppingLink(self.link)
        state.store._link = state.manager._users._link = link

    def begin(self, user: str | None) -> Browser:
        """Return a browser with a session, signed in or not."""
        browser = Browser(self.app)
        browser.visit(lambda: session.update(cart=[1]))
        if user:
            browser.visit(lambda: (sign_in(user)(), None)[1])
        return browser

    def live(self) -> dict[str, dict[str, Any]]:
        """Return what all live sessions hold."""
        state, found = state_of(self.app), {}
        for key in self.link.call(10**10, "KEYS", self.prefix + "?" * 43):
            stored = self.link.call(10**10, "GET", key)
            record = state.signers(self.app).record.unseal(key, stored)[0]
            if record.kind == Kind.LIVE:
                found[key[-43:].decode()] = state.serializer.loads(record.body)
        return found

    def forget(self) -> None:
        """Remove all sessions."""
        for key in self.link.call(10**10, "KEYS", self.prefix + "*"):
            self.link.call(10**10, "DEL", key)


class Run:
    """Some requests of one browser, in one order."""

    def __init__(self, site: Site, kinds: tuple[str, ...], user: str | None) -> None:
        self.site = site
        self.kinds = kinds
        self.user = user
        self.browser = site.begin(user)
        self.base = handle_of((self.browser.cookie or "")[:43])
        cookie = self.browser.cookie or ""
        self.ended: list[int] = []
        #: Whether one that signs out has found the user.
        self.is_left = False
        self.requests = [Stepped(lambda kind=kind: self._visit(kind, cookie)) for kind in kinds]  # type: ignore[misc]

    def _visit(self, kind: str, cookie: str) -> Any:
        window = Browser(self.site.app)
        window.cookie = cookie

        def view() -> None:
            self.is_left = self.is_left or (kind in LEAVES and "_user_id" in session)
            KINDS[kind][0]()

        response = window.visit(view)
        return response.status_code, bool(set_cookies(response)), window.cookie

    def step(self, number: int, *, to_the_end: bool = False) -> None:
        """Let one of them go on."""
        request = self.requests[number]
        (request.finish if to_the_end else request.step)()
        if request.is_done and number not in self.ended:
            self.ended.append(number)
            assert request.error is None, request.error
            _status, has_cookie, cookie = request.result
            if has_cookie:
                self.browser = Browser(self.site.app)
                if cookie is not None:
                    self.browser.cookie = cookie

    def finish(self) -> None:
        for number in range(len(self.requests)):
            self.step(number, to_the_end=True)

    def check(self) -> None:
        """What must hold, whatever the order."""
        assert all(request.result[0] == 200 for request in self.requests)
        live = self.site.live()
        if any(kind in REPLACES and self.is_other(kind) for kind in self.kinds):
            assert self.base not in live
        users = {values.get("_user_id") or values.get("user_id") for values in live.values()} - {None}
        assert users <= {KINDS[kind][1] for kind in self.kinds} | {self.user}
        found = self.browser.ask(lambda: session.get("_user_id") or session.get("user_id"))
        if set(self.kinds) <= {"write", "sign in"} and "sign in" in self.kinds:
            # A neighbour, however slow, does not take the sign-in's cookie away.
            assert found == "ada"
        if set(self.kinds) <= {"write", "tutorial"} and "tutorial" in self.kinds:
            assert found == "ada"
        if set(self.kinds) <= {"write", "sign out"} and "sign out" in self.kinds:
            assert found is None
        if set(self.kinds) <= SIGNS_NOBODY_IN and self.is_left:
            # Delete wins, whatever its id is by then.
            assert users == set()
        if set(self.kinds) <= {"write", "prove"}:
            assert found == self.user

    def is_other(self, kind: str) -> bool:
        """Whether it changes whose session it is, or clears it."""
        return kind in ("tutorial", "clear", "farewell") or KINDS[kind][1] != self.user


def orders(counts: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield every order of so many steps of each."""
    if not any(counts):
        yield ()
    for number, count in enumerate(counts):
        if count:
            rest = (*counts[:number], count - 1, *counts[number + 1 :])
            for following in orders(rest):
                yield (number, *following)


@pytest.fixture(name="site")
def _site(redis_url: str, prefix: str) -> Iterator[Site]:
    site = Site(redis_url, prefix)
    yield site
    site.forget()
    support.close(site.app)


@pytest.mark.parametrize("user", [None, "ada"], ids=["anonymous", "signed in"])
@pytest.mark.parametrize("first", KINDS)
def test_two_requests_in_every_order(site: Site, first: str, user: str | None) -> None:
    """Each order of all their commands."""
    for second in KINDS:
        run = Run(site, (first, second), user)
        counts = [0, 0]
        for number in range(2):
            while not run.requests[number].is_done:
                run.step(number)
                counts[number] += 1
        run.check()
        site.forget()
        # In another order one of them may take more steps: these come at the end.
        for order in orders((counts[0], counts[1])):
            run = Run(site, (first, second), user)
            for number in order:
                run.step(number)
            run.finish()
            run.check()
            site.forget()


THREE = list(itertools.product(itertools.product(KINDS, repeat=3), orders((2, 2, 2))))


@pytest.mark.parametrize("user", [None, "ada"], ids=["anonymous", "signed in"])
def test_three_requests_in_every_order(site: Site, user: str | None) -> None:
    """Each order of their loads and their saves."""
    for kinds, order in THREE[::STRIDE]:
        run = Run(site, kinds, user)
        seen: set[int] = set()
        for number in order:
            run.step(number, to_the_end=number in seen)
            seen.add(number)
        run.check()
        site.forget()
