"""Compact signed tokens: strict shape, pinned algorithms, signature. Pure.

Sources: RFC 7515, RFC 7518, RFC 8725 (pinned algorithms and types), RFC 9864 (fully specified algorithms).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson
import rfc8785
from joserfc import jwk, jws
from joserfc.errors import JoseError

from proxy.credentials.kind import Sign, signature
from proxy.keys.public import REQUIRED, base64url, from_base64url

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from proxy.credentials.kind import Reply
    from proxy.keys.public import PublicKey

MAX_CHARACTERS: Final = 2 * 1024 * 1024
"""Enough for a status list; everything else is far smaller."""
MAX_KEYS: Final = 64
MAX_TRIED: Final = 4
MIN_RSA_CHARACTERS: Final = 342
"""So many base64url characters have at least 2048 bits."""
_FITS: Final[dict[str, tuple[str, str | None]]] = {
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
    **{f"{family}{bits}": ("RSA", None) for family in ("RS", "PS") for bits in (256, 384, 512)},
}


class _Registry(jws.JWSRegistry):
    """joserfc's own limits (512 bytes of header) are too small for certificates and status lists; ours is checked."""

    max_header_length = MAX_CHARACTERS
    max_payload_length = MAX_CHARACTERS


class BadTokenError(Exception):
    """A token, credential or document is not what it has to be. The text is ours and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Jws:
    """A compact JWS as it came. Nothing in it is believed until `verify` has passed."""

    text: str = field(repr=False)
    header: Mapping[str, object] = field(repr=False)
    claims: Mapping[str, object] = field(repr=False)

    def says(self, name: str) -> str | None:
        """The claim `name`, where it is text."""
        value = self.claims.get(name)
        return value if isinstance(value, str) else None


def parse(text: str, types: Iterable[str] | None) -> Jws:
    """A compact JWS whose `typ` is one of `types` (with or without `application/`); None takes any.

    Raises:
        BadTokenError: another shape or type, base64url that is not canonical, or header fields that must be understood.
    """
    pieces = text.split(".") if len(text) <= MAX_CHARACTERS else []
    if len(pieces) != 3:  # noqa: PLR2004  # header, payload, signature
        raise BadTokenError("it is not a compact signed token")
    header, claims = json_object(_decoded(pieces[0])), json_object(_decoded(pieces[1]))
    _decoded(pieces[2])
    kind = header.get("typ")
    named = kind.lower().removeprefix("application/") if isinstance(kind, str) else None
    if types is not None and (named is None or named not in set(types)):
        raise BadTokenError("its type (typ) is not the one that belongs here")
    if header.keys() & {"crit", "b64", "enc", "zip"} or header.get("alg") not in tuple(_FITS):  # it may be unhashable
        raise BadTokenError("its header asks for something that is not supported")
    return Jws(text, header, claims)


def verify(token: Jws, keys: Iterable[Mapping[str, object]]) -> None:
    """That one of `keys` (public JWKs) has signed `token`: of those that fit its algorithm and key id.

    Raises:
        BadTokenError: none has.
    """
    algorithm = str(token.header["alg"])
    registry = _Registry(algorithms=[algorithm], strict_check_header=False)  # what must be understood is refused before
    fitting = [key for key in keys if _fits(key, algorithm, token.header.get("kid"))]
    for key in fitting[:MAX_TRIED]:
        public = {name: str(key[name]) for name in ("kty", *REQUIRED[str(key["kty"])]) if name in key}
        try:
            imported = jwk.import_key(dict(public))
            jws.deserialize_compact(token.text, imported, registry=registry)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        return
    raise BadTokenError("its signature is by none of the keys that it may be signed with")


def _fits(key: Mapping[str, object], algorithm: str, key_id: object) -> bool:
    kind, curve = _FITS[algorithm]
    if key.get("kty") != kind or (curve is not None and key.get("crv") != curve):
        return False
    if kind == "RSA" and len(str(key.get("n", ""))) < MIN_RSA_CHARACTERS:
        return False
    named = key_id is None or key.get("kid") is None or key.get("kid") == key_id
    return named and key.get("alg") in (None, algorithm) and key.get("use") in (None, "sig")


def keys_in(jwks: object) -> tuple[Mapping[str, object], ...]:
    """The keys of a JWK set (RFC 7517, section 5). Raises `BadTokenError`."""
    listed = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_KEYS:
        raise BadTokenError("it has no usable key set")
    return tuple(key for key in listed if isinstance(key, dict))


def thumbprint(key: object) -> str | None:
    """RFC 7638 thumbprint of a public JWK; None where it is not one, or holds a private part."""
    if not isinstance(key, dict) or "d" in key or "k" in key or key.get("kty") not in tuple(REQUIRED):
        return None
    members = {name: key.get(name) for name in REQUIRED[key["kty"]]}
    if not all(isinstance(value, str) for value in members.values()):
        return None
    return base64url(hashlib.sha256(rfc8785.dumps(members)).digest())


def signed(
    slot: str, key: PublicKey, header: Mapping[str, object], claims: Mapping[str, object]
) -> Generator[Sign, Reply | bytes, str]:
    """A compact JWS by the account's key in `slot`; its `alg` is added to `header`."""
    head = base64url(orjson.dumps({"alg": key.algorithm, **header}))
    message = f"{head}.{base64url(orjson.dumps(dict(claims)))}"
    made = yield from signature(Sign(slot, message.encode("ascii")))
    return f"{message}.{base64url(made)}"


def json_object(raw: bytes | str) -> dict[str, object]:
    """A JSON object. Raises `BadTokenError`."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise BadTokenError("it holds something that is not JSON") from None
    if not isinstance(value, dict):
        raise BadTokenError("it holds JSON that is not an object")
    return value


def seconds(claims: Mapping[str, object], name: str) -> int | None:
    """A NumericDate (RFC 7519, section 2), rounded down; None where there is none. Raises `BadTokenError`."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise BadTokenError(f"its {name} is not a time")
    return int(value)


def valid_at(claims: Mapping[str, object], now_s: int, leeway_s: int = 60) -> int | None:
    """When the token ends, by `exp`; None where it says nothing. `leeway_s` is for clocks, only where it begins.

    Raises:
        BadTokenError: it has ended (`exp`), or does not hold yet (`nbf`, `iat`).
    """
    ends, begins, issued = (seconds(claims, name) for name in ("exp", "nbf", "iat"))
    if ends is not None and ends <= now_s:
        raise BadTokenError("it has expired")
    if max(begins or 0, issued or 0) > now_s + leeway_s:
        raise BadTokenError("it does not hold yet")
    return ends


def _decoded(piece: str) -> bytes:
    try:
        return from_base64url(piece)
    except ValueError:
        raise BadTokenError("it is not canonical base64url") from None
