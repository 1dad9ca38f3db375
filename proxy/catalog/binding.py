"""Accounts of the configuration, bound to their profiles. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.model import AccountId

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

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

    def credential_for(self, operation: Operation, captured: Collection[str] = ()) -> tuple[str, CredentialSpec] | None:
        """The first credential whose secrets and variables the account has: in its own order, else the operation's.

        `captured` are slots that a captured secret fills: the credential then uses all of them.
        """
        names = operation.credentials or tuple(n for n, kind in self.profile.credentials.items() if not kind.opt_in)
        if self.account.credentials and not captured:
            names = tuple(name for name in self.account.credentials if name in names)
        variables = self.variables
        for name in names:
            kind = self.profile.credentials[name]
            if not set(captured) <= kind.secret_names() | kind.optional_secret_names():
                continue
            if (
                kind.secret_names() <= self.account.secrets.keys() | set(captured)
                and kind.variable_names() <= variables.keys()
            ):
                return name, kind
        return None

    @property
    def variables(self) -> dict[str, str]:
        """Its plain values, with the profile's defaults."""
        defaults = {n: v.default for n, v in self.profile.variables.items() if v.default is not None}
        return {**defaults, **self.account.variables}


def bind(settings: Settings, profiles: Mapping[str, Profile]) -> dict[str, tuple[BoundAccount, ...]]:
    """Every account, by provider. The configuration was checked against `profiles` before."""
    return {
        provider: tuple(
            BoundAccount(AccountId(provider, name), profiles[provider], account, account.default)
            for name, account in entry.accounts.items()
        )
        for provider, entry in settings.providers.items()
    }
