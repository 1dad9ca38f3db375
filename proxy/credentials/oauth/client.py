"""How the client shows the authorization server who it is: exactly one way for each request. Pure."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final, Literal, Self
from urllib.parse import quote_plus

from pydantic import Field, model_validator

from proxy.credentials.kind import SecretName, named_in
from proxy.credentials.oauth.assertion import Claims, signed
from proxy.documents import Strict

if TYPE_CHECKING:
    from collections.abc import Generator

    from proxy.credentials.kind import Ingredients, Reply, Step

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_S: Final = 60
CLIENT_KEY: Final = "client"
TLS_KEY: Final = "tls"
"""The key slot of the client certificate, towards the authorization server and towards the provider."""
Algorithm = Literal["ES256", "ES384", "RS256", "EdDSA", "Ed25519"]


class Client(Strict):
    """`client:` of the kind `oauth`: who asks, and how it proves that."""

    auth: Literal["none", "basic", "post", "private_key_jwt", "tls"] = "basic"
    id: str = Field(default="{client_id}", description="May hold {variables}; empty: what `connect` registered.")
    secret: SecretName = Field(default="client_secret", description="For basic and post.")
    algorithm: Algorithm = Field(default="ES256", description="For private_key_jwt: of a key that has to be made.")
    audience: str | None = Field(default=None, description="For private_key_jwt; the issuer, unless it is said.")
    key_id: str | None = Field(default=None, description="For private_key_jwt: `kid`; may hold {variables}.")

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not self.id and self.auth in ("basic", "post"):
            raise ValueError("a client with a secret has an id")
        return self

    @property
    def secrets(self) -> frozenset[str]:
        """The secrets it needs."""
        return frozenset({self.secret} if self.auth in ("basic", "post") else ())

    @property
    def variables(self) -> frozenset[str]:
        """The variables it needs."""
        return named_in(self.id, self.key_id or "", self.audience or "")

    @property
    def keys(self) -> dict[str, str]:
        """The keys it needs, with the algorithm of one that has to be made."""
        match self.auth:
            case "private_key_jwt":
                return {CLIENT_KEY: self.algorithm}
            case "tls":
                return {TLS_KEY: "ES256"}
            case "none" | "basic" | "post":
                return {}


def authenticated(
    client: Client, client_id: str, audience: str, given: Ingredients
) -> Generator[Step, Reply | bytes, tuple[dict[str, str], dict[str, str]]]:
    """The form fields and headers by which `client` authenticates one request; a new assertion each time.

    Args:
        client: how.
        client_id: filled.
        audience: of an assertion: the issuer, or what the profile says (RFC 7523bis, section 3).
        given: secrets and keys.
    """
    match client.auth:
        case "none" | "tls":
            return ({"client_id": client_id} if client_id else {}), {}
        case "basic":
            return {}, {"authorization": basic(client_id, given.secrets[client.secret].reveal().decode())}
        case "post":
            return {"client_id": client_id, "client_secret": given.secrets[client.secret].reveal().decode()}, {}
        case "private_key_jwt":
            claims = Claims(issuer=client_id, subject=client_id, audience=audience, lifetime_s=ASSERTION_S)
            made = yield from signed(claims, CLIENT_KEY, given, key_id=client.key_id)
            return {"client_id": client_id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": made}, {}


def basic(client_id: str, secret: str) -> str:
    """The header's value; both parts are form-encoded first (RFC 6749, section 2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return "Basic " + base64.b64encode(pair.encode()).decode("ascii")
