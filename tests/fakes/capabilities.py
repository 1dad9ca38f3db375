"""A provider that mints capability tokens and counts, revokes and replays them; none of it is our own code.

Tokens are made and proofs are verified by jwcrypto. `/mint` wants the API key; `/use` wants a capability.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS

from tests.fakes.credential_issuer import answer, key, public, signed


@dataclass
class Capabilities:
    """`caveats` change the next tokens (None takes one away); `says` makes `/use` refuse: (status, error)."""

    api_key: str
    key: JWK = field(default_factory=lambda: key("cap-1"))
    caveats: dict[str, Any] = field(default_factory=dict)
    minted: list[str] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    used: Counter[str] = field(default_factory=Counter)
    revoked: set[str] = field(default_factory=set)
    replayed: set[str] = field(default_factory=set)
    proofs: set[str] = field(default_factory=set)
    bound_to: str | None = None
    refuses_with: int = 401
    name: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def jwks(self) -> dict[str, Any]:
        return {"keys": [public(self.key)]}

    def token(self) -> str:
        now = int(time.time())
        claims = {
            "jti": f"{self.name}-{len(self.minted)}", "iat": now, "exp": now + 300, "scope": "read write", "max_calls": 3,
            "aud": "https://api.example.test", **self.caveats,
        }  # fmt: skip
        if self.bound_to is not None:
            claims["cnf"] = {"jkt": self.bound_to}
        claims = {name: value for name, value in claims.items() if value is not None}
        return signed(self.key, {"typ": "cap+jwt", "kid": "cap-1"}, claims)

    async def mint(self, seen, reader, writer):
        self.asked.append({"body": json.loads(seen.body), "authorization": seen.one("authorization")})
        if seen.one("authorization") != f"Bearer {self.api_key}":
            await answer(401, {"error": "invalid_client"})(seen, reader, writer)
            return
        self.minted.append(self.token())
        await answer(201, {"token": self.minted[-1]}, Content_Type="application/json")(seen, reader, writer)

    async def use(self, seen, reader, writer):
        scheme, _, token = (seen.one("authorization") or "").partition(" ")
        error = self._fault(scheme, token, seen)
        if error is None:
            await answer(200, {"token": token, "proof": seen.one("dpop")})(seen, reader, writer)
        else:
            await answer(self.refuses_with, {"error": error}, WWW_Authenticate=f'{scheme or "Bearer"} error="{error}"')(
                seen, reader, writer
            )

    def _fault(self, scheme, token, seen):
        if token not in self.minted:
            return "invalid_token"
        checked = JWS()
        checked.deserialize(token, self.key)
        claims = json.loads(checked.payload)
        id_ = claims["jti"]
        if id_ in self.revoked:
            return "capability_revoked"
        if id_ in self.replayed:
            return "capability_replayed"
        if claims["exp"] <= time.time():
            return "capability_expired"
        if scheme != ("DPoP" if "cnf" in claims else "Bearer") or not self._proven(claims, token, seen):
            return "invalid_proof"
        self.used[id_] += 1
        return "calls_exhausted" if self.used[id_] > claims.get("max_calls", 10**9) else None

    def _proven(self, claims, token, seen):
        if "cnf" not in claims:
            return True
        proof = seen.one("dpop") or ""
        header = json.loads(base64.urlsafe_b64decode(proof.split(".")[0] + "=="))
        by = JWK(**header["jwk"])
        checked = JWS()
        checked.deserialize(proof, by)
        said = json.loads(checked.payload)
        hashed = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
        fresh = said["jti"] not in self.proofs
        self.proofs.add(said["jti"])
        return (
            fresh and by.thumbprint() == claims["cnf"]["jkt"] and said["ath"] == hashed and said["htm"] == seen.method
            and said["htu"].endswith(seen.path) and header["typ"] == "dpop+jwt"
        )  # fmt: skip
