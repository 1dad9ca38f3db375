"""What the schema cannot say about `identity.tokens`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.egress.http import parse_https
from proxy.identity.jwt import PLACEHOLDER, USER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proxy.catalog.checks import Mistake
    from proxy.identity_settings import AgentClaim, TokenIssuer, UserClaim
    from proxy.settings import Settings

FILES: Final = ("jwks_file", "ca_file", "bearer_file")


def token_issuer_mistakes(settings: Settings) -> Iterator[Mistake]:
    """Everything wrong with every issuer."""
    known: set[tuple[str, str]] = set()
    for index, issuer in enumerate(settings.identity.tokens):
        place = ("identity", "tokens", index)
        if (issuer.issuer, issuer.audience) in known:
            yield (*place, "issuer"), "this issuer and audience stand here twice"
        known.add((issuer.issuer, issuer.audience))
        yield from (((*place, *below), message) for below, message in _of(issuer))
        for value, name in issuer.agent.map.items():
            if name not in settings.agents:
                yield (*place, "agent", "map", value), "there is no such agent under agents"
        for value, name in issuer.user.map.items() if issuer.user is not None else ():
            if name not in settings.users:
                yield (*place, "user", "map", value), "there is no such user under users"


def _of(issuer: TokenIssuer) -> Iterator[Mistake]:
    if (issuer.jwks_url is None) == (issuer.jwks_file is None):
        yield ("issuer",), "an issuer has either jwks_url or jwks_file"
    if issuer.jwks_url is not None:
        try:
            parse_https(issuer.jwks_url)
        except ValueError as error:
            yield ("jwks_url",), str(error)
    for name in FILES:
        path: Path | None = getattr(issuer, name)
        if path is not None and name != "jwks_file" and issuer.jwks_url is None:
            yield (name,), "it belongs to jwks_url"
        if path is not None and not path.is_file():
            yield (name,), "there is no such file"
    yield from _rule("agent", issuer.agent, PLACEHOLDER)
    if issuer.user is not None:
        yield from _rule("user", issuer.user, USER)


def _rule(kind: str, rule: AgentClaim | UserClaim, placeholder: str) -> Iterator[Mistake]:
    if not rule.map and rule.match is None:
        yield (kind,), "give map, or match, or both: else every token is nobody's"
    if rule.match is not None and rule.match.count(placeholder) != 1:
        yield (kind, "match"), f"the pattern has {placeholder} exactly once"


def anchored(issuers: tuple[TokenIssuer, ...], base: Path) -> tuple[TokenIssuer, ...]:
    """`issuers` with their paths counted from `base`."""
    return tuple(
        issuer.model_copy(update={name: base / path for name in FILES if (path := getattr(issuer, name)) is not None})
        for issuer in issuers
    )
