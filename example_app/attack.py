"""Plants what an attacker with Redis *and* the secret key would: a pickle that runs a command, correctly signed."""

from __future__ import annotations

import time

from flask import Flask, current_app

from flask_picklesession.interface import state_of

#: The oldest trick: ``os.system("touch hacked")``.
HOSTILE = b"cos\nsystem\n(S'touch hacked'\ntR."


def plant(handle: str, app: Flask | None = None) -> None:
    """Replace the payload of a stored session by :data:`HOSTILE`, signed by the application's own key."""
    app = app or current_app
    state, deadline = state_of(app), time.monotonic() + 2
    storage_key, sealer = state.store.storage_key(handle), state.signers(app).record
    stored = state.store.load(storage_key, ttl=None, deadline=deadline)
    if stored is None:
        return
    record, _is_current = sealer.unseal(storage_key, stored)
    forged = sealer.seal(storage_key, record._replace(body=HOSTILE))
    state.settings.link.call(deadline, "SET", storage_key, forged, "KEEPTTL")
