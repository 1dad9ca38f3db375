"""Microsoft Entra ID's token endpoint for applications: secret, certificate, federated credential. With PyJWT."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.fakes.google import form
from tests.fakes.tokens import RefusedError, TokenServer

if TYPE_CHECKING:
    from tests.fakes.workload import Workload
    from tests.rig import Provider, Seen

TENANT = "8d6d0a8e-1111-4222-8333-000000000001"
CLIENT = "11111111-2222-4333-8444-555555555555"
SECRET = "entra~REAL~client~secret~0123456789"
SCOPE = "https://cognitiveservices.azure.com/.default"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EXCHANGE_AUDIENCE = "api://AzureADTokenExchange"


def refused(status: int, error: str, number: int) -> RefusedError:
    return RefusedError(status, {"error": error, "error_description": f"AADSTS{number}: no", "error_codes": [number]})


@dataclass
class Entra(TokenServer):
    """One tenant with one application. `certificate` is registered with it, `workload` federated."""

    prefix: str = "eyJ0."
    certificate: x509.Certificate | None = None
    workload: Workload | None = None
    token_url: str = ""
    expired_secret: bool = False
    seen_ids: set[str] = field(default_factory=set)
    headers: list[dict[str, Any]] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)

    def serve(self, provider: Provider) -> None:
        provider.on(f"/{TENANT}/oauth2/v2.0/token", self.endpoint(self._token))
        provider.on("/openai/models", self.resource)

    def _token(self, seen: Seen) -> tuple[int, Any]:
        asked = form(seen)
        assert asked["grant_type"] == "client_credentials"
        if asked["client_id"] != CLIENT:
            raise refused(400, "unauthorized_client", 700016)
        if asked["scope"] != SCOPE:
            raise refused(400, "invalid_scope", 1002012)
        if ("client_secret" in asked) == ("client_assertion" in asked):
            raise refused(401, "invalid_client", 7000216)
        if "client_secret" in asked:
            if asked["client_secret"] != SECRET or self.expired_secret:
                raise refused(401, "invalid_client", 7000222 if self.expired_secret else 7000215)
        else:
            assert asked["client_assertion_type"] == ASSERTION
            self.check(asked["client_assertion"])
        return 200, {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": self.issue()}

    def check(self, assertion: str) -> None:
        """A certificate's assertion, or a token of the federated workload. Raises `RefusedError`."""
        header = jwt.get_unverified_header(assertion)
        self.headers.append(header)
        if "x5t#S256" not in header:
            assert self.workload is not None
            if self.workload.check(assertion, EXCHANGE_AUDIENCE) is None:
                raise refused(401, "invalid_client", 700213)
            return
        assert self.certificate is not None
        digest = hashlib.sha256(self.certificate.public_bytes(Encoding.DER)).digest()
        named = header["x5t#S256"].rstrip("=")  # msal pads it
        if base64.urlsafe_b64decode(named + "=" * (-len(named) % 4)) != digest:
            raise refused(401, "invalid_client", 700027)
        try:
            claims = jwt.decode(
                assertion, self.certificate.public_key(), algorithms=["PS256", "RS256"], audience=self.token_url,
                issuer=CLIENT, subject=CLIENT, options={"require": ["aud", "exp", "iss", "jti", "sub"]},
            )  # fmt: skip
        except jwt.InvalidTokenError:
            raise refused(401, "invalid_client", 700023) from None
        if claims["jti"] in self.seen_ids or claims["exp"] - claims["iat"] > 600:
            raise refused(401, "invalid_client", 700024)
        self.seen_ids.add(claims["jti"])
        self.claims.append(claims)
