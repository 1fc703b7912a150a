"""An application whose Redis an attacker writes to, holding the secret key. Run in a process of its own, with limits.

Plants each technique in a real record, lets a browser come back, and prints what happened as JSON.
"""

from __future__ import annotations

import copyreg
import enum
import fractions
import json
import logging
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from flask import session

from flask_picklesession import session_quarantined, session_rejected
from flask_picklesession.cookie import handle_of
from flask_picklesession.interface import state_of
from flask_picklesession.storage.record import Record

from .. import support
from ..pickling import models
from ..support import Browser, recorded
from . import techniques

MEGABYTE = 1 << 20

#: Bytes of address space and seconds of CPU for all of them together.
MEMORY, CPU = 1 << 30, 120

#: A record's content -> what stands in its place.
Change = Callable[[bytes], bytes]

WATCHED = [
    *(found for found in vars(models).values() if isinstance(found, type)),
    *(Counter, fractions.Fraction, dict, list),
]


class Victim:
    """The application, and the attacker.

    :param url: the server.
    :param prefix: what the keys begin with.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._app = support.make_app(url, prefix, PICKLESESSION_ALLOW=models.make_allow())
        self._state = state_of(self._app)
        self._lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: self._lines.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger("flask_picklesession").addHandler(handler)

    def _plant(self, browser: Browser, change: Change) -> None:
        signers = self._state.signers(self._app)
        cookie = signers.cookie.unsign(browser.cookie or "")
        assert cookie is not None
        key = self._state.store.storage_key(handle_of(cookie.session_id))
        stored = self._state.store.load(key, ttl=None, deadline=time.monotonic() + 5)
        assert stored is not None
        changed = change(signers.record.signer.unsign(key, stored)[0])
        self._state.settings.link.call(time.monotonic() + 5, "SET", key, signers.record.signer.sign(key, changed))

    def meet_segment(self, segment: bytes) -> Any:
        """Plant the value of one key."""
        return self.meet_payload(self._state.serializer.dump_container({"kept": 1, "cart": segment}))

    def meet_payload(self, payload: bytes) -> Any:
        """Plant a payload."""
        return self.meet(lambda content: Record.unpack(content)._replace(body=payload).pack())

    def meet(self, change: Change) -> Any:
        """Plant something signed, make one request that reads and one that writes, and return what was seen."""
        browser = Browser(self._app)

        def fill() -> None:
            session["kept"] = 1
            session["cart"] = [1]

        browser.ask(fill)
        self._plant(browser, change)
        return self._visit(browser)

    def meet_cookie(self, cookie: str) -> Any:
        """Send something in the cookie's place."""
        browser = Browser(self._app)
        browser.cookie = cookie
        return self._visit(browser)

    def _visit(self, browser: Browser) -> Any:
        seen: list[object] = []
        cookie = browser.cookie

        def read() -> None:
            value = session.get("cart")
            seen.extend([session.get("kept"), type(value).__module__, sorted(session.quarantined), session.new])
            _ = session.created_at, session.expires_at, session.handle, repr(session)

        self._lines.clear()
        self._state.report._logged_types.clear()
        before, started, memory = _process(), time.process_time(), _memory()
        with recorded(session_quarantined, self._app) as quarantined, recorded(session_rejected, self._app) as rejected:
            status = browser.visit(read).status_code
            seconds, grown = time.process_time() - started, _memory() - memory
        return {
            "status": status,
            "seen": seen,
            "lines": list(self._lines),
            "quarantined": [sent["key"] for sent in quarantined],
            "rejected": [sent["reason"] for sent in rejected],
            "changed": _process() != before,
            "hit": os.listdir(),
            "seconds": seconds,
            "megabytes": grown / MEGABYTE,
            "cookie kept": browser.cookie == cookie,
            "wrote": browser.visit(lambda: session.update(after=1)).status_code,
        }


def _process() -> Any:
    """Return what an attack could have changed: classes, functions, enumerations, modules, extension codes."""
    return (
        [(cls, dict(vars(cls))) for cls in WATCHED],
        [
            (len(cls._value2member_map_), [vars(member).copy() for member in cls])
            for cls in WATCHED
            if issubclass(cls, enum.Enum)
        ],
        (models.make_allow.__defaults__, dict(vars(models.make_allow))),
        {name for name in sys.modules if not name.startswith("encodings")},
        dict(copyreg._extension_registry),  # type: ignore[attr-defined]
    )


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def _cached_extension_code() -> Iterator[None]:
    """An ordinary pickle in the same process has used this code: EXT opcodes then never ask ``find_class``."""
    copyreg.add_extension("posix", "system", 240)
    copyreg._extension_cache[240] = os.system  # type: ignore[attr-defined]
    try:
        yield
    finally:
        copyreg.remove_extension("posix", "system", 240)


def main(url: str, prefix: str) -> None:
    """Meet all techniques, and print what happened."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU))
    victim = Victim(url, prefix)
    with ExitStack() as stack:
        stack.enter_context(_cached_extension_code())
        # What the first request of a process loads is no change.
        for data in (techniques.REFUSED["D21 zone that would be a module"], *techniques.HARMLESS.values()):
            victim.meet_segment(data)
        met = {
            "segments": {name: victim.meet_segment(data) for name, data in techniques.REFUSED.items()},
            "harmless": {name: victim.meet_segment(data) for name, data in techniques.HARMLESS.items()},
            "containers": {name: victim.meet_payload(data) for name, data in techniques.CONTAINERS.items()},
            "payloads": {name: victim.meet_payload(data) for name, data in techniques.REFUSED.items()},
            "headers": {name: victim.meet(change) for name, change in techniques.HEADERS.items()},
            "newer": {name: victim.meet(change) for name, change in techniques.NEWER.items()},
            "cookies": {name: victim.meet_cookie(cookie) for name, cookie in techniques.COOKIES.items()},
        }
    print(json.dumps(met))


if __name__ == "__main__":
    main(*sys.argv[1:])
