"""Plants what an attacker with Redis *and* the secret key would: a pickle that runs a command, correctly signed."""

from __future__ import annotations

import time

from flask import Flask, current_app

from flask_picklesession.interface import state_of
from flask_picklesession.storage.record import Record

#: The oldest trick: ``os.system("touch hacked")``.
HOSTILE = b"cos\nsystem\n(S'touch hacked'\ntR."


def plant(handle: str, app: Flask | None = None) -> None:
    """Replace the payload of a stored session by :data:`HOSTILE`, signed by the application's own key."""
    app = app or current_app
    state, deadline = state_of(app), time.monotonic() + 2
    storage_key, signer = state.store.storage_key(handle), state.signers(app).record
    stored = state.store.load(storage_key, ttl=None, deadline=deadline)
    if stored is None:
        return
    content, _is_current = signer.unsign(storage_key, stored)
    record = Record.unpack(content)._replace(body=HOSTILE)
    forged = signer.sign(storage_key, record.pack())
    state.settings.link.call(deadline, "SET", storage_key, forged, "KEEPTTL")
