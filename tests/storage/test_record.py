from __future__ import annotations

import pytest

from flask_picklesession.exceptions import NewerRecordError, RecordError
from flask_picklesession.storage.record import (
    ANONYMOUS,
    ENDED_SECONDS,
    FORMAT,
    NONCE_END,
    NONCE_SIZE,
    NONCE_START,
    NONCES_KEPT,
    SIGNATURE_SIZE,
    EndReason,
    Kind,
    Record,
    RecordSigner,
    ended_at,
    ended_record,
    new_nonce,
    new_record,
)

KEY = b"session:" + b"h" * 43
PINNED_SIGNATURE = "f4eeb15606ecf38fc2e49e944ebf2abcab8d0839f3e4c776c9f7773ecfea7cfd"
NOW = 1_790_000_000_000


@pytest.fixture(name="record")
def _record() -> Record:
    return new_record(now=NOW, nonce=b"nonce--1", deadline=NOW + 5000, user_digest=b"u" * 32, body=b"body")


class TestRecord:
    def test_unpack_returns_what_was_packed(self, record: Record) -> None:
        """A record comes back as it was."""
        assert Record.unpack(record.pack()) == record

    def test_layout_is_pinned(self, record: Record) -> None:
        """Format 1 stands byte by byte: other versions, and other languages, rely on it."""
        assert record.pack() == (
            bytes((1, 1, 0, 0, 128))
            + b"nonce--1"
            + bytes(56)
            + NOW.to_bytes(8, "big")
            + NOW.to_bytes(8, "big")
            + NOW.to_bytes(8, "big")
            + (NOW + 5000).to_bytes(8, "big")
            + b"u" * 32
            + b"body"
        )

    def test_newest_nonce_stands_where_the_script_looks(self, record: Record) -> None:
        """The offsets that the server-side script uses are those of the newest nonce."""
        stored = RecordSigner(["secret"]).sign(KEY, record.pack())

        assert stored[NONCE_START : NONCE_END + 1] == record.nonce == b"nonce--1"

    def test_remembers_the_last_writes(self, record: Record) -> None:
        """Eight writes are remembered, the ninth forgets the oldest."""
        for number in range(NONCES_KEPT - 1):
            record = record.with_nonce(b"%08d" % number)

        assert record.written_by(b"nonce--1")
        assert not record.with_nonce(new_nonce()).written_by(b"nonce--1")

    def test_nonce_is_compared_at_its_place_only(self, record: Record) -> None:
        """Bytes across two nonces are not a nonce."""
        assert not record.with_nonce(b"abcdefgh").written_by(b"efghnonc")

    def test_fields_of_a_newer_version_are_written_back(self, record: Record) -> None:
        """Header bytes that this version does not know survive its write."""
        content = bytearray(record.pack())
        content[3:5] = (int.from_bytes(content[3:5], "big") + 5).to_bytes(2, "big")
        content[5 + 128 : 5 + 128] = b"later"

        unpacked = Record.unpack(bytes(content))

        assert unpacked.later_fields == b"later"
        assert unpacked.body == b"body"
        assert unpacked.pack() == bytes(content)

    @pytest.mark.parametrize("offset", [0, 1, 2], ids=["format", "kind", "flags"])
    def test_unknown_format_kind_or_flag_is_a_newer_record(self, record: Record, offset: int) -> None:
        """What a newer version wrote is told apart from bad data."""
        content = bytearray(record.pack())
        content[offset] = 77

        with pytest.raises(NewerRecordError):
            Record.unpack(bytes(content))

    @pytest.mark.parametrize("length", [0, 1, 4, 5, 132])
    def test_short_record_is_refused(self, record: Record, length: int) -> None:
        """A record that ends within its header is no record."""
        with pytest.raises(RecordError):
            Record.unpack(record.pack()[:length])

    def test_header_shorter_than_format_1_is_refused(self, record: Record) -> None:
        """A header length below that of format 1 is no record."""
        content = bytearray(record.pack())
        content[3:5] = b"\0\x01"

        with pytest.raises(RecordError):
            Record.unpack(bytes(content))

    @pytest.mark.parametrize("field", ["born", "authenticated", "confirmed", "deadline"])
    def test_time_that_no_datetime_holds_is_refused(self, record: Record, field: str) -> None:
        """Nothing that reads a record need fear its times."""
        with pytest.raises(RecordError, match="9999"):
            Record.unpack(record._replace(**{field: 253_402_300_800_000}).pack())

    def test_deadline_decides_when_a_record_is_past(self, record: Record) -> None:
        """A record is past from its deadline on, and never without one."""
        assert not record.is_past(NOW + 4999)
        assert record.is_past(NOW + 5000)
        assert not record._replace(deadline=0).is_past(NOW * 2)

    def test_anonymous_session_was_never_authenticated(self) -> None:
        """Without an identity nothing was proven."""
        record = new_record(now=NOW, nonce=new_nonce(), deadline=0, user_digest=ANONYMOUS, body=b"")

        assert record.authenticated == 0

    def test_ended_record_keeps_no_body_and_remembers_the_writes(self, record: Record) -> None:
        """An ended record holds its reason instead of the payload, for as long as a late write may take."""
        ended = ended_record(record, EndReason.REPLACED, now=NOW, nonce=b"nonce--2")

        assert (ended.kind, ended.body) == (Kind.ENDED, b"\x02")
        assert ended.written_by(b"nonce--1")
        assert ended.nonce == b"nonce--2"
        assert ended_at(ended) == NOW
        assert ended.is_past(NOW + ENDED_SECONDS * 1000)


class TestRecordSigner:
    def test_unsign_returns_the_content(self) -> None:
        """A signed record gives its content back, signed by the newest key."""
        signer = RecordSigner(["secret"])

        assert signer.unsign(KEY, signer.sign(KEY, b"content")) == (b"content", True)

    def test_signature_is_pinned(self) -> None:
        """The signature is HMAC-SHA-256 with itsdangerous' derived key over domain, storage key and content."""
        signed = RecordSigner(["secret"]).sign(b"session:x", b"content")

        assert signed[:SIGNATURE_SIZE].hex() == PINNED_SIGNATURE
        assert FORMAT == 1
        assert NONCE_SIZE == 8

    @pytest.mark.parametrize("position", range(39))
    def test_any_changed_byte_is_refused(self, position: int) -> None:
        """No byte of signature or content can be changed."""
        signer = RecordSigner(["secret"])
        record = bytearray(signer.sign(KEY, b"content"))
        record[position] ^= 1

        with pytest.raises(RecordError):
            signer.unsign(KEY, bytes(record))

    @pytest.mark.parametrize("length", range(39))
    def test_any_cut_is_refused(self, length: int) -> None:
        """A record that was cut is refused."""
        signer = RecordSigner(["secret"])

        with pytest.raises(RecordError):
            signer.unsign(KEY, signer.sign(KEY, b"content")[:length])

    def test_record_of_another_key_is_refused(self) -> None:
        """A record that was copied to another storage key is refused."""
        signer = RecordSigner(["secret"])

        with pytest.raises(RecordError):
            signer.unsign(KEY + b"x", signer.sign(KEY, b"content"))

    def test_border_between_key_and_content_is_signed(self) -> None:
        """The same bytes cut elsewhere into key and content are another message."""
        signer = RecordSigner(["secret"])
        record = signer.sign(b"key", b"content")

        with pytest.raises(RecordError):
            signer.unsign(b"keyc", record[:SIGNATURE_SIZE] + b"ontent")

    def test_older_key_verifies_and_is_told(self) -> None:
        """A record of a fallback key is accepted, and known to be on an old key."""
        record = RecordSigner(["old"]).sign(KEY, b"content")

        assert RecordSigner(["old", "new"]).unsign(KEY, record) == (b"content", False)

    def test_newest_key_signs(self) -> None:
        """The last key of the list signs."""
        record = RecordSigner(["old", "new"]).sign(KEY, b"content")

        assert RecordSigner(["new"]).unsign(KEY, record) == (b"content", True)
        with pytest.raises(RecordError):
            RecordSigner(["old"]).unsign(KEY, record)
