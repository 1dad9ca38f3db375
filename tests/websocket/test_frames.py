"""Frames and compression against the `websockets` library's own implementation, cut anywhere."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Opcode as TheirOpcode
from websockets.protocol import Protocol, Side, State

from proxy.websocket.deflate import Agreement, Deflater, Inflater, agreed, offer_of
from proxy.websocket.fault import FrameError
from proxy.websocket.frames import Message, Opcode, Writer, masked_with
from proxy.websocket.reader import MAX_FRAGMENTS, Control, Reader

MB = 1024 * 1024


def theirs(side: Side, agreement: Agreement | None) -> Protocol:
    """An open connection of the library."""
    protocol = Protocol(side, state=State.OPEN, max_size=None)
    if agreement is not None:
        a, client = agreement, side is Side.CLIENT
        protocol.extensions = [
            PerMessageDeflate(
                remote_no_context_takeover=a.server_forgets if client else a.client_forgets,
                local_no_context_takeover=a.client_forgets if client else a.server_forgets,
                remote_max_window_bits=a.server_bits if client else a.client_bits,
                local_max_window_bits=a.client_bits if client else a.server_bits,
            )
        ]
    return protocol


def reader(agreement: Agreement | None, *, masked: bool = True, max_bytes: int = MB) -> Reader:
    forgets = agreement is not None and (agreement.client_forgets if masked else agreement.server_forgets)
    return Reader(masked=masked, inflater=None if agreement is None else Inflater(forgets=forgets), max_bytes=max_bytes)


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


AGREEMENTS = st.one_of(
    st.none(),
    st.builds(
        Agreement,
        client_bits=st.integers(9, 15),
        server_bits=st.integers(9, 15),
        client_forgets=st.booleans(),
        server_forgets=st.booleans(),
    ),
)
MESSAGES = st.lists(
    st.tuples(st.booleans(), st.lists(st.text(max_size=300), min_size=1, max_size=5), st.booleans()), max_size=6
)


@settings(max_examples=150, deadline=None)
@given(agreement=AGREEMENTS, messages=MESSAGES, cuts=st.lists(st.integers(0, 5000), max_size=12))
def test_what_the_library_sends_is_read_whatever_is_cut_where(agreement, messages, cuts):
    client, wanted = theirs(Side.CLIENT, agreement), []
    for text, pieces, ping in messages:
        *first, last = [piece.encode() for piece in pieces]
        for number, piece in enumerate(first):
            if number:
                client.send_continuation(piece, fin=False)
            else:
                (client.send_text if text else client.send_binary)(piece, fin=False)
            if ping:
                client.send_ping(b"between")
                wanted.append(Control(Opcode.PING, b"between"))
        if first:
            client.send_continuation(last, fin=True)
        else:
            (client.send_text if text else client.send_binary)(last)
        wanted.append((text, "".join(pieces).encode()))
    ours = reader(agreement)
    got = [item for piece in in_pieces(b"".join(client.data_to_send()), cuts) for item in ours.feed(piece)]
    assert [(i.text, i.content) if isinstance(i, Message) else i for i in got] == wanted
    assert all(m.compressed == (agreement is not None) for m in got if isinstance(m, Message))
    assert ours.held_bytes == 0


@settings(max_examples=150, deadline=None)
@given(
    agreement=AGREEMENTS,
    messages=st.lists(
        st.tuples(st.booleans(), st.text(max_size=70_000), st.lists(st.integers(0, 70_000), max_size=4), st.booleans()),
        max_size=4,
    ),
)
def test_the_library_reads_what_we_write(agreement, messages):
    server, wanted = theirs(Side.SERVER, agreement), []
    deflater = None if agreement is None else Deflater(agreement.client_bits, forgets=agreement.client_forgets)
    writer = Writer(mask=True, deflater=deflater)
    for text, content, ends, compressed in messages:
        data = content.encode()
        places = tuple(sorted(end % (len(data) + 1) for end in ends))
        server.receive_data(writer.message(Message(text, data, places, compressed)))
        server.receive_data(writer.control(Opcode.PING, b"x"))
        wanted.append((text, data, len(places) + 1))
    assert server.parser_exc is None
    got, parts, kind = [], [], None
    for frame in server.events_received():
        if frame.opcode is TheirOpcode.PING:
            continue
        kind = frame.opcode if frame.opcode is not TheirOpcode.CONT else kind
        parts.append(frame.data)
        if frame.fin:
            got.append((kind is TheirOpcode.TEXT, b"".join(bytes(p) for p in parts), len(parts)))
            parts = []
    assert got == wanted


@given(data=st.binary(max_size=500), key=st.binary(min_size=4, max_size=4), at=st.integers(0, 9))
def test_a_mask_is_laid_byte_by_byte(data, key, at):
    assert masked_with(data, key, at) == bytes(byte ^ key[(at + i) % 4] for i, byte in enumerate(data))


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=400), compressed=st.booleans())
def test_p7_any_bytes_are_read_or_refused_within_bounds(data, compressed):
    ours = reader(Agreement() if compressed else None, max_bytes=1000)
    items, code = fed(ours, data)
    assert all(isinstance(item, Control) or len(item.content) <= 1000 for item in items)
    assert code in (None, 1002, 1007, 1008, 1009)
    if code not in (None, 1002):
        ours.discard()
        items, code = fed(ours, data)
        assert all(isinstance(item, Control) for item in items)
        assert code in (None, 1002)
    assert ours.held_bytes <= 1000


def fed(ours: Reader, data: bytes) -> tuple[list[Message | Control], int | None]:
    """What is read of `data`, and the code with which it is refused."""
    items: list[Message | Control] = []
    try:
        items.extend(ours.feed(data))
    except FrameError as error:
        return items, error.closing.code
    return items, None


def frame(first: int, payload: bytes = b"", *, second: int | None = None) -> bytes:
    return bytes((first, len(payload) | 0x80 if second is None else second)) + bytes(4) + payload


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (frame(0x83), 1002),  # an opcode that nobody has defined
        (frame(0xA1), 1002),  # RSV2
        (frame(0xC1), 1002),  # RSV1 where nothing was agreed
        (bytes((0x81, 0)), 1002),  # not masked
        (frame(0x09, b"x"), 1002),  # a ping in fragments
        (bytes((0x89, 0xFE, 0, 126)) + bytes(4), 1002),  # a long ping
        (bytes((0x81, 0xFE, 0, 125)) + bytes(4), 1002),  # a length not in its shortest form
        (bytes((0x81, 0xFF)) + (65_535).to_bytes(8) + bytes(4), 1002),
        (bytes((0x81, 0xFF)) + (2**63).to_bytes(8) + bytes(4), 1002),
        (frame(0x80, b"x"), 1002),  # a continuation of nothing
        (frame(0x01, b"x") + frame(0x81, b"y"), 1002),  # a message within a message
        (frame(0x81, b"\xff"), 1007),
        (frame(0x01, "é".encode()[:1]) + frame(0x80), 1007),  # half a character
        (bytes((0x82, 0xFF)) + (2**40).to_bytes(8) + bytes(4), 1009),  # known from its head alone
        (frame(0x01) + frame(0x00) * MAX_FRAGMENTS, 1008),
    ],
)
def test_what_is_no_frame_is_refused(raw, code):
    with pytest.raises(FrameError) as refused:
        list(reader(None).feed(raw))
    assert refused.value.closing.code == code


def test_p7_a_bomb_is_refused_before_it_is_inflated():
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(64 * MB)) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert len(bomb) < MB // 8
    ours, at = reader(Agreement(), max_bytes=4 * MB), 0
    whole = (
        bytes((0xC2, 0xFE if len(bomb) < 65_536 else 0xFF))
        + len(bomb).to_bytes(2 if len(bomb) < 65_536 else 8)
        + bytes(4)
        + bomb
    )
    with pytest.raises(FrameError) as refused:
        for at in range(0, len(whole), 4096):
            list(ours.feed(whole[at : at + 4096]))
            assert ours.held_bytes <= 4 * MB
    assert refused.value.closing.code == 1009
    assert at <= 16_384


def test_p7_a_bomb_in_one_piece_takes_no_more_memory_than_the_limit():
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(80 * MB)) + packer.flush(zlib.Z_SYNC_FLUSH)
    tracemalloc.start()
    try:
        with pytest.raises(FrameError) as refused:
            list(reader(Agreement(), max_bytes=MB).feed(bytes((0xC2, 0xFF)) + len(bomb).to_bytes(8) + bytes(4) + bomb))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.closing.code == 1009
    assert most < 4 * MB


@pytest.mark.parametrize("bad", [b"\xff\xff\xff", b"\x01\x05\x00\xfa\xffhello", zlib.compress(b"x" * 50)])
def test_what_is_no_deflate_is_refused(bad):
    with pytest.raises(FrameError) as refused:
        list(reader(Agreement()).feed(frame(0xC1, bad)))
    assert refused.value.closing.code == 1007


@pytest.mark.parametrize(
    ("offers", "written"),
    [
        (["permessage-deflate"], "permessage-deflate"),
        (["Permessage-Deflate ; client_max_window_bits"], "permessage-deflate; client_max_window_bits"),
        (['permessage-deflate; server_max_window_bits="10"'], "permessage-deflate; server_max_window_bits=10"),
        (["x-other, permessage-deflate; client_no_context_takeover"], "permessage-deflate; client_no_context_takeover"),
        (["permessage-deflate; server_max_window_bits=8, permessage-deflate"], "permessage-deflate"),
        (["x-webkit-deflate-frame", "permessage-deflate"], "permessage-deflate"),
        (["permessage-deflate; client_max_window_bits; client_max_window_bits"], None),
        (["permessage-deflate; server_max_window_bits"], None),
        (["permessage-deflate; server_no_context_takeover=1"], None),
        (["permessage-deflate; mystery"], None),
        (["permessage-deflate; client_max_window_bits=16"], None),
        ([], None),
    ],
)
def test_an_offer_is_written_in_one_way_or_not_at_all(offers, written):
    assert offer_of(offers) == written


@pytest.mark.parametrize(
    ("offer", "answers"),
    [
        (None, ["permessage-deflate"]),
        ("permessage-deflate", ["permessage-deflate, permessage-deflate"]),
        ("permessage-deflate", ["permessage-deflate", "x-other"]),
        ("permessage-deflate", ["x-other"]),
        ("permessage-deflate", ["permessage-deflate; client_max_window_bits=10"]),
        ("permessage-deflate; client_max_window_bits", ["permessage-deflate; client_max_window_bits"]),
        ("permessage-deflate; client_max_window_bits=10", ["permessage-deflate; client_max_window_bits=11"]),
        ("permessage-deflate; server_max_window_bits=10", ["permessage-deflate"]),
        ("permessage-deflate; server_no_context_takeover", ["permessage-deflate"]),
    ],
)
def test_an_answer_that_is_none_to_the_offer_is_refused(offer, answers):
    with pytest.raises(ValueError, match="not offered"):
        agreed(offer, answers)
