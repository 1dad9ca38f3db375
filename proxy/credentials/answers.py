"""What token endpoints answer, read strictly; none of their text is ever repeated. Pure.

Every function raises `MintFailedError` for what cannot be used.
"""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import orjson

from proxy.credentials.kind import MintFailedError, unusable
from proxy.errors import Denial
from proxy.keys.public import from_base64url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from proxy.credentials.kind import Reply

type Document = Mapping[str, JsonValue]
MAX_TOKEN_CHARACTERS: Final = 32 * 1024
MIN_TOKEN_CHARACTERS: Final = 8
"""Shorter values could not be looked for in answers."""
MAX_LIFETIME_S: Final = 24 * 3600
UNKNOWN_LIFETIME_S: Final = 300
MAX_WAIT_S: Final = 3600
MAX_DIGITS: Final = 12
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_WITHDRAWN: Final = frozenset({"invalid_grant", "invalid_client", "unauthorized_client", "access_denied"})
_TOO_MUCH: Final = frozenset({"invalid_scope", "invalid_target", "invalid_request", "invalid_resource"})
_BUSY: Final = frozenset({429, 503})


def failed(detail: str, *, retry_after_s: int | None = None) -> MintFailedError:
    """The token endpoint gave nothing that can be used. `detail` is ours."""
    return MintFailedError(Denial("token_endpoint_error", detail, by="credentials"), retry_after_s=retry_after_s)


def withdrawn(detail: str) -> MintFailedError:
    """The provider does not accept, or no longer, what the account asks with."""
    return MintFailedError(Denial("credential_revoked", detail, by="credentials"))


def refused(detail: str) -> MintFailedError:
    """What was asked for, or given, must not be used."""
    return MintFailedError(unusable(detail))


def document(reply: Reply, now_s: int, *, accepted: int = 200) -> Document:
    """The JSON object of a good answer.

    Raises:
        MintFailedError: `token_endpoint_error` (busy, garbage, a fault), `credential_revoked`
            (`invalid_grant`, `invalid_client` and their like, or 401), `credential_unavailable` (asked for too much).
    """
    if reply.status in _BUSY:
        raise failed("The token endpoint is busy.", retry_after_s=retry_after_s(reply, now_s))
    found = _parsed(reply.body)
    code = found.get("error") if found is not None else None
    if reply.status == accepted and found is not None and code is None:
        return found
    if code in _WITHDRAWN or reply.status == 401:  # noqa: PLR2004  # unauthorized
        raise withdrawn("The provider does not accept what this account asks for tokens with.")
    if code in _TOO_MUCH:
        raise refused("The provider does not give this account what the profile asks for.")
    if reply.status == accepted and found is None:
        raise failed("The token endpoint did not answer with a JSON object.")
    raise failed("The token endpoint answered with an error.", retry_after_s=retry_after_s(reply, now_s))


def error_codes(reply: Reply) -> frozenset[str]:
    """Texts under `error` and `error.status`, for comparing only."""
    error = (_parsed(reply.body) or {}).get("error")
    inner = error.get("status") if isinstance(error, dict) else error
    return frozenset({inner} if isinstance(inner, str) else ())


def token(found: Document, name: str) -> str:
    """A value that can be sent in a header and looked for in answers."""
    value = found.get(name)
    fits = isinstance(value, str) and MIN_TOKEN_CHARACTERS <= len(value) <= MAX_TOKEN_CHARACTERS
    if not isinstance(value, str) or not fits or not _TOKEN.fullmatch(value):
        raise failed("The token endpoint answered without a token that can be used.")
    return value


def bearer(found: Document) -> str:
    """`access_token`, where its type is Bearer (RFC 6749, section 7.1: others must not be used)."""
    kind = found.get("token_type", "bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise failed("The token endpoint answered with a token of another type.")
    return token(found, "access_token")


def lifetime_s(found: Document) -> int:
    """`expires_in`, at most a day; 300 where it is missing, which means unknown (RFC 6749, section 5.1)."""
    value = found.get("expires_in")
    if value is None:
        return UNKNOWN_LIFETIME_S
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise failed("The token endpoint answered with a lifetime that is none.")
    return min(value, MAX_LIFETIME_S)


def until_s(found: Document, name: str, now_s: int) -> int:
    """The moment under `name` (RFC 3339, with an offset), at most a day ahead."""
    value = found.get(name)
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) and len(value) <= 64 else None  # noqa: PLR2004
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


def retry_after_s(reply: Reply, now_s: int) -> int | None:
    """Seconds from now, at most an hour, or None (RFC 9110, section 10.2.3)."""
    value = reply.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(int(value[:MAX_DIGITS]), MAX_WAIT_S)
    try:
        return min(max(int(parsedate_to_datetime(value).timestamp()) - now_s, 0), MAX_WAIT_S)
    except (ValueError, OverflowError):
        return None


def _parsed(body: bytes) -> Document | None:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
