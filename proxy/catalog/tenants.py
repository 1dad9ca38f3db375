"""Tenants, users and on whose behalf agents act: what the schema cannot say about them (P6, H-12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.model import TENANT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.catalog.checks import Mistake
    from proxy.settings import Account, Settings

type Place = tuple[str | int, ...]


def tenant_mistakes(settings: Settings) -> Iterator[Mistake]:
    """Whatever names no tenant, an unknown one, or something of another tenant."""
    for index, name in enumerate(settings.tenants):
        if name in settings.tenants[:index]:
            yield ("tenants", index), "this tenant stands here twice"
    for place, named in _owned(settings):
        if (problem := _unknown(named, settings)) is not None:
            yield (*place, "tenant"), problem
    yield from _grants(settings)
    yield from _users(settings)
    yield from _shared(settings)


def _owned(settings: Settings) -> Iterator[tuple[Place, str | None]]:
    """Everything that belongs to a tenant, and the one that it names."""
    for place, account in _accounts(settings):
        yield place, account.tenant
    for name, agent in settings.agents.items():
        yield ("agents", name), agent.tenant
    for name, user in settings.users.items():
        yield ("users", name), user.tenant


def _accounts(settings: Settings) -> Iterator[tuple[Place, Account]]:
    for provider, entry in settings.providers.items():
        for name, account in entry.accounts.items():
            yield ("providers", provider, "accounts", name), account


def _unknown(named: str | None, settings: Settings) -> str | None:
    if not settings.tenants:
        return None if named is None else "no tenants are declared under tenants"
    if named is None:
        return "tenants are declared, and there is no default one: name one of them"
    return None if named in settings.tenants else "there is no such tenant under tenants"


def _grants(settings: Settings) -> Iterator[Mistake]:
    """Grants that cover nothing of the own tenant. `*` is every account of the own tenant."""
    for kind, parties in (("agents", settings.agents), ("users", settings.users)):
        for name, party in parties.items():
            for index, grant in enumerate(party.accounts):
                problem = _foreign(grant, party.tenant, settings)
                if problem is not None:
                    yield (kind, name, "accounts", index), problem


def _foreign(grant: str, tenant: str | None, settings: Settings) -> str | None:
    if grant == "*":
        return None
    provider, _, name = grant.partition("/")
    accounts = settings.providers[provider].accounts if provider in settings.providers else {}
    covered = accounts.values() if name == "*" else [accounts[name]] if name in accounts else []
    if not covered:
        return "there is no such account"
    return None if any(one.tenant == tenant for one in covered) else "this account is another tenant's"


def _users(settings: Settings) -> Iterator[Mistake]:
    for name, agent in settings.agents.items():
        for index, user in enumerate(agent.users):
            place = ("agents", name, "users", index)
            if user not in settings.users:
                yield place, "there is no such user under users"
            elif settings.users[user].tenant != agent.tenant:
                yield place, "this user is another tenant's"


def _shared(settings: Settings) -> Iterator[Mistake]:
    """Secrets and keys that two tenants would share: what one of them may do with it, the other could too."""
    owners: dict[str, str] = {}
    for place, account in _accounts(settings):
        tenant = account.tenant or TENANT
        for kind, refs in (("secrets", account.secrets), ("keys", account.keys)):
            for slot, ref in refs.items():
                if owners.setdefault(ref, tenant) != tenant:
                    yield (*place, kind, slot), "an account of another tenant has this ref too"
