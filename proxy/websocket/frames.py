"""Frames of RFC 6455: heads, masks, and how a message is written. Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from proxy.websocket.fault import MALFORMED, FrameError

if TYPE_CHECKING:
    from proxy.websocket.deflate import Deflater

FIN: Final = 0x80
RSV1: Final = 0x40
RESERVED: Final = 0x30
OPCODE: Final = 0x0F
MASKED: Final = 0x80
LENGTH: Final = 0x7F
SHORT: Final = 125
TWO_BYTES: Final = 126
EIGHT_BYTES: Final = 127
CONTROL: Final = 0x8
MASK_BYTES: Final = 4


class Opcode(IntEnum):
    """Source: RFC 6455, section 5.2."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


@dataclass(frozen=True, slots=True)
class Head:
    """The head of one frame; `mask` is empty where there is none."""

    fin: bool
    compressed: bool
    opcode: Opcode
    length: int
    mask: bytes

    @property
    def control(self) -> bool:
        """Ping, pong or close."""
        return self.opcode >= CONTROL


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message. `ends` are the places in `content` at which its fragments but the last ended."""

    text: bool
    content: bytes
    ends: tuple[int, ...] = ()
    compressed: bool = False


def read_head(data: bytes | bytearray, *, masked: bool) -> tuple[Head, int] | None:
    """The head at the beginning of `data` and its length in bytes; None while it is incomplete.

    Raises:
        FrameError: 1002; an unknown opcode, reserved bits, a long or split control frame, a length that is not
            in its shortest form, a mask where there must be none, or none where there must be one.

    Source: RFC 6455, sections 5.1 to 5.5.
    """
    if len(data) < 2:  # noqa: PLR2004
        return None
    first, second = data[0], data[1]
    opcode, length, at = first & OPCODE, second & LENGTH, 2
    if opcode not in Opcode or first & RESERVED or bool(second & MASKED) != masked:
        raise FrameError(MALFORMED)
    if opcode >= CONTROL and (not first & FIN or length > SHORT or first & RSV1):
        raise FrameError(MALFORMED)
    if length > SHORT:
        size = 2 if length == TWO_BYTES else 8
        at += size
        if len(data) < at:
            return None
        length = int.from_bytes(data[2:at])
        if length <= (SHORT if size == 2 else 0xFFFF) or length >> 63:  # noqa: PLR2004
            raise FrameError(MALFORMED)
    end = at + (MASK_BYTES if masked else 0)
    if len(data) < end:
        return None
    return Head(bool(first & FIN), bool(first & RSV1), Opcode(opcode), length, bytes(data[at:end])), end


def masked_with(data: bytes, key: bytes, at: int = 0) -> bytes:
    """`data`, which begins `at` bytes into its payload, with `key` laid over it. The same again takes it off."""
    if not key or not data:
        return data
    turned = key[at % MASK_BYTES :] + key[: at % MASK_BYTES]
    size = len(data)
    cover = (turned * (size // MASK_BYTES + 1))[:size]
    return (int.from_bytes(data) ^ int.from_bytes(cover)).to_bytes(size)


class Writer:
    """Writes frames for one peer: masked for a server, with a fresh key each (RFC 6455, section 5.3)."""

    def __init__(self, *, mask: bool, deflater: Deflater | None) -> None:
        self._mask: Final = mask
        self._deflater: Final = deflater

    def control(self, opcode: Opcode, payload: bytes) -> bytes:
        """A ping, pong or close."""
        return self._frame(opcode, FIN, payload)

    def message(self, message: Message) -> bytes:
        """`message` in fragments that end where its `ends` say."""
        deflater = self._deflater if message.compressed else None
        opcode, flags = (Opcode.TEXT if message.text else Opcode.BINARY), (0 if deflater is None else RSV1)
        frames: list[bytes] = []
        at = 0
        for end in (*message.ends, len(message.content)):
            last = end == len(message.content) and len(frames) == len(message.ends)
            piece = message.content[at:end]
            if deflater is not None:
                piece = deflater.feed(piece, last=last)
            frames.append(self._frame(opcode, flags | (FIN if last else 0), piece))
            opcode, flags, at = Opcode.CONTINUATION, 0, end
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _frame(self, opcode: Opcode, flags: int, payload: bytes) -> bytes:
        size, masked = len(payload), MASKED if self._mask else 0
        if size <= SHORT:
            head = bytes((flags | opcode, masked | size))
        elif size <= 0xFFFF:  # noqa: PLR2004
            head = bytes((flags | opcode, masked | TWO_BYTES)) + size.to_bytes(2)
        else:
            head = bytes((flags | opcode, masked | EIGHT_BYTES)) + size.to_bytes(8)
        if not self._mask:
            return head + payload
        key = os.urandom(MASK_BYTES)
        return head + key + masked_with(payload, key)
