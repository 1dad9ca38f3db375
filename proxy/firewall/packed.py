"""A binary message that is one zlib document, as Discord's gateway sends large events: searched inside. Pure."""

from __future__ import annotations

import zlib
from typing import Final

from proxy.firewall.withheld import WithheldError

ZLIB_DEFLATE: Final = 0x78
HEAD_BYTES: Final = 2


def unpacked(content: bytes, limit: int) -> bytes | None:
    """What the zlib document `content` holds; None where it is none, or something follows it.

    Raises:
        WithheldError: more than `limit` bytes.

    Source: RFC 1950, section 2.2.
    """
    if len(content) < HEAD_BYTES or content[0] != ZLIB_DEFLATE or int.from_bytes(content[:HEAD_BYTES]) % 31:
        return None
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(content, limit + 1)
    except zlib.error:
        return None
    if len(found) > limit:
        raise WithheldError("a packed message is too large")
    return found if stream.eof and not stream.unused_data else None


def packed(content: bytes) -> bytes:
    """`content` as a zlib document."""
    return zlib.compress(content)
