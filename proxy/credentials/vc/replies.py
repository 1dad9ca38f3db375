"""What token endpoints and verifiers answer. It is hostile input: sizes, types and numbers are checked. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.credentials.kind import MintFailedError
from proxy.credentials.vc.jose import BadTokenError, json_object
from proxy.errors import Denial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Reply

MAX_TOKEN_CHARACTERS: Final = 16 * 1024
USUAL_LIFETIME_S: Final = 300
"""Where an answer does not say how long a token lives (RFC 6749, section 5.1: only recommended)."""
MARGIN_S: Final = 10
MAX_LIFETIME_S: Final = 24 * 3600
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_SECONDS: Final = re.compile(r"[0-9]{1,6}")


def failed(detail: str, *, retry_after_s: int | None = None) -> MintFailedError:
    """The endpoint gave nothing that can be used."""
    return MintFailedError(Denial("token_endpoint_error", detail, by="credentials"), retry_after_s=retry_after_s)


def good_object(reply: Reply, detail: str) -> dict[str, object]:
    """The JSON object of a 2xx answer. Raises `MintFailedError` with `detail`, which is ours."""
    if not 200 <= reply.status < 300:  # noqa: PLR2004  # RFC 9110, section 15.3
        raise failed(detail, retry_after_s=retry_after_s(reply))
    try:
        return json_object(reply.body)
    except BadTokenError:
        raise failed(detail) from None


def retry_after_s(reply: Reply) -> int | None:
    """Whole seconds of `Retry-After`; dates are left to the broker's own choice."""
    said = reply.headers.get("retry-after", "")
    return int(said) if _SECONDS.fullmatch(said) else None


def at(document: object, pointer: str) -> object:
    """What stands at a JSON pointer (RFC 6901); None where nothing does."""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        document = document.get(name) if isinstance(document, dict) else None
    return document


def token_at(document: Mapping[str, object], pointer: str, detail: str) -> str:
    """The token at `pointer`: printable ASCII of a bounded length. Raises `MintFailedError` with `detail`."""
    token = at(document, pointer)
    if not isinstance(token, str) or not _TOKEN.fullmatch(token) or len(token) > MAX_TOKEN_CHARACTERS:
        raise failed(detail)
    return token


def expires_at_s(document: Mapping[str, object], now_s: int, detail: str) -> int:
    """When a token that came with `expires_in` is no longer presented. Raises `MintFailedError` with `detail`."""
    lifetime = document.get("expires_in", USUAL_LIFETIME_S)
    if isinstance(lifetime, str) and _SECONDS.fullmatch(lifetime):
        lifetime = int(lifetime)
    if isinstance(lifetime, bool) or not isinstance(lifetime, int | float) or not lifetime > MARGIN_S:
        raise failed(detail)
    return now_s + int(min(lifetime, MAX_LIFETIME_S)) - MARGIN_S
