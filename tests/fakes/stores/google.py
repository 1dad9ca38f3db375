"""Google: Secret Manager, the token endpoint, the Security Token Service and IAM credentials, all at one name."""

from __future__ import annotations

import base64
import json
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from joserfc import jwk, jwt

from tests.fakes.stores.server import StoreServer

if TYPE_CHECKING:
    from tests.rig.provider import Seen

EMAIL = "reader@my-project.iam.gserviceaccount.com"
AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q"
SUBJECT_TOKEN = "the-token-of-the-workload-0123456789"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"

KEY = jwk.RSAKey.generate_key(2048)


class FakeGoogle(StoreServer):
    def __init__(self, folder: Any, host: str = "google.example.test") -> None:
        super().__init__(folder, host)
        self.key = KEY
        self.tokens: dict[str, str] = {}
        self.given = 0
        self.lifetime_s = 3600

    def key_file(self) -> str:
        return json.dumps({"type": "service_account", "client_email": EMAIL, "private_key_id": "k1",
                           "private_key": self.key.as_pem(private=True).decode(), "token_uri": "https://evil.test/"})  # fmt: skip

    def token(self, whose: str) -> str:
        self.given += 1
        name = "ya29." + secrets.token_hex(12)
        self.tokens[name] = whose
        return name

    def answer(self, seen: Seen) -> tuple[int, Any]:
        form = {k: v[0] for k, v in parse_qs(seen.body.decode()).items()}
        bearer = self.tokens.get((seen.one("authorization") or "").removeprefix("Bearer "))
        match seen.method, seen.path:
            case "POST", "/token":
                claims = jwt.decode(form["assertion"], self.key, algorithms=["RS256"]).claims
                good = claims["iss"] == EMAIL and claims["scope"] == SCOPE and claims["exp"] - claims["iat"] == 3600
                good = good and claims["aud"] == "https://oauth2.googleapis.com/token"
                return self.tell(EMAIL) if good else (400, {"error": "invalid_grant"})
            case "POST", "/v1/token":
                wanted = ("urn:ietf:params:oauth:grant-type:token-exchange", AUDIENCE, SUBJECT_TOKEN, SCOPE)
                said = tuple(form[name] for name in ("grant_type", "audience", "subject_token", "scope"))
                return self.tell("federated") if said == wanted else (400, {"error": "invalid_grant"})
            case "POST", path if path == f"/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken".replace(
                "@", "%40"
            ):
                if bearer != "federated":
                    return 403, {"error": {}}
                return 200, {"accessToken": self.token(EMAIL), "expireTime": "2026-11-25T00:00:00Z"}
            case "GET", path:
                return self.secret(path, bearer)
        return 404, {"error": {}}

    def tell(self, whose: str) -> tuple[int, Any]:
        return 200, {"access_token": self.token(whose), "expires_in": self.lifetime_s, "token_type": "Bearer"}

    def secret(self, path: str, bearer: str | None) -> tuple[int, Any]:
        self.questions += 1
        if bearer is None:
            return 401, {"error": {}}
        value = self.values.get(path)
        if value is None:
            return 404, {"error": {}}
        return 200, {"name": path, "payload": {"data": base64.b64encode(value.encode()).decode(), "dataCrc32c": "1"}}
