"""Decoders: what they give out at once, and what they refuse."""

from __future__ import annotations

import gzip
import os
import zlib

import brotli
import pytest
import zstandard

from proxy.firewall.decoders import CODECS, FREE_BYTES, STEP_BYTES, Decoder
from proxy.firewall.withheld import WithheldError

TEXT = b"".join(b"event: %d\ndata: {}\n\n" % n for n in range(500))
NOISE = os.urandom(300_000)
WORDS = b"".join(b"%d\n" % (n * n * 7919) for n in range(300_000))


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def zstd_unsized(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(data)


def brotlied(data: bytes) -> bytes:
    return brotli.compress(data, quality=5)


ENCODERS = [
    ("gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotlied),
    ("zstd", zstandard.compress),
    ("zstd", zstd_unsized),
]
each_coding = pytest.mark.parametrize(("coding", "encode"), ENCODERS)


def decode(coding: str, chunks: list[bytes]) -> bytes:
    decoder = Decoder(CODECS[coding]())
    out = b"".join(map(decoder.feed, chunks))
    decoder.finish()
    return out


def sliced(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@each_coding
@pytest.mark.parametrize("size", [1, 2, 7, 1000, 10**7])
@pytest.mark.parametrize("text", [TEXT, b"", b"x"])
def test_round_trip(coding, encode, size, text):
    assert decode(coding, sliced(encode(text), size)) == text


@each_coding
def test_large_texts_come_whole(coding, encode):
    for text in (NOISE, NOISE * 4, WORDS, bytes(1_000_000)):
        assert decode(coding, [encode(text)]) == text


@each_coding
def test_p1_a_truncated_body_is_withheld(coding, encode):
    encoded = encode(TEXT)
    for size in (1, 2, 5, len(encoded) // 2, len(encoded) - 1):
        with pytest.raises(WithheldError):
            decode(coding, [encoded[:size]])


@each_coding
@pytest.mark.parametrize("garbage", [b"\0", b"junk that follows", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"])
def test_p1_trailing_garbage_is_withheld(coding, encode, garbage):
    for chunks in ([encode(TEXT) + garbage], [encode(TEXT), garbage]):
        with pytest.raises(WithheldError):
            decode(coding, chunks)


@each_coding
def test_p1_another_coding_than_the_label_is_withheld(coding, encode):
    others = [e(TEXT) for name, e in ENCODERS if name != coding]
    for wrong in (*others, TEXT, b"\xff" * 100):
        with pytest.raises(WithheldError):
            decode(coding, [wrong])


@pytest.mark.parametrize("coding", CODECS)
def test_a_body_without_a_byte_is_whole(coding):
    assert decode(coding, []) == b""


@pytest.mark.parametrize(("coding", "encode"), [ENCODERS[0], ENCODERS[4]])
def test_members_and_frames_in_a_row(coding, encode):
    encoded = encode(b"one ") + encode(b"") + encode(b"two")
    for size in (1, 3, 1000):
        assert decode(coding, sliced(encoded, size)) == b"one two"


def streams():
    packer = zlib.compressobj(wbits=31)
    yield "gzip", packer.compress, lambda: packer.flush(zlib.Z_SYNC_FLUSH)
    bare = zlib.compressobj(wbits=-15)
    yield "deflate", bare.compress, lambda: bare.flush(zlib.Z_SYNC_FLUSH)
    stream = brotli.Compressor()
    yield "br", stream.process, stream.flush
    framed = zstandard.ZstdCompressor().compressobj()
    yield "zstd", framed.compress, lambda: framed.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


@pytest.mark.parametrize(("coding", "write", "flush"), list(streams()), ids=lambda v: v if isinstance(v, str) else "")
def test_what_was_flushed_leaves_at_once(coding, write, flush):
    decoder = Decoder(CODECS[coding]())
    for number in range(20):
        event = b"data: %d\n\n" % number
        assert decoder.feed(write(event) + flush()) == event


@pytest.mark.parametrize("size", [STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1, 2 * STEP_BYTES + 1, 1_000_000])
@pytest.mark.parametrize("coding", CODECS)
def test_nothing_of_a_large_flush_stays_behind(coding, size):
    for text in (bytes(size), (b"%d," * 3 % (1, 2, 3)) * (size // 6)):
        decoder = Decoder(CODECS[coding]())
        write, flush = next((write, flush) for name, write, flush in streams() if name == coding)
        assert decoder.feed(write(text) + flush()) == text


def zeros(encode_piece, finish, mib: int) -> bytes:
    return b"".join(encode_piece(bytes(1 << 20)) for _ in range(mib)) + finish()


def bombs():
    packer = zlib.compressobj(9, wbits=31)
    yield "gzip", zeros(packer.compress, packer.flush, 64)
    stream = brotli.Compressor(quality=9)
    yield "br", zeros(stream.process, stream.finish, 64)
    framed = zstandard.ZstdCompressor().compressobj()
    yield "zstd", zeros(framed.compress, framed.flush, 64)


@pytest.mark.parametrize(("coding", "bomb"), list(bombs()), ids=lambda v: v if isinstance(v, str) else "")
def test_p7_a_bomb_is_refused(coding, bomb):
    decoder = Decoder(CODECS[coding]())
    with pytest.raises(WithheldError, match="too much"):
        decoder.feed(bomb)
    assert decoder._decoded_bytes <= 24 * FREE_BYTES


@pytest.mark.parametrize("coding", ["br", "zstd"])
def test_p7_a_bomb_in_small_chunks_is_refused(coding):
    bomb = dict(bombs())[coding]
    decoder = Decoder(CODECS[coding]())
    with pytest.raises(WithheldError, match="too much"):
        for chunk in sliced(bomb, 16):
            decoder.feed(chunk)


def test_p7_a_large_zstd_window_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=24, write_content_size=False)
    encoded = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = b"".join(encoded.compress(os.urandom(1 << 20)) for _ in range(17)) + encoded.flush()
    with pytest.raises(WithheldError):
        decode("zstd", sliced(body, 65536))


def test_p1_the_librarys_message_does_not_show():
    with pytest.raises(WithheldError) as caught:
        decode("gzip", [b"token=secretsecret"])
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "secret" not in str(caught.value)


def test_all_that_the_input_determines_leaves_wherever_it_is_cut():
    encoded = gzip.compress(bytes(STEP_BYTES + 300))
    for size in range(len(encoded) - 40, len(encoded)):
        available = zlib.decompressobj(31).decompress(encoded[:size])
        assert Decoder(CODECS["gzip"]()).feed(encoded[:size]) == available
