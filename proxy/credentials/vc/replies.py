"""JSON answers of verifiers and issuers. They are hostile input: sizes, types and numbers are checked. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.canonical.pointer import steps_of
from proxy.credentials.oauth.reply import TOKEN, failed, retry_after_s
from proxy.credentials.vc.jose import BadTokenError, json_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Reply

MAX_TOKEN_CHARACTERS: Final = 16 * 1024
USUAL_LIFETIME_S: Final = 300
"""Where an answer does not say how long a token lives (RFC 6749, section 5.1: only recommended)."""
MARGIN_S: Final = 10
MAX_LIFETIME_S: Final = 24 * 3600


def good_object(reply: Reply, now_s: int, detail: str) -> dict[str, object]:
    """The JSON object of a 2xx answer. Raises `MintFailedError` with `detail`, which is ours."""
    if not 200 <= reply.status < 300:  # noqa: PLR2004  # RFC 9110, section 15.3
        raise failed(detail, retry_after_s=retry_after_s(reply, now_s))
    try:
        return json_object(reply.body)
    except BadTokenError:
        raise failed(detail) from None


def at(document: object, pointer: str) -> object:
    """What stands at a JSON pointer (RFC 6901); None where nothing does."""
    for name in steps_of(pointer):
        document = document.get(name) if isinstance(document, dict) else None
    return document


def token_at(document: Mapping[str, object], pointer: str, detail: str) -> str:
    """The token at `pointer`: printable ASCII of a bounded length. Raises `MintFailedError` with `detail`."""
    token = at(document, pointer)
    if not isinstance(token, str) or len(token) > MAX_TOKEN_CHARACTERS or not TOKEN.fullmatch(token):
        raise failed(detail)
    return token


def expires_at_s(lifetime_s: object, now_s: int, detail: str) -> int:
    """When a token with such an `expires_in` is no longer presented. Raises `MintFailedError` with `detail`."""
    seconds = USUAL_LIFETIME_S if lifetime_s is None else lifetime_s
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > MARGIN_S:
        raise failed(detail)
    return now_s + int(min(seconds, MAX_LIFETIME_S)) - MARGIN_S
