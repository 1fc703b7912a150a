"""Signals, sent with the application as sender. None carries a session id, a secret key or a payload."""

from __future__ import annotations

from blinker import Namespace

_signals = Namespace()

#: A session was created or saved. ``handle``: its handle; ``created``: whether it is new.
session_saved = _signals.signal("session-saved")

#: A session's id was replaced. ``handle``: the new handle; ``old_handle``: the one that ended.
session_regenerated = _signals.signal("session-regenerated")

#: A session goes on under a new id by itself (``RENEW_EVERY``). ``handle``: the new handle; ``old_handle``: the old
#: one.
session_renewed = _signals.signal("session-renewed")

#: An id was used that its browser had replaced long ago: perhaps it was stolen. ``handle``: that of the session it once
#: led to.
session_reused = _signals.signal("session-reused")

#: A session ended. ``handle``: its handle; ``reason``: an :class:`~flask_picklesession.storage.record.EndReason`.
session_ended = _signals.signal("session-ended")

#: A cookie or record was not accepted, and the request got a new session. ``reason``: a :class:`Rejection`.
session_rejected = _signals.signal("session-rejected")

#: A value cannot be restored by this worker and is kept as it is. ``key``: its key in the session;
#: ``type_name``: the type that is not allowed, or ``None``.
session_quarantined = _signals.signal("session-quarantined")

#: A write was dropped. ``reason``: a :class:`Drop`; ``keys``: the keys that were not written.
session_dropped = _signals.signal("session-dropped")

#: The store did not answer. ``reason``: what failed.
session_unavailable = _signals.signal("session-unavailable")
