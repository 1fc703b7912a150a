"""Up to four requests at once, from command to command, in any order, with faults: checked against a small model.

Each step is one command on a real server. What must hold, whatever the order:

* no response is a 500;
* what ended, or was replaced, is never live again;
* an acknowledged write of a key of its own is there, unless something ended its session or deleted the key;
* the counter is what was acknowledged, or what may have been applied besides;
* after a revocation no session of the user is live but those of sign-ins that were under way or came later.

``PICKLESESSION_TEST_EXAMPLES=20000`` is the long mode.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask, session
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from flask_picklesession import PickleSession, session_dropped
from flask_picklesession.cookie import handle_of
from flask_picklesession.exceptions import RecordError
from flask_picklesession.interface import state_of
from flask_picklesession.renewal import Found, follow
from flask_picklesession.storage.connection import connect
from flask_picklesession.storage.record import Kind, Record

from . import support
from .servers import Server
from .stepping import RUNNING, Stepped, SteppingLink, Turn
from .support import Browser

EXAMPLES = int(os.environ.get("PICKLESESSION_TEST_EXAMPLES", "200"))
STEPS = 40

#: Requests at once.
MOST = 4
EVERY = 1000.0
ours: Any = session

#: Most commands go well.
TURNS = [Turn.GO] * 10 + [Turn.DIE_BEFORE, Turn.DIE_AFTER, Turn.BREAK]

#: What ends a session or takes keys away. An example has them, or it has not: then nothing at all may be lost.
ENDERS = ("clear", "tutorial sign-in", "destroy", "revoke user", "revoke", "expire")
IDENTITY = ("sign in", "sign out", "regenerate")
PLAIN = ("write", "write", "write", "nested", "count", "count", "delete", "read", "atomic")


@dataclass
class Request:
    """A request, or a call from outside, and what the model knows of it."""

    kind: str
    number: int
    handle: str | None
    started: int
    user: int
    is_lost: bool
    key: str = ""
    stepped: Stepped | None = None
    dropped: list[Any] = field(default_factory=list)
    has_fault: bool = False
    finished: int = 0
    was_new: bool = True
    loaded: str | None = None
    #: Whether it has its session. One that has not cannot wait for longer than the grace period.
    has_loaded: bool = False

    @property
    def status(self) -> int:
        """The response's status; 0 where there was none."""
        assert self.stepped is not None
        return 0 if self.stepped.result is None else getattr(self.stepped.result, "status_code", 200)

    @property
    def is_acknowledged(self) -> bool:
        """Whether the response was below 500 and no drop was reported."""
        return 0 < self.status < 500 and not self.dropped


class Interleavings(RuleBasedStateMachine):
    """The machine.

    :param url: a server.
    :param clock: moves the clock.
    """

    numbers = itertools.count()

    def __init__(self, url: str, clock: list[float]) -> None:
        super().__init__()
        self.clock = clock
        clock[0] = 0
        self.prefix = f"inter:{os.getpid()}:{next(self.numbers)}:"
        self.app: Flask = support.make_app(
            url,
            self.prefix,
            PICKLESESSION_MERGE={"count": "counter", "log": "append"},
            PICKLESESSION_TIMEOUT=PATIENT,
            PICKLESESSION_RENEW_EVERY=EVERY,
        )
        self.sessions = PickleSession(self.app)
        state = state_of(self.app)
        self.real = connect(url, timeout=5)
        link: Any = SteppingLink(state.settings.link)
        state.store._link = state.manager._users._link = link
        # A browser; its windows share the cookie.
        self.jar = Browser(self.app)
        self.requests: list[Request] = []
        self.now = 0
        self.count = itertools.count(1)
        session_dropped.connect(self._note_drop, self.app)

    def _note_drop(self, _sender: Flask, **data: Any) -> None:
        running = next((one for one in self.requests if one.stepped is None), None)
        for one in self.requests:
            if one.stepped is not None and RUNNING.get(_current()) is one.stepped:
                running = one
        if running is not None:
            running.dropped.append(data["reason"])

    @initialize(
        with_enders=st.sampled_from([False, False, True]),
        with_identity=st.sampled_from([False, False, True]),
        user=st.sampled_from([0, 7]),
    )
    def begin(self, with_enders: bool, with_identity: bool, user: int) -> None:
        """Fill a session, and decide what an example is made of."""
        self.kinds = PLAIN + (IDENTITY if with_identity else ()) + (ENDERS if with_enders else ())
        self.with_enders, self.with_identity = with_enders, with_identity
        self.jar.visit(lambda: session.update(start=1, log=[], **({"user_id": user} if user else {})))

    @property
    def running(self) -> list[Request]:
        return [one for one in self.requests if one.stepped is not None and not one.stepped.is_done]

    @precondition(lambda self: len(self.running) < MOST)
    @rule(data=st.data(), user=st.sampled_from([7, 8]), is_lost=st.sampled_from([False, False, False, True]))
    def start(self, data: st.DataObject, user: int, is_lost: bool) -> None:
        """A request begins, and stops before its first command. Its response may get lost."""
        kind = data.draw(st.sampled_from(self.kinds))
        cookie = self.jar.cookie
        number = next(self.count)
        one = Request(kind, number, handle_of(cookie[:43]) if cookie else None, self.now, user, is_lost)
        self.now += 1
        self.requests.append(one)
        if kind == "expire":
            # The server drops a record, as at the end of its time to live.
            if one.handle:
                self.real.call(_soon(), "DEL", self.prefix + one.handle)
            one.stepped = Stepped(lambda: None)
        elif kind == "revoke user":
            one.stepped = Stepped(lambda: self.sessions.revoke_user(user) or "done")
        elif kind == "revoke":
            one.stepped = Stepped(lambda: self.sessions.revoke(one.handle or "h" * 43) or "done")
        else:
            one.stepped = Stepped(lambda: self.visit(one, cookie))
        self.collect()

    def visit(self, one: Request, cookie: str | None) -> Any:
        """Make the request, in its thread."""
        browser = Browser(self.app)
        if cookie:
            browser.cookie = cookie
        response = browser.visit(self.view(one))
        changed = support.set_cookies(response)
        return _Response(response.status_code, browser.cookie if changed else None, bool(changed))

    def view(self, one: Request) -> Callable[[], object]:
        one.key = f"key{one.number}"
        others = [other.key for other in self.requests if other.kind == "write" and other is not one]

        def delete() -> None:
            one.key = others[one.number % len(others)] if others else "start"
            session.pop(one.key, None)

        actions: dict[str, Callable[[], object]] = {
            "write": lambda: session.update({one.key: one.number}),
            "nested": lambda: session.setdefault("log", []).append(one.number),
            "count": lambda: session.update(count=session.get("count", 0) + 1),
            "delete": delete,
            "read": lambda: dict(session),
            "atomic": lambda: ours.atomic(lambda stored: stored.update({one.key: one.number})),
            "sign in": lambda: session.update(user_id=one.user),
            "sign out": lambda: session.pop("user_id", None),
            "regenerate": lambda: ours.regenerate(),
            "clear": lambda: session.clear(),
            "destroy": lambda: ours.destroy(),
            "tutorial sign-in": lambda: (session.clear(), session.update(user_id=one.user)),
        }

        def view() -> None:
            one.was_new = ours.new
            one.loaded = ours.handle
            one.has_loaded = True
            actions[one.kind]()

        return view

    @precondition(lambda self: self.running)
    @rule(data=st.data(), turn=st.sampled_from(TURNS))
    def step(self, data: st.DataObject, turn: Turn) -> None:
        """One of them sends its next command."""
        one = data.draw(st.sampled_from(self.running))
        assert one.stepped is not None
        one.has_fault = one.has_fault or turn is not Turn.GO
        one.stepped.step(turn)
        self.collect()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """The reply to the next command of one of them gets lost: it does not know whether it was carried out."""
        one = data.draw(st.sampled_from(self.running))
        assert one.stepped is not None
        one.has_fault = True
        one.stepped.step(Turn.LOSE_REPLY)
        self.collect()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """One of them goes on to its end."""
        one = data.draw(st.sampled_from(self.running))
        assert one.stepped is not None
        one.stepped.finish()
        self.collect()

    @precondition(lambda self: all(one.has_loaded for one in self.running))
    @rule()
    def wait(self) -> None:
        """Time passes: sessions are to be renewed."""
        self.clock[0] += EVERY

    def collect(self) -> None:
        """Take in responses."""
        for one in self.requests:
            if one.stepped is None or not one.stepped.is_done or one.finished:
                continue
            self.now += 1
            one.finished = self.now
            result = one.stepped.result
            if one.stepped.error is not None and one.kind not in ("revoke", "revoke user"):
                raise one.stepped.error
            if isinstance(result, _Response):
                assert result.status_code != 500, one
                if result.has_cookie and not one.is_lost:
                    self.jar = Browser(self.app)
                    if result.cookie is not None:
                        self.jar.cookie = result.cookie

    # -- what must hold

    def teardown(self) -> None:
        try:
            for one in self.requests:
                if one.stepped is not None:
                    one.stepped.finish()
            self.collect()
            if hasattr(self, "kinds"):
                self.check()
        finally:
            session_dropped.disconnect(self._note_drop, self.app)
            keys = self.real.call(_soon(), "KEYS", self.prefix + "*")
            if keys:
                self.real.call(_soon(), "DEL", *keys)
            self.real.close()
            support.close(self.app)

    def check(self) -> None:
        live = self.live()
        self.check_ended()
        self.check_revoked(live)
        if not self.with_enders:
            self.check_writes(live)

    def live(self) -> dict[str, tuple[Record, dict[str, Any]]]:
        """Return all live sessions."""
        state, found = state_of(self.app), {}
        for key in self.real.call(_soon(), "KEYS", self.prefix + "?" * 43):
            record = state.signers(self.app).record.unseal(key, self.real.call(_soon(), "GET", key))[0]
            if record.kind == Kind.LIVE:
                found[key[-43:].decode()] = (record, state.serializer.loads(record.body))
        return found

    def is_live(self, handle: str) -> bool:
        """Tell whether a handle leads to a live session."""
        state = state_of(self.app)
        key = (self.prefix + handle).encode()
        stored = self.real.call(_soon(), "GET", key)
        if stored is None:
            return False
        sealer = state.signers(self.app).record
        record = sealer.unseal(key, stored)[0]
        try:
            found = follow(
                state.store, sealer, None, record, session_id=None, handle=handle, ttl=None, deadline=_soon()
            )
        except RecordError:
            return False
        return isinstance(found, Found)

    def check_ended(self) -> None:
        """What was ended, or replaced by a new id, is over."""
        for one in self.requests:
            if one.kind in ("clear", "destroy", "regenerate", "tutorial sign-in") and one.is_acknowledged:
                assert one.loaded is None or not self.is_live(one.loaded), one
            if one.kind == "revoke" and one.status and one.handle:
                assert not self.is_live(one.handle), one

    def check_revoked(self, live: dict[str, tuple[Record, dict[str, Any]]]) -> None:
        """No session of a revoked user but those of sign-ins that ended after the revocation began."""
        for one in self.requests:
            if one.kind != "revoke user" or not one.status:
                continue
            if not any(self.may_have_signed_in(other, one) for other in self.requests):
                assert all(values.get("user_id") != one.user for _record, values in live.values()), one

    @staticmethod
    def may_have_signed_in(other: Request, revocation: Request) -> bool:
        is_sign_in = other.kind in ("sign in", "tutorial sign-in") and other.user == revocation.user
        return is_sign_in and other.finished > revocation.started

    def check_writes(self, live: dict[str, tuple[Record, dict[str, Any]]]) -> None:
        """Nothing that was acknowledged is lost."""
        deleted = {one.key for one in self.requests if one.kind == "delete"}
        everywhere = [values for _record, values in live.values()]
        for one in self.requests:
            if not one.is_acknowledged or one.key in deleted:
                continue
            if one.kind in ("write", "atomic"):
                assert any(values.get(one.key) == one.number for values in everywhere), one
            if one.kind == "nested":
                assert any(one.number in values.get("log", ()) for values in everywhere), one
        if not self.with_identity:
            self.check_single(live)

    def check_single(self, live: dict[str, tuple[Record, dict[str, Any]]]) -> None:
        """Where nothing replaces the id but renewal, all is in the one session that the browsers reach."""
        if not any(one.has_fault for one in self.requests):
            assert len(live) == 1
        values = self.jar.ask(lambda: dict(session))
        counts = [one for one in self.requests if one.kind == "count"]
        certain = sum(one.is_acknowledged for one in counts)
        assert certain <= values.get("count", 0) <= len(counts)
        assert len(values["log"]) == len(set(values["log"]))
        deleted = [one for one in self.requests if one.kind == "delete"]
        for one in self.requests:
            if one.is_acknowledged and one.kind in ("write", "atomic") and one.key not in {d.key for d in deleted}:
                assert values.get(one.key) == one.number, one
        for one in deleted:
            writes = [other for other in self.requests if other.key == one.key and other.kind == "write"]
            if one.is_acknowledged and all(other.finished < one.started for other in writes):
                assert one.key not in values, one


@dataclass
class _Response:
    status_code: int
    cookie: str | None
    has_cookie: bool


#: Seconds that a request may take: it waits for the others.
PATIENT = 300


def _soon() -> float:
    return time.monotonic() + 5


def _current() -> Any:
    import threading

    return threading.current_thread()


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    offset = [0.0]
    real = time.time
    for module in ("interface", "storage.record"):
        monkeypatch.setattr(f"flask_picklesession.{module}.time", lambda: real() + offset[0])
    return offset


def test_interleavings(server: Server, clock: list[float]) -> None:
    """Whatever the order and the faults, the model's rules hold."""
    run_state_machine_as_test(
        lambda: Interleavings(server.url, clock),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
        ),
    )
