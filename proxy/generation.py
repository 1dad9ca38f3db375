"""From a checked configuration to one generation: catalogue, accounts, stand-ins, limits, whole. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from proxy.canonical import HeadLimits, parse_authority
from proxy.catalog.binding import bind
from proxy.catalog.matcher import Catalog
from proxy.credentials.standin import StandIn, StandIns, make, random_bits
from proxy.decision import Generation
from proxy.model import HTTPS_PORT
from proxy.risk import SecretShapes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from proxy.catalog.binding import BoundAccount
    from proxy.catalog.configuration import Configuration
    from proxy.catalog.schema import Profile
    from proxy.credentials.grants import GrantKey
    from proxy.model import Agent


def build_generation(
    number: int, configuration: Configuration, agents: Iterable[Agent], *, stand_in_key: bytes
) -> Generation:
    """One configuration made ready. Stand-ins depend on the key, the agent and the account alone."""
    settings, limits = configuration.settings, configuration.settings.limits
    accounts, (policies, rollout) = bind(settings, configuration.profiles), configuration.deciding()
    every = [account for group in accounts.values() for account in group]
    return Generation(
        number=number,
        settings=settings,
        catalog=Catalog(configuration.profiles[name] for name in sorted(settings.providers)),
        accounts=accounts,
        policies=policies,
        rollout=rollout,
        secret_shapes=SecretShapes(
            prefix
            for name in settings.providers
            for secret in configuration.profiles[name].secrets.values()
            for prefix in secret.prefixes
        ),
        profile_versions={
            name: hashlib.sha256(configuration.profiles[name].model_dump_json().encode()).hexdigest()
            for name in settings.providers
        },
        stand_ins=StandIns(s for agent in agents for s in stand_ins_of(agent, every, stand_in_key=stand_in_key)),
        head_limits=HeadLimits(
            max_headers=limits.max_headers,
            max_header_bytes=limits.max_header_bytes,
            max_uri_bytes=limits.max_uri_bytes,
        ),
        allow_private={
            host: tuple(a for t in settings.egress.allow_private if t.host == host for a in t.addresses)
            for host in {target.host for target in settings.egress.allow_private}
        },
        unread=frozenset(a for h in settings.passthrough_hosts if (a := parse_authority(h.encode(), HTTPS_PORT))),
    )


def login_slots(profiles: Mapping[str, Profile], key: GrantKey) -> dict[str, str]:
    """The slot of each token of a login that was captured for `key`, by the token's name; empty where none is."""
    profile = profiles.get(key.account.provider)
    specs = [operation.capture for operation in profile.operations if operation.capture] if profile else []
    return {
        pointer.rpartition("/")[2]: slot
        for spec in specs
        if spec.grant == key.credential
        for pointer, slot in spec.secrets.items()
    }


def captures(catalog: Catalog) -> bool:
    """Whether an enabled profile takes secrets out of replies."""
    return any(one.capture is not None for profile in catalog.profiles.values() for one in profile.operations)


def tells_graphql(catalog: Catalog) -> bool:
    """Whether an enabled profile tells calls apart by their GraphQL documents."""
    return any(one.graphql is not None for profile in catalog.profiles.values() for one in profile.operations)


def stand_ins_of(agent: Agent, accounts: Iterable[BoundAccount], *, stand_in_key: bytes) -> Iterator[StandIn]:
    """One stand-in for every secret of every account that `agent` may use, also for those that are minted.

    Another agent of the same name has others: a stand-in may be all that says whose a call is.

    A kind may want one for what is no secret of the account (an access key id that stands for a role).
    """
    whose = f"{agent.name}#{agent.life}" if agent.life else agent.name
    for account in accounts:
        if not agent.may_use(account.id, account.tenant):
            continue
        described = account.profile.secrets
        minted = (slot for slot, secret in described.items() if secret.minted)
        wanted = (name for kind in account.profile.credentials.values() for name in sorted(kind.stand_in_names()))
        for slot in dict.fromkeys((*account.account.secrets, *minted, *wanted)):
            shape = described[slot].stand_in
            value = make(shape, key=stand_in_key, purpose=f"{whose}:{account.id}:{slot}")
            yield StandIn(value, agent.name, account.id, slot, random_bits(shape))
