"""What the commands about connections work with: the configuration's accounts, their grants, and calls to providers."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from proxy.catalog.configuration import load_configuration
from proxy.cli.state import local_passphrase
from proxy.clock import SystemClock
from proxy.credentials.kind import MintFailedError
from proxy.credentials.oauth import OAuthCredential
from proxy.credentials.order import Order, ingredients
from proxy.credentials.runner import Runner
from proxy.db.threads import in_thread
from proxy.errors import BriefcaseError, Refused
from proxy.generation import build_generation, login_slots
from proxy.keys.signer import KeyUnavailableError
from proxy.settings import environment, home

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
    from pathlib import Path

    from proxy.catalog.binding import BoundAccount
    from proxy.clock import Clock
    from proxy.credentials.grants import Granted, GrantKey, Lease
    from proxy.credentials.kind import Ingredients, Minting
    from proxy.decision import Generation
    from proxy.keys.signer import Signer
    from proxy.secret import Secret
    from proxy.secretstore import SecretStores
    from proxy.services import CredentialServices

CALL_S: Final = 10.0
BY_A_PERSON: Final = frozenset({"authorization_code", "device_code"})
"""Grants that a person gives."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """One account with the credential that is connected, and everything that its kind mints from."""

    order: Order
    kind: OAuthCredential
    secrets: Mapping[str, Secret]
    signers: Mapping[str, Signer]


@dataclass(frozen=True)
class Connections:
    """Open while a command runs."""

    generation: Generation
    services: CredentialServices
    stores: SecretStores
    runner: Runner
    clock: Clock

    def accounts(self) -> Iterator[BoundAccount]:
        """Every account of the configuration."""
        for group in self.generation.accounts.values():
            yield from group

    def account(self, name: str) -> BoundAccount:
        """`provider/account`, or `provider` where it has one account, or a default. Raises `BriefcaseError`."""
        provider, slash, wanted = name.partition("/")
        group = self.generation.accounts.get(provider, ())
        found = [one for one in group if one.id.name == wanted] if slash else [one for one in group if one.is_default]
        if not slash and not found:
            found = list(group)
        if len(found) == 1:
            return found[0]
        known = ", ".join(str(one.id) for one in (group or self.accounts()))
        if group and not slash:
            raise BriefcaseError(f"say which account of {provider}: {known}")
        raise BriefcaseError(f"the configuration has no account {name}; it has {known or 'none'}")

    async def logins(self) -> list[GrantKey]:
        """The grants of agents that have logged in for themselves."""
        versions, profiles = await in_thread(self.services.grants.versions), self.generation.catalog.profiles
        return sorted((key for key in versions if key.agent and login_slots(profiles, key)), key=str)

    async def chosen(self, account: BoundAccount) -> Chosen:
        """The credential of `account` that a person connects. Raises `BriefcaseError` where there is none."""
        name, kind = _connectable(account)
        described = account.account
        order = Order(
            account.id, name, kind, described.secrets, described.keys, account.variables, origins=account.origins
        )
        names = [*kind.secret_names(), *(n for n in kind.optional_secret_names() if n in described.secrets)]
        secrets = {slot: await self.stores.get(described.secrets[slot]) for slot in names}
        try:
            await self.services.bindings.admit(order, secrets)
        except Refused as refused:
            raise BriefcaseError(f"{account.id}: {refused.denial.detail}") from None
        return Chosen(order, kind, secrets, await self.signers(order))

    async def signers(self, order: Order) -> dict[str, Signer]:
        """The keys that the kind of `order` signs with, by slot. Raises `BriefcaseError`."""
        try:
            return {
                slot: await self.services.keys.signer(order.account, slot, order.keys.get(slot), algorithm)
                for slot, algorithm in order.kind.key_names().items()
            }
        except KeyUnavailableError as error:
            raise BriefcaseError(f"{order.account}: {error}") from None

    def given(self, chosen: Chosen, granted: Granted) -> Ingredients:
        """What the kind works with, now."""
        return ingredients(chosen.order, chosen.secrets, chosen.signers, granted, self.clock.wall_ms() // 1000)

    async def run[T](
        self,
        chosen: Chosen,
        minting: Minting[T],
        *,
        lease: Lease | None = None,
        passing: type[MintFailedError] | None = None,
    ) -> T:
        """What `minting` returns; `lease` is renewed before each call.

        Raises:
            BriefcaseError: the reason, which is ours; or `passing` as it is.
        """
        try:
            return await self.runner.mint(minting, chosen.order.account.provider, chosen.signers, lease)
        except MintFailedError as failed:
            if passing is not None and isinstance(failed, passing):
                raise
            raise BriefcaseError(f"{chosen.order.account}: {failed.denial.detail}") from None


def _connectable(account: BoundAccount) -> tuple[str, OAuthCredential]:
    kinds = people_connect(account)
    if not kinds:
        raise BriefcaseError(f"no credential of {account.id} is connected by a person; its profile wants secrets only")
    for name, kind in kinds.items():
        if not lacking(account, kind):
            return name, kind
    name, kind = next(iter(kinds.items()))
    raise BriefcaseError(f"account {account.id} cannot be connected: it lacks {', '.join(lacking(account, kind))}")


def people_connect(account: BoundAccount) -> dict[str, OAuthCredential]:
    """The credentials of the profile that a person connects, in the account's order."""
    every = account.profile.credentials
    names = account.account.credentials or tuple(every)
    kinds = ((name, every[name]) for name in names)
    return {name: kind for name, kind in kinds if isinstance(kind, OAuthCredential) and kind.grant in BY_A_PERSON}


def lacking(account: BoundAccount, kind: OAuthCredential) -> list[str]:
    """The secrets and variables that the account has not got, in words."""
    secrets = sorted(kind.secret_names() - account.account.secrets.keys())
    variables = sorted(kind.variable_names() - account.variables.keys())
    return [*(f"the secret {name}" for name in secrets), *(f"the variable {name}" for name in variables)]


@contextlib.asynccontextmanager
async def opened(config: Path) -> AsyncIterator[Connections]:
    """Everything, with the same state directory, trust roots and ways out as the sidecar's. Raises `BriefcaseError`."""
    from proxy.db.engine import DATABASE, open_database
    from proxy.egress.dial import Dialler
    from proxy.egress.http import HttpClient
    from proxy.egress.resolver import Resolver
    from proxy.services import credential_services, secret_stores, shared_database

    configuration, clock, state = load_configuration(config), SystemClock(), home()
    settings = configuration.settings
    timeout_s = settings.egress.connect_timeout_s
    generation = build_generation(1, configuration, (), stand_in_key=bytes(32))  # without agents: no stand-ins
    stores = secret_stores(settings, home=state, environment=environment(), clock=clock, passphrase=local_passphrase())
    dialler = Dialler(
        resolver=Resolver(clock=clock, timeout_s=timeout_s),
        connect_timeout_s=timeout_s,
        own_listeners=frozenset,
        read_secret=partial(stores.get, at_least=1),
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(stores.close)
        own = open_database(state / DATABASE)
        stack.callback(own.dispose)
        database = await shared_database(settings.state, own, stores)
        stack.callback(database.dispose)
        services = await credential_services(
            settings.state,
            key_settings=settings.keys,
            home=state,
            database=database,
            stores=stores,
            clock=clock,
            http=HttpClient(dialler=dialler, timeout_s=CALL_S),
            routes=lambda: generation,
            spawn=_never,
        )
        yield Connections(generation, services, stores, Runner(services.caller, services.grants, clock), clock)


def _never(work: Coroutine[None, None, None]) -> None:
    """The broker, which alone has work in the background, is not asked here."""
    work.close()
