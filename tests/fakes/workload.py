"""An identity provider of workloads, as Kubernetes or GitHub Actions are, and vendors that trust it."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from tests.fakes.google import form
from tests.fakes.tokens import RefusedError, TokenServer

if TYPE_CHECKING:
    from tests.rig import Provider, Seen

SUBJECT = "system:serviceaccount:agents:coder"
ISSUER = "https://oidc.cluster.example"


@dataclass
class Workload:
    """Signs tokens of workloads, and checks them as a relying party would."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def token(self, audience: str, *, lives_s: int = 600, **changed: Any) -> str:
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": SUBJECT, "aud": [audience], "iat": now, "exp": now + lives_s,
                  "jti": str(uuid.uuid4())} | changed  # fmt: skip
        return jwt.encode(claims, self.key, "ES256")

    def check(self, token: str, audience: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = jwt.decode(
                token, self.key.public_key(), algorithms=["ES256"], audience=audience, issuer=ISSUER
            )
        except jwt.InvalidTokenError:
            return None
        return found if found["sub"] == SUBJECT else None


@dataclass
class Vendors(TokenServer):
    """The exchanges of three vendors, each as it is documented, and each with one rule that names the workload."""

    prefix: str = "fed_"
    workload: Workload = field(default_factory=Workload)
    bodies: list[dict[str, str]] = field(default_factory=list)

    def serve(self, provider: Provider) -> None:
        provider.on("/oauth/token", self.endpoint(self._openai))
        provider.on("/v1/oauth/token", self.endpoint(self._anthropic))
        provider.on("/api/v1/oauth/token", self.endpoint(self._openrouter))
        for path in ("/v1/models", "/api/v1/models"):
            provider.on(path, self.resource)

    def _trusted(self, token: str, audience: str, status: int, code: str) -> None:
        if self.workload.check(token, audience) is None:
            raise RefusedError(status, {"error": code, "error_description": "the token is not trusted"})

    def _json(self, seen: Seen, **wanted: str) -> dict[str, str]:
        assert (seen.one("content-type") or "").startswith("application/json")
        found: dict[str, str] = json.loads(seen.body)
        self.bodies.append(found)
        if any(found.get(name) != value for name, value in wanted.items()):
            raise RefusedError(400, {"error": "invalid_request"})
        return found

    def _openai(self, seen: Seen) -> tuple[int, Any]:
        asked = self._json(
            seen,
            grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
            subject_token_type="urn:ietf:params:oauth:token-type:jwt",
            identity_provider_id="idp_1",
            service_account_id="user-1",
        )
        self._trusted(asked["subject_token"], "https://api.openai.com/v1", 401, "invalid_subject_token")
        return 200, {
            "access_token": self.issue(), "token_type": "Bearer", "expires_in": 3600,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        }  # fmt: skip

    def _anthropic(self, seen: Seen) -> tuple[int, Any]:
        asked = self._json(
            seen,
            grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer",
            federation_rule_id="fdrl_1",
            organization_id="3c0ffee0-0000-4000-8000-000000000001",
            service_account_id="svac_1",
        )
        beta = seen.one("anthropic-beta") or ""
        if "oidc-federation-2026-04-01" not in beta or asked.get("workspace_id") == "":
            raise RefusedError(400, {"error": "invalid_request"})
        self._trusted(asked["assertion"], "https://api.anthropic.com", 400, "invalid_grant")
        return 200, {
            "access_token": self.issue(),
            "token_type": "Bearer",
            "expires_in": 600,
            "scope": "workspace:developer",
        }

    def _openrouter(self, seen: Seen) -> tuple[int, Any]:
        asked = form(seen)
        self.bodies.append(asked)
        if asked["federation_policy_id"] != "4b2f7d1e-8c3a-4e5f-9a6b-1c2d3e4f5a6b":
            raise RefusedError(400, {"error": "invalid_target"})
        self._trusted(asked["subject_token"], "https://openrouter.ai", 400, "invalid_grant")
        return 200, {"access_token": self.issue(), "token_type": "bearer", "expires_in": 900}
