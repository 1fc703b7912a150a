"""From a record to the bytes that stand in Redis, and back: encrypted where it is asked for, then signed."""

from __future__ import annotations

from collections.abc import Sequence
from time import time
from typing import TYPE_CHECKING

from ..exceptions import NewerRecordError, RecordError
from .record import Kind, Record, RecordSigner

if TYPE_CHECKING:
    from .encryption import BodyCipher


class RecordSealer:
    """Seal and unseal records.

    :param secrets: the secret keys, oldest to newest: the last one seals, all unseal.
    :param encrypt: whether bodies are encrypted. Then a plain one is no record.
    :param plain_until: while bodies are encrypted, plain ones are still read until then, in seconds since 1970.
    """

    def __init__(self, secrets: Sequence[str | bytes], *, encrypt: bool = False, plain_until: float = 0) -> None:
        #: Signs what was packed.
        self.signer = RecordSigner(secrets)
        self._secrets = tuple(reversed(secrets))
        self._encrypt = encrypt
        self._plain_until = plain_until
        self._ciphers: dict[int, BodyCipher] = {}

    def seal(self, storage_key: bytes, record: Record, *, by_same_key: bool = False) -> bytes:
        """Return what is to stand in Redis.

        :param storage_key: the Redis key that the record will stand at.
        :param by_same_key: whether the key that sealed it before seals it again: where the cookie that leads to it, and
            that the same key signed, cannot be signed anew.
        """
        position = record.sealed_by if by_same_key else 0
        # The body of an ended record is a reason out of a few, and a handle, which is no secret.
        if not self._encrypt or record.kind == Kind.ENDED:
            return self.signer.sign(storage_key, record.pack(), position)
        record = record._replace(is_encrypted=True)
        header = record.pack_header()
        body = self._cipher(position).encrypt(storage_key, header, record.body)
        return self.signer.sign(storage_key, header + body, position)

    def unseal(self, storage_key: bytes, sealed: bytes) -> tuple[Record, bool]:
        """Verify what stands in Redis, and return the record, and whether it would be sealed the same way now.

        :param storage_key: the Redis key that it stood at.
        :raises RecordError: if no key sealed these bytes for this storage key, or they are plain and must not be.
        :raises NewerRecordError: if a newer version wrote it, or it is encrypted and cryptography is not installed.
        """
        content, position = self.signer.find(storage_key, sealed)
        record = Record.unpack(content)._replace(sealed_by=position)
        if record.is_encrypted:
            header = content[: len(content) - len(record.body)]
            body = self._cipher(position).decrypt(storage_key, header, record.body)
            return record._replace(body=body, is_encrypted=False), position == 0 and self._encrypt
        if not self._encrypt or record.kind == Kind.ENDED:
            return record, position == 0
        if time() >= self._plain_until:
            # To go on reading plain ones would be a silent downgrade.
            raise RecordError("the record is not encrypted")
        return record, False

    def _cipher(self, position: int) -> BodyCipher:
        found = self._ciphers.get(position)
        if found is None:
            try:
                from .encryption import BodyCipher
            except ImportError as error:
                raise NewerRecordError("the record is encrypted, and cryptography is not installed") from error
            found = self._ciphers[position] = BodyCipher(self._secrets[position])
        return found
