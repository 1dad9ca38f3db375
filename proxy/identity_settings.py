"""The blocks `users:` and `identity:` of `briefcased.yaml`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # pydantic needs it at run time
from typing import Annotated, Literal

from pydantic import Field

from proxy.documents import Strict

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Grant = Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9_-]*/(\*|[a-z][a-z0-9_-]*))$")]
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519"]


class UserEntry(Strict):
    """A person on whose behalf agents act: then the agent and the person must both be allowed."""

    accounts: tuple[Grant, ...] = ()
    tenant: Name | None = None
    groups: tuple[Name, ...] = ()


class AgentClaim(Strict):
    """Which agent a token is: by the map, else by the pattern. Whoever neither knows is nobody."""

    claim: str = Field(default="sub", min_length=1, description="Its name, or a JSON pointer to it.")
    map: dict[str, Name] = Field(default={}, description="The claim's value to the agent's name.")
    match: str | None = Field(default=None, description="A value with {agent} where the agent's name stands.")


class UserClaim(Strict):
    """On whose behalf the agent acts. A token whose claim names nobody that we know is worth nothing."""

    claim: str = Field(min_length=1, description="Its name, or a JSON pointer to it.")
    map: dict[str, Name] = Field(default={}, description="The claim's value to the user's name.")
    match: str | None = Field(default=None, description="A value with {user} where the user's name stands.")


class TokenIssuer(Strict):
    """Whose JSON Web Tokens agents may authenticate with."""

    issuer: Annotated[str, Field(min_length=1, max_length=1024, description="`iss`, exactly.")]
    audience: Annotated[str, Field(min_length=1, max_length=1024, description="`aud`, or one of them, exactly.")]
    agent: AgentClaim
    user: UserClaim | None = None
    jwks_url: str | None = Field(default=None, description="Where its public keys are, https.")
    jwks_file: Path | None = Field(default=None, strict=False, description="Or a file with them.")
    ca_file: Path | None = Field(default=None, strict=False, description="Trust roots for jwks_url, PEM.")
    bearer_file: Path | None = Field(default=None, strict=False, description="A token to send to jwks_url.")
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1, strict=False)] = ("RS256", "ES256")
    leeway_s: Annotated[int, Field(ge=0, le=300)] = 30
    max_age_s: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Of a token, from its `iat`.")
    keys_max_age_s: Annotated[int, Field(ge=10, le=86_400)] = 300
    keys_stale_s: Annotated[int, Field(ge=0, le=86_400)] = 3600


class Identity(Strict):
    """How agents may say who they are, besides the tokens of `briefcased agents add`."""

    tokens: tuple[TokenIssuer, ...] = ()
