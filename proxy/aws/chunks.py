"""`aws-chunked` bodies whose chunks are signed: every signature is replaced by ours as the body streams. Pure.

The framing stays byte for byte, so Content-Length does too. One chunk is held until it is whole, because its signature
stands before it. Signatures of SigV4A are of different lengths; in a body each is filled up with `*`.

Source: Amazon S3 API reference, "Signature calculations: transferring payload in multiple chunks", also with trailers;
for SigV4A the chunk tests of aws-c-auth.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from proxy.aws.signing import EMPTY
from proxy.aws.text_signers import text_signer
from proxy.errors import Denial, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.aws.signing import Keys, Scope

CHUNKED: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
CHUNKED_TRAILER: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
ASYMMETRIC: Final = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
ASYMMETRIC_TRAILER: Final = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER"
SIGNED: Final = frozenset({CHUNKED, CHUNKED_TRAILER, ASYMMETRIC, ASYMMETRIC_TRAILER})
UNSIGNED_TRAILER: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
EVENTS: Final = "STREAMING-AWS4-HMAC-SHA256-EVENTS"
MAX_CHUNK_BYTES: Final = 4 * 1024 * 1024
MAX_LINE_BYTES: Final = 1024
MAX_TRAILER_BYTES: Final = 8 * 1024
_HEAD: Final = re.compile(rb"([0-9A-Fa-f]{1,8});chunk-signature=([0-9a-f]{64,144}\**)")
_TRAILER: Final = re.compile(rb"([A-Za-z0-9-]{1,64}):([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)")
_TRAILER_SIGNATURE: Final = b"x-amz-trailer-signature"


class ChunkSigner:
    """A streaming filter over one body. `seed` is the signature of the request's head, hexadecimal."""

    def __init__(self, keys: Keys, scope: Scope, *, stamp: str, seed: str, trailer: bool) -> None:
        self._signer: Final = text_signer(keys, scope, stamp[:8])
        self._stamp: Final = stamp
        self._previous = seed
        self._trailer: Final = trailer
        self._held = bytearray()
        self._next: Callable[[], bytes | None] | None = self._chunk

    def feed(self, data: bytes) -> bytes:
        """What may leave now; b"" ends the body.

        Raises:
            Refused: the body is not `aws-chunked`, or a chunk is too large.
        """
        if data:
            self._held += data
        out = bytearray()
        while self._next is not None and (piece := self._next()) is not None:
            out += piece
        if (self._next is None and self._held) or (not data and self._next is not None):
            raise Refused(_malformed("The body does not end as its chunks say."))
        return bytes(out)

    def _sign(self, kind: str, *digests: str) -> bytes:
        """The next signature, as wide as it stands in a body."""
        signer = self._signer
        lines = (f"{signer.algorithm}-{kind}", self._stamp, signer.place, self._previous, *digests)
        self._previous = signer.sign("\n".join(lines))
        return self._previous.ljust(signer.width, "*").encode()

    def _line(self, limit: int, at: int = 0) -> bytes | None:
        """The line that begins at `at`, without its end; None where it is not whole yet."""
        end = self._held.find(b"\r\n", at)
        if end - at > limit or (end < 0 and len(self._held) - at > limit):
            raise Refused(_malformed("A line of the chunks is too long."))
        return None if end < 0 else bytes(self._held[at:end])

    def _chunk(self) -> bytes | None:
        line = self._line(MAX_LINE_BYTES)
        if line is None:
            return None
        found = _HEAD.fullmatch(line)
        if found is None or len(found[2]) != self._signer.width:
            raise Refused(_malformed("A chunk does not begin with its size and its signature."))
        size, begin = int(found[1], 16), len(line) + 2
        if size > MAX_CHUNK_BYTES:
            raise Refused(Denial("request_too_large", "A signed chunk is too large.", by="credentials"))
        if not size and self._trailer:
            del self._held[:begin]
            self._next = self._trailers
            return self._headed(found[1], b"")
        if len(self._held) < begin + size + 2:
            return None
        data = bytes(self._held[begin : begin + size])
        if self._held[begin + size : begin + size + 2] != b"\r\n":
            raise Refused(_malformed("A chunk is not as long as it says."))
        del self._held[: begin + size + 2]
        if not size:
            self._next = None
        return self._headed(found[1], data) + data + b"\r\n"

    def _headed(self, size: bytes, data: bytes) -> bytes:
        signature = self._sign("PAYLOAD", EMPTY, hashlib.sha256(data).hexdigest())
        return b"%s;chunk-signature=%s\r\n" % (size, signature)

    def _trailers(self) -> bytes | None:
        """All trailing lines to the empty one; the last but one is their signature."""
        lines: list[bytes] = []
        at = 0
        while (line := self._line(MAX_TRAILER_BYTES, at)) is not None:
            at += len(line) + 2
            if at > MAX_TRAILER_BYTES:
                raise Refused(_malformed("The trailers are too long."))
            if not line:
                break
            lines.append(line)
        else:
            return None
        fields = [found.groups() for line in lines if (found := _TRAILER.fullmatch(line))]
        if len(fields) != len(lines) or not fields or fields[-1][0].lower() != _TRAILER_SIGNATURE:
            raise Refused(_malformed("The trailers do not end with their signature."))
        if any(name.lower() == _TRAILER_SIGNATURE for name, _ in fields[:-1]):
            raise Refused(_malformed("The trailers have two signatures."))
        if len(fields[-1][1]) != self._signer.width:
            raise Refused(_malformed("The signature of the trailers is not as long as one."))
        pairs = sorted((name.lower(), value) for name, value in fields[:-1])
        canonical = b"".join(name + b":" + value + b"\n" for name, value in pairs)
        signature = self._sign("TRAILER", hashlib.sha256(canonical).hexdigest())
        del self._held[:at]
        self._next = None
        return b"\r\n".join([*lines[:-1], _TRAILER_SIGNATURE + b":" + signature, b"", b""])


def _malformed(detail: str) -> Denial:
    return Denial("malformed_request", detail, by="credentials")
