"""`decide()`: whether an agent may make a request, and with which account. Pure.

The simulator, the tests and the live path call the same function.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from proxy.canonical import HeadLimits, set_query
from proxy.credentials.answers.fields import body_fields
from proxy.credentials.kind import filled
from proxy.egress.upstream import route
from proxy.errors import Denial
from proxy.firewall import COMPRESSED_MESSAGES, accept_encoding
from proxy.judging import (
    NOT_COVERED,
    call_of,
    permitted,
    question_of,
    reasons,
    refusal,
    too_risky,
    without_credentials,
)
from proxy.model import HTTPS_PORT, Strength
from proxy.risk import NO_RISK, UNKNOWN, score
from proxy.validating import checked, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from proxy.catalog.binding import BoundAccount
    from proxy.catalog.matcher import Catalog, Match
    from proxy.catalog.schema import Operation
    from proxy.credentials import CredentialSpec
    from proxy.credentials.standin import StandIn, StandIns
    from proxy.model import AccountId, Agent, Authority, Reason, RequestHead, UpstreamProxy
    from proxy.policy import Policies
    from proxy.risk import Call, Circumstances, Risk, SecretShapes
    from proxy.risk_settings import Thresholds
    from proxy.settings import Settings

NEVER_ASKED: Final = frozenset({"accept-encoding", *COMPRESSED_MESSAGES})
"""Written anew."""


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
        wants_body: not yet a yes: the body tells what the call is, whose account is meant, or how risky it is.
        fields: values of the call that its profile names.
        ruling: what policies and risk say.
        call: what the risk was told by.
        otherwise: the same with the account's next credential, for where this one cannot be had.
    """

    head: RequestHead
    match: Match | None
    account: BoundAccount | None
    credential: tuple[str, CredentialSpec] | None
    named: bool = False
    captured: Mapping[str, str] = field(default_factory=dict)
    ruling: Ruling = Ruling()
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


def decide(
    generation: Generation,
    agent: Agent,
    head: RequestHead,
    body: bytes | None = None,
    *,
    now_ms: int,
    circumstances: Circumstances = UNKNOWN,
) -> Decision | Denial:
    """Whether `agent` may make this request at `now_ms`, and with which account. Pure.

    `body` is only looked at, and only asked for (`Decision.wants_body`), where the operation or the settings say so.
    What `circumstances` do not say counts as the worst.
    """
    match = _match(generation, agent, head, body)
    if match is None:
        return _unmatched(generation, head) if permitted(agent, None, None, head, now_ms) else NOT_COVERED
    certain = settled(match, head, body)
    if certain is None:
        return Decision(head, match, None, None, wants_body=True)
    if isinstance(certain, Denial):
        return certain
    match, operation = certain, certain.operation
    assert operation is not None
    found = _stand_ins(generation, head, body if operation.reads_body else None)
    account = _choose_account(generation, agent, match, found, lambda one: permitted(agent, match, one, head, now_ms))
    if isinstance(account, Denial):
        return account
    if (unfit := _unfit(match, operation, account, head)) is not None:
        return unfit
    clean = _clean(head, match, account, frozenset())
    valid = checked(generation.catalog, match, clean, body)
    if isinstance(valid, Denial):
        return valid
    call = call_of(
        match,
        head,
        body,
        now_ms=now_ms,
        circumstances=circumstances,
        settings=generation.settings.risk,
        shapes=generation.secret_shapes,
        mask=generation.stand_ins.mask,
    )
    ruling = _ruled(generation, agent, match, account, head, call, fields=valid.fields)
    if isinstance(ruling, Denial):
        return ruling
    captured = {one.slot: one.captured for one in found if one.captured is not None}
    credentials = _credentials(account, operation, found, captured)
    if isinstance(credentials, Denial):
        return credentials
    plain = Decision(clean, match, account, None, bool(found), captured, ruling, call.awaited, valid.fields, call=call)
    decision: Decision | None = None
    for credential in reversed(credentials):
        reads = credential[1].reads
        sent = _clean(head, match, account, reads) if reads else clean
        decision = replace(plain, head=sent, credential=credential, otherwise=decision)
    return decision or plain


def _ruled(
    generation: Generation,
    agent: Agent,
    match: Match,
    account: BoundAccount,
    head: RequestHead,
    call: Call,
    *,
    fields: Mapping[str, str | int | bool],
) -> Ruling | Denial:
    """What policies and risk say. Policies that are only observed let through what they would refuse; risk does not."""
    settings = generation.settings
    risk = score(call)
    question = question_of(agent, match, str(account.id), head, mode=settings.mode, call=call, risk=risk, fields=fields)
    verdict = generation.policies.judge(question)
    refused = refusal(verdict)
    if refused is not None and not settings.policies.observe:
        return refused
    ruling = Ruling(verdict.strength, reasons(verdict), verdict.policies)
    if settings.policies.observe:
        ruling = _observed(ruling, refused)
    thresholds = settings.risk.thresholds(match.profile.name, settings.mode)
    return too_risky(risk, thresholds) or ruling.weighed(risk, thresholds)


def _observed(ruling: Ruling, refused: Denial | None) -> Ruling:
    """What policies want is only noted."""
    wanted = refused.slug if refused is not None else "approval_required" if ruling.strength else None
    return Ruling(policies=ruling.policies, observed=wanted)


def _unfit(match: Match, operation: Operation, account: BoundAccount, head: RequestHead) -> Denial | None:
    """Why the call can never be made with this account."""
    if operation.action not in account.account.actions:
        return Denial("policy_denied", f"The account does not allow {operation.action} operations.", by="policy")
    wanted_host = match.host_rule.account_host
    if wanted_host is not None and head.authority.host != filled(wanted_host, account.variables):
        return Denial("credential_scope", "This host is not the account's own.", by="match")
    return None


def _credentials(
    account: BoundAccount, operation: Operation, found: tuple[StandIn, ...], captured: Mapping[str, str]
) -> tuple[tuple[str, CredentialSpec], ...] | Denial:
    """What the call may be presented with, in order; empty where it needs nothing, or may be answered here."""
    if len(captured) < sum(one.captured is not None for one in found):
        return Denial("credential_scope", "Two captured secrets of one kind in one request.", by="identify")
    if operation.anonymous:
        return ()
    credentials = account.credentials_for(operation, captured)
    if not credentials and captured:
        return Denial("credential_scope", "This key does not serve for this operation.", by="match")
    if not credentials and operation.answer is None:
        return Denial("not_connected", "The account has no secret that fits this operation.", by="match")
    return credentials


def _unmatched(generation: Generation, head: RequestHead) -> Decision | Denial:
    catalog, authority = generation.catalog, head.authority
    if catalog.host(authority.host, authority.port) is not None:
        return Denial("operation_not_allowed", "No profile covers this part of the host.", by="match")
    if head.scheme == "http" and catalog.host(authority.host, HTTPS_PORT) is not None:
        return Denial("credential_scope", "This provider is reached over https only.", by="match")
    if generation.stand_ins.find(head):
        return Denial("credential_scope", "A stand-in works at its own provider only.", by="identify")
    if generation.settings.unmatched == "pass":
        return Decision(head, None, None, None)
    return Denial("destination_not_allowed", "No enabled profile covers this host.", by="match")


def _match(generation: Generation, agent: Agent, head: RequestHead, body: bytes | None) -> Match | None:
    """What the request is. Of several profiles with this token host, for the one whose stand-in the request carries.

    Without a stand-in: for one that the agent may use, and one that answers it before one that passes it on.
    """
    among = generation.catalog.shared(head)
    if not among:
        return generation.catalog.match(head)
    named = {stand_in.account.provider for stand_in in _stand_ins(generation, head, body)}
    fields = dict(body_fields(head, body or b"") or ())

    def rank(match: Match) -> tuple[bool, bool, bool, bool]:
        accounts = generation.accounts.get(match.profile.name, ())
        answer = match.operation.answer if match.operation is not None else None
        return (
            match.profile.name in named,
            match.operation is not None,
            any(agent.may_use(account.id, account.tenant) for account in accounts),
            answer is not None and answer.takes(fields),
        )

    return max(among, key=rank)


def _stand_ins(generation: Generation, head: RequestHead, body: bytes | None) -> tuple[StandIn, ...]:
    """Those that the request carries where a credential can stand, `body` included where it is given."""
    found = generation.stand_ins.find(head)
    if body:
        fields = body_fields(head, body) or ()
        found += generation.stand_ins.among(value for _, value in fields)
    return found


def _choose_account(
    generation: Generation,
    agent: Agent,
    match: Match,
    found: tuple[StandIn, ...],
    covered: Callable[[AccountId], bool],
) -> BoundAccount | Denial:
    """By stand-in, else the default account, else the only one that the agent may use."""
    provider = match.profile.name
    accounts = generation.accounts.get(provider, ())
    if not accounts:
        return Denial("not_connected", "No account is configured for this provider.", by="match")
    named = {stand_in.account for stand_in in found}
    if any(s.agent != agent.name or s.account.provider != provider for s in found):
        return Denial("credential_scope", "This stand-in belongs to another provider or agent.", by="identify")
    if len(named) > 1:
        return Denial("credential_scope", "Stand-ins of two accounts in one request.", by="identify")
    granted = [a for a in accounts if agent.may_use(a.id, a.tenant) and (not named or a.id in named)]
    usable = [a for a in granted if covered(a.id)]
    if granted and not usable:
        return NOT_COVERED
    if named:
        chosen = [a for a in usable if a.id in named]
    else:
        chosen = [a for a in usable if a.is_default] or (usable if len(usable) == 1 else [])
    if not chosen:
        detail = "This agent may not use an account of this provider, or must say which by its stand-in."
        return Denial("policy_denied", detail, by="policy")
    return chosen[0]


def _clean(head: RequestHead, match: Match, account: BoundAccount, read: frozenset[str]) -> RequestHead:
    """As it leaves, but for the credential."""
    operation = match.operation
    head = without_credentials(head, match, read)
    ours = (*((name.lower(), value) for name, value in account.account.headers.items()),)
    query = head.query
    for name, value in account.account.query.items():
        query = set_query(query, name, value)
    kept = tuple(
        (name, value)
        for name, value in head.headers
        if name not in NEVER_ASKED and (name not in ("range", "if-range") or (operation and operation.allow_range))
    )
    encoding = ("accept-encoding", accept_encoding(head.header("accept-encoding")))
    plain = tuple((name, "identity") for name, _ in head.headers if name in COMPRESSED_MESSAGES)
    # A profile's `https` host asked for over plain HTTP leaves over TLS (http_upgrade).
    upgraded = head.scheme == "http" and match.host_rule.scheme == "https"
    authority = replace(head.authority, port=match.host_rule.port) if upgraded else head.authority
    return replace(
        head, scheme=match.host_rule.scheme, authority=authority, query=query, headers=(*kept, *ours, *plain, encoding)
    )
