"""Whether an API takes the tokens that an account has: what its metadata says. Generators, no I/O.

Source: RFC 9728.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.credentials.kind import Call, CallFailedError, MintFailedError, call
from proxy.credentials.oauth.challenges import challenged
from proxy.credentials.oauth.metadata import no_metadata, protected_resource, split

if TYPE_CHECKING:
    from proxy.credentials.kind import Minting
    from proxy.credentials.oauth.metadata import ResourceMetadata

UNAUTHORIZED: Final = 401


def resource_takes(resource: str, issuer: str, sender: str) -> Minting[None]:
    """Make sure that `resource` takes tokens of `issuer`, in a header, with what `sender` binds them to.

    Raises:
        MintFailedError: it has no metadata, or that says otherwise.
    """
    about = yield from _about(resource)
    if not about.trusts(issuer):
        raise no_metadata("The resource does not take tokens of this authorization server.")
    if about.dpop_bound_access_tokens_required and sender != "dpop":
        raise no_metadata("The resource takes only tokens that are bound to a DPoP key.")
    if about.bearer_methods_supported is not None and "header" not in about.bearer_methods_supported:
        raise no_metadata("The resource takes no tokens in a header.")


def _about(resource: str) -> Minting[ResourceMetadata]:
    """Its metadata: where that has to be (section 3.1), else where its 401 says that it is (section 5.1).

    What a 401 says is a hint: it counts only at the origin of the resource, and for a document that names exactly it.
    """
    try:
        return (yield from protected_resource(resource))
    except MintFailedError as failed:
        challenge = yield from _challenge(resource)
        place = challenged(challenge, "resource_metadata")
        if place is None:
            raise failed from None
        if split(place)[0] != split(resource)[0]:
            raise no_metadata("The resource names a place for its metadata that is not its own.") from None
        return (yield from protected_resource(resource, challenge))


def _challenge(resource: str) -> Minting[str | None]:
    """What `resource` asks for where somebody comes without a token."""
    try:
        reply = yield from call(Call("GET", resource, headers={"accept": "application/json"}))
    except CallFailedError:
        return None
    return reply.headers.get("www-authenticate") if reply.status == UNAUTHORIZED else None
