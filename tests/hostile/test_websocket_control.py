"""P1 on a WebSocket, beyond messages: what stands in control frames."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from hashlib import sha1

from tests.rig.raw import read_answer
from tests.rig.sidecar import KEY

KEY_SENT = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b64encode(sha1(f"{KEY_SENT}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()


async def frames_after(rig, raw: bytes) -> bytes:
    """Everything the agent reads after the upgrade when the provider sends these raw frames."""

    async def upgrade(_seen, reader, writer):
        head = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()
        writer.write(raw)
        await writer.drain()
        await reader.read()

    rig.provider.on("/socket", upgrade)
    reader, writer = await rig.tls()
    writer.write(
        f"GET /socket HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY_SENT}\r\n\r\n".encode()
    )
    assert (await read_answer(reader)).status == 101
    seen = b""
    try:
        async with asyncio.timeout(0.4):
            while piece := await reader.read(65536):
                seen += piece
    except (TimeoutError, OSError):
        pass
    writer.transport.abort()
    return seen


def frame(opcode: int, payload: bytes) -> bytes:
    return bytes([0x80 | opcode, len(payload)]) + payload


async def test_p1_the_reason_of_a_close_frame_is_scrubbed(rig):
    seen = await frames_after(rig, frame(8, (1008).to_bytes(2) + f"bad key {KEY}".encode()))
    assert KEY.encode() not in seen
    await rig.settled(1)


async def test_p1_the_payload_of_a_ping_is_scrubbed(rig):
    seen = await frames_after(rig, frame(9, KEY.encode()))
    assert KEY.encode() not in seen
    await rig.settled(1)


async def test_p1_the_payload_of_a_pong_is_scrubbed(rig):
    seen = await frames_after(rig, frame(10, KEY.encode()))
    assert KEY.encode() not in seen
    await rig.settled(1)


async def test_p1_a_message_in_fragments_is_scrubbed(rig):
    half = len(KEY) // 2
    first = bytes([0x01, half]) + KEY[:half].encode()
    rest = bytes([0x80, len(KEY) - half]) + KEY[half:].encode()
    seen = await frames_after(rig, first + rest)
    assert rig.stand_in().encode() in seen
    assert KEY[:half].encode() not in seen
    await rig.settled(1)
