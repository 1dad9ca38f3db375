"""Revocation: the provider forgets what it has granted. Generators, no I/O. Source: RFC 7009."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.credentials.oauth.authorize import json_object, question
from proxy.credentials.oauth.reply import TOO_MANY, UNAVAILABLE, error_code, failed, retry_after_s
from proxy.credentials.oauth.request import ask

if TYPE_CHECKING:
    from proxy.credentials.kind import Ingredients, Minting
    from proxy.credentials.oauth.kind import OAuthCredential
    from proxy.credentials.oauth.places import Places
    from proxy.credentials.oauth.state import Kept

UNSUPPORTED: Final = "unsupported_token_type"
DONE: Final = 200
NO_CONTENT: Final = 204


def revoke(kind: OAuthCredential, given: Ingredients, at: Places, kept: Kept) -> Minting[tuple[str, ...]]:
    """Revoke what is kept, the refresh token first; the names of what was revoked. Only its issuer is shown it.

    A token that the server does not know any more counts as revoked (section 2.2). A server that cannot revoke access
    tokens lets them expire (section 2.2.1).

    Raises:
        MintFailedError: the server did not do it; with `retry_after_s` where it says when to ask again.
    """
    if kept.issuer != kind.issued_by(given.variables):
        raise failed("What is kept is from another authorization server, which alone may be shown it.")
    revoked = []
    for name, value in (("refresh_token", kept.refresh_token), ("access_token", kept.access_token)):
        if value and (yield from _one(kind, given, at, name, value)):
            revoked.append(name)
            if kind.connect.revocation == "named":  # the whole access ends with it, and a second call would fail
                break
    return tuple(revoked)


def _one(kind: OAuthCredential, given: Ingredients, at: Places, name: str, value: str) -> Minting[bool]:
    named = kind.connect.revocation == "named"
    fields = {name: value} if named else {"token": value, "token_type_hint": name}
    reply, _ = yield from ask(question(kind, given, at, at.revocation, fields), given)
    if reply.status in (DONE, NO_CONTENT):
        return True
    if error_code(json_object(reply)) == UNSUPPORTED and name == "access_token":
        return False
    busy = reply.status in (TOO_MANY, UNAVAILABLE)
    detail = "The provider is busy and has not revoked anything." if busy else "The provider did not revoke the token."
    raise failed(detail, retry_after_s=(retry_after_s(reply, given.now_s) or 1) if busy else None)
