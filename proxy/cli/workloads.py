"""Puts together what judges the tokens of platforms, before the sidecar itself exists."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from proxy.egress.dial import Dialler
from proxy.egress.http import HttpClient
from proxy.egress.resolver import Resolver
from proxy.identity.directory import Directory
from proxy.identity.keys import FromFile, FromUrl, Keys
from proxy.identity.store import revoked_agents
from proxy.identity.workload import WorkloadAuthenticator

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from proxy.clock import Clock
    from proxy.identity.registry import AgentRegistry
    from proxy.identity_settings import TokenIssuer
    from proxy.secretstore import SecretStores
    from proxy.settings import Settings

FETCH_WITHIN_S: Final = 10.0


def workload_authenticator(
    settings: Settings, registry: AgentRegistry, database: Engine, *, stores: SecretStores, clock: Clock
) -> WorkloadAuthenticator:
    """Judges JWTs by `identity.tokens`, and leaves everything else to `registry`."""
    return WorkloadAuthenticator(
        registry,
        token_issuers(settings, stores=stores, clock=clock),
        directory=Directory.of(settings),
        revoked=partial(revoked_agents, database),
        clock=clock,
    )


def token_issuers(settings: Settings, *, stores: SecretStores, clock: Clock) -> list[tuple[TokenIssuer, Keys]]:
    """Those of `identity.tokens`, each with what keeps its keys."""
    timeout_s = settings.egress.connect_timeout_s
    dialler = Dialler(
        resolver=Resolver(clock=clock, timeout_s=timeout_s),
        connect_timeout_s=timeout_s,
        own_listeners=frozenset,
        read_secret=partial(stores.get, at_least=1),
    )
    http = HttpClient(dialler=dialler, timeout_s=FETCH_WITHIN_S)
    return [
        (
            issuer,
            Keys(
                FromFile(issuer.jwks_file)
                if issuer.jwks_file is not None
                else FromUrl(issuer, http=http, proxy=settings.egress.upstream_proxy),
                issuer=issuer,
                clock=clock,
            ),
        )
        for issuer in settings.identity.tokens
    ]
