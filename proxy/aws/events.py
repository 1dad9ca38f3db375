"""Request bodies that are event streams whose messages are signed: every signature is replaced by ours. Pure.

A message (application/vnd.amazon.eventstream) is: its length, the length of its headers, CRC-32 of these eight bytes,
headers, payload, CRC-32 of all before. A signed one has two headers, `:date` (a timestamp) and `:chunk-signature`
(32 bytes); its payload is the message that it carries, or nothing at the end.

Source: Amazon Transcribe developer guide, "Event stream encoding"; Smithy specification, "Amazon event stream".
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import TYPE_CHECKING, Final

from proxy.aws.signing import stamp
from proxy.aws.text_signers import HmacSigner
from proxy.errors import Denial, Refused

if TYPE_CHECKING:
    from proxy.aws.signing import Keys, Scope

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"
MAX_MESSAGE_BYTES: Final = 1024 * 1024
_PRELUDE: Final = struct.Struct(">III")
_DATE: Final = b"\x05:date\x08"
_SIGNATURE: Final = b"\x10:chunk-signature\x06\x00\x20"
_DATE_BYTES: Final = len(_DATE) + 8
_HEADERS_BYTES: Final = _DATE_BYTES + len(_SIGNATURE) + 32


class EventSigner:
    """A streaming filter over one body. `seed` is the signature of the request's head, hexadecimal."""

    def __init__(self, keys: Keys, scope: Scope, *, seed: str) -> None:
        self._keys: Final = keys
        self._scope: Final = scope
        self._previous = seed
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        """What may leave now; b"" ends the body.

        Raises:
            Refused: a message is not a signed one, or is too large.
        """
        self._held += data
        out = bytearray()
        while (message := self._message()) is not None:
            out += self._signed(message)
        if not data and self._held:
            raise Refused(_malformed("The body ends within a message."))
        return bytes(out)

    def _message(self) -> bytes | None:
        """One whole message; None where more must come."""
        if len(self._held) < _PRELUDE.size:
            return None
        length, headers, check = _PRELUDE.unpack_from(self._held)
        if length > MAX_MESSAGE_BYTES:
            raise Refused(Denial("request_too_large", "A signed message is too large.", by="credentials"))
        if check != zlib.crc32(self._held[:8]) or headers != _HEADERS_BYTES or length < _PRELUDE.size + headers + 4:
            raise Refused(_malformed("A message of the body is not a signed one."))
        if len(self._held) < length:
            return None
        message = bytes(self._held[:length])
        del self._held[:length]
        return message

    def _signed(self, message: bytes) -> bytes:
        """`message` with our signature over its date and payload."""
        headers = message[_PRELUDE.size : _PRELUDE.size + _HEADERS_BYTES]
        payload = message[_PRELUDE.size + _HEADERS_BYTES : -4]
        date = _date_of(headers)
        at_ms = int.from_bytes(date[len(_DATE) :], signed=True)
        if not 0 <= at_ms < 4_102_444_800_000:  # noqa: PLR2004  # the year 2100
            raise Refused(_malformed("A message has no usable date."))
        moment = stamp(at_ms / 1000)
        signer = HmacSigner(self._keys, self._scope, moment[:8])
        digests = hashlib.sha256(date).hexdigest(), hashlib.sha256(payload).hexdigest()
        lines = (f"{signer.algorithm}-PAYLOAD", moment, signer.place, self._previous, *digests)
        self._previous = signer.sign("\n".join(lines))
        signature = bytes.fromhex(self._previous)
        whole = message[: _PRELUDE.size] + date + _SIGNATURE + signature + payload
        return whole + struct.pack(">I", zlib.crc32(whole))


def _date_of(headers: bytes) -> bytes:
    """The encoded `:date`, whichever of the two headers comes first."""
    first, second = headers[:_DATE_BYTES], headers[_DATE_BYTES:]
    if first.startswith(_DATE) and second.startswith(_SIGNATURE):
        return first
    if headers.startswith(_SIGNATURE) and headers[-_DATE_BYTES:].startswith(_DATE):
        return headers[-_DATE_BYTES:]
    raise Refused(_malformed("A message of the body is not a signed one."))


def _malformed(detail: str) -> Denial:
    return Denial("malformed_request", detail, by="credentials")
