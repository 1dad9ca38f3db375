"""A remote signer: the documented protocol, spoken rudely where a test says so."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.fakes.signed_api import reply

if TYPE_CHECKING:
    import asyncio

    from tests.rig.provider import Seen


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class RemoteSignerServer:
    """The handler of `/v1/keys/payments` and `/v1/sign`. `rude` replaces the answer to a signature."""

    token: str = "signer-token-REAL-0123456789"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    rude: bytes | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    fetched: int = 0

    def jwk(self) -> dict[str, str]:
        numbers = self.key.public_key().public_numbers()
        x, y = (b64(n.to_bytes(32, "big")) for n in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "payments", "use": "sig"}

    async def __call__(self, seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if seen.one("authorization") != f"Bearer {self.token}":
            reply(writer, "401 Unauthorized", "{}")
        elif seen.method == "GET":
            self.fetched += 1
            reply(writer, "200 OK", json.dumps(self.jwk()))
        elif self.rude is not None:
            writer.write(self.rude)
        else:
            question = json.loads(seen.body)
            self.asked.append(question)
            message = base64.b64decode(question["message"])
            r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
            reply(writer, "200 OK", json.dumps({"signature": b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))}))
