"""permessage-deflate: what may be offered and agreed, and both directions of it, bounded. Source: RFC 7692. Pure."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.websocket.fault import MESSAGE_TOO_LARGE, NOT_TEXT, FrameError

if TYPE_CHECKING:
    from collections.abc import Iterable

NAME: Final = "permessage-deflate"
LARGEST_WINDOW: Final = 15
_WINDOW: Final = re.compile(r"9|1[0-5]")  # zlib cannot write a window of 8 bits
_FLAGS: Final = ("server_no_context_takeover", "client_no_context_takeover")
_WINDOWS: Final = ("server_max_window_bits", "client_max_window_bits")
_TAIL: Final = b"\x00\x00\xff\xff"
"""Taken off the end of every compressed message. Source: RFC 7692, section 7.2.1."""

type Parameters = dict[str, int | None]
"""By name. None where a parameter has no value."""


def offer_of(values: Iterable[str]) -> str | None:
    """The agent's first offer of permessage-deflate that we can take part in, written in one way; None for none.

    `values` are those of its `sec-websocket-extensions` headers. Source: RFC 7692, section 7.1.
    """
    for extension in ",".join(values).split(","):
        parameters = _parameters(extension)
        if parameters is not None:
            return "; ".join((NAME, *(n if v is None else f"{n}={v}" for n, v in parameters.items())))
    return None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How each side compresses: window in bits, and whether its window is forgotten after each message."""

    client_bits: int = LARGEST_WINDOW
    server_bits: int = LARGEST_WINDOW
    client_forgets: bool = False
    server_forgets: bool = False


def agreed(offer: str | None, answers: Iterable[str]) -> Agreement | None:
    """What the provider's `sec-websocket-extensions` agrees to; None where it has none.

    Raises:
        ValueError: it is not an answer to `offer`.
    """
    given = list(answers)
    if not given:
        return None
    offered = None if offer is None else _parameters(offer)
    answer = _parameters(",".join(given))
    if offered is None or answer is None or not _answers(offered, answer):
        raise ValueError("the provider agreed to an extension that was not offered")
    return Agreement(
        client_bits=answer.get("client_max_window_bits") or LARGEST_WINDOW,
        server_bits=answer.get("server_max_window_bits") or LARGEST_WINDOW,
        client_forgets="client_no_context_takeover" in answer,
        server_forgets="server_no_context_takeover" in answer,
    )


def _answers(offered: Parameters, answer: Parameters) -> bool:
    """Source: RFC 7692, sections 7.1.1 and 7.1.2."""
    if "server_no_context_takeover" in offered and "server_no_context_takeover" not in answer:
        return False
    if "client_max_window_bits" in answer and "client_max_window_bits" not in offered:
        return False
    for name in _WINDOWS:
        if name in answer and ((bits := answer[name]) is None or bits > (offered.get(name) or LARGEST_WINDOW)):
            return False
    return "server_max_window_bits" not in offered or "server_max_window_bits" in answer


def _parameters(extension: str) -> Parameters | None:
    """None where it is another extension, or has a parameter or a value that we do not know."""
    name, *given = (part.strip(" \t") for part in extension.split(";"))
    if name.lower() != NAME:
        return None
    found: Parameters = {}
    for part in given:
        key, equals, value = (piece.strip(" \t") for piece in part.partition("="))
        bits = value.removeprefix('"').removesuffix('"')
        if key in found:
            return None
        if (key in _FLAGS or key == "client_max_window_bits") and not equals:
            found[key] = None
        elif key in _WINDOWS and _WINDOW.fullmatch(bits):
            found[key] = int(bits)
        else:
            return None
    return found


class Inflater:
    """Decompresses the messages of one peer, never beyond the room there is."""

    def __init__(self, *, forgets: bool) -> None:
        self._forgets: Final = forgets
        self._stream: zlib._Decompress | None = None

    def feed(self, data: bytes, room: int) -> bytes:
        """A piece of a message. Raises `FrameError` where it holds more than `room` bytes, or is not deflate."""
        if self._stream is None:
            self._stream = zlib.decompressobj(-LARGEST_WINDOW)
        try:
            found = self._stream.decompress(data, room + 1)
        except zlib.error:
            raise FrameError(NOT_TEXT) from None
        if len(found) > room:
            raise FrameError(MESSAGE_TOO_LARGE)
        if self._stream.eof:  # nobody ends the stream; what follows would be read in another way elsewhere
            raise FrameError(NOT_TEXT)
        return found

    def end(self, room: int) -> bytes:
        """The rest of a message."""
        rest = self.feed(_TAIL, room)
        if self._forgets:
            self._stream = None
        return rest


class Deflater:
    """Compresses messages for one peer."""

    def __init__(self, bits: int, *, forgets: bool) -> None:
        self._bits: Final = bits
        self._forgets: Final = forgets
        self._stream: zlib._Compress | None = None

    def feed(self, data: bytes, *, last: bool) -> bytes:
        """The next piece of a message, `last` where it ends with it."""
        if self._stream is None:
            self._stream = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -self._bits)
        packed = self._stream.compress(data)
        if not last:
            return packed
        packed += self._stream.flush(zlib.Z_SYNC_FLUSH)
        if self._forgets:
            self._stream = None
        return packed.removesuffix(_TAIL)
