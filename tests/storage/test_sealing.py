from __future__ import annotations

import sys
import time

import pytest

from flask_picklesession.exceptions import NewerRecordError, RecordError
from flask_picklesession.storage.record import (
    ANONYMOUS,
    SIGNATURE_SIZE,
    EndReason,
    Record,
    ended_record,
    new_nonce,
    new_record,
    now_ms,
)
from flask_picklesession.storage.sealing import RecordSealer

KEY = b"session:handle"
BODY = b"what nobody should read"


@pytest.fixture(name="record")
def _record() -> Record:
    return new_record(now=now_ms(), nonce=new_nonce(), deadline=0, user_digest=ANONYMOUS, body=BODY)


def sealer(*secrets: str, encrypt: bool = True, plain_until: float = 0) -> RecordSealer:
    return RecordSealer(secrets or ("secret",), encrypt=encrypt, plain_until=plain_until)


class TestPlain:
    def test_comes_back(self, record: Record) -> None:
        """Without encryption a body stands as it is."""
        sealed = sealer(encrypt=False).seal(KEY, record)

        assert BODY in sealed
        assert sealer(encrypt=False).unseal(KEY, sealed) == (record, True)


class TestEncrypted:
    def test_comes_back(self, record: Record) -> None:
        """A body cannot be read in Redis, and comes back."""
        sealed = sealer().seal(KEY, record)

        assert BODY not in sealed
        assert sealer().unseal(KEY, sealed) == (record, True)

    def test_same_body_looks_different(self, record: Record) -> None:
        """Neither two writes nor two sessions show that they hold the same."""
        one = sealer()

        assert one.seal(KEY, record)[-len(BODY) :] != one.seal(KEY, record)[-len(BODY) :]

    def test_rotates_with_the_secret(self, record: Record) -> None:
        """A record under an older secret is read, and is to be sealed anew."""
        sealed = sealer("old").seal(KEY, record)

        assert sealer("old", "new").unseal(KEY, sealed) == (record._replace(sealed_by=1), False)
        with pytest.raises(RecordError):
            sealer("new").unseal(KEY, sealed)

    def test_moved_body_is_refused(self, record: Record) -> None:
        """Even signed anew a body belongs to its header and storage key: both are associated data."""
        one = sealer()
        content = one.signer.unsign(KEY, one.seal(KEY, record))[0]
        header = bytearray(content)
        header[5] ^= 1

        for storage_key, moved in ((b"session:other", content), (KEY, bytes(header)), (KEY, content[:-1])):
            with pytest.raises(RecordError, match="decrypted"):
                one.unseal(storage_key, one.signer.sign(storage_key, moved))

    def test_body_shorter_than_a_nonce_is_refused(self, record: Record) -> None:
        """What is too short to be encrypted is no record."""
        one = sealer()
        content = record._replace(is_encrypted=True, body=b"x").pack()

        with pytest.raises(RecordError):
            one.unseal(KEY, one.signer.sign(KEY, content))

    def test_reader_that_does_not_encrypt(self, record: Record) -> None:
        """During a rolling deploy a worker without the setting reads what others encrypt, and writes it plain."""
        assert sealer(encrypt=False).unseal(KEY, sealer().seal(KEY, record)) == (record, False)

    def test_reader_without_cryptography(self, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
        """It cannot tell what stands there: an outage, not bad data."""
        sealed = sealer().seal(KEY, record)
        monkeypatch.delitem(sys.modules, "flask_picklesession.storage.encryption")
        monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)

        with pytest.raises(NewerRecordError, match="cryptography is not installed"):
            sealer(encrypt=False).unseal(KEY, sealed)


class TestPlainWhereEncrypted:
    def test_is_refused(self, record: Record) -> None:
        """Who knows the key, or kept an old record, cannot make anybody go on with a plain one."""
        plain = sealer(encrypt=False).seal(KEY, record)

        with pytest.raises(RecordError, match="not encrypted"):
            sealer().unseal(KEY, plain)
        with pytest.raises(RecordError, match="not encrypted"):
            sealer(plain_until=time.time() - 1).unseal(KEY, plain)

    def test_is_read_until_the_day(self, record: Record) -> None:
        """A migration names its last day; until then plain ones are read, and sealed anew."""
        plain = sealer(encrypt=False).seal(KEY, record)

        assert sealer(plain_until=time.time() + 60).unseal(KEY, plain) == (record, False)

    def test_ended_record_is_plain(self, record: Record) -> None:
        """It holds a reason, and is the same for workers of both kinds."""
        ended = ended_record(record, EndReason.DESTROYED, now=now_ms(), nonce=new_nonce())
        sealed = sealer().seal(KEY, ended)

        assert sealed[SIGNATURE_SIZE:] == ended.pack()
        assert sealer().unseal(KEY, sealed) == (ended, True)
