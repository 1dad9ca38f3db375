"""Accounts of the configuration, bound to their profiles. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.model import AccountId

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    def credential_for(self, operation: Operation) -> tuple[str, CredentialSpec] | None:
        """The first credential in the operation's order whose secrets the account has."""
        names = operation.credentials or tuple(n for n, kind in self.profile.credentials.items() if not kind.opt_in)
        for name in names:
            kind = self.profile.credentials[name]
            if kind.secret_names() <= self.account.secrets.keys():
                return name, kind
        return None


def bind(settings: Settings, profiles: Mapping[str, Profile]) -> dict[str, tuple[BoundAccount, ...]]:
    """Every account, by provider. The configuration was checked against `profiles` before."""
    return {
        provider: tuple(
            BoundAccount(AccountId(provider, name), profiles[provider], account, account.default)
            for name, account in entry.accounts.items()
        )
        for provider, entry in settings.providers.items()
    }
