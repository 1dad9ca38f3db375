"""P1 in rows of length-prefixed messages: nothing changes its length, nothing waits, nothing is cut out of a value."""

from __future__ import annotations

import gzip

import pytest

from proxy.firewall import Needle, Vocabulary, WithheldError
from proxy.firewall.envelopes import EnvelopeFilter, is_enveloped, message_coding

VALUE = b"sk-example-REAL-0123456789"
STAND_IN = b"sk-example-stand-in-that-is-longer"
VOCABULARY = Vocabulary([Needle(VALUE, STAND_IN)])


def message(text: bytes, flag: int = 0) -> bytes:
    return bytes((flag,)) + len(text).to_bytes(4) + text


def fed(data: bytes, size: int, coding: str | None = None) -> tuple[bytes, int]:
    found = EnvelopeFilter(VOCABULARY, coding)
    out = [found.feed(data[at : at + size]) for at in range(0, len(data), size)]
    return b"".join(out) + found.feed(b""), found.hits


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_p1_messages_keep_their_length_however_they_are_cut(size):
    row = message(b"a" + VALUE + b"b") + message(b"") + message(VALUE) + message(b"x" * 300, 0x80)
    clean, hits = fed(row, size)
    fitted = STAND_IN[: len(VALUE)]
    assert clean == message(b"a" + fitted + b"b") + message(b"") + message(fitted) + message(b"x" * 300, 0x80)
    assert hits == 2


@pytest.mark.parametrize("count", range(1, 8))
def test_a_message_that_ends_like_a_value_begins_does_not_wait(count):
    row = message(b"hello " + VALUE[:count])
    assert EnvelopeFilter(VOCABULARY, None).feed(row) == row


@pytest.mark.parametrize("count", range(8, len(VALUE)))
def test_p1_a_value_that_is_cut_by_a_prefix_does_not_leave(count):
    found = EnvelopeFilter(VOCABULARY, None)
    clean = found.feed((count).to_bytes(5) + VALUE[:count])
    assert clean == message(b"x" * count)
    with pytest.raises(WithheldError):
        found.feed(VALUE[count:])


def test_p1_a_body_that_is_no_row_of_messages_is_withheld():
    with pytest.raises(WithheldError):
        fed(VALUE, 1000)


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_p1_compressed_messages_leave_plain_and_clean(size):
    row = message(gzip.compress(b"a " + VALUE), 1) + message(b"plain") + message(gzip.compress(b"end"), 3)
    clean, hits = fed(row, size, "gzip")
    assert clean == message(b"a " + STAND_IN[: len(VALUE)]) + message(b"plain") + message(b"end", 2)
    assert hits == 1


@pytest.mark.parametrize(
    "row",
    [message(b"no gzip", 1), message(gzip.compress(b"x" * 100)[:-9], 1), b"\x01\xff\xff\xff\xff",
     message(gzip.compress(bytes(64 * 1024 * 1024)), 1)],
    ids=["not gzip", "cut", "too long", "bomb"],
)  # fmt: skip
def test_p7_a_compressed_message_that_cannot_be_read_is_withheld(row):
    with pytest.raises(WithheldError):
        fed(row, 1000, "gzip")


def test_p1_a_compressed_message_of_an_unknown_coding_is_withheld():
    with pytest.raises(WithheldError):
        fed(message(b"x", 1), 1000)


@pytest.mark.parametrize(
    ("media_type", "enveloped"),
    [
        ("application/grpc", True), ("application/grpc+proto; a=b", True), ("Application/GRPC-Web+json", True),
        ("application/connect+json", True), ("application/grpc-web-text", False), ("application/json", False),
        ("application/grpcx", False),
    ],
)  # fmt: skip
def test_which_bodies_are_rows_of_messages(media_type, enveloped):
    assert is_enveloped((("content-type", media_type),)) is enveloped


def test_which_codings_are_read():
    assert message_coding((("grpc-encoding", "gzip"),)) == "gzip"
    assert message_coding((("grpc-encoding", "snappy"),)) is None
    assert message_coding((("grpc-encoding", "gzip"), ("grpc-encoding", "br"))) is None
    assert message_coding(()) is None
