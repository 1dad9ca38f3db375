"""An identity provider: keys that rotate, a JWK set over TLS with an ETag, and tokens signed with anything."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from joserfc import jwk, jws

if TYPE_CHECKING:
    import asyncio

    from tests.rig.provider import Seen

HOST = "issuer.example.test"
ISSUER = f"https://{HOST}"
NOW = 1_800_000_000  # where a test's own clock stands; `now` says another time
AUDIENCE = "briefcased"
SUBJECT = "system:serviceaccount:agents:coder"


def new_key(algorithm: str, key_id: str | None = None) -> jwk.Key:
    kind = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP", "HS": "oct"}[algorithm[:2]]
    size = {"RS256": 2048, "PS256": 2048, "ES256": "P-256", "ES384": "P-384", "Ed25519": "Ed25519", "HS256": 256}[
        algorithm
    ]
    parameters = {"kid": key_id, "use": "sig", "alg": algorithm} if key_id is not None else None
    return jwk.generate_key(kind, size, parameters)  # type: ignore[arg-type]


def claims(**changed: Any) -> dict[str, Any]:
    """Those of a Kubernetes service account; None takes one away."""
    now = int(changed.pop("now", NOW))
    base = {
        "iss": ISSUER, "aud": [AUDIENCE], "sub": SUBJECT, "iat": now - 5, "nbf": now - 5, "exp": now + 600,
        "kubernetes.io": {"namespace": "agents", "serviceaccount": {"name": "coder"}},
    }  # fmt: skip
    return {name: value for name, value in {**base, **changed}.items() if value is not None}


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(
    key: jwk.Key, algorithm: str, *, header: dict[str, Any] | None = None, body: object = None, **changed: Any
) -> str:
    """A token; `header` changes its header (None takes one away), `body` replaces the claims."""
    head = {"alg": algorithm, "typ": "JWT", "kid": key.get("kid"), **(header or {})}
    head = {name: value for name, value in head.items() if value is not None}
    signed = f"{part(head)}.{part(claims(**changed) if body is None else body)}"
    return f"{signed}.{part(jws.JWSRegistry.algorithms[algorithm].sign(signed.encode(), key))}"


@dataclass
class JwksServer:
    """The handler of `/jwks` of a `tests.rig.Provider`."""

    keys: list[Any]
    status: int = 200
    document: bytes | None = None
    bearer: str | None = None
    fetched: int = 0
    not_modified: int = 0
    seen: list[Seen] = field(default_factory=list)

    def published(self) -> bytes:
        return json.dumps({"keys": [key.as_dict(private=False) for key in self.keys]}).encode()

    async def __call__(self, seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.fetched += 1
        self.seen.append(seen)
        body = self.published() if self.document is None else self.document
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if self.bearer is not None and seen.one("authorization") != f"Bearer {self.bearer}":
            writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        elif self.status != 200:
            writer.write(
                f"HTTP/1.1 {self.status} Odd\r\nLocation: https://elsewhere.test/\r\nContent-Length: 0\r\n\r\n".encode()
            )
        elif seen.one("if-none-match") == tag:
            self.not_modified += 1
            writer.write(f"HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\n\r\n".encode())
        else:
            writer.write(f"HTTP/1.1 200 OK\r\nETag: {tag}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
