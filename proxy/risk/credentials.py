"""Rules about credentials in what an agent sends: harmless to us, but not for the provider to see. Linear. Pure."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.risk.look import Call

_PEM: Final = "-----BEGIN "
_PRIVATE: Final = "PRIVATE KEY"
_LABEL_CHARS: Final = 64
_JWT_PARTS: Final = 3
_JWT_PART: Final = 8
_B64URL: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_RANDOM_CHARS: Final = range(32, 513)
_MEASURED_CHARS: Final = 128
MIN_ENTROPY_BITS: Final = 4.3
"""Per character. Random base64 of 32 characters has about 4.6 (5 at most); hexadecimal 4 at most; names less."""


def private_key(call: Call) -> bool:
    """The first line of a private key. Source: RFC 7468."""
    return any(_PRIVATE in piece[:_LABEL_CHARS] for text in call.texts for piece in text.split(_PEM)[1:])


def known_secret(call: Call) -> bool:
    """A token of a known vendor that is not a stand-in."""
    return any(map(call.shapes.within, call.texts))


def jwt(call: Call) -> bool:
    """Three parts, of which the first begins an encoded JSON object. Source: RFC 7519."""
    return any(map(_is_jwt, call.words))


def _is_jwt(word: bytes) -> bool:
    if not word.startswith(b"eyJ"):
        return False
    parts = word.split(b".", _JWT_PARTS)
    return len(parts) == _JWT_PARTS and all(len(part) >= _JWT_PART and _B64URL.issuperset(part) for part in parts)


def high_entropy(call: Call) -> bool:
    """A word that is long and random."""
    return any(len(word) in _RANDOM_CHARS and _is_random(word) for word in call.words)


def _is_random(word: bytes) -> bool:
    """Capital and small letters and digits, evenly spread: neither a path, nor a name, nor hexadecimal."""
    if b"/" in word or b"." in word or word.islower() or word.isupper() or not any(48 <= c <= 57 for c in word):  # noqa: PLR2004  # 0 to 9
        return False
    sample = word[:_MEASURED_CHARS]
    counts, size = Counter(sample).values(), len(sample)
    return -sum(n / size * math.log2(n / size) for n in counts) >= MIN_ENTROPY_BITS
