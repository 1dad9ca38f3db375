"""The PROXY protocol header that a forwarder writes and a listener reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.canonical.proxy_protocol import PREFIX_BYTES, SIGNATURE, Origin, decode, encode, following

V4 = (("127.0.0.1", 40000), ("198.18.0.5", 443))
V6 = (("::1", 40000), ("2001:db8::5", 8443))


@pytest.mark.parametrize("ends", [V4, V6])
@pytest.mark.parametrize("name", [None, "api.example.test"])
def test_what_is_written_is_read(ends, name):
    header = encode(*ends, name)
    assert following(header[:PREFIX_BYTES]) == len(header) - PREFIX_BYTES
    assert decode(header) == Origin(*ends, name)


def test_the_bytes_are_those_of_the_specification():
    header = encode(("10.0.0.1", 1), ("10.0.0.2", 443), "a.test")
    tail = bytes.fromhex("0a000001 0a000002 0001 01bb 02 0006") + b"a.test"
    assert header == SIGNATURE + bytes.fromhex("21 11 0015") + tail


@pytest.mark.parametrize(
    "header",
    [
        b"",
        SIGNATURE,
        b"x" * 64,
        SIGNATURE + b"\x20\x11\x00\x0c" + b"\0" * 12,  # LOCAL
        SIGNATURE + b"\x11\x11\x00\x0c" + b"\0" * 12,  # version 1
        SIGNATURE + b"\x21\x12\x00\x0c" + b"\0" * 12,  # UDP
        SIGNATURE + b"\x21\x31\x00\x0c" + b"\0" * 12,  # unix
        SIGNATURE + b"\x21\x11\x00\x0b" + b"\0" * 11,  # too short for two addresses
        SIGNATURE + b"\x21\x11\xff\xff" + b"\0" * 65_535,  # too long
        encode(*V4, "a.test") + b"\0",
        encode(*V4, "a.test")[:-1],
        encode(*V4, "a.test")[:14] + b"\x00\x1e" + encode(*V4, "a.test")[16:] + encode(*V4, "b.test")[28:],  # two names
        encode(*V4, "-bad-.test\x00"),
        encode(*V4, None)[:14] + b"\x00\x0e" + encode(*V4, None)[16:] + b"\x04\x00",  # a TLV without its length
        encode(*V4, None)[:14] + b"\x00\x0f" + encode(*V4, None)[16:] + b"\x04\x00\x01",  # a TLV without its value
    ],
)
def test_p5_anything_else_is_refused(header):
    assert decode(header) is None


def test_other_tlvs_are_skipped():
    header = encode(*V4, "a.test")
    extra = b"\x04\x00\x02\0\0"
    longer = header[:14] + (len(header) - PREFIX_BYTES + len(extra)).to_bytes(2) + header[16:] + extra
    assert decode(longer) == Origin(*V4, "a.test")


@pytest.mark.parametrize(("ends", "name"), [((V4[0], V6[1]), None), (V4, "a" * 256)])
def test_what_cannot_be_said_is_not_written(ends, name):
    with pytest.raises(ValueError, match=r"families|long"):
        encode(*ends, name)


@given(st.binary(max_size=200))
def test_p5_garbage_never_raises(data):
    decode(data)
    decode(SIGNATURE + data)
    decode(SIGNATURE + b"\x21\x11" + len(data).to_bytes(2) + data)
