"""Why the last call of each agent was refused, in bounded memory (P7). No I/O."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from proxy.model import ANONYMOUS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.errors import Denial
    from proxy.model import Agent, Identity
    from proxy.receipts.record import Value

MAX_AGENTS: Final = 1024


class Refusals:
    """The last refusal of each of the agents that were refused most recently."""

    def __init__(self, *, max_agents: int = MAX_AGENTS) -> None:
        self._max: Final = max_agents
        self._last: Final[OrderedDict[Identity, Mapping[str, object]]] = OrderedDict()

    def note(self, agent: Agent, denial: Denial, receipt: Mapping[str, Value], *, now_ms: int) -> None:
        """Remember it. `receipt` are the fields of the call's decision receipt: what may be written down of it."""
        if agent == ANONYMOUS:
            return
        key = agent.identity
        self._last[key] = {
            "slug": denial.slug,
            "status": denial.status,
            "title": denial.kind.title,
            "detail": denial.detail,
            "advice": denial.kind.advice,
            **denial.extra,
            "step": denial.by,
            "at_ms": now_ms,
            "receipt": receipt["id"],
            **{name: receipt[name] for name in ("method", "host", "path", "operation", "account") if receipt[name]},
        }
        self._last.move_to_end(key)
        if len(self._last) > self._max:
            self._last.popitem(last=False)

    def of(self, agent: Agent) -> Mapping[str, object] | None:
        """The last one of `agent`; None where there was none, or it is forgotten."""
        return self._last.get(agent.identity)
