"""JSON Web Tokens that agents authenticate with: shape, signature, claims. Pure.

Sources: RFC 7515, RFC 7519 and RFC 8725 (pinned algorithms, exact issuer and audience, keys from nowhere but us).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import orjson
from joserfc import jwk, jws
from joserfc.errors import JoseError

from proxy.canonical.pointer import steps_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from joserfc.jwk import Key as Jwk

    from proxy.identity_settings import TokenIssuer

MAX_TOKEN_CHARACTERS: Final = 8192
MAX_HEADER_CHARACTERS: Final = MAX_TOKEN_CHARACTERS * 4 // 3 + 512
MAX_KEYS: Final = 64
MAX_TRIED: Final = 4
MIN_RSA_BITS: Final = 2048
MIN_RSA_CHARACTERS: Final = 342
"""So many Base64 characters have so many bits at least; joserfc warns of shorter keys where it should refuse."""
TYPES: Final = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
KEY_TYPES: Final = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
CURVES: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "Ed25519": "Ed25519"}
PLACEHOLDER: Final = "{agent}"
USER: Final = "{user}"
LAST_S: Final = 2.0**53
_TIMES: Final = (("exp", None), ("nbf", 0), ("iat", 0))
_SHAPE: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class Presented:
    """A token as it came: nothing in it is believed yet.

    Attributes:
        kind: `typ`, in lower case.
        id: `jwt_` and the first 128 bits of its SHA-256, for receipts and the memory of verified ones.
        issuer: whose keys to look at.
    """

    text: str
    id: str
    algorithm: str
    key_id: str | None
    issuer: str
    kind: str


@dataclass(frozen=True, slots=True)
class Key:
    """A public key of an issuer. `print` is its RFC 7638 thumbprint."""

    id: str | None
    algorithm: str | None
    type: str
    curve: str | None
    public: Jwk
    print: str

    def fits(self, token: Presented) -> bool:
        """Whether it may have signed `token`: its id, type, curve and, where it says one, its algorithm."""
        return (
            (token.key_id is None or self.id == token.key_id)
            and self.algorithm in (None, token.algorithm)
            and KEY_TYPES.get(token.algorithm[:2]) == self.type
            and CURVES.get(token.algorithm, self.curve) == self.curve
        )


class Rules(Protocol):
    """What of an issuer's settings its tokens are held to."""

    @property
    def issuer(self) -> str: ...  # noqa: D102
    @property
    def algorithms(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def leeway_s(self) -> int: ...  # noqa: D102
    @property
    def max_age_s(self) -> int | None: ...  # noqa: D102


class Naming(Protocol):
    """Whom a claim names: by the map, else by the pattern."""

    @property
    def claim(self) -> str: ...  # noqa: D102
    @property
    def map(self) -> dict[str, str]: ...  # noqa: D102
    @property
    def match(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Signed:
    """The claims that a signature covers, until when they hold, and the thumbprint of the key."""

    claims: Mapping[str, object]
    expires_s: float
    key: str


@dataclass(frozen=True, slots=True)
class Verified:
    """Whose token it is, on whose behalf, until when, and by which key."""

    agent: str
    user: str | None
    expires_s: float
    key: str


def jwt_in(proxy_authorization: str) -> Presented | None:
    """The JWT of a `Proxy-Authorization` header (Bearer, or Basic's password or user); None where there is none."""
    if len(proxy_authorization) > MAX_HEADER_CHARACTERS:
        return None
    scheme, _, rest = proxy_authorization.partition(" ")
    rest = rest.strip()
    if scheme.lower() == "bearer":
        return presented(rest)
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(rest, validate=True).decode("ascii").partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return presented(password) or presented(user)


def presented(text: str) -> Presented | None:
    """A JWT's parts, without belief; None where it is not one, or asks for something that nobody should do."""
    found = _SHAPE.fullmatch(text) if len(text) <= MAX_TOKEN_CHARACTERS else None
    if found is None:
        return None
    header, claims = _object(found[1]), _object(found[2])
    if header is None or claims is None or header.keys() & {"crit", "b64", "enc", "zip"}:
        return None
    algorithm, key_id, kind, issuer = header.get("alg"), header.get("kid"), header.get("typ", "JWT"), claims.get("iss")
    if not isinstance(algorithm, str) or not isinstance(issuer, str) or not isinstance(key_id, str | None):
        return None
    if not isinstance(kind, str) or kind.lower() not in TYPES:  # a token of another kind is not one of ours
        return None
    id_ = "jwt_" + hashlib.sha256(text.encode("ascii")).hexdigest()[:32]
    return Presented(text, id_, algorithm, key_id, issuer, kind.lower())


def verify(token: Presented, issuer: TokenIssuer, keys: Iterable[Key], *, now_s: float) -> Verified | None:
    """Whose token this is by `issuer`'s rules, or None."""
    found = signed(token, issuer, issuer.audience, keys, now_s=now_s)
    if found is None:
        return None
    name, user = named(found.claims, issuer.agent, PLACEHOLDER), None
    if issuer.user is not None and (user := named(found.claims, issuer.user, USER)) is None:
        return None
    return None if name is None else Verified(name, user, found.expires_s, found.key)


def signed(token: Presented, rules: Rules, audience: str, keys: Iterable[Key], *, now_s: float) -> Signed | None:
    """What of a token holds now, or None. Claims are read after the signature, from what it covers."""
    if token.issuer != rules.issuer or token.algorithm not in rules.algorithms:
        return None
    for key in [key for key in keys if key.fits(token)][:MAX_TRIED]:
        try:
            opened = jws.deserialize_compact(token.text, key.public, algorithms=[token.algorithm])
        except (JoseError, ValueError):
            continue
        claims = _parsed(opened.payload or b"")
        expires_s = None if claims is None else _valid_until(claims, rules, audience, now_s)
        return None if claims is None or expires_s is None else Signed(claims, expires_s, key.print)
    return None


def _valid_until(claims: Mapping[str, object], rules: Rules, wanted: str, now_s: float) -> float | None:
    """When a token ceases to hold; None when it does not hold now (RFC 7519, section 4.1).

    `exp` is required, and `iat` where there is a `max_age_s`.
    """
    audience = claims.get("aud")
    if claims.get("iss") != rules.issuer:
        return None
    if audience != wanted and not (isinstance(audience, list) and wanted in audience):
        return None
    expires, begins, issued = (_time(claims.get(name, missing)) for name, missing in _TIMES)
    if expires is None or begins is None or issued is None:
        return None
    ends = expires if rules.max_age_s is None else min(expires, issued + rules.max_age_s)
    if max(begins, issued) > now_s + rules.leeway_s or (rules.max_age_s is not None and "iat" not in claims):
        return None
    return ends + rules.leeway_s if now_s < ends + rules.leeway_s else None


def _time(value: object) -> float | None:
    """Seconds since 1970 (RFC 7519, section 2: NumericDate)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LAST_S:
        return None
    return float(value)


def claimed(claims: Mapping[str, object], claim: str) -> object:
    """What stands there; None where nothing does."""
    value: object = claims
    for step in claim_steps(claim):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def named(claims: Mapping[str, object], rule: Naming, placeholder: str) -> str | None:
    """Who a claim names: by the map, else by the pattern with its placeholder; None where neither knows it."""
    value = claimed(claims, rule.claim)
    if not isinstance(value, str):
        return None
    if value in rule.map:
        return rule.map[value]
    if rule.match is None:
        return None
    before, _, after = rule.match.partition(placeholder)
    if len(value) <= len(before) + len(after) or not (value.startswith(before) and value.endswith(after)):
        return None
    name = value[len(before) : len(value) - len(after)]
    return name if _NAME.fullmatch(name) else None


def claim_steps(claim: str) -> tuple[str, ...]:
    """The names on the way to a claim: its name, or a JSON pointer (RFC 6901) with a slash in front."""
    if not claim.startswith("/"):
        return (claim,)
    return tuple(steps_of(claim))


def keys_in(document: bytes) -> tuple[Key, ...] | None:
    """The usable public keys of a JWK set (RFC 7517, section 5); None where it is not one. Others are left out."""
    parsed = _parsed(document)
    listed = parsed.get("keys") if parsed is not None else None
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        return None
    return tuple(key for entry in listed if isinstance(entry, dict) and (key := _key(entry)) is not None)


def _key(entry: dict[str, object]) -> Key | None:
    kind, key_id, algorithm, curve = entry.get("kty"), entry.get("kid"), entry.get("alg"), entry.get("crv")
    operations = entry.get("key_ops", ["verify"])
    if kind not in ("RSA", "EC", "OKP") or "d" in entry or entry.get("use", "sig") != "sig":
        return None  # never `oct`: a public document holds no shared key (RFC 8725, section 3.1)
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    if not (isinstance(key_id, str | None) and isinstance(algorithm, str | None) and isinstance(curve, str | None)):
        return None
    public = {name: entry[name] for name in ("kty", "n", "e", "crv", "x", "y") if isinstance(entry.get(name), str)}
    if kind == "RSA" and len(str(public.get("n", ""))) < MIN_RSA_CHARACTERS:
        return None
    try:
        key = jwk.import_key(public)  # type: ignore[arg-type]
        bits = getattr(key.public_key, "key_size", MIN_RSA_BITS)
        if kind == "RSA" and bits < MIN_RSA_BITS:
            return None
        return Key(key_id, algorithm, kind, curve, key, key.thumbprint())
    except (JoseError, ValueError, KeyError, TypeError):
        return None


def _object(part: str) -> dict[str, object] | None:
    try:
        return _parsed(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError):
        return None


def _parsed(raw: bytes) -> dict[str, object] | None:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
