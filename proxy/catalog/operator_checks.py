"""What the schema cannot say about `operators`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.egress.http import parse_https
from proxy.identity.jwt import USER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proxy.catalog.checks import Mistake
    from proxy.operator_settings import OidcProvider, OperatorSettings, PersonClaim
    from proxy.settings import Settings

FILES: Final = ("jwks_file", "ca_file")


def operator_mistakes(settings: Settings) -> Iterator[Mistake]:
    """Everything wrong with operators of this machine, and of OpenID providers."""
    operators = settings.operators
    for index, one in enumerate(operators.local):
        yield from _tenant(("operators", "local", index), one.tenant, settings)
    agents = {(one.issuer, one.audience) for one in settings.identity.tokens}
    labels: set[str] = set()
    known: set[tuple[str, str]] = set()
    for number, provider in enumerate(operators.oidc):
        place = ("operators", "oidc", number)
        if provider.label in labels:
            yield (*place, "label"), "this label stands here twice: names would be taken for each other"
        if (provider.issuer, provider.client_id) in known:
            yield (*place, "client_id"), "this issuer and client stand here twice"
        if (provider.issuer, provider.audience or provider.client_id) in agents:
            yield (
                (*place, "client_id"),
                "agents may authenticate with such tokens: give operators a client of their own",
            )
        labels.add(provider.label)
        known.add((provider.issuer, provider.client_id))
        yield from (((*place, *below), message) for below, message in _of(provider, settings))


def _of(provider: OidcProvider, settings: Settings) -> Iterator[Mistake]:
    if provider.jwks_url is not None and provider.jwks_file is not None:
        yield ("jwks_file",), "an issuer has either jwks_url or jwks_file"
    for name in ("issuer", "jwks_url"):
        url: str | None = getattr(provider, name)
        try:
            parse_https(url or "https://localhost/")
        except ValueError as error:
            yield (name,), str(error)
    for name in FILES:
        path: Path | None = getattr(provider, name)
        if path is not None and not path.is_file():
            yield (name,), "there is no such file"
    for index, rule in enumerate(provider.roles):
        yield from _tenant(("roles", index), rule.tenant, settings)
    if provider.user is not None:
        yield from _person(provider.user, settings)


def _person(rule: PersonClaim, settings: Settings) -> Iterator[Mistake]:
    if not rule.map and rule.match is None:
        yield ("user",), "give map, or match, or both"
    if rule.match is not None and rule.match.count(USER) != 1:
        yield ("user", "match"), f"the pattern has {USER} exactly once"
    for value, name in rule.map.items():
        if name not in settings.users:
            yield ("user", "map", value), "there is no such user under users"


def _tenant(place: tuple[str | int, ...], tenant: str | None, settings: Settings) -> Iterator[Mistake]:
    if tenant is not None and settings.tenants and tenant not in settings.tenants:
        yield (*place, "tenant"), "there is no such tenant under tenants"


def anchored(operators: OperatorSettings, base: Path) -> OperatorSettings:
    """`operators` with the paths of their providers counted from `base`."""
    found = tuple(
        one.model_copy(update={name: base / path for name in FILES if (path := getattr(one, name)) is not None})
        for one in operators.oidc
    )
    return operators.model_copy(update={"oidc": found})
