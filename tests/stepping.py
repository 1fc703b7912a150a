"""Requests in threads that go on only when a test says so, from one command to the next.

Only one of them runs at a time, so that a run is decided by the order in which the test lets them go on. A pipeline is
taken apart: other clients' commands may come between its commands on a real server, too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from typing import Any

from redis.exceptions import ResponseError

from flask_picklesession.exceptions import StoreUnavailableError
from flask_picklesession.storage.connection import Command, Held, Link

#: Seconds after which a thread that does not come back is a failure of the test.
PATIENCE = 30


class Turn(Enum):
    """What becomes of the command that a request is about to send."""

    #: It is sent, and the reply comes.
    GO = "go"
    #: The process dies before it.
    DIE_BEFORE = "die before"
    #: The process dies when it was carried out.
    DIE_AFTER = "die after"
    #: It is carried out, and its reply is lost.
    LOSE_REPLY = "lose reply"
    #: The connection breaks before it is sent.
    BREAK = "break"


class Died(BaseException):
    """The process of a request dies. No ``except Exception`` stops it."""


class Stepped:
    """Something that runs in a thread of its own, command by command.

    :param run: what it does.
    """

    def __init__(self, run: Callable[[], Any]) -> None:
        self._run = run
        self._go = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        self._turn = Turn.GO
        self.is_done = False
        self.has_died = False
        self.result: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._main, daemon=True)
        RUNNING[self._thread] = self
        self._thread.start()
        self._wait()

    def _main(self) -> None:
        try:
            self.result = self._run()
        except Died:
            self.has_died = True
        except BaseException as error:
            self.error = error
        finally:
            self.is_done = True
            RUNNING.pop(threading.current_thread(), None)
            self._stopped.release()

    def _wait(self) -> None:
        assert self._stopped.acquire(timeout=PATIENCE), "a request hangs"

    def step(self, turn: Turn = Turn.GO) -> None:
        """Let it send its next command, and go on until the one after it, or its end."""
        if not self.is_done:
            self._turn = turn
            self._go.release()
            self._wait()

    def finish(self) -> None:
        """Let it go on to its end."""
        while not self.is_done:
            self.step()

    def turn(self) -> Turn:
        """Called by the thread itself: stop, and return what becomes of the next command."""
        self._stopped.release()
        assert self._go.acquire(timeout=PATIENCE), "a request was forgotten"
        return self._turn


RUNNING: dict[threading.Thread, Stepped] = {}


class SteppingLink:
    """A link that stops before each command.

    :param link: the real one.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self.bounds_replies = link.bounds_replies

    def prepare(self) -> None:
        self._link.prepare()

    def call(self, deadline: float, *command: bytes | str | int) -> Any:
        running = RUNNING.get(threading.current_thread())
        turn = Turn.GO if running is None else running.turn()
        if turn is Turn.DIE_BEFORE:
            raise Died
        if turn is Turn.BREAK:
            raise StoreUnavailableError("broken", maybe_applied=False)
        try:
            reply = self._link.call(deadline, *command)
        finally:
            if turn is Turn.DIE_AFTER:
                raise Died
        if turn is Turn.LOSE_REPLY:
            raise StoreUnavailableError("lost", maybe_applied=True)
        return reply

    def pipeline(self, deadline: float, commands: Sequence[Command]) -> list[Any]:
        return [self._reply_or_error(deadline, command) for command in commands]

    def _reply_or_error(self, deadline: float, command: Command) -> Any:
        try:
            return self.call(deadline, *command)
        except ResponseError as error:
            return error

    def scan(self, deadline: float, cursor: str, pattern: bytes, count: int) -> tuple[str, list[bytes]]:
        return self._link.scan(deadline, cursor, pattern, count)

    def held(self, deadline: float) -> AbstractContextManager[Held]:
        return self._link.held(deadline)

    def close(self) -> None:
        self._link.close()


@contextmanager
def stepped(*runs: Callable[[], Any]) -> Iterator[list[Stepped]]:
    """Start several, and let all finish at the end."""
    started = [Stepped(run) for run in runs]
    yield started
    for one in started:
        one.finish()
