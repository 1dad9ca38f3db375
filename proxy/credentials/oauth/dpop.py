"""DPoP: a proof of possession for each request, and what servers ask of it (RFC 9449). Pure."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from proxy.canonical import parse_authority
from proxy.credentials.kind import Sign, signature
from proxy.keys.public import REQUIRED, base64url, from_base64url
from proxy.model import HTTPS_PORT

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from proxy.credentials.kind import Reply
    from proxy.keys.public import PublicKey
    from proxy.model import Authority

KEY: Final = "dpop"
"""The key slot: one key for each account, never shared between providers or accounts."""
PROOF_HEADER: Final = "dpop"
NONCE_HEADER: Final = "dpop-nonce"
NONCE_WANTED: Final = "use_dpop_nonce"
_NONCE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,512}")
"""Characters of a nonce (RFC 9449, section 8.1), and a bound."""
JTI_BYTES: Final = 24
JWT_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof is for: one request to one place, with one token or none.

    Attributes:
        url: as `target_uri` gives it.
        token: the access token that goes along; None at an authorization server.
        nonce: the last one that this server gave; None where it gave none.
    """

    method: str
    url: str
    now_s: int
    token: str | None = None
    nonce: str | None = None


def proof(public: PublicKey, proven: Proven) -> Generator[Sign, Reply | bytes, str]:
    """A fresh proof, signed with the key in slot `dpop` whose public half is `public` (section 4.2)."""
    header = {"typ": "dpop+jwt", "alg": public.algorithm, "jwk": public_members(public.jwk)}
    claims: dict[str, str | int] = {
        "jti": secrets.token_urlsafe(JTI_BYTES),
        "htm": proven.method,
        "htu": proven.url,
        "iat": proven.now_s,
    }
    if proven.token is not None:
        claims["ath"] = token_hash(proven.token)
    if proven.nonce is not None:
        claims["nonce"] = proven.nonce
    message = f"{base64url(orjson.dumps(header))}.{base64url(orjson.dumps(claims))}"
    made = yield from signature(Sign(KEY, message.encode("ascii")))
    return f"{message}.{base64url(made)}"


def public_members(jwk: Mapping[str, str]) -> dict[str, str]:
    """Only what makes the key (RFC 7638, section 3.2); no private member can be among them."""
    return {name: jwk[name] for name in REQUIRED[jwk["kty"]]}


def token_hash(token: str) -> str:
    """`ath`: SHA-256 of the token's ASCII (section 4.2)."""
    return base64url(hashlib.sha256(token.encode("ascii")).digest())


def target_uri(scheme: str, authority: Authority, path: str) -> str:
    """`htu`: the URI as the server sees it, without query and fragment, host in lower case, no default port.

    The path is what leaves. Our canonical form has normalised it (RFC 9449, section 4.3; RFC 3986, section 6.2).
    """
    default = HTTPS_PORT if scheme == "https" else 80
    host = f"[{authority.host}]" if ":" in authority.host else authority.host
    return f"{scheme}://{host}{'' if authority.port == default else f':{authority.port}'}{path}"


def target_of(url: str) -> str:
    """`htu` for one of our own calls, whose URL is an https URL. Raises ValueError."""
    place, _, path = url.removeprefix("https://").partition("?")[0].partition("/")
    authority = parse_authority(place.encode("ascii"), HTTPS_PORT)
    if authority is None:
        raise ValueError("not an https URL")
    return target_uri("https", authority, f"/{path}")


def nonce_of(value: str | None) -> str | None:
    """A nonce that a server gave, where it has the form of one."""
    return value if value is not None and _NONCE.fullmatch(value) else None


def confirmed(token: str, member: str) -> str | None:
    """`cnf.<member>` of a token that is a JWT (RFC 7800); "" where a JWT has none, None where it cannot be read.

    The signature is the provider's business; this is about what it will hold against our key.
    """
    parts = token.split(".")
    if len(parts) != JWT_PARTS:
        return None
    try:
        header, claims = (orjson.loads(from_base64url(part)) for part in parts[:2])
    except (ValueError, UnicodeDecodeError):
        return None
    if not isinstance(header, dict) or "alg" not in header or not isinstance(claims, dict):
        return None
    confirmation = claims.get("cnf")
    value = confirmation.get(member) if isinstance(confirmation, dict) else None
    return value if isinstance(value, str) else ""
