"""reserve and settle: what a call takes of the limits that it comes under, before it leaves and after it has ended."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.budget.limits import REQUESTS, Counted, Reserved, Subject, planned, together
from proxy.budget.meters.meter import Meter
from proxy.budget.meters.tap import Tap
from proxy.budget.ways import State, Way, ending
from proxy.budget_settings import USD
from proxy.decision import decide
from proxy.errors import Denial, Refused
from proxy.estimating import LEFT, usage_of
from proxy.exchange import Outcome
from proxy.model import Reason, Strength
from proxy.risk import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.budget.limits import Plan
    from proxy.budget.service import Budgets
    from proxy.clock import Clock
    from proxy.decision import Decision, Generation
    from proxy.exchange import Exchange

POLICY: Final = "policy:"
"""Begins the name of what an `@limit` counts; no budget of the settings has one like it."""
NONE: Final = "-"
"""What a call to a host without a profile has in the place of a name."""


class Holds:
    """The holds of exchanges under way. `reserve` once for each attempt; `end` exactly once."""

    def __init__(self, budgets: Budgets, clock: Clock) -> None:
        self._budgets: Final = budgets
        self._clock: Final = clock
        self._plans: Final[dict[str, tuple[Decision, Plan, frozenset[str]]]] = {}

    def _plan(self, generation: Generation, exchange: Exchange, decision: Decision) -> Plan:
        """Everything that the call takes; a batch, what each of its calls takes."""
        settings, now_ms = generation.settings, self._clock.wall_ms()
        plans = [
            planned(
                settings.budgets,
                settings.rates,
                subject_of(exchange, one),
                one.estimate.most,
                now_ms=now_ms,
                calls=one.match.times if one.match is not None else 1,
                counted=(Counted(f"{POLICY}{limit.policy}", limit.calls, limit.per_s) for limit in one.ruling.limits),
            )
            for one in decision.calls
        ]
        return together(plans) if len(plans) > 1 else plans[0]

    async def foreseen(self, generation: Generation, exchange: Exchange, decision: Decision) -> Decision:
        """`asked` for a head whose body is still to come: whoever is asked sees all of it. Raises `Refused`."""
        if decision.wants_body or not decision.head.has_body:
            return decision
        plan = self._plan(generation, exchange, decision)
        return _asking(decision, (await self._seen(plan)).asks)

    async def asked(
        self, generation: Generation, exchange: Exchange, decision: Decision, body: bytes | None
    ) -> tuple[Decision, Plan, frozenset[str]]:
        """With the reasons of budgets for which a person has to be asked first; what it takes; names of those budgets.

        Policies that look at what is left decide once more.

        Raises:
            Refused: a limit stands in the way already: nobody is asked in vain; or the policies do not want it now.
        """
        policies, plan = generation.policies_for(exchange.tunnel.agent), self._plan(generation, exchange, decision)
        wants_left = policies.speaks_of(LEFT) and any(charge.unit == USD for charge in plan.charges)
        found = await self._seen(plan, always=wants_left or decision.ruling.strength is not Strength.NONE)
        if wants_left:
            decision = self._again(generation, exchange, decision, body, found.left[USD])
            plan = self._plan(generation, exchange, decision)
        if found.asks and decision.head.has_body and body is None:  # it was not foreseen that somebody has to see it
            raise Refused(_reached_now())
        return _asking(decision, found.asks), plan, frozenset(found.asks)

    async def _seen(self, plan: Plan, *, always: bool = False) -> Reserved:
        """What a reservation would find, where it can matter. Raises `Refused`."""
        if plan.charges and (always or any(not charge.hard or charge.soft for charge in plan.charges)):
            return await self._budgets.look(plan)
        return Reserved("", plan)

    def _again(
        self, generation: Generation, exchange: Exchange, decision: Decision, body: bytes | None, left_microusd: int
    ) -> Decision:
        assert exchange.head is not None
        known = decision.call.circumstances if decision.call is not None else UNKNOWN
        decided = decide(
            generation,
            exchange.tunnel.agent,
            exchange.head,
            body,
            now_ms=self._clock.wall_ms(),
            circumstances=known,
            left_microusd=left_microusd,
        )
        if isinstance(decided, Denial):
            raise Refused(decided)
        return decided

    async def reserve(self, plan: Plan, exchange: Exchange, decision: Decision, granted: frozenset[str]) -> None:
        """Take it all, durably, before anything leaves. `granted`: budgets for which a person has said yes.

        Raises:
            Refused: budget_exceeded, rate_limited, budget_unavailable; or approval_required where a limit that asks
                was reached meanwhile.
        """
        if not plan:
            return
        reserved = await self._budgets.reserve(exchange.id, plan)
        if not granted.issuperset(reserved.asks):
            self._budgets.release(exchange.id)
            raise Refused(_reached_now())
        self._plans[exchange.id] = (decision, plan, granted)
        exchange.budgets = tuple(dict.fromkeys(charge.budget for charge in plan.charges))
        exchange.budget_warnings = reserved.warnings
        exchange.priced_as = decision.estimate.priced_as
        self._attach(exchange, exchange.id, reserved)

    async def again(self, exchange: Exchange, status: int) -> bool:
        """Reserve once more, for another attempt; the one before, answered with `status`, is settled (K-12).

        False where that cannot be had: then nothing more is sent.
        """
        if (known := self._plans.get(exchange.id)) is None:
            return not exchange.ended
        meter = exchange.meter
        id_ = f"{exchange.id}#{exchange.attempts + 1}"
        try:
            reserved = await self._budgets.reserve(id_, replace(known[1], tolls=()))  # rates count the agent's calls
        except Refused:
            return False
        # The agent may have left meanwhile; and nobody is asked between two attempts.
        if exchange.id not in self._plans or not known[2].issuperset(reserved.asks):
            self._budgets.release(id_)
            return False
        if isinstance(meter, Meter):
            meter.head(status, ())
            self._settle(exchange, meter, whole_answer=True)
        self._attach(exchange, id_, reserved)
        return True

    def end(self, exchange: Exchange, outcome: Outcome) -> None:
        """Settle what was used; release only what provably never left (K-06)."""
        meter = exchange.meter
        if self._plans.pop(exchange.id, None) is None or not isinstance(meter, Meter):
            return
        whole_answer = outcome is Outcome.COMPLETED and exchange.messages is None
        way = ending(dialled=exchange.dialled, whole_answer=whole_answer)
        if way.end is State.RELEASED:
            self._budgets.release(meter.id)
            exchange.used = dict.fromkeys(exchange.reserved, 0)
        else:
            self._settle(exchange, meter, whole_answer=way is Way.ANSWERED)

    def give_up(self, exchange: Exchange) -> None:
        """It is refused after all: nothing was sent."""
        if self._plans.pop(exchange.id, None) is not None:
            self._budgets.release(exchange.id)
            exchange.meter = None

    def _attach(self, exchange: Exchange, id_: str, reserved: Reserved) -> None:
        decision, plan, _ = self._plans[exchange.id]
        most: dict[str, int] = {}
        for charge in plan.charges:
            most[charge.unit] = max(charge.amount, most.get(charge.unit, 0))
        several = decision.several
        usage = usage_of(decision.match) if decision.match is not None and not several else None
        wanted = usage is not None and not most.keys().isdisjoint((*usage.most, USD))
        tap = Tap(usage) if usage is not None and wanted else None
        exchange.meter = Meter(reserved.id or id_, most, decision.estimate, usage, tap, several)
        exchange.reserved = _sum(exchange.reserved, most)

    def _settle(self, exchange: Exchange, meter: Meter, *, whole_answer: bool) -> None:
        used = meter.used(exchange.request_bytes, exchange.response_bytes, whole_answer=whole_answer)
        self._budgets.settle(meter.id, used)
        unknown = [unit for unit in meter.reserved if unit not in used and unit != REQUESTS]
        charged = {**meter.reserved, **used}
        exchange.used = _sum(exchange.used or {}, charged)
        exchange.estimated_units = tuple(sorted({*exchange.estimated_units, *unknown}))
        exchange.over_units = tuple(sorted({*exchange.over_units, *meter.over}))


def _asking(decision: Decision, asks: tuple[str, ...]) -> Decision:
    """With a reason to ask a person for each of the budgets `asks`."""
    if not asks:
        return decision
    ruling = decision.ruling
    reasons = tuple(Reason(f"budget:{name}", f"Budget {name} asks before this is spent.", "reserve") for name in asks)
    strength = max(ruling.strength, Strength.APPROVAL)
    return replace(decision, ruling=replace(ruling, strength=strength, reasons=(*ruling.reasons, *reasons)))


def _reached_now() -> Denial:
    detail = "A budget that asks first was reached just now; send the call again."
    return Denial("approval_required", detail, by="reserve", retry_after_s=1)


def owner_in(chain: str) -> str:
    """A name for this process's holds: its receipt chain, and what tells it from one that had the chain before."""
    return f"{chain}/{secrets.token_hex(6)}"


def subject_of(exchange: Exchange, decision: Decision) -> Subject:
    """The call as limits see it."""
    agent, match = exchange.tunnel.agent, decision.match
    operation = match.operation if match is not None else None
    profile = match.profile if match is not None else None
    return Subject(
        tenant=agent.tenant,
        agent=agent.name,
        account=str(decision.account.id) if decision.account is not None else NONE,
        provider=(profile.provider or profile.name) if profile is not None else NONE,
        profile=profile.name if profile is not None else NONE,
        operation=f"{profile.name}:{operation.id}" if profile is not None and operation is not None else NONE,
        action=operation.action.value if operation is not None else NONE,
        groups=agent.groups,
        user=agent.user.name if agent.user is not None else None,
        task=agent.task,
    )


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {unit: one.get(unit, 0) + other.get(unit, 0) for unit in (*one, *other)}
