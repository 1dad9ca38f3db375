"""Every form in which a value is looked for, each with what takes its place."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from typing import TYPE_CHECKING, Final

from proxy.firewall.escapes import PARTIAL, TOTAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    type Pair = tuple[bytes, bytes]

MIN_ENCODED_CHARS: Final = 8
"""Shorter pieces of base64 would be found by chance."""
FILLER: Final = b"x"


def variants(value: bytes, stand_in: bytes) -> dict[bytes, bytes]:
    """Pattern to replacement: plain first, then escaped, hex and base64 forms. Never empty for a non-empty value.

    Escaped forms are replaced by the stand-in, escaped the same way. Hex and base64 keep their length: the stand-in is
    cut to the value's length, or filled up with `x`, and encoded at the same alignment, so what surrounds it decodes
    as before.
    """
    found: dict[bytes, bytes] = {value: stand_in}
    for escape in (*PARTIAL, *TOTAL):
        found.setdefault(escape(value), escape(stand_in))
    fitted = stand_in[: len(value)].ljust(len(value), FILLER)
    for pattern, replacement in (*_hex(value, fitted), *_base64(value, fitted)):
        found.setdefault(pattern, replacement)
    return found


def _hex(value: bytes, fitted: bytes) -> Iterator[Pair]:
    yield value.hex().encode(), fitted.hex().encode()
    yield value.hex().upper().encode(), fitted.hex().upper().encode()


def _base64(value: bytes, fitted: bytes) -> Iterator[Pair]:
    for encode in (b64encode, urlsafe_b64encode):
        for shift in range(3):
            for pattern, replacement in _windows(value, fitted, shift, encode):
                if len(pattern) >= MIN_ENCODED_CHARS:
                    yield pattern, replacement
                    yield from _escaped(pattern, replacement)


def _escaped(pattern: bytes, replacement: bytes) -> Iterator[Pair]:
    if not pattern.isalnum():  # else every escape leaves it as it is
        yield from ((escape(pattern), escape(replacement)) for escape in PARTIAL)


def _windows(value: bytes, fitted: bytes, shift: int, encode: Callable[[bytes], bytes]) -> Iterator[Pair]:
    """The base64 characters that `value` alone determines when `shift` other bytes stand before it in its group.

    Yields them for a value in the middle of a text, and with the last, partly filled character for one at its end:
    that one matters most, as `user:secret` of Basic authentication ends so (RFC 7617, section 2).
    """
    first, bits = -(-8 * shift // 6), 8 * (shift + len(value))
    ours, theirs = (encode(bytes(shift) + text).rstrip(b"=") for text in (value, fitted))
    yield ours[first : bits // 6], theirs[first : bits // 6]
    yield ours[first:], theirs[first:]
