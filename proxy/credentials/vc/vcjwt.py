"""Credentials of the W3C data model as JWT: read one, wrap it into a presentation. Pure.

Sources: Verifiable Credentials Data Model 2.0; Securing Verifiable Credentials using JOSE and COSE, sections 3.1 and 4.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from proxy.credentials.vc import jose
from proxy.credentials.vc.jose import BadTokenError, json_object, parse, signed
from proxy.keys.public import from_base64url

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from proxy.credentials.kind import Reply, Sign
    from proxy.credentials.vc.jose import Jws
    from proxy.keys.public import PublicKey

CONTEXT: Final = "https://www.w3.org/ns/credentials/v2"
DID_JWK: Final = "did:jwk:"


def read(text: str) -> Jws:
    """A credential with `typ` `vc+jwt`.

    Raises:
        BadTokenError: the first context is another, it is no VerifiableCredential, or wraps one in `vc` or `vp`.
    """
    token = parse(text, ("vc+jwt",))
    claims = token.claims
    context, kinds = claims.get("@context"), claims.get("type")
    if not isinstance(context, list) or context[:1] != [CONTEXT]:
        raise BadTokenError("its first context is not that of the data model 2.0")
    if "VerifiableCredential" not in (kinds if isinstance(kinds, list) else [kinds]):
        raise BadTokenError("it is not a verifiable credential")
    if claims.keys() & {"vc", "vp"} or "credentialSubject" not in claims:
        raise BadTokenError("its claims are not those of the data model 2.0")
    return token


def valid_at(claims: Mapping[str, object], now_s: int) -> int | None:
    """As `jose.valid_at`, and by what the credential itself says: `validFrom` and `validUntil`.

    Source: Verifiable Credentials Data Model 2.0, section 4.9; either pair may stand alone.
    """
    begins_s, ends_s = (_moment_s(claims, name) for name in ("validFrom", "validUntil"))
    times = {"nbf": begins_s, "exp": ends_s}
    said = jose.valid_at({name: at_s for name, at_s in times.items() if at_s is not None}, now_s)
    ends = [at_s for at_s in (jose.valid_at(claims, now_s), said) if at_s is not None]
    return min(ends, default=None)


def _moment_s(claims: Mapping[str, object], name: str) -> int | None:
    """An XML Schema `dateTimeStamp`: its time zone is required. None where there is none."""
    value = claims.get(name)
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise BadTokenError(f"its {name} is not a time")
    return max(int(at.timestamp()), 0)


def issuer_of(token: Jws) -> str | None:
    """Its issuer; where `iss` and `issuer` both stand they must agree. Raises `BadTokenError`."""
    said = token.claims.get("issuer")
    named = said.get("id") if isinstance(said, dict) else said
    iss = token.claims.get("iss", named)
    if named is not None and named != iss:
        raise BadTokenError("it names two issuers")
    return iss if isinstance(iss, str) else None


def holder_of(token: Jws) -> object:
    """The public JWK it is bound to: `cnf`, or a subject that is a `did:jwk`. None where there is none."""
    match token.claims:
        case {"cnf": {"jwk": jwk}}:
            return jwk
        case {"credentialSubject": {"id": str(subject)}} if subject.startswith(DID_JWK):
            try:
                return json_object(from_base64url(subject.removeprefix(DID_JWK).partition("#")[0]))
            except ValueError:
                raise BadTokenError("its holder's identifier is malformed") from None
    return None


def presented(
    token: Jws, slot: str, key: PublicKey, *, audience: str, nonce: str, now_s: int, lifetime_s: int
) -> Generator[Sign, Reply | bytes, str]:
    """A presentation (`vp+jwt`) of `token` for one verifier."""
    enclosed = f"data:application/vc+jwt,{token.text}"
    claims = {
        "@context": [CONTEXT],
        "type": ["VerifiablePresentation"],
        "verifiableCredential": [{"@context": CONTEXT, "type": "EnvelopedVerifiableCredential", "id": enclosed}],
        "aud": audience,
        "nonce": nonce,
        "iat": now_s,
        "exp": now_s + lifetime_s,
    }
    return (yield from signed(slot, key, {"typ": "vp+jwt", "cty": "vp", "jwk": dict(key.jwk)}, claims))
