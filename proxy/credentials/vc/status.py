"""Status lists: what a bit says, and whether a list may be believed. Pure.

Sources: Token Status List (draft-ietf-oauth-status-list): JWT form, least significant bit first, zlib;
W3C Bitstring Status List 1.0: most significant bit first, GZIP, multibase `u`, at least 131,072 entries.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.credentials.vc import vcjwt
from proxy.credentials.vc.jose import BadTokenError, seconds, valid_at
from proxy.keys.public import from_base64url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.vc.jose import Jws

MAX_LIST_BYTES: Final = 4 * 1024 * 1024
"""Inflated: some 33 million credentials with one bit each."""
MIN_BITSTRING_BYTES: Final = 131_072 // 8
USUAL_TTL_S: Final = 300
MAX_TTL_S: Final = 12 * 3600
VALID: Final = 0
LIST_TYPE: Final = "BitstringStatusListCredential"
_ZLIB: Final = zlib.MAX_WBITS
_GZIP: Final = zlib.MAX_WBITS | 16


class StatusUnknownError(BadTokenError):
    """Nothing can be said of a credential's status: its list cannot be had or believed."""


@dataclass(frozen=True, slots=True)
class StatusRef:
    """Where a credential's status stands. `size` is in bits; 0 where the list says it. `purpose`: of a bitstring."""

    uri: str
    index: int
    form: str
    size: int = 0
    purpose: str = ""


def refs_in(claims: Mapping[str, object]) -> tuple[StatusRef, ...]:
    """Every status that a credential refers to; empty where it has none.

    Raises:
        BadTokenError: it has a status that is of no known kind.
    """
    found: list[StatusRef] = []
    if (status := claims.get("status")) is not None:
        found.append(_token_status(status))
    entries = claims.get("credentialStatus")
    listed = entries if isinstance(entries, list) else [] if entries is None else [entries]
    return (*found, *(_bitstring_entry(entry) for entry in listed))


def _token_status(status: object) -> StatusRef:
    match status:
        case {"status_list": {"uri": str(uri), "idx": int(index)}} if index >= 0 and not isinstance(index, bool):
            return StatusRef(uri, index, "statuslist+jwt")
    raise BadTokenError("it has a status of a kind that is not supported")


def _bitstring_entry(entry: object) -> StatusRef:
    match entry:
        case {
            "type": "BitstringStatusListEntry",
            "statusPurpose": "revocation" | "suspension" as purpose,
            "statusListIndex": str(index),
            "statusListCredential": str(uri),
            **rest,
        } if index.isascii() and index.isdigit() and len(index) <= 12:  # noqa: PLR2004
            size = rest.get("statusSize", 1)
            if isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= 8:  # noqa: PLR2004
                return StatusRef(uri, int(index), "vc+jwt", size, purpose)
    raise BadTokenError("it has a status of a kind that is not supported")


def status_in(token: Jws, ref: StatusRef, now_s: int) -> tuple[int, int]:
    """The status at `ref`, and until when it may be believed (seconds since the epoch); `token` is verified already.

    Raises:
        StatusUnknownError: it is another list, has ended, is broken or too large, or does not reach so far.
    """
    try:
        if ref.form == "statuslist+jwt":
            ends_s, ttl_s = valid_at(token.claims, now_s), seconds(token.claims, "ttl")
            value = _of_token_list(token, ref)
        else:
            ends_s = vcjwt.valid_at(token.claims, now_s)
            value, ttl_s = _of_bitstring(token, ref)
    except BadTokenError as bad:
        raise StatusUnknownError(str(bad)) from None
    fresh_s = now_s + min(USUAL_TTL_S if ttl_s is None else max(ttl_s, 1), MAX_TTL_S)
    return value, fresh_s if ends_s is None else min(fresh_s, ends_s)


def _of_token_list(token: Jws, ref: StatusRef) -> int:
    if token.says("sub") != ref.uri or seconds(token.claims, "iat") is None:
        raise BadTokenError("the status list is not the one that the credential names")
    match token.claims.get("status_list"):
        case {"bits": int() as bits, "lst": str(packed)} if bits in (1, 2, 4, 8) and not isinstance(bits, bool):
            return token_status(inflated(packed, _ZLIB), bits, ref.index)
    raise BadTokenError("the status list is malformed")


def _of_bitstring(token: Jws, ref: StatusRef) -> tuple[int, int | None]:
    """The status, and for how long it may be believed, in seconds (section 2.2; `ttl` is in milliseconds)."""
    subject, kinds = token.claims.get("credentialSubject"), token.claims.get("type")
    if token.claims.get("id") not in (None, ref.uri) or not isinstance(subject, dict):
        raise BadTokenError("the status list is not the one that the credential names")
    if LIST_TYPE not in (kinds if isinstance(kinds, list) else [kinds]):
        raise BadTokenError("the status list is no status list")
    purposes = subject.get("statusPurpose")
    if ref.purpose not in (purposes if isinstance(purposes, list) else [purposes]):
        raise BadTokenError("the status list is for another purpose than the credential says")
    packed = subject.get("encodedList")
    if subject.get("type") != "BitstringStatusList" or not isinstance(packed, str) or not packed.startswith("u"):
        raise BadTokenError("the status list is malformed")
    ttl_ms = seconds(subject, "ttl")
    value = bitstring_status(inflated(packed[1:], _GZIP), ref.size, ref.index)
    return value, None if ttl_ms is None else ttl_ms // 1000


def token_status(raw: bytes, bits: int, index: int) -> int:
    """Entry `index` of a Token Status List with `bits` per entry, least significant first. Raises `BadTokenError`."""
    each = 8 // bits
    if index >= len(raw) * each:
        raise BadTokenError("the status list does not reach so far")
    return raw[index // each] >> (index % each) * bits & (1 << bits) - 1


def bitstring_status(raw: bytes, size: int, index: int) -> int:
    """Entry `index` of a W3C bitstring with `size` bits per entry, the leftmost first. Raises `BadTokenError`."""
    if len(raw) < MIN_BITSTRING_BYTES:
        raise BadTokenError("the status list is too short to hide whom it is about")
    start = index * size
    if start + size > len(raw) * 8:
        raise BadTokenError("the status list does not reach so far")
    piece = int.from_bytes(raw[start // 8 : (start + size + 7) // 8], "big")
    return piece >> (-(start + size) % 8) & (1 << size) - 1


def inflated(packed: str, window_bits: int) -> bytes:
    """The list's bytes; at most `MAX_LIST_BYTES`. Raises `BadTokenError`."""
    inflate = zlib.decompressobj(window_bits)
    try:
        raw = inflate.decompress(from_base64url(packed), MAX_LIST_BYTES + 1)
    except (ValueError, zlib.error):
        raise BadTokenError("the status list is not compressed as it should be") from None
    if len(raw) > MAX_LIST_BYTES or not inflate.eof:
        raise BadTokenError("the status list is too large, or cut off")
    return raw
