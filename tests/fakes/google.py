"""Google's token endpoint, STS and IAM credentials API, as far as they check things. With PyJWT, not with our code."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import jwt

from tests.fakes.tokens import RefusedError, TokenServer, answer
from tests.rig.provider import echo

if TYPE_CHECKING:
    import asyncio

    from tests.fakes.workload import Workload
    from tests.rig import Provider, Seen

EMAIL = "agent@widgets.iam.gserviceaccount.com"
KEY_ID = "5f1c0ffee"
POOL = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/ci/providers/gh"
SCOPES = {"https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/bigquery"}
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"


def form(seen: Seen) -> dict[str, str]:
    """Every field once, or the request is refused."""
    assert seen.one("content-type") == "application/x-www-form-urlencoded"
    found = parse_qs(seen.body.decode(), keep_blank_values=True, strict_parsing=True)
    if any(len(values) > 1 for values in found.values()):
        raise RefusedError(400, {"error": "invalid_request"})
    return {name: values[0] for name, values in found.items()}


@dataclass
class Google(TokenServer):
    """`public` is the service account's key; `private` signs ID tokens; `workload` is the pool's only provider."""

    prefix: str = "ya29."
    public: bytes = b""
    private: bytes = b""
    token_url: str = ""
    workload: Workload | None = None
    disabled: bool = False
    wrong_audience: bool = False
    claims: list[dict[str, Any]] = field(default_factory=list)
    federated: set[str] = field(default_factory=set)
    scopes_seen: list[str] = field(default_factory=list)

    def serve(self, provider: Provider) -> None:
        account = f"/v1/projects/-/serviceAccounts/{EMAIL}"
        provider.on("/token", self.endpoint(self._assertion))
        provider.on("/v1/token", self.endpoint(self._exchange))
        provider.on(f"{account}:generateAccessToken", self.endpoint(self._access_token))
        provider.on(f"{account}:generateIdToken", self.endpoint(self._id_token))
        provider.on(account.replace("agent", "other") + ":generateAccessToken", self.endpoint(self._denied))
        provider.on("/v1/models", self.resource)
        provider.on("/self", self.self_signed)

    def _decoded(self, token: str, audience: str | None) -> dict[str, Any]:
        try:
            if jwt.get_unverified_header(token).get("kid") != KEY_ID:
                raise RefusedError(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
            found: dict[str, Any] = jwt.decode(
                token, self.public, algorithms=["RS256"], audience=audience, issuer=EMAIL,
                options={"require": ["iss", "iat", "exp"], "verify_aud": audience is not None},
            )  # fmt: skip
        except jwt.InvalidTokenError:
            raise RefusedError(400, {"error": "invalid_grant", "error_description": "Invalid JWT."}) from None
        if found["exp"] - found["iat"] > 3600:
            raise RefusedError(400, {"error": "invalid_grant", "error_description": "Token must be short-lived."})
        return found

    def _assertion(self, seen: Seen) -> tuple[int, Any]:
        asked = form(seen)
        assert asked["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        claims = self._decoded(asked["assertion"], self.token_url)
        if self.disabled:
            return 400, {"error": "invalid_grant", "error_description": "Account has been deleted"}
        self.claims.append(claims)
        if "target_audience" in claims:
            return 200, {"id_token": self._signed_id(claims["target_audience"])}
        if not set(claims.get("scope", "").split()) <= SCOPES:
            return 400, {"error": "invalid_scope"}
        return 200, {"access_token": self.issue(), "expires_in": 3599, "token_type": "Bearer"}

    def _signed_id(self, audience: str) -> str:
        audience = "https://somebody.else" if self.wrong_audience else audience
        now = int(time.time())
        claims = {"iss": "https://accounts.google.com", "aud": audience, "iat": now, "exp": now + 3600, "email": EMAIL}
        token = jwt.encode(claims, self.private, "RS256")
        self.live.add(token)
        return token

    def _exchange(self, seen: Seen) -> tuple[int, Any]:
        asked = form(seen)
        assert seen.one("authorization") is None
        assert (asked["grant_type"], asked["requested_token_type"]) == (EXCHANGE, ACCESS)
        if asked["audience"] != POOL:
            return 400, {"error": "invalid_target", "error_description": "The target service indicated is invalid."}
        assert self.workload is not None
        if self.workload.check(asked["subject_token"], f"https:{POOL}") is None:
            return 400, {"error": "invalid_grant", "error_description": "The given credential is rejected."}
        self.scopes_seen.append(asked["scope"])
        token = self.issue()
        self.federated.add(token)
        return 200, {"access_token": token, "issued_token_type": ACCESS, "token_type": "Bearer", "expires_in": 3599}

    def _federated(self, seen: Seen) -> dict[str, Any]:
        if (seen.one("authorization") or "").removeprefix("Bearer ") not in self.federated:
            raise RefusedError(401, {"error": {"code": 401, "status": "UNAUTHENTICATED"}})
        asked: dict[str, Any] = json.loads(seen.body)
        return asked

    def _access_token(self, seen: Seen) -> tuple[int, Any]:
        asked = self._federated(seen)
        assert set(asked["scope"]) <= SCOPES
        end = datetime.now(UTC) + timedelta(seconds=int(asked["lifetime"].removesuffix("s")))
        return 200, {"accessToken": self.issue(), "expireTime": end.strftime("%Y-%m-%dT%H:%M:%SZ")}

    def _id_token(self, seen: Seen) -> tuple[int, Any]:
        return 200, {"token": self._signed_id(self._federated(seen)["audience"])}

    def _denied(self, seen: Seen) -> tuple[int, Any]:
        self._federated(seen)
        return 403, {
            "error": {"code": 403, "status": "PERMISSION_DENIED", "message": "iam.serviceAccounts.getAccessToken"}
        }

    async def self_signed(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """An API takes a JWT of the account itself, for its own audience or with scopes."""
        try:
            claims = self._decoded((seen.one("authorization") or "").removeprefix("Bearer "), None)
        except RefusedError as refused:
            answer(writer, 401, refused.document)
            return
        good = claims.get("sub") == EMAIL and (claims.get("aud") == "https://api.example.test/") != ("scope" in claims)
        if good:
            await echo(seen, reader, writer)
        else:
            answer(writer, 401, {"error": "audience"})
