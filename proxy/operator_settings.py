"""The block `operators:` of `briefcased.yaml`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # pydantic needs it at run time
from typing import Annotated, Literal

from pydantic import Field

from proxy.documents import Strict
from proxy.model import Role  # noqa: TC001  # pydantic needs it at run time

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Claim = Annotated[str, Field(min_length=1, max_length=256)]
Issuer = Annotated[str, Field(pattern=r"^https://[^\s?#{}@]+$", max_length=1024)]
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519"]


class LocalOperator(Strict):
    """Who a user of this machine is at `listeners.admin`."""

    uid: Annotated[int, Field(ge=0)]
    name: Name
    role: Annotated[Role, Field(strict=False)]
    tenant: Name | None = Field(default=None, description="The only tenant that they see and change; absent: all.")


class RoleRule(Strict):
    """The role of whoever has this value in a claim of their ID token, which may be text or a list of texts."""

    claim: Claim = Field(description="Its name, or a JSON pointer to it.")
    value: Annotated[str, Field(min_length=1, max_length=256)]
    role: Annotated[Role, Field(strict=False)]
    tenant: Name | None = Field(default=None, description="The only tenant that they see and change; absent: all.")


class PersonClaim(Strict):
    """Which of `users:` an operator is: nobody decides about a call that an agent made on their own behalf."""

    claim: Claim = Field(description="Its name, or a JSON pointer to it.")
    map: dict[str, Name] = Field(default={}, description="The claim's value to the user's name.")
    match: str | None = Field(default=None, description="A value with {user} where the user's name stands.")


class OidcProvider(Strict):
    """An OpenID provider whose people may log in: `briefcased operators login`. Its client is a public one."""

    label: Name = Field(description="Operators from there are LABEL/NAME.")
    issuer: Issuer = Field(description="`iss`, exactly.")
    client_id: Annotated[str, Field(pattern=r"^[!-~]{1,256}$", description="Of the public client for this login.")]
    audience: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None, description="What `aud` must name; the client_id unless said."
    )
    roles: Annotated[tuple[RoleRule, ...], Field(min_length=1)] = Field(
        description="The first that fits counts; whom none fits is nobody."
    )
    name: Claim = Field(
        default="sub", description="The claim that the operator is named by; kept from the first login."
    )
    user: PersonClaim | None = Field(
        default=None, description="Without it they never decide about calls that are made on behalf of users."
    )
    device: bool = Field(
        default=False,
        description="Also with --device. Such ID tokens have no nonce: any that this client is issued counts, once.",
    )
    scope: Annotated[str, Field(pattern=r"^openid( [!-z|~]+)*$", max_length=512)] = "openid"
    redirect: Annotated[
        str, Field(pattern=r"^http://(127\.0\.0\.1|\[::1\]|localhost)(:[1-9][0-9]{0,4})?/[A-Za-z0-9/_-]{0,64}$")
    ] = Field(default="http://127.0.0.1/callback", description="Loopback; a free port is picked where it names none.")
    session_s: Annotated[int, Field(ge=60, le=86_400)] = Field(
        default=28_800, description="How long a login counts at most."
    )
    max_age_s: Annotated[int, Field(ge=10, le=3600)] = Field(
        default=600, description="Of an ID token, from its `iat`, when it is exchanged."
    )
    jwks_url: str | None = Field(default=None, description="Where its public keys are; else its metadata says.")
    jwks_file: Path | None = Field(default=None, strict=False, description="Or a file with them.")
    ca_file: Path | None = Field(default=None, strict=False, description="Trust roots for the provider, PEM.")
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1, strict=False)] = ("RS256", "ES256")
    leeway_s: Annotated[int, Field(ge=0, le=300)] = 30
    keys_max_age_s: Annotated[int, Field(ge=10, le=86_400)] = 300
    keys_stale_s: Annotated[int, Field(ge=0, le=86_400)] = 3600

    @property
    def bearer_file(self) -> None:
        """No token is sent to a provider to read its keys, which are public."""


class OperatorSettings(Strict):
    """Who administers the sidecar, besides those of `briefcased operators add`."""

    local: tuple[LocalOperator, ...] = Field(
        default=(),
        description="Users of this machine, by user id; absent: the sidecar's own user is `local`, an admin.",
    )
    oidc: tuple[OidcProvider, ...] = Field(default=(), description="OpenID providers whose people may log in.")
    hosts: tuple[Annotated[str, Field(pattern=r"^[a-z0-9.-]{1,253}(:\d{1,5})?$")], ...] = Field(
        default=(), description="Further values of Host under which listeners.api is asked, as HOST or HOST:PORT."
    )
