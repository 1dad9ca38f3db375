"""The YAML of `kind: oauth`: its fields, and what can be said about them without asking anybody. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self, override
from urllib.parse import urlsplit

import orjson
from pydantic import Field, JsonValue, model_validator

from proxy.credentials.kind import HeaderName, Kind, SecretName, filled, named_in
from proxy.credentials.oauth.client import TLS_KEY, Client
from proxy.credentials.oauth.connection import Connect
from proxy.credentials.oauth.dpop import KEY as DPOP_KEY
from proxy.credentials.oauth.traits import ASSERTION_KEY, REFRESHED, Assertion, Exchange, Grant, Refresh

if TYPE_CHECKING:
    from collections.abc import Mapping

Https = Annotated[str, Field(pattern=r"^https://[^\s?#]+(\?[^\s#]*)?$")]
RESERVED: Final = frozenset(
    [
        "actor_token",
        "actor_token_type",
        "assertion",
        "audience",
        "authorization_details",
        "client_assertion",
        "client_assertion_type",
        "client_id",
        "client_secret",
        "code",
        "refresh_token",
        "resource",
        "scope",
        "subject_token",
        "subject_token_type",
    ]
)
"""Parameters that have a field of their own."""


class OAuthSpec(Kind):
    """See docs/credentials/oauth.md."""

    kind: Literal["oauth"]
    grant: Grant
    token_endpoint: Https | None = Field(default=None, description="May hold {variables}.")
    issuer: Https | None = Field(default=None, description="May hold {variables}; discovery, without token_endpoint.")
    protected_resource: Https | None = Field(
        default=None, description="The API's own URL: its metadata must name the issuer (RFC 9728)."
    )
    endpoint_hosts: tuple[str, ...] = Field(default=(), description="Other hosts that discovery may name.")
    client: Client = Client()
    scope: str = Field(default="", description="May hold {variables}.")
    resource: tuple[Https, ...] = Field(default=(), description="RFC 8707.")
    audience: str | None = Field(default=None, description="The parameter audience; may hold {variables}.")
    authorization_details: tuple[dict[str, JsonValue], ...] = Field(default=(), description="RFC 9396.")
    parameters: dict[str, str] = Field(default={}, description="Further parameters; may hold {variables}.")
    headers: dict[HeaderName, str] = Field(default={}, description="Further headers of the token request.")
    format: Literal["form", "json"] = "form"
    refresh_token: SecretName = Field(default="refresh_token", description="For the grant refresh_token.")
    refresh: Refresh = Refresh()
    assertion: Assertion = Assertion()
    exchange: Exchange | None = None
    sender: Literal["bearer", "dpop", "tls"] = Field(default="bearer", description="What the token is bound to.")
    dpop_algorithm: Literal["ES256", "EdDSA", "Ed25519"] = "ES256"
    introspection: Literal["never", "opaque"] = Field(
        default="never", description="Ask whether a token that cannot be read is bound to our key (RFC 7662)."
    )
    introspection_endpoint: Https | None = Field(default=None, description="The metadata's, unless it is said.")
    token_types: tuple[str, ...] = Field(default=(), description="What token_type may be; empty: as the sender says.")
    assumed_lifetime_s: Annotated[int, Field(ge=1, le=86400)] = Field(default=300, description="Without expires_in.")
    connect: Connect = Connect()
    header: HeaderName = "Authorization"
    prefix: str | None = Field(default=None, description="Before the token; none: `Bearer ` or `DPoP `.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.token_endpoint is None and self.issuer is None:
            raise ValueError("give token_endpoint or issuer")
        if (self.exchange is not None) != (self.grant == "token_exchange"):
            raise ValueError("exchange belongs to the grant token_exchange")
        if self.parameters.keys() & RESERVED:
            raise ValueError("a parameter that has a field of its own is not among parameters")
        if self.protected_resource is not None and self.issuer is None:
            raise ValueError("protected_resource needs the issuer that its metadata must name")
        if self.introspection != "never" and (self.sender == "bearer" or self.client.auth == "none"):
            raise ValueError("introspection is for tokens that are bound to a key, and a client that authenticates")
        if self.introspection != "never" and self.issuer is None and self.introspection_endpoint is None:
            raise ValueError("introspection needs introspection_endpoint or issuer")
        if self.sender == "dpop" and (self.header.lower() != "authorization" or self.prefix is not None):
            raise ValueError("a DPoP token stands in Authorization, after DPoP")
        return self

    @override
    def secret_names(self) -> frozenset[str]:
        found = set(self.client.secrets)
        if self.grant == "refresh_token":
            found.add(self.refresh_token)
        if self.grant == "jwt_bearer" and self.assertion.secret is not None:
            found.add(self.assertion.secret)
        if self.exchange is not None:
            found |= {self.exchange.subject_token} | ({self.exchange.actor_token or ""} - {""})
        return frozenset(found)

    @override
    def variable_names(self) -> frozenset[str]:
        texts = [self.token_endpoint, self.issuer, self.scope, self.audience, *self.resource]
        texts += [self.protected_resource, self.introspection_endpoint]
        texts += [*self.parameters.values(), *self.headers.values()]
        if self.by_a_person:
            texts += [self.connect.authorization_endpoint, *self.connect.asked, *self.connect.parameters.values()]
        if self._signs_grant:
            texts += [self.assertion.issuer, self.assertion.subject, self.assertion.audience, self.assertion.key_id]
        return named_in(*(text or "" for text in texts)) | self.client.variables

    @override
    def key_names(self) -> Mapping[str, str]:
        found = dict(self.client.keys)
        if self._signs_grant:
            found[ASSERTION_KEY] = self.assertion.algorithm
        if self.sender == "dpop":
            found[DPOP_KEY] = self.dpop_algorithm
        if self.sender == "tls":
            found[TLS_KEY] = "ES256"
        return found

    @override
    def endpoints(self, variables: Mapping[str, str]) -> tuple[str, ...]:
        # Where a person connects, the client's secret and the tokens go to what metadata and `connect` name as well.
        asked = self.connect.asked if self.by_a_person else ()
        issuer = self.issuer if self.by_a_person or self.token_endpoint is None else None
        at = (self.token_endpoint, issuer, self.introspection_endpoint, *asked)
        named = [filled(url, variables) for url in at if url is not None]
        return (*named, *(f"https://{host}/" for host in self.endpoint_hosts))

    @override
    def certificate_slot(self) -> str | None:
        return TLS_KEY if self.sender == "tls" else None

    @property
    def _signs_grant(self) -> bool:
        return self.grant == "jwt_bearer" and self.assertion.secret is None

    @property
    def by_a_person(self) -> bool:
        """Whether the grant is one that a person gives, with `briefcased connect`."""
        return self.grant in ("authorization_code", "device_code")

    @property
    def refreshes(self) -> bool:
        """Whether the grant lives from a refresh token."""
        return self.grant in REFRESHED

    @property
    def certificate(self) -> str | None:
        """The slot of the client certificate, where one is presented to the authorization server."""
        return TLS_KEY if self.client.auth == "tls" or self.sender == "tls" else None

    @property
    def accepted_types(self) -> frozenset[str]:
        """`token_type`, lower-case: a type that is not understood is refused (RFC 6749, section 7.1)."""
        return frozenset(one.lower() for one in self.token_types or ("dpop" if self.sender == "dpop" else "bearer",))

    @override
    def issued_by(self, variables: Mapping[str, str]) -> str:
        """Whose tokens these are: the issuer, or the token endpoint where no issuer is said."""
        return filled(self.issuer or self.token_endpoint or "", variables)

    def may_name(self, endpoint: str, issuer: str) -> bool:
        """Whether discovery may name `endpoint`: at the issuer's host, or at one that the profile lists."""
        host = urlsplit(endpoint).hostname
        return host is not None and (host == urlsplit(issuer).hostname or host in self.endpoint_hosts)

    def asked_for(self, variables: Mapping[str, str], jkt: str) -> str:
        """A hash of everything that a token depends on, besides secrets."""
        parts = orjson.dumps(
            [self.model_dump(mode="json", exclude={"connect"}), sorted(variables.items()), jkt],
            option=orjson.OPT_SORT_KEYS,
        )
        return hashlib.sha256(parts).hexdigest()[:32]
