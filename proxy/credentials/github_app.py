"""`kind: github_app`: an installation token of a GitHub App, narrowed. See docs/credentials/github_app.md."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final, Literal, override

import orjson
from pydantic import Field

from proxy.credentials import replies
from proxy.credentials.assertion import signed
from proxy.credentials.header import with_headers
from proxy.credentials.kind import Call, MintFailedError, Presented, SecretName, call, filled, named_in
from proxy.credentials.token_kind import TOKEN, TokenKind, credential
from proxy.errors import Denial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Credential, Ingredients, Minting, Reply
    from proxy.credentials.replies import Document
    from proxy.model import RequestHead

CREATED: Final = 201
OK: Final = 200
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
BACK_S: Final = 60
"""How far in the past `iat` is, against clocks that differ (GitHub's own advice)."""
JWT_S: Final = 540
EVERYTHING: Final = "*"
_LEVELS: Final = ("read", "write", "admin")
_PERMISSION: Final = re.compile(r"([a-z_]{1,64}):(read|write|admin)")
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_INSTALLATION: Final = re.compile(r"[0-9]{1,20}|[A-Za-z0-9-]{1,39}(/[A-Za-z0-9._-]{1,100})?")
_IMPLIED: Final = "metadata"
"""GitHub adds `metadata:read` to every token."""


class GithubAppCredential(TokenKind):
    """Signs an app JWT, finds the installation, and asks for a token of named repositories and permissions."""

    kind: Literal["github_app"]
    key: SecretName = Field(default="app", description="Slot of the App's private key.")
    app_id: str = Field(default="{app_id}", description="Client id or app id.")
    installation: str = Field(default="{installation}", description="Its number, or OWNER, or OWNER/REPOSITORY.")
    repositories: tuple[str, ...] = Field(default=("{repositories}",), description="Names, or * for all.")
    permissions: tuple[str, ...] = Field(default=("{permissions}",), description="NAME:LEVEL, or * for all.")
    api_url: str = "https://api.github.com"
    git_host: str = Field(default="github.com", description="Where the token goes as Basic, for git over https.")

    @override
    def variable_names(self) -> frozenset[str]:
        return named_in(self.app_id, self.installation, *self.repositories, *self.permissions)

    @override
    def key_names(self) -> Mapping[str, str]:
        return {self.key: "RS256"}

    @override
    def foreign_keys(self) -> frozenset[str]:
        return frozenset({self.key})

    @override
    def endpoints(self, variables: Mapping[str, str]) -> tuple[str, ...]:
        return (self.api_url,)

    @override
    def mint(self, given: Ingredients) -> Minting[Credential]:
        claims = {
            "iat": given.now_s - BACK_S,
            "exp": given.now_s + JWT_S,
            "iss": filled(self.app_id, given.variables),
        }
        jwt = yield from signed(self.key, given.keys[self.key], claims)
        installation = yield from self._installation(jwt, given)
        asked = self._asked(given)
        reply = yield from call(
            Call(
                "POST",
                f"{self.api_url}/app/installations/{installation}/access_tokens",
                headers={**_headers(jwt), "content-type": "application/json"},
                body=orjson.dumps(asked),
            )
        )
        found = _checked(reply, given.now_s, CREATED)
        _require_narrow(found, asked)
        end_s = replies.until_s(found, "expires_at", given.now_s)
        return credential(replies.token(found, "token"), given.now_s, end_s - given.now_s)

    @override
    def present(self, credential: Credential, head: RequestHead, body: bytes | None) -> Presented:
        if head.authority.host != self.git_host or head.path.startswith("/api/"):
            return super().present(credential, head, body)
        pair = base64.b64encode(f"x-access-token:{credential.text(TOKEN)}".encode("latin-1")).decode("ascii")
        return Presented(with_headers(head, {**self.add_headers, "authorization": f"Basic {pair}"}), body)

    def _installation(self, jwt: str, given: Ingredients) -> Minting[str]:
        """Its number: as the account says, or looked up by repository, organisation or user."""
        named = filled(self.installation, given.variables)
        if not _INSTALLATION.fullmatch(named):
            raise replies.refused("The installation is not a number, OWNER or OWNER/REPOSITORY.")
        if named.isdigit():
            return named
        places = (f"repos/{named}",) if "/" in named else (f"orgs/{named}", f"users/{named}")
        reply = None
        for place in places:
            reply = yield from call(Call("GET", f"{self.api_url}/{place}/installation", headers=_headers(jwt)))
            if reply.status != NOT_FOUND:
                break
        assert reply is not None
        number = _checked(reply, given.now_s, OK).get("id")
        if not isinstance(number, int) or isinstance(number, bool) or number <= 0:
            raise replies.failed("The installation could not be looked up.")
        return str(number)

    def _asked(self, given: Ingredients) -> dict[str, list[str] | dict[str, str]]:
        """The body: only what is narrowed stands in it. Raises where a name is not one."""
        repositories = _items(self.repositories, given.variables)
        permissions = _items(self.permissions, given.variables)
        if not all(_REPOSITORY.fullmatch(name) for name in repositories if name != EVERYTHING) or not repositories:
            raise replies.refused("A repository of this account is not a name of one.")
        pairs = [_PERMISSION.fullmatch(text) for text in permissions if text != EVERYTHING]
        if not permissions or not all(pairs):
            raise replies.refused("A permission of this account is not NAME:LEVEL.")
        asked: dict[str, list[str] | dict[str, str]] = {}
        if EVERYTHING not in repositories:
            asked["repositories"] = repositories
        if EVERYTHING not in permissions:
            asked["permissions"] = {pair[1]: pair[2] for pair in pairs if pair is not None}
        return asked


def _items(templates: tuple[str, ...], variables: Mapping[str, str]) -> list[str]:
    """Every item of every template, where a variable may hold several with commas between them."""
    texts = (filled(template, variables) for template in templates)
    return [item.strip() for text in texts for item in text.split(",") if item.strip()]


def _headers(jwt: str) -> dict[str, str]:
    return {
        "authorization": f"Bearer {jwt}",
        "accept": "application/vnd.github+json",
        "x-github-api-version": "2022-11-28",
        "user-agent": "credential-briefcase",
    }


def _checked(reply: Reply, now_s: int, accepted: int) -> Document:
    """The answer, where it is good; what GitHub's refusals mean, told apart.

    Source: GitHub's REST reference, "Create an installation access token for an app".
    """
    limited = "retry-after" in reply.headers or reply.headers.get("x-ratelimit-remaining") == "0"
    match reply.status:
        case 404:
            raise MintFailedError(Denial("not_connected", "The App is not installed there.", by="credentials"))
        case 422:
            raise replies.refused("The installation does not have a repository or permission that is asked for.")
        case 403 if limited:
            raise replies.failed("The token endpoint is busy.", retry_after_s=replies.retry_after_s(reply, now_s))
        case 403:
            raise replies.withdrawn("The installation is suspended, or may not do this.")
        case _:
            return replies.document(reply, now_s, accepted=accepted)


def _require_narrow(found: Document, asked: Mapping[str, list[str] | dict[str, str]]) -> None:
    """What was granted is no more than what was asked for. Raises `MintFailedError`."""
    repositories, permissions = asked.get("repositories"), asked.get("permissions")
    if isinstance(repositories, list):
        named = found.get("repositories")
        listed = named if isinstance(named, list) else [None]
        granted = [item.get("name") if isinstance(item, dict) else None for item in listed]
        wanted = {name.lower() for name in repositories}
        if not all(isinstance(name, str) and name.lower() in wanted for name in granted):
            raise replies.refused("The token is for more repositories than were asked for.")
    if isinstance(permissions, dict):
        given = found.get("permissions")
        if not isinstance(given, dict) or not all(_within(name, level, permissions) for name, level in given.items()):
            raise replies.refused("The token may do more than was asked for.")


def _within(name: str, level: object, asked: Mapping[str, str]) -> bool:
    if name == _IMPLIED and level == "read":
        return True
    wanted = asked.get(name)
    return wanted is not None and level in _LEVELS and _LEVELS.index(str(level)) <= _LEVELS.index(wanted)
