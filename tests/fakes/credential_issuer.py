"""An issuer of verifiable credentials and a verifier of presentations, by the reference library and by hand.

Nothing here is our own code: `sd-jwt` (on jwcrypto) issues and verifies SD-JWTs; status lists are packed bit by bit.
"""

from __future__ import annotations

import base64
import gzip
import json
import time
import zlib
from typing import TYPE_CHECKING, Any

from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS
from sd_jwt.common import SDObj
from sd_jwt.issuer import SDJWTIssuer
from sd_jwt.verifier import SDJWTVerifier

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from tests.rig.provider import Seen

ISSUER = "https://issuer.example.test"
VCT = "https://credentials.example.test/staff"
V2 = "https://www.w3.org/ns/credentials/v2"


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def b64_decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def key(kid: str | None = None) -> JWK:
    return JWK.generate(kty="EC", crv="P-256", **({"kid": kid} if kid else {}))


def public(one: JWK) -> dict[str, Any]:
    return one.export_public(as_dict=True)


def signed(by: JWK, header: dict[str, Any], claims: Any, alg: str = "ES256") -> str:
    token = JWS(json.dumps(claims) if not isinstance(claims, bytes) else claims)
    token.add_signature(by, None, json.dumps({"alg": alg, **header}), None)
    return token.serialize(compact=True)


class Issuer:
    """Issues staff credentials: `hidden` can be disclosed one by one, `open_` stands in the token."""

    def __init__(self, name: str = ISSUER) -> None:
        self.name = name
        self.key = key("issuer-1")
        self.jwks = {"keys": [public(self.key)]}

    def sd_jwt(
        self, holder: JWK | None, hidden: dict[str, Any], *, typ: str = "dc+sd-jwt", decoys: bool = True, **open_: Any
    ) -> str:
        now = int(time.time())
        claims = {"iss": self.name, "vct": VCT, "iat": now - 5, "exp": now + 3600, **open_}
        claims = {name: value for name, value in claims.items() if value is not None}
        claims |= {SDObj(name): value for name, value in hidden.items()}  # type: ignore[misc]
        made = SDJWTIssuer(
            claims, self.key, holder, add_decoy_claims=decoys,
            extra_header_parameters={"typ": typ, "kid": "issuer-1"},
        )  # fmt: skip
        return made.sd_jwt_issuance

    def vc_jwt(self, holder: JWK | None, *, header: dict[str, Any] | None = None, **changed: Any) -> str:
        now = int(time.time())
        claims = {
            "@context": [V2], "type": ["VerifiableCredential", "StaffCredential"], "issuer": self.name, "iss": self.name,
            "iat": now - 5, "exp": now + 3600, "credentialSubject": {"role": "engineer"},
            **({"cnf": {"jwk": public(holder)}} if holder else {}), **changed,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        return signed(self.key, {"typ": "vc+jwt", "kid": "issuer-1", **(header or {})}, claims)

    def token_status_list(self, uri: str, values: list[int], bits: int = 1, **changed: Any) -> str:
        now = int(time.time())
        claims = {
            "sub": uri, "iat": now - 5, "exp": now + 600, "ttl": 60,
            "status_list": {"bits": bits, "lst": b64(zlib.compress(least_first(values, bits), 9))}, **changed,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        return signed(self.key, {"typ": "statuslist+jwt", "kid": "issuer-1"}, claims)

    def bitstring(self, uri: str, set_: set[int], *, entries: int = 131_072, **changed: Any) -> str:
        raw = bytearray(entries // 8)
        for index in set_:
            raw[index // 8] |= 0x80 >> index % 8
        subject = {
            "id": f"{uri}#list", "type": "BitstringStatusList", "statusPurpose": "revocation",
            "encodedList": "u" + b64(gzip.compress(bytes(raw))),
        }  # fmt: skip
        claims = {
            "@context": [V2], "id": uri, "type": ["VerifiableCredential", "BitstringStatusListCredential"],
            "issuer": self.name, "credentialSubject": subject, **changed,
        }  # fmt: skip
        return signed(self.key, {"typ": "vc+jwt", "kid": "issuer-1"}, claims)


def least_first(values: list[int], bits: int) -> bytes:
    """Entries packed from the least significant bit on, by summing powers of two."""
    number = sum(value << index * bits for index, value in enumerate(values))
    return number.to_bytes((len(values) * bits + 7) // 8, "little")


def verified(presentation: str, issuer: Issuer, *, audience: str, nonce: str) -> dict[str, Any]:
    """The claims that the reference verifier sees; it raises for anything wrong."""
    seen = SDJWTVerifier(presentation, lambda _iss, _header: issuer.key, audience, nonce).get_verified_payload()
    kb = json.loads(base64.urlsafe_b64decode(presentation.rpartition("~")[2].split(".")[1] + "=="))
    assert abs(kb["iat"] - time.time()) < 60
    return dict(seen)


def answer(status: int, body: object = b"", **headers: str) -> Callable[..., Any]:
    """A handler that always answers so."""
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    whole = f"HTTP/1.1 {status} Said\r\n{lines}Content-Length: {len(raw)}\r\n\r\n".encode() + raw

    async def handler(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(whole)

    return handler
