"""Where a person connects an account: endpoints of the profile, else of metadata that names exactly the issuer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.credentials.kind import filled
from proxy.credentials.oauth.metadata import ServerMetadata, authorization_server
from proxy.credentials.oauth.reply import failed
from proxy.credentials.oauth.resource import resource_takes

if TYPE_CHECKING:
    from proxy.credentials.kind import Ingredients, Minting
    from proxy.credentials.oauth.kind import OAuthCredential


@dataclass(frozen=True, slots=True)
class Places:
    """The authorization server, as far as it is known; an endpoint is "" where there is none.

    Attributes:
        issuer: "" where the profile names none; then `iss` of an answer cannot be compared.
        s256: whether PKCE with S256 is known to be supported.
        names_itself: whether every authorization answer carries `iss` (RFC 9207).
        only_pushed: whether requests must be pushed (RFC 9126, section 5).
    """

    token: str
    issuer: str = ""
    authorization: str = ""
    device: str = ""
    pushed: str = ""
    revocation: str = ""
    s256: bool = False
    names_itself: bool = False
    only_pushed: bool = False

    @property
    def audience(self) -> str:
        """Of client assertions: the issuer, else the token endpoint."""
        return self.issuer or self.token


def places(kind: OAuthCredential, given: Ingredients) -> Minting[Places]:
    """Raises `MintFailedError`: no metadata, or it names an endpoint at a host that the profile does not allow."""
    issuer = filled(kind.issuer or "", given.variables)
    if kind.protected_resource is not None:
        yield from resource_takes(filled(kind.protected_resource, given.variables), issuer, kind.sender)
    server = (yield from authorization_server(issuer)) if issuer else ServerMetadata(issuer="")
    said = kind.connect

    def at(own: str | None, name: str) -> str:
        if own is not None:
            return filled(own, given.variables)
        url = getattr(server, name) if kind.certificate is None else server.for_certificate(name)
        if url is not None and not kind.may_name(url, issuer):
            raise failed("The authorization server's metadata names an endpoint that this profile does not allow.")
        return url or ""

    token = at(kind.token_endpoint, "token_endpoint")
    if not token:
        raise failed("The authorization server's metadata names no token endpoint.")
    return Places(
        token=token,
        issuer=issuer,
        authorization=filled(said.authorization_endpoint or server.authorization_endpoint or "", given.variables),
        device=at(said.device_authorization_endpoint, "device_authorization_endpoint"),
        pushed=at(said.pushed_authorization_request_endpoint, "pushed_authorization_request_endpoint"),
        revocation=at(said.revocation_endpoint, "revocation_endpoint"),
        s256=said.pkce == "assumed" or "S256" in (server.code_challenge_methods_supported or ()),
        names_itself=server.authorization_response_iss_parameter_supported,
        only_pushed=said.pushed == "required" or server.require_pushed_authorization_requests,
    )
