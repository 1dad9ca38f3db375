"""An Infisical: machine identities that log in three ways, and raw secrets of one project."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from tests.fakes.stores.server import StoreServer

if TYPE_CHECKING:
    from tests.rig.provider import Seen

PROJECT, IDENTITY = "0f1e2d3c-project", "9a8b7c6d-identity"
CLIENT = {"clientId": "the-client-id-0123456789", "clientSecret": "the-client-secret-0123456789"}
JWT = "the-token-of-the-pod-0123456789"


class FakeInfisical(StoreServer):
    """`values` are `ENVIRONMENT/PATH/NAME`."""

    def __init__(self, folder: Any, host: str = "infisical.example.test") -> None:
        super().__init__(folder, host)
        self.tokens: set[str] = set()
        self.hidden: set[str] = set()
        self.lifetime_s = 7200

    def answer(self, seen: Seen) -> tuple[int, Any]:
        shown = {
            "/api/v1/auth/universal-auth/login": CLIENT,
            "/api/v1/auth/kubernetes-auth/login": {"identityId": IDENTITY, "jwt": JWT},
            "/api/v1/auth/oidc-auth/login": {"identityId": IDENTITY, "jwt": JWT},
        }.get(seen.path)
        if shown is not None:
            if seen.method != "POST" or json.loads(seen.body) != shown:
                return 401, {"message": "Invalid credentials"}
            token = "eyJi." + secrets.token_hex(12)
            self.tokens.add(token)
            return 200, {"accessToken": token, "expiresIn": self.lifetime_s, "tokenType": "Bearer"}
        self.questions += 1
        if (seen.one("authorization") or "").removeprefix("Bearer ") not in self.tokens:
            return 401, {"message": "Token missing"}
        query = {k: v[0] for k, v in parse_qs(seen.target.partition("?")[2]).items()}
        name = unquote(seen.path.removeprefix("/api/v3/secrets/raw/"))
        key = f"{query['environment']}{query['secretPath'].rstrip('/')}/{name}"
        if query["workspaceId"] != PROJECT or key not in self.values:
            return 404, {"message": "Secret not found"}
        hidden = key in self.hidden
        value = "<hidden-by-infisical>" if hidden else self.values[key]
        return 200, {
            "secret": {"secretKey": name, "secretValue": value, "secretValueHidden": hidden, "version": 1},
        }
