"""What the authorization server says about a token that cannot be read: whether it is bound to our key. Generators.

Sources: RFC 7662; RFC 8705, section 3.2; RFC 9449, section 6.2.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.credentials.kind import CallFailedError, filled
from proxy.credentials.oauth.binding import UNBOUND, bound_by
from proxy.credentials.oauth.dpop import confirmed
from proxy.credentials.oauth.metadata import authorization_server
from proxy.credentials.oauth.reply import failed, json_object, refused
from proxy.credentials.oauth.request import ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Ingredients, Minting
    from proxy.credentials.oauth.request import Question
    from proxy.credentials.oauth.spec import OAuthSpec

OK: Final = 200


def introspected(kind: OAuthSpec, question: Question, token: str, given: Ingredients) -> Minting[None]:
    """Make sure that `token` is bound to our key, where the profile wants to know and the token does not say.

    The client authenticates as it did in `question`, which the token came for.

    Raises:
        MintFailedError: it is not, or the server does not say.
    """
    bound = bound_by(kind.sender, given.keys)
    if kind.introspection == "never" or bound is None or confirmed(token, bound[0]) is not None:
        return
    url = yield from _endpoint(kind, given.variables)
    asking = replace(
        question,
        url=url,
        fields={"token": token, "token_type_hint": "access_token"},
        format="form",
        proves=False,
        uses_up={},
    )
    try:
        reply, _ = yield from ask(asking, given)
    except CallFailedError:
        raise failed("The authorization server cannot be asked about its token.") from None
    said = json_object(reply) if reply.status == OK else {}
    if said.get("active") is not True:
        raise failed("The authorization server does not say that its token is active.")
    confirmation = said.get("cnf")
    if not isinstance(confirmation, dict) or confirmation.get(bound[0]) != bound[1]:
        raise refused(UNBOUND)


def _endpoint(kind: OAuthSpec, variables: Mapping[str, str]) -> Minting[str]:
    if kind.introspection_endpoint is not None:
        return filled(kind.introspection_endpoint, variables)
    issuer = filled(kind.issuer or "", variables)
    server = yield from authorization_server(issuer)
    with_certificate = kind.certificate is not None
    url = server.for_certificate("introspection_endpoint") if with_certificate else server.introspection_endpoint
    if url is None or not kind.may_name(url, issuer):
        raise failed("The authorization server's metadata names no introspection endpoint that this profile allows.")
    return url
