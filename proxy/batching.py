"""The decisions on the calls of a batch, folded into one on the request that makes them all (K-11). Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Protocol

from proxy.budget.limits import BYTES
from proxy.budget.meters.estimate import Estimate
from proxy.decided import Decision, Ruling
from proxy.errors import Denial
from proxy.risk import Risk, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.catalog.matcher import Match
    from proxy.risk import Call


class Judge(Protocol):
    """Decides one call of a request."""

    def __call__(self, match: Match, body: bytes | None, *, whole: Whole | None) -> Decision | Denial:
        """`whole` is what is known of the batch that the call is in, `body` its own part of it."""
        ...


@dataclass(frozen=True, slots=True)
class Whole:
    """What is known of a request that makes several calls, and holds for each of them."""

    risk: Risk
    body_bytes: int


def together(batch: Match, call: Call, judge: Judge) -> Decision | Denial:
    """The calls of a batch, each judged by itself: all may be made, or none (K-11). `call` is the whole request.

    None of them counts as less risky, or as smaller, than the whole request is.
    """
    whole = Whole(score(call), len(call.body or b""))
    decisions: list[Decision] = []
    for index, (match, body) in enumerate(batch.parts):
        decision = judge(match, body, whole=whole)
        if isinstance(decision, Denial):
            return replace(decision, extra={**decision.extra, "entry": index})
        decisions.append(decision)
    return _folded(batch, decisions, call)


def _folded(batch: Match, decisions: Sequence[Decision], call: Call) -> Decision | Denial:
    """One decision for all of `decisions`, of which there is at least one.

    Whatever one of them wants is wanted of all. They leave as one request: with one account and one credential.
    """
    first = decisions[0]
    if any(_as(one) != _as(first) for one in decisions):
        detail = "The calls of this batch need different accounts or credentials. Send them one by one."
        return Denial("operation_not_allowed", detail, by="match")
    ruling, estimate = _ruling(decisions), _estimate(decisions)
    decision: Decision | None = None
    for one in reversed(list(first.in_order())):
        decision = replace(
            one,
            match=batch,
            ruling=ruling,
            estimate=estimate,
            wants_body=False,
            fields={},
            call=call,
            otherwise=decision,
            parts=tuple(decisions),
        )
    assert decision is not None
    return decision


def _as(decision: Decision) -> tuple[object, ...]:
    names = [one.credential[0] if one.credential is not None else None for one in decision.in_order()]
    return (decision.account.id if decision.account is not None else None, *names)


def _ruling(decisions: Sequence[Decision]) -> Ruling:
    rulings = [one.ruling for one in decisions]
    observed = [one.observed for one in rulings if one.observed is not None]
    return Ruling(
        strength=max(one.strength for one in rulings),
        reasons=tuple(dict.fromkeys(reason for one in rulings for reason in one.reasons)),
        policies=tuple(dict.fromkeys(policy for one in rulings for policy in one.policies)),
        candidate=next((one.candidate for one in rulings if one.candidate is not None), None),
        redact=tuple(dict.fromkeys(place for one in rulings for pointer in one.redact for place in _places(pointer))),
        limits=tuple(dict.fromkeys(limit for one in rulings for limit in one.limits)),
        observed=next((slug for slug in observed if slug != "approval_required"), observed[0] if observed else None),
        risk=reduce(Risk.joined, (one.risk for one in rulings)),
    )


def _places(pointer: str) -> tuple[str, str]:
    """Where `pointer` leads to in the answer to a batch: in each of its entries, or where it is not answered as one."""
    return pointer, f"/*{pointer}"


def _estimate(decisions: Sequence[Decision]) -> Estimate:
    """What all may use: the bytes are those of the one request and its one answer, everything else adds up."""
    most: dict[str, int] = {}
    for one in decisions:
        for unit, amount in one.estimate.most.items():
            before = most.get(unit, 0)
            most[unit] = max(before, amount) if unit == BYTES else before + amount
    names = dict.fromkeys(one.estimate.priced_as for one in decisions)
    return Estimate(most, None, " ".join(name for name in names if name is not None) or None)
