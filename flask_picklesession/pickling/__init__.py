"""Values to bytes and back. Knows no Flask and no Redis."""

from __future__ import annotations

from .allowlist import AllowList
from .limits import Limits
from .records import KeptFields
from .serializer import PickleSerializer, Stored
from .unpickler import NotBuiltError

__all__ = ["AllowList", "KeptFields", "Limits", "NotBuiltError", "PickleSerializer", "Stored"]
