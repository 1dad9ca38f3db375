"""The configuration that decides, and what it decides, as values. No behaviour beyond reading them."""

from __future__ import annotations

import hashlib
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
    from proxy.model import Agent, Authority, Reason, RequestHead, UpstreamProxy
    from proxy.policy import Limit, Policies, Rollout
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
    rollout: Rollout | None = None

    def policies_for(self, agent: Agent) -> Policies:
        """Those that decide what `agent` may do."""
        staged = self.rollout is not None and self.rollout.decides_for(agent)
        return self.rollout.candidate if self.rollout is not None and staged else self.policies

    def policies_beside(self, agent: Agent) -> Policies | None:
        """Those that are on their way to decide for `agent`; None where there are none."""
        if self.rollout is None or self.rollout.decides_for(agent):
            return None
        return self.rollout.candidate

    @property
    def estimates(self) -> bool:
        """Whether somebody wants to know what calls may use."""
        candidate = (self.rollout.candidate,) if self.rollout is not None else ()
        return is_asked(self.settings, (self.policies, *candidate))

    def decides_like(self, other: Generation, agent: Agent) -> bool:
        """Whether policies, as far as `agent` is concerned, profiles and accounts are the same as in `other`."""
        same = self.policies_for(agent).version == other.policies_for(agent).version
        return same and self.profile_versions == other.profile_versions and self.accounts == other.accounts

    def version_of(self, account: BoundAccount) -> str:
        """Digest of an account's settings and its profile: what an approval was given under (J-13)."""
        profile = self.profile_versions[account.profile.name]
        return hashlib.sha256(f"{profile}\n{account.account.model_dump_json()}".encode()).hexdigest()

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
        candidate: what policies on their way into force would say, where that is something else.
        redact: pointers of what policies want taken out of the answer.
        limits: how often policies let the agent call.
        risk: how risky it is.
    """

    strength: Strength = Strength.NONE
    reasons: tuple[Reason, ...] = ()
    policies: tuple[str, ...] = ()
    observed: str | None = None
    candidate: str | None = None
    redact: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
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
        parts: of a batch, what was decided of each of its calls.
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
    parts: tuple[Decision, ...] = ()

    @property
    def calls(self) -> tuple[Decision, ...]:
        """Each call of a batch; else this one."""
        return self.parts or (self,)

    @property
    def several(self) -> bool:
        """Whether it counts as more than one call."""
        return bool(self.parts) or (self.match is not None and self.match.times > 1)

    def in_order(self) -> Iterator[Decision]:
        """This one, then what is tried after it."""
        one: Decision | None = self
        while one is not None:
            yield one
            one = one.otherwise
