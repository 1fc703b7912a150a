"""Encryption at rest: hides a record's body from who can read Redis.

AES-256-GCM with a key for each session, derived by HKDF-SHA-256 (RFC 5869) from the secret key and the storage key. The
record's header and its storage key are associated data: a body cannot be moved to another record. Needs the
``encryption`` extra (cryptography).
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..exceptions import RecordError

#: Bytes of an AES-256 key.
KEY_SIZE = 32

#: Bytes of the random nonce before each body: NIST SP 800-38D, 8.2.2. A session's key is used for its own writes only,
#: far below the 2**32 that a random nonce of this size is good for.
NONCE_SIZE = 12

_INFO = b"flask-picklesession.body"


class BodyCipher:
    """Encrypt and decrypt bodies under one secret key.

    :param secret: the secret key.
    """

    def __init__(self, secret: str | bytes) -> None:
        self._secret = secret.encode() if isinstance(secret, str) else secret

    def encrypt(self, storage_key: bytes, header: bytes, body: bytes) -> bytes:
        """Return the nonce and the encrypted body.

        :param storage_key: the Redis key that the record will stand at.
        :param header: all of the record before the body.
        """
        nonce = secrets.token_bytes(NONCE_SIZE)
        return nonce + self._cipher(storage_key).encrypt(nonce, body, storage_key + header)

    def decrypt(self, storage_key: bytes, header: bytes, encrypted: bytes) -> bytes:
        """Return the body.

        :raises RecordError: if it was not encrypted under this secret for this record.
        """
        nonce, rest = encrypted[:NONCE_SIZE], encrypted[NONCE_SIZE:]
        try:
            return self._cipher(storage_key).decrypt(nonce, rest, storage_key + header)
        except (InvalidTag, ValueError):
            raise RecordError("the body cannot be decrypted") from None

    def _cipher(self, storage_key: bytes) -> AESGCM:
        return AESGCM(HKDF(SHA256(), KEY_SIZE, salt=storage_key, info=_INFO).derive(self._secret))
