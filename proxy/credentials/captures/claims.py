"""A JWT for the agent to read, and for nothing else: some claims of a real one, and a stand-in for its signature."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

import orjson

from proxy.credentials.captures.reply import CaptureFailedError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_CLAIMS_BYTES: Final = 8 * 1024


def readable(token: str, names: Iterable[str], stand_in: str) -> str:
    """`header.claims.stand_in`, with those claims of `token` that `names` names. Nothing of its signature stays.

    Raises:
        CaptureFailedError: `token` is no JWT, or says too much.

    Source: RFC 7519, section 6 (unsecured JWTs); RFC 7515, section 7.1.
    """
    parts = token.split(".")
    try:
        payload = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (IndexError, ValueError, binascii.Error):
        payload = None
    if not isinstance(payload, dict):
        raise CaptureFailedError("A token in the reply is not a JWT.")
    claims = {name: payload[name] for name in names if name in payload}
    if len(written := orjson.dumps(claims)) > MAX_CLAIMS_BYTES:
        raise CaptureFailedError("A token in the reply says too much.")
    return ".".join((_encoded(orjson.dumps({"alg": "none", "typ": "JWT"})), _encoded(written), stand_in))


def _encoded(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()
