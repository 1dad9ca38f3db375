"""What each grant asks for: the parameters of its request, without the client's authentication. Generators, no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.credentials.kind import filled
from proxy.credentials.oauth.assertion import Claims, signed
from proxy.credentials.oauth.traits import ASSERTION_KEY

if TYPE_CHECKING:
    from collections.abc import Generator

    from pydantic import JsonValue

    from proxy.credentials.kind import Ingredients, Reply, Step
    from proxy.credentials.oauth.traits import Assertion, Exchange

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105  # the name of a grant


def jwt_bearer(
    assertion: Assertion, audience: str, given: Ingredients
) -> Generator[Step, Reply | bytes, dict[str, JsonValue]]:
    """RFC 7523, section 2.1. A new assertion for each request."""
    if assertion.secret is not None:
        return {"grant_type": JWT_BEARER, "assertion": given.secrets[assertion.secret].reveal().decode().strip()}
    claims = Claims(
        issuer=filled(assertion.issuer, given.variables),
        subject=filled(assertion.subject, given.variables),
        audience=filled(assertion.audience or audience, given.variables),
        lifetime_s=assertion.lifetime_s,
        extra=assertion.claims,
    )
    made = yield from signed(claims, ASSERTION_KEY, given, key_id=assertion.key_id)
    return {"grant_type": JWT_BEARER, "assertion": made}


def token_exchange(exchange: Exchange, given: Ingredients) -> dict[str, JsonValue]:
    """RFC 8693, section 2.1: the actor's token and its type come together."""
    form: dict[str, JsonValue] = {
        "grant_type": TOKEN_EXCHANGE,
        "subject_token": given.secrets[exchange.subject_token].reveal().decode().strip(),
        "subject_token_type": exchange.subject_token_type,
    }
    if exchange.actor_token is not None:
        form["actor_token"] = given.secrets[exchange.actor_token].reveal().decode().strip()
        form["actor_token_type"] = exchange.actor_token_type
    if exchange.requested_token_type is not None:
        form["requested_token_type"] = exchange.requested_token_type
    return form


def scope_to_ask(wanted: str, granted: str) -> str | None:
    """`scope` of a refresh: never more than was granted; None leaves it out, which means what was granted.

    Source: RFC 6749, section 6.
    """
    if not wanted or not granted:
        return None
    had = set(granted.split())
    narrowed = [one for one in wanted.split() if one in had]
    return " ".join(narrowed) if narrowed and set(narrowed) != had else None


def details_fault(asked: tuple[JsonValue, ...], granted: tuple[JsonValue, ...] | None) -> str | None:
    """What is wrong with granted `authorization_details`, or None: each must be one of those asked for, or less.

    Source: RFC 9396, section 7. The server may add members of its own, and shorten lists.
    """
    if not asked:
        return None
    if not granted:
        return "The authorization server does not say which authorization details it granted."
    if all(any(_within(one, other) for other in asked) for one in granted):
        return None
    return "The authorization server granted other authorization details than were asked for."


def _within(granted: JsonValue, asked: JsonValue) -> bool:
    if isinstance(asked, dict) and isinstance(granted, dict):
        return all(name in granted and _within(granted[name], value) for name, value in asked.items())
    if isinstance(asked, list) and isinstance(granted, list):
        return all(any(_within(one, other) for other in asked) for one in granted)
    return granted == asked
