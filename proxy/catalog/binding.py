"""Accounts of the configuration, bound to their profiles. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from proxy.canonical import parse_authority
from proxy.credentials.kind import filled, named_in
from proxy.model import HTTPS_PORT, TENANT, AccountId

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from proxy.catalog.schema import Operation, Profile
    from proxy.credentials import CredentialSpec
    from proxy.settings import Account, Settings


@dataclass(frozen=True, slots=True)
class BoundAccount:
    """One account and the profile it belongs to."""

    id: AccountId
    profile: Profile
    account: Account
    is_default: bool
    origins: frozenset[str] = frozenset()
    """Where its secrets may go, as `https://host:port`: the profile's hosts, and the endpoints of its credentials."""

    def credentials_for(
        self, operation: Operation, captured: Collection[str] = ()
    ) -> tuple[tuple[str, CredentialSpec], ...]:
        """The credentials whose secrets and variables the account has: in its own order, else the operation's.

        It ends with the first that is never passed over for the next one (`Profile.skip_credential_when`).
        `captured` are slots that a captured secret fills: a credential then uses all of them.
        """
        return tuple(self._complete(operation, captured))

    def _complete(self, operation: Operation, captured: Collection[str]) -> Iterator[tuple[str, CredentialSpec]]:
        names = operation.credentials or tuple(n for n, kind in self.profile.credentials.items() if not kind.opt_in)
        if self.account.credentials and not captured:
            names = tuple(name for name in self.account.credentials if name in names)
        variables = self.variables
        for name in names:
            kind = self.profile.credentials[name]
            own, taken = self.account.secrets.keys(), set(captured)
            if not taken <= kind.secret_names() | kind.optional_secret_names():
                continue
            has_keys = kind.foreign_keys() <= self.account.keys.keys()
            if kind.secret_names() <= own | taken and has_keys and kind.variable_names() <= variables.keys():
                yield name, kind
                if not kind.mints and "credential_unavailable" not in self.profile.skip_credential_when:
                    return

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self.account.tenant or TENANT

    @property
    def variables(self) -> dict[str, str]:
        """Its plain values, with the profile's defaults."""
        defaults = {n: v.default for n, v in self.profile.variables.items() if v.default is not None}
        return {**defaults, **self.account.variables}


def bind(settings: Settings, profiles: Mapping[str, Profile]) -> dict[str, tuple[BoundAccount, ...]]:
    """Every account, by provider. The configuration was checked against `profiles` before."""
    return {
        provider: tuple(
            _bound(BoundAccount(AccountId(provider, name), profiles[provider], account, account.default))
            for name, account in entry.accounts.items()
        )
        for provider, entry in settings.providers.items()
    }


def _bound(account: BoundAccount) -> BoundAccount:
    return replace(account, origins=frozenset(_origins(account)))


def _origins(account: BoundAccount) -> Iterator[str]:
    variables = account.variables
    for rule in account.profile.hosts:
        host = rule.host
        if rule.account_host is not None and named_in(rule.account_host) <= variables.keys():
            host = filled(rule.account_host, variables)
        yield f"{rule.scheme}://{host.lower()}:{rule.port}"
    for name, kind in account.profile.credentials.items():
        chosen = not account.account.credentials or name in account.account.credentials
        if (
            chosen
            and kind.secret_names() <= account.account.secrets.keys()
            and kind.variable_names() <= variables.keys()
        ):
            yield from map(_origin_of, kind.endpoints(variables))


def _origin_of(url: str) -> str:
    """Scheme, host and port of an https URL; what is none needs consent like any other place, in visible characters."""
    scheme, mark, rest = url.partition("://")
    authority = parse_authority(rest.partition("/")[0].partition("?")[0].encode("ascii", "replace"), HTTPS_PORT)
    return (
        ascii(url)[1:-1] if not mark or authority is None else f"{scheme.lower()}://{authority.host}:{authority.port}"
    )
