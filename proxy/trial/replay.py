"""Which past decisions other policies would change, told from receipts. Pure.

Receipts hold no query, no body and no fields, nor groups, users and cost. So each call is asked of the policies
in force as well: where these do not say what the receipt says, something decided that receipts do not hold. The risk is
what it was then, score and reasons; what thresholds want for it, those of now say (P12).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from proxy.canonical.path import canonical_path
from proxy.catalog.matcher import Match
from proxy.catalog.template import name_of, parse_template
from proxy.judging import plain_question
from proxy.model import Authority, RequestHead, Strength
from proxy.risk.score import Risk
from proxy.trial.explain import ASKED, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from proxy.decision import Generation
    from proxy.model import Agent
    from proxy.policy import Policies, Question, Verdict

NOT_HELD: Final = ("query", "headers", "body", "fields", "body_bytes", "groups", "user", "task", "cost")
"""What of a call its receipt does not hold."""
_ASKED_SLUGS: Final = frozenset({"approval_required", "approval_rejected", "approval_expired", "approval_mismatch"})
_READS_UNHELD: Final = re.compile(r"\bcontext(?: has |\.)(fields|body_bytes|user|task|first_use)\b")
_READS_RISK: Final = re.compile(r"\bcontext\.risk(_reasons)?\b")
_ORDER: Final = (Outcome.ALLOW, Outcome.APPROVAL, Outcome.STRONG, Outcome.DENY)


class Change(StrEnum):
    """What becomes of a past decision."""

    TIGHTENED = "tightened"
    APPROVAL = "approval added"
    LOOSENED = "loosened"
    UNKNOWN = "unknown"
    UNCHANGED = "unchanged"
    ELSEWHERE = "decided elsewhere"


@dataclass(frozen=True, slots=True)
class Replayed:
    """One past decision under other policies.

    Attributes:
        was: what the receipt says; None where no policy was asked.
        now: what the other policies say; None where this cannot be told.
        policies: ids of those that decide now.
        why: for what is unknown.
    """

    receipt: str
    agent: str
    call: str
    operation: str | None
    change: Change
    was: Outcome | None = None
    now: Outcome | None = None
    policies: tuple[str, ...] = ()
    why: str = ""


def replayed(
    generation: Generation, candidate: Policies, agents: Mapping[str, Agent], decisions: Iterable[Mapping[str, Any]]
) -> Iterator[Replayed]:
    """What `candidate` would have said of each of `decisions`, the fields of decision receipts."""
    for fields in decisions:
        call = f"{fields.get('method') or 'CONNECT'} {fields.get('host') or '-'}{fields.get('path') or ''}"
        operation = f"{fields['profile']}:{fields['operation']}" if fields.get("operation") else None
        kept = (str(fields["id"]), str(fields["agent"]), call, operation)
        was = recorded(fields)
        if was is None:
            yield Replayed(*kept, Change.ELSEWHERE)
            continue
        asked = _questions(generation, agents.get(str(fields["agent"])), fields)
        if isinstance(asked, str):
            yield Replayed(*kept, Change.UNKNOWN, was, why=asked)
            continue
        least = _risked(generation, asked[0])
        before, _ = _outcome(generation.policies_for(asked[0].agent), asked, least)
        now, policies = _outcome(candidate, asked, least)
        if not _same(before, was):
            yield Replayed(*kept, Change.UNKNOWN, was, why="the policies in force do not say what the receipt says")
        elif read := sorted(_unheld(candidate, asked, risk_held=fields.get("risk") is not None)):
            yield Replayed(
                *kept, Change.UNKNOWN, was, why=f"a policy reads context.{read[0]}, which receipts do not hold"
            )
        else:
            # A receipt says that somebody was asked, not how strongly: that, the policies in force say.
            yield Replayed(*kept, _change(before, now), before, now, policies)


def recorded(fields: Mapping[str, Any]) -> Outcome | None:
    """What the policies had said, as far as the receipt of a decision tells; None where they were not asked."""
    if not fields.get("operation") or fields.get("denied_by") == "risk":
        return None
    observed = fields.get("observed")
    slug = observed or (fields.get("slug") if fields.get("decision") == "deny" else None)
    if slug in _ASKED_SLUGS or fields.get("approval"):
        return Outcome.APPROVAL
    if slug == "policy_denied":
        return Outcome.DENY
    return Outcome.ALLOW if slug is None else None


def _same(before: Outcome, was: Outcome) -> bool:
    return before is was or {before, was} == {Outcome.APPROVAL, Outcome.STRONG}


def _change(before: Outcome, now: Outcome) -> Change:
    if now is before:
        return Change.UNCHANGED
    if _ORDER.index(now) < _ORDER.index(before):
        return Change.LOOSENED
    return Change.TIGHTENED if now is Outcome.DENY else Change.APPROVAL


def _outcome(
    policies: Policies, questions: Sequence[Question], least: Strength | None
) -> tuple[Outcome, tuple[str, ...]]:
    """Of all `questions` together: what the one that gets least gets, and by which policies."""
    found = [_one(policies.judge(question), least) for question in questions]
    worst = max((outcome for outcome, _ in found), key=_ORDER.index)
    return worst, tuple(dict.fromkeys(id_ for outcome, ids in found if outcome is worst for id_ in ids))


def _one(verdict: Verdict, least: Strength | None) -> tuple[Outcome, tuple[str, ...]]:
    if not verdict.allowed or least is None:
        return Outcome.DENY, verdict.policies
    return ASKED[max(verdict.strength, least)], verdict.policies


def _risked(generation: Generation, question: Question) -> Strength | None:
    """What must happen for the risk alone; None where it is too high. A classifier's own wish is not in receipts."""
    risk = Risk(question.risk)
    thresholds = generation.settings.risk.thresholds(question.profile, question.mode)
    return None if risk.refused(thresholds) else risk.strength(thresholds)


def _unheld(policies: Policies, questions: Sequence[Question], *, risk_held: bool) -> set[str]:
    """Attributes that policies which bear on `questions` read, and that their receipt does not hold."""
    texts = [policy.text for question in questions for policy in policies.bearing(question)]
    found = {name for text in texts for name in _READS_UNHELD.findall(text)}
    return found | {"risk" for text in texts if not risk_held and _READS_RISK.search(text)}


def _questions(generation: Generation, agent: Agent | None, fields: Mapping[str, Any]) -> list[Question] | str:
    """What was asked, of a batch about each of its operations; or why it cannot be asked again."""
    if agent is None:
        return "there is no such agent any more"
    calls = str(fields.get("calls") or fields["operation"])
    asked = [_question(generation, agent, fields, pair.partition("=")[0]) for pair in calls.split()]
    return next((one for one in asked if isinstance(one, str)), [one for one in asked if not isinstance(one, str)])


def _question(generation: Generation, agent: Agent, fields: Mapping[str, Any], id_: str) -> Question | str:
    profile = generation.catalog.profiles.get(str(fields["profile"]))
    operation = next((one for one in profile.operations if one.id == id_), None) if profile else None
    if profile is None or operation is None:
        return "no enabled profile has this operation any more"
    account = fields.get("account") or _account(generation, agent, profile.name)
    if account is None:
        return "the receipt of a refusal names no account, and the agent may use several"
    normal = canonical_path(str(fields["path"]), encoded_slash=profile.encoded_slash)
    if not isinstance(normal, tuple) or "{credential}" in str(fields["path"]):
        return "the receipt does not show the path"
    head = RequestHead(
        method=str(fields["method"]),
        scheme=str(fields["scheme"]),
        authority=Authority(str(fields["host"]), int(fields["port"])),
        path=normal[0],
        segments=normal[1],
        query=None,
        headers=(),
        has_body=False,
        websocket=operation.websocket,
    )
    pieces = enumerate(parse_template(operation.path))
    params = {n: head.segments[i] for i, piece in pieces if (n := name_of(piece)) and i < len(head.segments)}
    match = Match(profile, profile.hosts[0], operation, params)
    mode = generation.settings.mode
    return replace(
        plain_question(agent, match, str(account), head, mode=mode, now_ms=int(fields["at_ms"])),
        risk=int(fields.get("risk") or 0),
        risk_reasons=tuple(str(fields.get("risk_reasons") or "").split()),
    )


def _account(generation: Generation, agent: Agent, provider: str) -> str | None:
    """The one that a call without a stand-in is made with; None where it must say which."""
    usable = [one for one in generation.accounts.get(provider, ()) if agent.may_use(one.id, one.tenant)]
    chosen = [one for one in usable if one.is_default] or (usable if len(usable) == 1 else [])
    return str(chosen[0].id) if chosen else None
