"""approve: a request that its decision, or an advisor, does not let go without a person's yes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from proxy.approval.fingerprint import Asked
from proxy.approval.service import Waiter
from proxy.budget_settings import USD
from proxy.errors import Denial, Refused
from proxy.model import Strength

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.approval.grants import Grant
    from proxy.approval.service import Approvals
    from proxy.approval.states import Approval
    from proxy.catalog.matcher import Match
    from proxy.decision import Decision, Generation
    from proxy.exchange import Exchange
    from proxy.model import RawHead, Reason

NAMED: Final = b"briefcased-approval"
"""Header with which an agent may say which approval it thinks it has; it never leaves."""


class Asking:
    """One request that people may be asked about. `stands` says afterwards whether what was decided still holds."""

    def __init__(
        self,
        approvals: Approvals,
        generation: Generation,
        exchange: Exchange,
        decision: Decision,
        body: bytes | None,
        *,
        stands: Callable[[], bool],
    ) -> None:
        self._approvals: Final = approvals
        self._generation: Final = generation
        self._exchange: Final = exchange
        self._decision: Final = decision
        self._body: Final = body
        self._stands: Final = stands
        self._approved: Final[list[Approval | Grant]] = []

    async def ask(self, *more: Reason) -> None:
        """Return when a person has said yes, where the decision wants one, or there are `more` reasons.

        Raises:
            Refused: nobody has (see `Approvals.granted`), or the decision does not hold any more.
        """
        ruling, exchange = self._decision.ruling, self._exchange
        strength = max(ruling.strength, Strength.APPROVAL) if more else ruling.strength
        if strength is Strength.NONE:
            return
        waiter = Waiter(asyncio.Event(), lambda: exchange.client_gone)
        exchange.on_gone = waiter.wake.set
        try:
            asked = self._asked(strength, (*ruling.reasons, *more))
            title, named = _title(self._decision), exchange.named_approval
            self._approved.append(await self._approvals.granted(asked, title, waiter=waiter, named=named))
        finally:
            exchange.on_gone = None
        if not self._stands():
            detail = "The configuration changed while this call waited."
            raise Refused(Denial("approval_mismatch", detail, by="approve"))

    async def use(self) -> None:
        """Use up what was approved; the exchange's receipt names it. Raises `Refused`: it is not to be had any more."""
        for approval in self._approved:
            await self._approvals.use(approval, receipt=self._exchange.id)
        if self._approved:  # the last one was asked with every reason
            self._exchange.approval, self._exchange.approvers = self._approved[-1].id, self._approved[-1].approvers

    def _asked(self, strength: Strength, reasons: tuple[Reason, ...]) -> Asked:
        decision, match, account = self._decision, self._decision.match, self._decision.account
        assert match is not None
        assert match.operation is not None
        assert account is not None
        agent = self._exchange.tunnel.agent
        return Asked(
            agent=agent,
            account=str(account.id),
            profile=match.profile.name,
            profile_version=self._generation.version_of(account),
            operation=operation_of(match),
            action=match.operation.action.value,
            policy_version=self._generation.policies_for(agent).version,
            mode=self._generation.settings.mode.value,
            head=decision.head,
            body=self._body,
            strength=strength,
            reasons=reasons,
            cost_microusd=decision.estimate.most.get(USD, 0),
            needs=self._approvals.settings.approvers,
        )


def named_in(raw: RawHead) -> str | None:
    """The approval that the agent thinks it has."""
    given = [value.decode("latin-1") for name, value in raw.headers if name.lower() == NAMED]
    return given[0] if given else None


def operation_of(match: Match) -> str:
    """The operation by its id; of a batch, each, with how many calls are made of it."""
    return ", ".join(_several(name, calls) for name, calls in sorted(match.calls.items()))


def _several(name: str, calls: int) -> str:
    return name if calls == 1 else f"{calls} times {name}"


def _title(decision: Decision) -> str:
    match = decision.match
    assert match is not None
    names = {one.id: one.title or f"{match.profile.title}: {one.id}" for one in match.profile.operations}
    return ", ".join(_several(names[id_], calls) for id_, calls in sorted(match.calls.items()))
