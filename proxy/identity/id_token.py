"""Who logged in, by the ID token of an OpenID provider, and what that gives them. Pure.

Sources: OpenID Connect Core 1.0, section 3.1.3.7; RFC 8725.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from proxy.identity.jwt import USER, claimed, named, presented, signed
from proxy.model import PERSON

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from proxy.identity.jwt import Key
    from proxy.operator_settings import OidcProvider, RoleRule

ID_TOKEN_TYPES: Final = frozenset({"jwt", "application/jwt"})
"""An access token of the same provider (`at+jwt`) says nothing of a login."""
MAX_SUBJECT: Final = 255
NAME: Final = re.compile(PERSON)
"""What may stand after `LABEL/`."""
type Fault = Literal["token", "audience", "nonce", "name", "no_role", "replayed", "name_taken"]
type Pair = tuple[str, str]
"""A claim and a value that it has."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nobody is logged in; `name` is who it was, where that was proved."""

    fault: Fault
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Who logged in.

    Attributes:
        name: `LABEL/NAME`, as the token would have it; whoever had another one before keeps that.
        proved: every rule's claim and value that the token has.
        user: whom of `users:` they are; "" for nobody, None where no rule says.
        once: what is the same for every ID token of this login, however it is spelt.
    """

    subject: str
    name: str
    proved: tuple[Pair, ...]
    user: str | None
    once: str


def nonce_for(verifier: str, host: str) -> str:
    """The nonce of a login: only who has `verifier` can use its ID token, and only at the API that `host` is.

    An API that is not what it seems could else have people log in at its will, and use their tokens at another.
    """
    digest = hashlib.sha256(f"{verifier}\0{host.lower()}".encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def person_of(text: str, provider: OidcProvider, keys: Iterable[Key], *, nonce: str, now_s: float) -> Person | Refusal:
    """Who the ID token `text` of a login with `nonce` is about, by the rules of `provider`."""
    token = presented(text)
    if token is None or token.kind not in ID_TOKEN_TYPES:
        return Refusal("token")
    found = signed(token, provider, provider.audience or provider.client_id, keys, now_s=now_s)
    if found is None:
        return Refusal("token")
    claims = found.claims
    if not _for_us(claims, provider):
        return Refusal("audience")
    if claims.get("nonce") != nonce and not (provider.device and "nonce" not in claims):
        return Refusal("nonce")
    subject, wanted = claims.get("sub"), claimed(claims, provider.name)
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT or not subject.isascii():
        return Refusal("name")
    if not isinstance(wanted, str) or not NAME.fullmatch(wanted):
        return Refusal("name")
    name = f"{provider.label}/{wanted}"
    proved = tuple(dict.fromkeys((rule.claim, rule.value) for rule in provider.roles if _has(claims, rule)))
    if not proved:
        return Refusal("no_role", name)
    user = None if provider.user is None else (named(claims, provider.user, USER) or "")
    # RFC 8628 has no nonce. What is signed are the very characters before the last dot (RFC 7515, section 5.1).
    once = nonce if "nonce" in claims else text.rpartition(".")[0]
    return Person(subject, name, proved, user, once)


def rule_for(provider: OidcProvider, proved: Iterable[Pair]) -> RoleRule | None:
    """The first rule of now that fits what was proved at the login; None: they may nothing any more."""
    held = frozenset(proved)
    return next((rule for rule in provider.roles if (rule.claim, rule.value) in held), None)


def _for_us(claims: Mapping[str, object], provider: OidcProvider) -> bool:
    """Whether the token was issued to our client: `azp` where there is one, and there must be where `aud` is not we."""
    audience, party = claims.get("aud"), claims.get("azp")
    alone = audience in (provider.client_id, [provider.client_id])
    return party == provider.client_id or (party is None and alone)


def _has(claims: Mapping[str, object], rule: RoleRule) -> bool:
    value = claimed(claims, rule.claim)
    return value == rule.value or (isinstance(value, list) and rule.value in value)
