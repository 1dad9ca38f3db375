"""Discovery: what an authorization server, or a protected resource, says about itself. Generators, no I/O.

    server = yield from authorization_server("https://as.example.com/tenant")        RFC 8414, OpenID Connect Discovery
    resource = yield from protected_resource("https://api.example.com/v1", challenge)  RFC 9728

A document counts only where it names exactly what was asked about; everything in it is hostile until then, and none
of its text is ever repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from proxy.canonical import parse_authority
from proxy.credentials.kind import Call, MintFailedError, call
from proxy.credentials.oauth.challenges import challenged
from proxy.errors import Denial
from proxy.model import HTTPS_PORT

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.credentials.kind import Minting, Reply

MAX_METADATA_BYTES: Final = 128 * 1024
MAX_URL_CHARACTERS: Final = 2048
MAX_MEMBERS: Final = 256
FOUND: Final = 200
NOTHING_THERE: Final = (404, 410)
HTTPS: Final = "https://"
SERVER: Final = "oauth-authorization-server"
OPENID: Final = "openid-configuration"
RESOURCE: Final = "oauth-protected-resource"


def is_endpoint(url: str) -> bool:
    """Whether `url` is https with a host, and has no user information, fragment, or character that cannot be sent."""
    plain = url.isascii() and url.isprintable() and not set(url) & set(' "<>\\^`{|}#')
    if not (plain and url.startswith(HTTPS) and len(url) <= MAX_URL_CHARACTERS):
        return False
    authority = url.removeprefix(HTTPS).partition("/")[0].partition("?")[0]
    return parse_authority(authority.encode("ascii"), HTTPS_PORT) is not None


def is_issuer(url: str) -> bool:
    """Whether `url` can be an issuer: an https URL without query (RFC 8414, section 2)."""
    return is_endpoint(url) and "?" not in url


def _endpoint(url: str) -> str:
    if not is_endpoint(url):
        raise ValueError("not an https URL")
    return url


type Endpoint = Annotated[str, AfterValidator(_endpoint)]
type Text = Annotated[str, Field(max_length=MAX_URL_CHARACTERS)]
type Texts = Annotated[tuple[Text, ...], Field(max_length=MAX_MEMBERS)]


class _Metadata(BaseModel):
    """A document: members that nobody here knows are left out; a known one of a wrong type makes it no document."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, hide_input_in_errors=True)


class MtlsAliases(_Metadata):
    """Where clients with a certificate go instead (RFC 8705, section 5)."""

    token_endpoint: Endpoint | None = None
    revocation_endpoint: Endpoint | None = None
    introspection_endpoint: Endpoint | None = None
    pushed_authorization_request_endpoint: Endpoint | None = None
    device_authorization_endpoint: Endpoint | None = None


class ServerMetadata(_Metadata):
    """An authorization server (RFC 8414, section 2, and what later documents add). None: it does not say.

    Attributes:
        issuer: exactly the one that was asked about.
    """

    issuer: Text
    authorization_endpoint: Endpoint | None = None
    token_endpoint: Endpoint | None = None
    device_authorization_endpoint: Endpoint | None = None
    revocation_endpoint: Endpoint | None = None
    introspection_endpoint: Endpoint | None = None
    pushed_authorization_request_endpoint: Endpoint | None = None
    jwks_uri: Endpoint | None = None
    mtls_endpoint_aliases: MtlsAliases = MtlsAliases()
    scopes_supported: Texts | None = None
    grant_types_supported: Texts | None = None
    code_challenge_methods_supported: Texts | None = None
    token_endpoint_auth_methods_supported: Texts | None = None
    token_endpoint_auth_signing_alg_values_supported: Texts | None = None
    dpop_signing_alg_values_supported: Texts | None = None
    authorization_details_types_supported: Texts | None = None
    require_pushed_authorization_requests: bool = False
    authorization_response_iss_parameter_supported: bool = False
    tls_client_certificate_bound_access_tokens: bool = False

    def for_certificate(self, endpoint: str) -> str | None:
        """The URL of `endpoint` for a client that presents a certificate: the alias where there is one."""
        found = getattr(self.mtls_endpoint_aliases, endpoint, None) or getattr(self, endpoint)
        return found if isinstance(found, str) else None


class ResourceMetadata(_Metadata):
    """A protected resource (RFC 9728, section 2).

    Attributes:
        resource: exactly the one that was asked about.
        authorization_servers: issuers; a token from any other must not be sent there.
    """

    resource: Text
    authorization_servers: Texts = ()
    scopes_supported: Texts | None = None
    bearer_methods_supported: Texts | None = None
    dpop_signing_alg_values_supported: Texts | None = None
    dpop_bound_access_tokens_required: bool = False
    tls_client_certificate_bound_access_tokens: bool = False

    def trusts(self, issuer: str) -> bool:
        """Whether tokens of `issuer` are for this resource. By exact comparison."""
        return issuer in self.authorization_servers


def server_locations(issuer: str) -> tuple[str, ...]:
    """Where the metadata of `issuer` may be, in the order in which they are asked.

    Source: RFC 8414, sections 3 and 5; OpenID Connect Discovery 1.0, section 4.
    """
    origin, path = split(issuer)
    path = path.rstrip("/")
    inserted = (f"{origin}/.well-known/{SERVER}{path}", f"{origin}/.well-known/{OPENID}{path}")
    return (*inserted, f"{origin}{path}/.well-known/{OPENID}") if path else inserted


def resource_locations(resource: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """Where the metadata of `resource` may be, each with the identifiers that the document may carry there.

    Source: RFC 9728, sections 3.1 and 3.3.
    """
    origin, rest = split(resource)
    root = frozenset({origin, f"{origin}/", resource})
    at_root = (f"{origin}/.well-known/{RESOURCE}", root)
    if rest.strip("/") == "":
        return (at_root,)
    path, mark, query = rest.partition("?")
    inserted = f"{origin}/.well-known/{RESOURCE}{path.rstrip('/')}{mark}{query}"
    return ((inserted, frozenset({resource})), at_root)


def authorization_server(issuer: str) -> Minting[ServerMetadata]:
    """What `issuer` says about itself, from the first place that has a document which names exactly `issuer`.

    Raises:
        MintFailedError: there is none.
    """
    if not is_issuer(issuer):
        raise no_metadata("The issuer is not an https URL.")
    for url in server_locations(issuer):
        reply = yield from call(_fetch(url, partial(_server, issuer)))
        if (found := _server(issuer, reply)) is not None:
            return found
    raise no_metadata("The authorization server has no metadata that names exactly this issuer.")


def protected_resource(resource: str, challenge: str | None = None) -> Minting[ResourceMetadata]:
    """What `resource` says about itself.

    Args:
        resource: the https URL that is asked about.
        challenge: the `WWW-Authenticate` of its 401, where there was one; a place that it names is the only one asked.

    Raises:
        MintFailedError: there is no document, or it is about another resource.
    """
    if not is_endpoint(resource):
        raise no_metadata("The resource is not an https URL.")
    named = challenged(challenge, "resource_metadata")
    if named is not None and not is_endpoint(named):
        raise no_metadata("The resource names a place for its metadata that is not an https URL.")
    places = resource_locations(resource) if named is None else ((named, frozenset({resource})),)
    for url, identifiers in places:
        reply = yield from call(_fetch(url, partial(_resource, identifiers)))
        if (found := _resource(identifiers, reply)) is not None:
            return found
    raise no_metadata("The resource has no metadata that names exactly this resource.")


def no_metadata(detail: str) -> MintFailedError:
    """The failure of discovery. `detail` is ours."""
    return MintFailedError(Denial("token_endpoint_error", detail, by="credentials"))


def _fetch(url: str, read: Callable[[Reply], object | None]) -> Call:
    """The question; what `read` takes for the document that is meant, or that nothing is there, may be kept."""
    return Call(
        "GET",
        url,
        headers={"accept": "application/json"},
        max_reply_bytes=MAX_METADATA_BYTES,
        keeps=lambda reply: reply.status in NOTHING_THERE or read(reply) is not None,
    )


def _server(issuer: str, reply: Reply) -> ServerMetadata | None:
    found = _read(ServerMetadata, reply)
    return found if found is not None and found.issuer == issuer else None


def _resource(identifiers: frozenset[str], reply: Reply) -> ResourceMetadata | None:
    found = _read(ResourceMetadata, reply)
    return found if found is not None and found.resource in identifiers else None


def _read[M: _Metadata](model: type[M], reply: Reply) -> M | None:
    """The document, or None for anything that is not one; a page of a web site answers any path."""
    if reply.status != FOUND:
        return None
    try:
        data = orjson.loads(reply.body)
        # pydantic reads the JSON itself, so that "strict" judges what was sent and not what Python made of it.
        return model.model_validate_json(orjson.dumps(data)) if isinstance(data, Mapping) else None
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, ValidationError):
        return None


def split(url: str) -> tuple[str, str]:
    """Origin and the rest. `url` is an endpoint."""
    place = url.removeprefix(HTTPS)
    end = min((found for found in (place.find("/"), place.find("?")) if found >= 0), default=len(place))
    return HTTPS + place[:end], place[end:]
