"""What is asked of the broker, and what a kind mints from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.credentials.grants import Granted, GrantKey
from proxy.credentials.kind import Ingredients

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Kind
    from proxy.keys.signer import Signer
    from proxy.model import AccountId
    from proxy.secret import Secret


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be obtained: a credential of an account, as its profile and the configuration describe it.

    Attributes:
        name: of the credential in the profile.
        secrets: secret refs of the account, by slot name.
        keys: key refs of the account, by slot name.
        variables: the account's plain values, with the profile's defaults.
        agent: for whom.
        origins: where its secrets could go.
        own: the grant is one that the agent itself has logged in for.
        unconfirmed: a person has said yes to this one use of a credential that is in doubt.
        places: where memory has a secret, by slot, if not under the slot's own name.
    """

    account: AccountId
    name: str
    kind: Kind
    secrets: Mapping[str, str]
    keys: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    agent: str = ""
    origins: frozenset[str] = frozenset()
    own: bool = False
    unconfirmed: bool = False
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> GrantKey:
        """Which credential this is, among all."""
        return GrantKey(self.account, self.name, self.agent if self.kind.per_agent or self.own else "")

    def made_from(self, secrets: Mapping[str, Secret]) -> object:
        """Compares equal as long as a credential that was minted from it need not be minted anew."""
        return (
            self.kind,
            self.unconfirmed,
            tuple(sorted(secrets.items(), key=lambda item: item[0])),
            tuple(sorted(self.variables.items())),
            tuple(sorted(self.keys.items())),
        )


def ingredients(
    order: Order, secrets: Mapping[str, Secret], signers: Mapping[str, Signer], granted: Granted, now_s: int
) -> Ingredients:
    """What the kind of `order` mints from."""
    return Ingredients(
        account=order.account,
        secrets=secrets,
        variables=order.variables,
        keys={slot: signer.public for slot, signer in signers.items()},
        kept=granted.kept,
        interrupted=granted.journal,
        now_s=now_s,
        agent=order.agent,
        unconfirmed=order.unconfirmed,
    )
