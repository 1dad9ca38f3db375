"""The configuration that decides, and what it decides, as values. No behaviour beyond reading them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from proxy.budget.meters.estimate import NOTHING
from proxy.egress.upstream import route
from proxy.estimating import is_asked
from proxy.identity.tokens import without_tokens
from proxy.model import Strength
from proxy.risk import NO_RISK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from proxy.budget.meters.estimate import Estimate
    from proxy.canonical import HeadLimits
    from proxy.catalog.binding import BoundAccount
    from proxy.catalog.matcher import Catalog, Match
    from proxy.credentials import CredentialSpec
    from proxy.credentials.standin import StandIns
    from proxy.model import Authority, Reason, RequestHead, UpstreamProxy
    from proxy.policy import Policies
    from proxy.risk import Call, Risk, SecretShapes
    from proxy.risk_settings import Thresholds
    from proxy.settings import Settings


@dataclass(frozen=True, slots=True)
class Generation:
    """One configuration, whole. A request sees one generation from its first byte to its last receipt.

    `unread` are the authorities whose TLS is passed through, `profile_versions` digests of the enabled profiles.
    """

    number: int
    settings: Settings
    catalog: Catalog
    accounts: Mapping[str, tuple[BoundAccount, ...]]
    stand_ins: StandIns
    head_limits: HeadLimits
    policies: Policies
    secret_shapes: SecretShapes
    profile_versions: Mapping[str, str]
    allow_private: Mapping[str, tuple[str, ...]]
    unread: frozenset[Authority] = frozenset()

    @property
    def estimates(self) -> bool:
        """Whether somebody wants to know what calls may use."""
        return is_asked(self.settings, self.policies)

    def decides_like(self, other: Generation) -> bool:
        """Whether policies and profiles are the same as in `other`."""
        return self.policies.version == other.policies.version and self.profile_versions == other.profile_versions

    def trust(self, provider: str) -> Path | None:
        """The operator's roots for `provider`, or for all; None for the default bundle."""
        entry = self.settings.providers.get(provider)
        return (entry.ca_bundle if entry is not None else None) or self.settings.egress.ca_bundle

    def via(self, provider: str, authority: Authority) -> UpstreamProxy | None:
        """The operator's proxy that `authority` is reached through; None where we connect ourselves."""
        entry = self.settings.providers.get(provider)
        own = entry.upstream_proxy if entry is not None else None
        return route(own or self.settings.egress.upstream_proxy, authority)

    def receipt_path(self, head: RequestHead) -> str:
        """The path as receipts may show it."""
        return without_tokens(self.stand_ins.mask(self.catalog.receipt_path(head)))

    def private(self, host: str) -> tuple[str, ...]:
        """Private addresses that `host` may resolve to."""
        return self.allow_private.get(host, ())


@dataclass(frozen=True, slots=True)
class Ruling:
    """What policies and risk say of a call that is allowed.

    Attributes:
        strength: what else must happen before it may leave.
        reasons: why.
        policies: ids of those that decided.
        observed: the slug of what would have refused it, where policies are only observed.
        risk: how risky it is.
    """

    strength: Strength = Strength.NONE
    reasons: tuple[Reason, ...] = ()
    policies: tuple[str, ...] = ()
    observed: str | None = None
    risk: Risk = NO_RISK

    def weighed(self, risk: Risk, thresholds: Thresholds) -> Ruling:
        """With what the risk wants on top: never less than before (P12)."""
        strength = max(self.strength, risk.strength(thresholds))
        return replace(self, strength=strength, risk=risk, reasons=(*self.reasons, *(risk.reasons if strength else ())))


@dataclass(frozen=True, slots=True)
class Decision:
    """A yes, and what it covers.

    Attributes:
        match: None for an unmanaged host that the operator lets through.
        named: a stand-in in the request says which account is meant.
        captured: ids of the captured secrets that take the place of the account's own, by slot.
        wants_body: not yet a yes: the body tells what the call is, whose account is meant, its risk, or its cost.
        fields: values of the call that its profile names.
        ruling: what policies and risk say.
        call: what the risk was told by.
        estimate: the most that it may use.
        otherwise: the same with the account's next credential, for where this one cannot be had.
    """

    head: RequestHead
    match: Match | None
    account: BoundAccount | None
    credential: tuple[str, CredentialSpec] | None
    named: bool = False
    captured: Mapping[str, str] = field(default_factory=dict)
    ruling: Ruling = Ruling()
    estimate: Estimate = NOTHING
    wants_body: bool = False
    fields: Mapping[str, str | int | bool] = field(default_factory=dict)
    otherwise: Decision | None = None
    call: Call | None = field(default=None, compare=False)

    def in_order(self) -> Iterator[Decision]:
        """This one, then what is tried after it."""
        one: Decision | None = self
        while one is not None:
            yield one
            one = one.otherwise
