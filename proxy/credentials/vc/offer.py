"""A credential offer: what an issuer puts into a link or a QR code. Pure.

Source: OpenID for Verifiable Credential Issuance 1.0, section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from proxy.credentials.kind import Call, MintFailedError, call, unusable
from proxy.credentials.oauth.metadata import is_endpoint
from proxy.credentials.vc import replies
from proxy.credentials.vc.jose import BadTokenError, json_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Minting

PRE_AUTHORIZED: Final = "urn:ietf:params:oauth:grant-type:pre-authorized_code"
MAX_CHARACTERS: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer with a pre-authorized code.

    Attributes:
        server: the authorization server, where the offer names one.
        wants_tx_code: whether a transaction code has to be typed in, which came another way.
    """

    issuer: str
    configurations: tuple[str, ...]
    code: str = field(repr=False)
    server: str | None
    wants_tx_code: bool


def read_offer(text: str) -> Minting[Offer]:
    """The offer in a link (`openid-credential-offer://?…`, or any https link of the form), or as JSON itself.

    Raises:
        MintFailedError: it is none, or has no pre-authorized code.
    """
    text = text.strip()
    if len(text) > MAX_CHARACTERS:
        raise MintFailedError(unusable("The offer is too long."))
    if text.startswith("{"):
        return _offer(_json(text))
    try:
        given = parse_qs(urlsplit(text).query, max_num_fields=16)
    except ValueError:
        given = {}
    match given:
        case {"credential_offer": [inline]}:
            return _offer(_json(inline))
        case {"credential_offer_uri": [uri]} if is_endpoint(uri):
            reply = yield from call(Call("GET", uri, {"accept": "application/json"}))
            return _offer(replies.good_object(reply, 0, "The offer cannot be fetched."))
    raise MintFailedError(unusable("This is not a credential offer."))


def _json(text: str) -> dict[str, object]:
    try:
        return json_object(text)
    except BadTokenError:
        raise MintFailedError(unusable("This is not a credential offer.")) from None


def _offer(told: Mapping[str, object]) -> Offer:
    match told:
        case {
            "credential_issuer": str(issuer),
            "credential_configuration_ids": [str(), *_] as names,
            "grants": {
                "urn:ietf:params:oauth:grant-type:pre-authorized_code": {"pre-authorized_code": str(code), **rest}
            },
        }:
            server = rest.get("authorization_server")
            if isinstance(server, str | None):
                configurations = tuple(name for name in names if isinstance(name, str))
                return Offer(issuer, configurations, code, server, rest.get("tx_code") is not None)
    raise MintFailedError(unusable("The offer has no pre-authorized code, or is malformed."))
