"""`Weigher`: `decide()` with what is known around a call; with an external classifier's advice where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.decision import decide
from proxy.errors import Denial
from proxy.lent import held
from proxy.risk import Circumstances
from proxy.validating import told

if TYPE_CHECKING:
    from proxy.catalog.matcher import Catalog
    from proxy.clock import Clock, ClockWatch
    from proxy.decision import Decision, Generation
    from proxy.exchange import Exchange
    from proxy.risk import Call
    from proxy.risk.classifier import ExternalClassifier
    from proxy.risk.history import History


class Weigher:
    """One instance per process."""

    def __init__(self, *, history: History, classifier: ExternalClassifier, clock: Clock, watch: ClockWatch) -> None:
        self._history: Final = history
        self._classifier: Final = classifier
        self._clock: Final = clock
        self._watch: Final = watch

    async def circumstances(self, exchange: Exchange) -> Circumstances:
        """What is known before anything is decided."""
        jumped = self._watch.jumped()
        return Circumstances(await self._history.past(exchange.tunnel.agent), clock_jumped=jumped)

    async def decide(
        self, generation: Generation, exchange: Exchange, body: bytes | None, circumstances: Circumstances
    ) -> tuple[Decision | Denial, Circumstances]:
        """The decision on the exchange's request, and the circumstances for when it has to be made again with the body.

        The classifier is asked only about what may leave without it, and only once nothing more has to be read first.
        What it says is decided on from the start: more risk never makes `decide()` allow more (P12).
        """
        head, agent, now_ms = exchange.head, exchange.tunnel.agent, self._clock.wall_ms()
        assert head is not None
        decision = decide(generation, agent, head, body, now_ms=now_ms, circumstances=circumstances)
        settings = generation.settings.risk.classifier
        call = _complete(decision, body)
        if settings is not None and call is not None and not isinstance(decision, Denial):
            advice = await self._classifier.advice(settings, call, decision.ruling.risk, agent)
            circumstances = circumstances.advised(advice)
            decision = decide(generation, agent, head, body, now_ms=now_ms, circumstances=circumstances)
        _describe(exchange, decision, generation.catalog, body)
        return decision, circumstances

    def allowed(self, exchange: Exchange) -> None:
        """From now on the agent has called this before."""
        if exchange.profile is not None and exchange.head is not None:
            for operation in exchange.calls:
                self._history.note(exchange.tunnel.agent, exchange.profile, operation, exchange.head.authority.host)


def _complete(decision: Decision | Denial, body: bytes | None) -> Call | None:
    """The call, where it may leave and all that has to be read of it has been."""
    if isinstance(decision, Denial) or (body is None and held(decision) is not None):
        return None
    return decision.call


def _describe(exchange: Exchange, decision: Decision | Denial, catalog: Catalog, body: bytes | None) -> None:
    """Note for the receipts what the call is, whose account it uses, and what was said of it."""
    assert exchange.head is not None
    if isinstance(decision, Denial):
        match = told(catalog.match(exchange.head), exchange.head, body)
        codes = decision.extra.get("risk_reasons", [])
        exchange.risk_reasons = tuple(codes) if isinstance(codes, list) else ()
        exchange.candidate = decision.candidate
    else:
        match, ruling = decision.match, decision.ruling
        exchange.policies, exchange.observed, exchange.candidate = ruling.policies, ruling.observed, ruling.candidate
        if decision.account is not None:
            exchange.account = str(decision.account.id)
        if decision.call is not None:
            exchange.risk, exchange.risk_reasons = ruling.risk.score, ruling.risk.codes
    if match is not None:
        exchange.profile = match.profile.name
        if match.operation is not None and match.sure:
            exchange.operation, exchange.action = match.operation.id, match.operation.action.value
            exchange.calls = match.calls
