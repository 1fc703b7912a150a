"""What signs, seals and derives under one set of secret keys."""

from __future__ import annotations

from collections.abc import Sequence

from .cookie import CookieSigner
from .renewal import SuccessorIds
from .storage.sealing import RecordSealer


class Signers:
    """All that rests on the secret keys.

    :param secrets: the secret keys, oldest to newest.
    :param encrypt: whether records are encrypted.
    :param plain_until: until when plain records are read although records are encrypted, in seconds since 1970.
    """

    def __init__(self, secrets: Sequence[str | bytes], *, encrypt: bool, plain_until: float) -> None:
        self.cookie = CookieSigner(secrets)
        self.record = RecordSealer(secrets, encrypt=encrypt, plain_until=plain_until)
        self.successors = SuccessorIds(secrets)
