"""A Vault: KV versions 1 and 2, one database engine with leases, tokens that end, four ways to log in, namespaces."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tests.fakes.stores.server import StoreServer

if TYPE_CHECKING:
    from tests.rig.provider import Seen

Answer = tuple[int, Any]


@dataclass
class Token:
    until_s: float
    ttl_s: int
    renewable: bool = True
    leases: set[str] = field(default_factory=set)


class FakeVault(StoreServer):
    """`clock` tells its time; tokens and leases really end, and a lease ends with its token."""

    def __init__(self, folder: Any, host: str = "vault.example.test", clock: Any = time.monotonic) -> None:
        super().__init__(folder, host)
        self.clock = clock
        self.tokens: dict[str, Token] = {"hvs.root-token-0123456789": Token(float("inf"), 0, renewable=False)}
        self.namespace: str | None = None
        self.forbidden: set[str] = set()
        self.token_ttl_s, self.lease_ttl_s, self.lease_max_s = 3600, 600, 100_000
        self.leases: dict[str, dict[str, Any]] = {}
        self.logins: list[tuple[str, dict[str, Any]]] = []
        self.revoked: list[str] = []
        self.batch: set[str] = set()
        self.renewals: list[str] = []
        self.known: dict[str, dict[str, Any]] = {}

    def answer(self, seen: Seen) -> Answer:
        path = unquote(seen.path).removeprefix("/v1/")
        body = json.loads(seen.body or b"{}")
        if seen.one("x-vault-namespace") != self.namespace:
            return 404, {"errors": ["no such namespace"]}
        if path.startswith("auth/") and path.endswith("/login"):
            return self.login(path.removeprefix("auth/").removesuffix("/login"), body)
        name = seen.one("x-vault-token") or ""
        token = self.tokens.get(name)
        if token is None or token.until_s <= self.clock():
            return 403, {"errors": ["permission denied"]}
        return self.secrets_or_system(seen.method, path, body, name, token)

    def login(self, mount: str, shown: dict[str, Any]) -> Answer:
        self.logins.append((mount, shown))
        if shown != self.known.get(mount):
            return 400, {"errors": ["invalid role or secret ID"]}
        name = "hvs." + secrets.token_hex(12)
        self.tokens[name] = Token(self.clock() + self.token_ttl_s, self.token_ttl_s)
        auth = {"client_token": name, "lease_duration": self.token_ttl_s, "renewable": True}
        return 200, {"auth": auth, "data": None, "lease_id": ""}

    def secrets_or_system(  # noqa: PLR0911
        self, method: str, path: str, body: dict[str, Any], name: str, token: Token
    ) -> Answer:
        match method, path.split("/"):
            case "GET", ["auth", "token", "lookup-self"]:
                return 200, {"data": {"id": name}}
            case "POST", ["auth", "token", "renew-self"]:
                self.renewals.append(name)
                if not token.renewable:
                    return 400, {"errors": ["lease is not renewable"]}
                token.until_s = self.clock() + token.ttl_s
                return 200, {"auth": {"client_token": name, "lease_duration": token.ttl_s, "renewable": True}}
            case "POST" | "PUT", ["auth", "token", "revoke-self"]:
                if name in self.batch:
                    return 400, {"errors": ["batch tokens cannot be revoked"]}
                self.revoked.append(name)
                for lease in self.tokens.pop(name).leases:
                    self.leases.pop(lease, None)
                return 204, None
            case "PUT" | "POST", ["sys", "leases", ("renew" | "revoke") as what]:
                return self.lease(what, body["lease_id"], token)
            case "GET", ["database", "creds", role]:
                return self.lend(role, token)
            case "GET", ["secret", "data", *rest]:
                return self.read("/".join(rest), lambda data: {"data": {"data": data, "metadata": {"version": 1}}})
            case "GET", ["old", *rest]:
                return self.read("/".join(rest), lambda data: {"data": data, "lease_duration": 2764800})
            case "GET", ["team", "kv", "data", *rest]:
                return self.read("/".join(rest), lambda data: {"data": {"data": data, "metadata": {"version": 1}}})
        return 404, {"errors": ["no handler for route"]}

    def read(self, path: str, shaped: Any) -> Answer:
        self.questions += 1
        if path in self.forbidden:
            return 403, {"errors": ["permission denied"]}
        data = {k.partition("#")[2]: v for k, v in self.values.items() if k.partition("#")[0] == path}
        return (200, shaped(data)) if data else (404, {"errors": []})

    def living(self) -> set[str]:
        """Passwords of leases that have not ended, nor their tokens."""
        now_s = self.clock()
        held = [lease for token in self.tokens.values() if token.until_s > now_s for lease in token.leases]
        return {self.leases[n]["password"] for n in held if n in self.leases and self.leases[n]["until_s"] > now_s}

    def lend(self, role: str, token: Token) -> Answer:
        self.questions += 1
        lease, password = f"database/creds/{role}/{secrets.token_hex(6)}", secrets.token_hex(12)
        now_s = self.clock()
        self.leases[lease] = {
            "until_s": now_s + self.lease_ttl_s,
            "max_s": now_s + self.lease_max_s,
            "password": password,
        }
        token.leases.add(lease)
        data = {"username": f"v-{role}-{secrets.token_hex(4)}", "password": password}
        return 200, {"lease_id": lease, "renewable": True, "lease_duration": self.lease_ttl_s, "data": data}

    def lease(self, what: str, lease: str, token: Token) -> Answer:
        found = self.leases.get(lease)
        if found is None or found["until_s"] <= self.clock() or lease not in token.leases:
            return 400, {"errors": ["lease not found or lease is not renewable"]}
        if what == "revoke":
            self.revoked.append(lease)
            del self.leases[lease]
            return 204, None
        self.renewals.append(lease)
        found["until_s"] = min(self.clock() + self.lease_ttl_s, found["max_s"])
        return 200, {"lease_id": lease, "renewable": True, "lease_duration": int(found["until_s"] - self.clock())}
