"""GitHub as an App sees it: installations, and tokens narrowed to repositories and permissions. Checks with PyJWT."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt

from tests.fakes.tokens import RefusedError, TokenServer, answer
from tests.rig.provider import echo

if TYPE_CHECKING:
    import asyncio

    from tests.rig import Provider, Seen

APP = "Iv23liAbCdEfGhIjKlMn"
INSTALLED = {"orgs/acme": 77, "users/ada": 78, "repos/acme/widgets": 77}
REPOSITORIES = {"widgets": 501, "gadgets": 502}
GRANTED = {"contents": "write", "issues": "write", "metadata": "read"}
LEVELS = ("read", "write", "admin")


@dataclass
class GitHub(TokenServer):
    """`public` is the App's key in PEM; `excess` makes it give more than was asked for."""

    prefix: str = "ghs_"
    public: bytes = b""
    lives_s: int = 3600
    suspended: bool = False
    excess: str = ""
    limited: bool = False
    claims: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def serve(self, provider: Provider) -> None:
        for place, number in INSTALLED.items():
            provider.on(f"/{place}/installation", self.endpoint(lambda seen, n=number: self._found(seen, n)))
        for place in ("orgs/ada", "orgs/nobody", "users/nobody"):
            provider.on(f"/{place}/installation", self.endpoint(self._missing))
        for number in INSTALLED.values():
            provider.on(f"/app/installations/{number}/access_tokens", self.endpoint(self._create))
        provider.on("/app/installations/99/access_tokens", self.endpoint(self._missing))
        provider.on("/repos/acme/widgets", self.resource)
        provider.on("/acme/widgets.git/info/refs", self.git)

    def _app(self, seen: Seen) -> None:
        token = (seen.one("authorization") or "").removeprefix("Bearer ")
        try:
            # GitHub: RS256, at most ten minutes, not issued in the future, by client id or app id.
            claims = jwt.decode(token, self.public, algorithms=["RS256"], issuer=APP,
                                options={"require": ["iss", "iat", "exp"]})  # fmt: skip
        except jwt.InvalidTokenError:
            raise RefusedError(401, {"message": "A JSON web token could not be decoded"}) from None
        now = datetime.now(UTC).timestamp()
        if claims["iat"] > now - 30 or claims["exp"] > now + 600 or claims["exp"] - claims["iat"] > 660:
            raise RefusedError(401, {"message": "'Expiration time' claim ('exp') is too far in the future"})
        if not seen.one("user-agent"):
            raise RefusedError(403, {"message": "Request forbidden by administrative rules."})
        self.claims.append(claims)

    def _found(self, seen: Seen, number: int) -> tuple[int, Any]:
        self._app(seen)
        return 200, {"id": number, "app_id": 1}

    def _missing(self, seen: Seen) -> tuple[int, Any]:
        self._app(seen)
        return 404, {"message": "Not Found"}

    def _create(self, seen: Seen) -> tuple[int, Any]:
        self._app(seen)
        body = json.loads(seen.body)
        self.bodies.append(body)
        if self.suspended:
            return 403, {"message": "This installation has been suspended"}
        if self.limited:
            raise RefusedError(403, {"message": "secondary rate limit"}, Retry_After="9")
        if not set(body.get("repositories", [])) <= set(REPOSITORIES):
            return 422, {"message": "There is at least one repository that does not exist or is not accessible"}
        permissions = body.get("permissions", GRANTED)
        if any(LEVELS.index(level) > LEVELS.index(GRANTED.get(name, "read")) or name not in GRANTED
               for name, level in permissions.items()):  # fmt: skip
            return 422, {"message": "The permissions requested are not granted to this installation."}
        names = body.get("repositories", list(REPOSITORIES))
        given: dict[str, Any] = {
            "token": self.issue(),
            "expires_at": (datetime.now(UTC) + timedelta(seconds=self.lives_s)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "permissions": {**permissions, "metadata": "read"},
            "repository_selection": "selected",
        }
        if self.excess == "permissions":
            given["permissions"]["administration"] = "write"
        if self.excess == "level":
            given["permissions"] = dict.fromkeys(permissions, "admin")
        if self.excess == "repositories":
            names = [*names, "payroll"]
        if self.excess != "silence" and "repositories" in body:
            given["repositories"] = [{"id": REPOSITORIES.get(name, 9), "name": name} for name in names]
        return 201, given

    async def git(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """github.com takes Basic, and no bearer token."""
        scheme, _, value = (seen.one("authorization") or "").partition(" ")
        if scheme == "Basic" and base64.b64decode(value).decode().removeprefix("x-access-token:") in self.live:
            await echo(seen, reader, writer)
        else:
            answer(writer, 401, {"message": "Bad credentials"})
