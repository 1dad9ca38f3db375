"""From the bytes of one peer to whole messages and control frames, within limits. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.websocket.fault import MALFORMED, MESSAGE_TOO_LARGE, NOT_TEXT, TOO_MANY_FRAGMENTS, FrameError
from proxy.websocket.frames import Head, Message, Opcode, masked_with, read_head

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.websocket.deflate import Inflater

MAX_FRAGMENTS: Final = 16_384
MAX_ENDS: Final = 256
"""Fragments whose ends are remembered; what comes after them leaves as one."""
OVERHEAD: Final = 64 * 1024
"""What deflate may add to a message that does not shrink."""


@dataclass(frozen=True, slots=True)
class Control:
    """A ping, pong or close."""

    opcode: Opcode
    payload: bytes


class Reader:
    """Reads what one peer sends. Holds at most one message of `max_bytes`, compressed or not.

    `masked` where the peer is a client. After `discard` messages are skipped unread, control frames are still told.
    """

    def __init__(self, *, masked: bool, inflater: Inflater | None, max_bytes: int) -> None:
        self._masked: Final = masked
        self._inflater: Final = inflater
        self._max_bytes: Final = max_bytes
        self._head_bytes = bytearray()
        self._head: Head | None = None
        self._taken = 0
        self._control = bytearray()
        self._message = bytearray()
        self._kind: Opcode | None = None
        self._compressed = False
        self._ends: list[int] = []
        self._fragments = 0
        self._packed = 0
        self._left = b""
        self._discarding = False

    def discard(self) -> None:
        """Read on without keeping anything."""
        self._discarding = True
        self._clear()

    @property
    def held_bytes(self) -> int:
        """What is kept of a message that is not complete."""
        return len(self._message)

    def feed(self, data: bytes) -> Iterator[Message | Control]:
        """What is complete after `data`.

        Raises:
            FrameError: says how to close; nothing that follows may be read but after `discard`.
        """
        if self._left:
            data, self._left = self._left + data, b""
        at = 0
        while at < len(data) or (self._head is not None and self._head.length == self._taken):
            if self._head is None:
                at = self._read_head(data, at)
                if self._head is not None and not self._head.control and not self._discarding:
                    self._left = data[at:]
                    self._begin(self._head)
                    self._left = b""
                continue
            head, size = self._head, min(self._head.length - self._taken, len(data) - at)
            piece = masked_with(data[at : at + size], head.mask, self._taken)
            at += size
            self._taken += size
            done = self._taken == head.length
            if done:
                self._head = None
            if head.control:
                self._control += piece
                if done:
                    payload, self._control = bytes(self._control), bytearray()
                    yield Control(head.opcode, payload)
            elif not self._discarding:
                self._left = data[at:]  # where this fails, `discard` goes on from here
                message = self._data(head, piece, done=done)
                self._left = b""
                if message is not None:
                    yield message

    def _read_head(self, data: bytes, at: int) -> int:
        """Take a head, or what there is of one; returns where its payload begins."""
        before = len(self._head_bytes)
        self._head_bytes += data[at : at + 14 - before]
        found = read_head(self._head_bytes, masked=self._masked)
        if found is None:
            return len(data)
        head, size = found
        self._head_bytes.clear()
        self._head, self._taken = head, 0
        return at + size - before

    def _begin(self, head: Head) -> None:
        """Judge the head of a data frame by what came before."""
        begins = head.opcode is not Opcode.CONTINUATION
        if begins != (self._kind is None) or (head.compressed and (not begins or self._inflater is None)):
            raise FrameError(MALFORMED)
        if begins:
            self._kind, self._compressed = head.opcode, head.compressed
        self._fragments += 1
        if self._fragments > MAX_FRAGMENTS:
            raise FrameError(TOO_MANY_FRAGMENTS)
        self._packed += head.length
        if self._packed > self._max_bytes + (OVERHEAD if self._compressed else 0):
            raise FrameError(MESSAGE_TOO_LARGE)

    def _data(self, head: Head, piece: bytes, *, done: bool) -> Message | None:
        if self._compressed:
            assert self._inflater is not None
            if piece:
                self._message += self._inflater.feed(piece, self._max_bytes - len(self._message))
            if done and head.fin:
                self._message += self._inflater.end(self._max_bytes - len(self._message))
        else:
            self._message += piece
        if not done:
            return None
        if not head.fin:
            if len(self._ends) < MAX_ENDS:
                self._ends.append(len(self._message))
            return None
        message = Message(self._kind is Opcode.TEXT, bytes(self._message), tuple(self._ends), self._compressed)
        self._clear()
        if message.text and not _is_utf8(message.content):
            raise FrameError(NOT_TEXT)
        return message

    def _clear(self) -> None:
        self._message, self._kind, self._compressed = bytearray(), None, False
        self._ends, self._fragments, self._packed = [], 0, 0


def _is_utf8(content: bytes) -> bool:
    if content.isascii():
        return True
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
