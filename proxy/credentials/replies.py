"""What vendors' token endpoints answer beyond OAuth, and what their refusals mean for an account. Pure.

Every function raises `MintFailedError` for what cannot be used; nothing that was received is ever repeated.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import orjson

from proxy.credentials.kind import MintFailedError
from proxy.credentials.oauth.reply import (
    MAX_TOKEN_CHARACTERS,
    TOKEN,
    TOO_MANY,
    UNAVAILABLE,
    TokenRefusedError,
    error_code,
    failed,
    json_object,
    read_reply,
    refused,
    retry_after_s,
)
from proxy.errors import Denial
from proxy.keys.public import from_base64url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from proxy.credentials.kind import Reply

type Document = Mapping[str, JsonValue]
MIN_TOKEN_CHARACTERS: Final = 8
"""Shorter values could not be looked for in answers."""
MAX_LIFETIME_S: Final = 24 * 3600
UNKNOWN_LIFETIME_S: Final = 300
"""`expires_in` is only recommended (RFC 6749, section 5.1)."""
OK: Final = 200
UNAUTHORIZED: Final = 401
MAX_DATE_CHARACTERS: Final = 64
_WITHDRAWN: Final = frozenset(
    {"invalid_grant", "invalid_client", "unauthorized_client", "access_denied", "invalid_subject_token"}
)
_TOO_MUCH: Final = frozenset({"invalid_scope", "invalid_target", "invalid_request", "invalid_resource"})

__all__ = ["bearer", "claims", "document", "failed", "refused", "retry_after_s", "token", "until_s", "withdrawn"]


def withdrawn(detail: str) -> MintFailedError:
    """The provider does not accept, or no longer, what the account asks with."""
    return MintFailedError(Denial("credential_revoked", detail, by="credentials"))


def bearer(reply: Reply, now_s: int, *, issued: str | None = None) -> tuple[str, int]:
    """The access token of an OAuth answer, where it is a bearer token, and its lifetime in seconds.

    Args:
        reply: of the token endpoint.
        now_s: wall clock.
        issued: the `issued_token_type` that it must be, where the answer has one (RFC 8693, section 2.2.1).
    """
    try:
        found = read_reply(reply, now_s)
    except TokenRefusedError as error:
        raise _meaning(error.code, reply, now_s) from None
    except MintFailedError:
        if reply.status == UNAUTHORIZED:
            raise _meaning("", reply, now_s) from None
        raise
    if found.token_type not in ("", "bearer") or found.issued_token_type not in (
        None,
        issued or found.issued_token_type,
    ):
        raise failed("The token endpoint answered with a token of another type.")
    if len(found.access_token) < MIN_TOKEN_CHARACTERS:
        raise failed("The token endpoint answered without a token that can be used.")
    life_s = UNKNOWN_LIFETIME_S if found.expires_in_s is None else found.expires_in_s
    return found.access_token, min(life_s, MAX_LIFETIME_S)


def document(reply: Reply, now_s: int, *, accepted: int = OK) -> Document:
    """The JSON object of a good answer of another form.

    Raises:
        MintFailedError: `token_endpoint_error` (busy, garbage, a fault), `credential_revoked`
            (`invalid_grant`, `invalid_client` and their like, or 401), `credential_unavailable` (asked for too much).
    """
    if reply.status in (TOO_MANY, UNAVAILABLE):
        raise failed("The token endpoint is busy.", retry_after_s=retry_after_s(reply, now_s))
    if reply.status == UNAUTHORIZED:
        raise _meaning("", reply, now_s)
    found = json_object(reply)
    if reply.status != accepted or "error" in found:
        raise _meaning(error_code(found) or "", reply, now_s)
    return found


def _meaning(code: str, reply: Reply, now_s: int) -> MintFailedError:
    if code in _WITHDRAWN or reply.status == UNAUTHORIZED:
        return withdrawn("The provider does not accept what this account asks for tokens with.")
    if code in _TOO_MUCH:
        return refused("The provider does not give this account what the profile asks for.")
    return failed("The token endpoint answered with an error.", retry_after_s=retry_after_s(reply, now_s))


def token(found: Document, name: str) -> str:
    """A value that can be sent in a header and looked for in answers."""
    value = found.get(name)
    fits = isinstance(value, str) and MIN_TOKEN_CHARACTERS <= len(value) <= MAX_TOKEN_CHARACTERS
    if not isinstance(value, str) or not fits or not TOKEN.fullmatch(value):
        raise failed("The token endpoint answered without a token that can be used.")
    return value


def until_s(found: Document, name: str, now_s: int) -> int:
    """The moment under `name` (RFC 3339, with an offset), at most a day ahead."""
    value = found.get(name)
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) and len(value) <= MAX_DATE_CHARACTERS else None
        end_s = int(at.timestamp()) if at is not None and at.tzinfo is not None else 0
    except (ValueError, OverflowError):
        end_s = 0
    if end_s <= now_s:
        raise failed("The token endpoint answered with an expiry that is none.")
    return min(end_s, now_s + MAX_LIFETIME_S)


def claims(jwt: str) -> Document:
    """The claims of a JWT that came from its issuer over TLS; its signature is not for us to check."""
    try:
        found = orjson.loads(from_base64url(jwt.split(".")[1]))
    except (ValueError, IndexError):
        found = None
    if not isinstance(found, dict):
        raise failed("The token endpoint answered with something that is not a JWT.")
    return found
