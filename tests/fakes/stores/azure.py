"""Azure: one Key Vault, and Microsoft's token endpoint at the same name."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tests.fakes.stores.server import StoreServer

if TYPE_CHECKING:
    from tests.rig.provider import Seen

TENANT, CLIENT = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"
CLIENT_SECRET, FEDERATED = "the-client-secret-0123456789", "the-federated-token-0123456789"


class FakeAzure(StoreServer):
    def __init__(self, folder: Any, host: str = "team-vault.vault.example.test") -> None:
        super().__init__(folder, host)
        self.tokens: set[str] = set()
        self.lifetime_s = 3600

    def token(self) -> str:
        name = "eyJ0." + secrets.token_hex(12)
        self.tokens.add(name)
        return name

    def answer(self, seen: Seen) -> tuple[int, Any]:
        if (seen.method, seen.path) == ("POST", f"/{TENANT}/oauth2/v2.0/token"):
            form = {k: v[0] for k, v in parse_qs(seen.body.decode()).items()}
            proof = form.get("client_secret") == CLIENT_SECRET or (
                form.get("client_assertion") == FEDERATED
                and form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            )
            wanted = {
                "grant_type": "client_credentials",
                "client_id": CLIENT,
                "scope": "https://vault.azure.net/.default",
            }
            if not proof or not wanted.items() <= form.items():
                return 401, {"error": "invalid_client"}
            return 200, {"access_token": self.token(), "expires_in": self.lifetime_s, "token_type": "Bearer"}
        self.questions += 1
        if (seen.one("authorization") or "").removeprefix("Bearer ") not in self.tokens:
            return 401, {"error": {"code": "Unauthorized"}}
        path, _, query = seen.target.partition("?")
        value = self.values.get(path.removeprefix("/secrets/"))
        if value is None or query != "api-version=7.4":
            return 404, {"error": {"code": "SecretNotFound"}}
        return 200, {"value": value, "id": f"https://{self.host}{path}", "attributes": {"enabled": True}}
