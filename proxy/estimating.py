"""The most that a call may use, where anybody asks: a budget, or a policy that speaks of costs. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from proxy.budget.limits import BYTES
from proxy.budget.meters.estimate import NOTHING, Estimate, estimate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.budget.meters.spec import Usage
    from proxy.catalog.matcher import Match
    from proxy.model import RequestHead
    from proxy.policy import Policies
    from proxy.settings import Settings

COST: Final = "cost_microusd"
LEFT: Final = "budget_left_microusd"
ANSWER_BYTES: Final = 16 * 1024 * 1024
"""How much an answer may carry where a budget counts bytes and the profile says nothing: it is cut there."""


def usage_of(match: Match) -> Usage | None:
    """How the matched operation's use is told."""
    operation, profile = match.operation, match.profile
    return None if operation is None or operation.usage is None else profile.usage[operation.usage]


def is_asked(settings: Settings, sets: Iterable[Policies]) -> bool:
    """Whether a budget counts anything but requests, or a policy of one of the `sets` speaks of what calls cost."""
    return any(budget.unit != "requests" for budget in settings.budgets) or any(s.speaks_of(COST) for s in sets)


def estimated(
    settings: Settings, match: Match, head: RequestHead, body: bytes | None, *, now_ms: int, sent: int | None = None
) -> Estimate:
    """The most that the call may use, by unit; bytes both ways, with the body of unknown length as one answer.

    `sent` bytes has the batch that `body` is a part of. What counts as several calls uses as much each time.
    """
    usage = usage_of(match)
    found = NOTHING
    if usage is not None:
        prices = (*settings.prices.get(match.profile.name, ()), *match.profile.prices)
        today = datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()
        found = estimate(usage, prices, body, match.params, today=today)
    if sent is None:
        unknown = head.websocket or (head.has_body and head.content_length is None and body is None)
        length = len(body) if body is not None else head.content_length or 0
        sent = ANSWER_BYTES if unknown else length
    most = {unit: amount * match.times for unit, amount in found.most.items()}
    most[BYTES] = sent + found.most.get(BYTES, ANSWER_BYTES)
    return Estimate(most, found.price, found.priced_as)
