"""A server's side of AWS signatures, from the reference and with other code than the product's: hmac, and ECDSA for SigV4A.

`Verifier.judge` takes what a provider saw and says what is wrong with it, or None. It knows headers, presigned queries,
signed chunks with and without trailers, and signed event streams.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
import struct
import zlib
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from tests.rig.provider import Seen

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
S3 = {"s3", "s3express"}
WINDOW_S = 300


@dataclass
class Verifier:
    """`keys` maps access key ids to secrets, `tokens` those that are temporary to their session tokens.

    `express` are those of sessions of S3 Express, whose tokens have another name.
    """

    keys: dict[str, str]
    tokens: dict[str, str] = field(default_factory=dict)
    offset_s: int = 0
    express: set[str] = field(default_factory=set)

    def judge(self, seen: Seen) -> str | None:
        try:
            return self._judge(seen)
        except (KeyError, ValueError, IndexError, struct.error) as error:
            return f"unreadable: {type(error).__name__} {error}"

    def _judge(self, seen: Seen) -> str | None:  # noqa: PLR0911  # one reason each
        path, _, query = seen.target.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        given = dict(pairs)
        presigned = "X-Amz-Signature" in given
        headers: dict[str, str] = {}
        for name, value in seen.headers:
            value = re.sub("[ \t]+", " ", value.strip())
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        if presigned:
            if "authorization" in headers:
                return "two signatures"
            algorithm, credential = given["X-Amz-Algorithm"], given["X-Amz-Credential"]
            signed, signature, date = given["X-Amz-SignedHeaders"], given["X-Amz-Signature"], given["X-Amz-Date"]
            token, regions = given.get("X-Amz-Security-Token"), given.get("X-Amz-Region-Set")
            pairs = [pair for pair in pairs if pair[0] != "X-Amz-Signature"]
            if int(given["X-Amz-Expires"]) > 604800:
                return "too long"
        else:
            algorithm, _, rest = headers["authorization"].partition(" ")
            fields = dict(part.strip().split("=", 1) for part in rest.split(","))
            credential, signed, signature = fields["Credential"], fields["SignedHeaders"], fields["Signature"]
            date, token, regions = (
                headers["x-amz-date"],
                headers.get("x-amz-security-token"),
                headers.get("x-amz-region-set"),
            )
        key_id, *scope = credential.split("/")
        if key_id not in self.keys:
            return "InvalidAccessKeyId"
        if key_id in self.express and token is None:
            token = given.get("X-Amz-S3session-Token") if presigned else headers.get("x-amz-s3session-token")
        if token != self.tokens.get(key_id):
            return "InvalidToken"
        names = signed.split(";")
        if names != sorted(names) or "host" not in names:
            return "signed headers"
        unsigned = [n for n in headers if n.startswith("x-amz-") and n not in names]
        if unsigned:
            return f"not signed: {unsigned}"
        at = dt.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC).timestamp()
        now = dt.datetime.now(dt.UTC).timestamp() + self.offset_s
        if abs(now - at) > WINDOW_S:
            return "RequestTimeTooSkewed"
        service = scope[-2]
        payload = self._payload(seen, headers, service, presigned=presigned)
        if payload is None:
            return "XAmzContentSHA256Mismatch"
        escaped = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in pairs)
        canonical = "\n".join(
            (
                seen.method,
                quote(unquote(path), safe="/-_.~") if service in S3 else quote(path, safe="/-_.~"),
                "&".join(f"{name}={value}" for name, value in escaped),
                *(f"{name}:{headers[name]}" for name in names),
                "",
                signed,
                payload,
            )
        )
        text = "\n".join((algorithm, date, "/".join(scope), hashlib.sha256(canonical.encode("latin-1")).hexdigest()))
        if algorithm == "AWS4-ECDSA-P256-SHA256":
            if not regions or len(scope) != 3:
                return "region set"
            problem = self._asymmetric(key_id, text, signature)
            if problem is None and payload.startswith("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"):
                check = partial(self._asymmetric_piece, key_id)
                return self._chunks(
                    seen.body, algorithm, check, date, "/".join(scope), signature, trailer=payload.endswith("TRAILER")
                )
            return problem
        key = self._key(key_id, scope)
        if not hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), signature):
            return "SignatureDoesNotMatch"
        if payload.startswith("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"):
            check = partial(_symmetric_piece, key)
            return self._chunks(
                seen.body, algorithm, check, date, "/".join(scope), signature, trailer=payload.endswith("TRAILER")
            )
        if payload == "STREAMING-AWS4-HMAC-SHA256-EVENTS":
            return self._events(seen.body, key_id, scope, signature)
        return None

    @staticmethod
    def _payload(seen: Seen, headers: dict[str, str], service: str, *, presigned: bool) -> str | None:
        actual, told = hashlib.sha256(seen.body).hexdigest(), headers.get("x-amz-content-sha256")
        if presigned and service in S3:
            return "UNSIGNED-PAYLOAD"
        if told is None:
            return None if service in S3 else actual
        if re.fullmatch("[0-9a-f]{64}", told):
            return told if told == actual else None
        return told

    def _key(self, key_id: str, scope: list[str]) -> bytes:
        key = ("AWS4" + self.keys[key_id]).encode()
        for part in scope:
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return key

    def _asymmetric_piece(self, key_id: str, text: str, told: str) -> bool:
        return len(told) == 144 and self._asymmetric(key_id, text, told.rstrip("*")) is None

    def _asymmetric(self, key_id: str, text: str, signature: str) -> str | None:
        base, counter = ("AWS4A" + self.keys[key_id]).encode(), 1
        while True:
            context = key_id.encode() + bytes([counter])
            fixed = b"\0\0\0\1" + b"AWS4-ECDSA-P256-SHA256" + b"\0" + context + (256).to_bytes(4)
            candidate = int.from_bytes(hmac.new(base, fixed, hashlib.sha256).digest())
            if candidate <= P256_ORDER - 2:
                break
            counter += 1
        public = ec.derive_private_key(candidate + 1, ec.SECP256R1()).public_key()
        try:
            public.verify(bytes.fromhex(signature), text.encode(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return "SignatureDoesNotMatch"
        return None

    @staticmethod
    def _chunks(body, algorithm, check, date, scope, previous, *, trailer) -> str | None:
        empty = hashlib.sha256(b"").hexdigest()
        at = 0
        while True:
            end = body.index(b"\r\n", at)
            size_text, _, signature = body[at:end].partition(b";chunk-signature=")
            size = int(size_text, 16)
            data = body[end + 2 : end + 2 + size]
            text = f"{algorithm}-PAYLOAD\n{date}\n{scope}\n{previous}\n{empty}\n{hashlib.sha256(data).hexdigest()}"
            if not check(text, signature.decode()):
                return "chunk signature"
            previous = signature.decode().rstrip("*")
            at = end + 2 + size
            if size == 0:
                break
            if body[at : at + 2] != b"\r\n":
                return "chunk framing"
            at += 2
        rest = body[at:]
        if not trailer:
            return None if rest == b"\r\n" else "chunk end"
        *lines, last, _, _ = rest.split(b"\r\n")
        text = f"{algorithm}-TRAILER\n{date}\n{scope}\n{previous}\n"
        text += hashlib.sha256(b"".join(line + b"\n" for line in sorted(lines))).hexdigest()
        name, _, told = last.decode().partition(":")
        return None if name == "x-amz-trailer-signature" and check(text, told) else "trailer signature"

    def _events(self, body: bytes, key_id: str, scope: list[str], previous: str) -> str | None:
        ended = False
        while body:
            total, size, check = struct.unpack(">III", body[:12])
            message, body = body[:total], body[total:]
            if zlib.crc32(message[:8]) != check or zlib.crc32(message[:-4]) != struct.unpack(">I", message[-4:])[0]:
                return "event checksum"
            headers, payload = message[12 : 12 + size], message[12 + size : -4]
            if headers[:6] != b"\x05:date" or headers[6] != 8:
                return "event headers"
            at = dt.datetime.fromtimestamp(int.from_bytes(headers[7:15]) / 1000, dt.UTC)
            date = at.strftime("%Y%m%dT%H%M%SZ")
            text = "\n".join(
                ("AWS4-HMAC-SHA256-PAYLOAD", date, "/".join([date[:8], *scope[1:]]), previous,
                 hashlib.sha256(headers[:15]).hexdigest(), hashlib.sha256(payload).hexdigest())
            )  # fmt: skip
            signature = hmac.new(self._key(key_id, [date[:8], *scope[1:]]), text.encode(), hashlib.sha256).digest()
            if headers[-32:] != signature:
                return "event signature"
            previous, ended = signature.hex(), not payload
        return None if ended else "no end of events"


def _symmetric_piece(key: bytes, text: str, told: str) -> bool:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest() == told
