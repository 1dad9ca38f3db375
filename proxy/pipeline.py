"""READ THIS FIRST: the way of one request, on one screen.

    match -> identify -> validate -> score -> authorize -> approve -> reserve -> mint -> present -> record intent
          -> (dial, stream both ways, scrubbed) -> settle -> record outcome

`decide()` (`proxy/decision.py`: match to authorize) is pure. `Pipeline` adds what has an effect, in that order and
nowhere else, and answers the calls of a lane (see `proxy/exchange.py`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from proxy.answering import local_answer
from proxy.approving import Asking, named_in
from proxy.arriving import DRAINING, canonical, relocate
from proxy.caller import identify, not_now
from proxy.conversation import Conversation
from proxy.errors import Answer, Denial, Refused
from proxy.exchange import Collect, Cut, Dial, Exchange, Forward, Hold, Outcome, Relay, Tunnel, Unread
from proxy.firewall import Vocabulary, plan
from proxy.forwarding import forward
from proxy.lent import held, lend_first
from proxy.manifest.pages import no_tunnel
from proxy.model import ANONYMOUS, INTERNAL, Mode
from proxy.receipts.entries import decision_entry, outcome_entry
from proxy.redacting import redacting
from proxy.returning import collected, piece, trailing, whole
from proxy.tally import Tally

if TYPE_CHECKING:
    from proxy.approval.service import Approvals
    from proxy.budgeting import Holds
    from proxy.capturing import Keeper
    from proxy.clock import Clock
    from proxy.credentials.broker import Broker
    from proxy.credentials.memory import Memory
    from proxy.credentials.standin import StandIn
    from proxy.decision import Decision, Generation
    from proxy.manifest import Manifest
    from proxy.model import Headers, RawHead, ResponseHead
    from proxy.receipts.log import ReceiptLog
    from proxy.rights import Rights
    from proxy.risk import Circumstances
    from proxy.weighing import Weigher


class Pipeline:
    """The calls of a lane. One instance per process; `generation` is swapped whole by a reload."""

    def __init__(
        self,
        *,
        generation: Generation,
        broker: Broker,
        memory: Memory[Vocabulary],
        receipts: ReceiptLog,
        clock: Clock,
        rights: Rights,
        keeper: Keeper,
        approvals: Approvals,
        weigher: Weigher,
        holds: Holds,
        manifest: Manifest,
    ) -> None:
        self.generation = generation
        self.draining = False
        self._broker: Final = broker
        self._memory: Final = memory
        self._receipts: Final = receipts
        self._clock: Final = clock
        self.rights: Final = rights
        self._keeper: Final = keeper
        self._approvals: Final = approvals
        self._weigher: Final = weigher
        self._holds: Final = holds
        self._manifest: Final = manifest
        keeper.publish = self.publish
        self._pending: Final[dict[str, tuple[Generation, Circumstances]]] = {}
        self.tally: Final = Tally()

    # -- before a request ----------------------------------------------------------------------------------------

    async def on_connect(self, tunnel: Tunnel) -> Tunnel | Denial:
        """Whether a tunnel to an authority may exist at all. A denial has its receipt already."""
        generation, authority = self.generation, tunnel.authority
        assert authority is not None
        if self.draining:
            return await self.refuse_connection(tunnel, DRAINING)
        if self.rights.authenticator.current(tunnel.agent) is None:
            return await self.refuse_connection(replace(tunnel, agent=ANONYMOUS), not_now())
        if authority.host == INTERNAL:
            return await self.refuse_connection(tunnel, no_tunnel())
        if generation.catalog.tunnels(authority):
            return tunnel
        if authority in generation.unread:
            return replace(tunnel, sealed=True)
        if generation.settings.unmatched == "pass":
            return await self._pass_through(tunnel)
        denial = Denial("destination_not_allowed", "No enabled profile covers this host.", by="match")
        return await self.refuse_connection(tunnel, denial)

    async def on_sealed(self, tunnel: Tunnel, sni: str | None) -> Tunnel | Denial:
        """Whether the TLS inside a `sealed` tunnel is for its host, and may be passed through unread."""
        assert tunnel.authority is not None
        if sni != tunnel.authority.host:
            denial = Denial("authority_mismatch", "The TLS server name is not the host that was asked for.", by="front")
            return await self.refuse_connection(tunnel, denial)
        return await self._pass_through(tunnel)

    async def _pass_through(self, tunnel: Tunnel) -> Tunnel | Denial:
        if (denial := self.rights.unread(tunnel)) is not None:
            return await self.refuse_connection(tunnel, denial)
        exchange, authority = self.begin(tunnel), tunnel.authority
        assert authority is not None
        exchange.via = self.generation.via("", authority)
        try:
            await self._receipts.record_decision({**self._entry(exchange), "decision": "allow", "tunnel": True})
        except Refused as refused:
            return refused.denial
        exchange.decided = exchange.allowed = True
        self.tally.decisions["allow"] += 1
        private = self.generation.allow_private.get(authority.host, ())
        dial = Dial(authority, tls=True, agent=tunnel.agent.name, account="-", allow_private=private, via=exchange.via)
        return replace(tunnel, unread=Unread(dial, exchange.id))

    async def refuse_connection(self, tunnel: Tunnel, denial: Denial) -> Denial:
        """Record a refusal that happened before there was a request; returns what to answer, with its receipt id."""
        exchange = self.begin(tunnel)
        answered = await self.refuse(exchange, denial)
        return replace(answered, extra={**answered.extra, "receipt": exchange.id})

    def begin(self, tunnel: Tunnel) -> Exchange:
        """A new exchange on `tunnel`."""
        return Exchange(self._receipts.new_id(), tunnel, self.generation.number, self._clock.monotonic_s())

    # -- request -------------------------------------------------------------------------------------------------

    async def on_head(self, exchange: Exchange, raw: RawHead, *, sni: str | None) -> Denial | Hold | Answer | Forward:
        """The request head is complete: refuse, ask for the body, answer, or forward."""
        exchange.deciding = True
        try:
            return await self._on_head(self.generation, exchange, raw, sni)
        finally:
            self._decided(exchange)

    async def _on_head(
        self, generation: Generation, exchange: Exchange, raw: RawHead, sni: str | None
    ) -> Denial | Hold | Answer | Forward:
        exchange.generation = generation.number
        if self.draining:
            return await self.refuse(exchange, DRAINING)
        agent = identify(self.rights.authenticator, generation.stand_ins, exchange.tunnel, raw)
        if agent is None:
            exchange.tunnel = replace(exchange.tunnel, agent=ANONYMOUS)
            return await self.refuse(exchange, not_now())
        exchange.tunnel = replace(exchange.tunnel, agent=agent)
        head = canonical(generation, exchange, raw, sni)
        if isinstance(head, Denial):
            return await self.refuse(exchange, head)
        exchange.named_approval = named_in(raw)
        exchange.head = head
        if head.authority.host == INTERNAL:
            told = await self._manifest.answer(generation, exchange, head)
            return await self.refuse(exchange, told) if isinstance(told, Denial) else await self._answer(exchange, told)
        known = await self._weigher.circumstances(exchange)
        decision, known = await self._weigher.decide(generation, exchange, None, known)
        if isinstance(decision, Denial):
            return await self.refuse(exchange, decision)
        try:
            asking = await self._holds.foreseen(generation, exchange, decision)
        except Refused as refused:
            return await self.refuse(exchange, refused.denial)
        if (hold := held(asking)) is not None:
            self._pending[exchange.id] = (generation, known)
            return hold
        return await self._admit(generation, exchange, decision, None)

    async def on_body(self, exchange: Exchange, body: bytes) -> Denial | Answer | Forward:
        """The whole body, where `on_head` asked to hold it."""
        generation, known = self._pending.pop(exchange.id)
        exchange.deciding = True
        try:
            decision, _ = await self._weigher.decide(generation, exchange, body, known)
            if isinstance(decision, Denial):
                return await self.refuse(exchange, decision)
            return await self._admit(generation, exchange, decision, body)
        finally:
            self._decided(exchange)

    def _decided(self, exchange: Exchange) -> None:
        exchange.deciding = False
        if not exchange.allowed:
            self._holds.give_up(exchange)

    async def _admit(
        self, generation: Generation, exchange: Exchange, decision: Decision, body: bytes | None
    ) -> Denial | Answer | Forward:
        """approve -> reserve -> mint -> present -> record intent. Nothing is dialled before the receipt is durable.

        An approval is used up last of all, so that no failure costs one: only the receipt that names it follows (P9).
        """
        head = decision.head
        locked, now_s = self.rights.locked(exchange), self._clock.wall_ms() // 1000
        answer = locked or local_answer(generation, exchange, decision, body, now_s=now_s)
        if isinstance(answer, Denial):
            return await self.refuse(exchange, answer)
        if answer is not None:
            return await self._answer(exchange, answer)
        exchange.via = generation.via(decision.match.profile.name if decision.match else "", head.authority)
        try:
            stands = partial(self._stands, generation, exchange)
            decision, plan, granted = await self._holds.asked(generation, exchange, decision, body)
            people = Asking(self._approvals, generation, exchange, decision, body, stands=stands)
            await people.ask()
            await self._holds.reserve(plan, exchange, decision, granted)
            ask = None if generation.settings.mode is Mode.GA else people.ask
            carrying = await lend_first(
                self._broker, decision, exchange, body, stand_ins=generation.stand_ins, owns=self._keeper.owns, ask=ask
            )
            exchange.taker = redacting(
                exchange, decision, self._keeper.taker(exchange, decision.match, decision.account)
            )
            self.rights.require(exchange)
            await people.use()
            await self._receipts.record_decision({**self._entry(exchange), "decision": "allow"})
        except Refused as refused:
            return await self.refuse(exchange, refused.denial)
        exchange.forward = forward(generation, exchange, decision, carrying.head, carrying.body, carrying.certificate)
        self._allowed(exchange)
        return exchange.forward

    def _allowed(self, exchange: Exchange) -> None:
        """Its decision receipt is durable."""
        exchange.decided = exchange.allowed = True
        self._weigher.allowed(exchange)
        self.tally.decisions["allow"] += 1
        if exchange.ended:  # the agent left while this was being decided; nothing will be sent
            self._record_outcome(exchange, Outcome.CLIENT_ABORTED)

    def _stands(self, generation: Generation, exchange: Exchange) -> bool:
        """Whether what was decided before people were asked still holds: same policies and profiles, same rights."""
        agent = exchange.tunnel.agent
        same = self.generation.decides_like(generation, agent) and self.rights.authenticator.current(agent) == agent
        return same and not self.draining

    async def _answer(self, exchange: Exchange, answer: Answer) -> Denial | Answer:
        """Record that the call is allowed and answered here; the answer, scrubbed like any other."""
        try:
            await self._receipts.record_decision({**self._entry(exchange), "decision": "allow"})
        except Refused as refused:
            return await self.refuse(exchange, refused.denial)
        self._allowed(exchange)
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers)
        return self._whole(exchange, answer.status, headers, answer.body)

    def _whole(self, exchange: Exchange, status: int, headers: Headers, body: bytes) -> Answer:
        return whole(exchange, status, headers, body, self._memory.vocabulary(exchange.tunnel.agent.name))

    async def refuse(self, exchange: Exchange, denial: Denial) -> Denial:
        """Record a refusal; if even that fails, the refusal is that receipts are unavailable."""
        exchange.deciding = True  # nobody else writes its receipt meanwhile
        self._pending.pop(exchange.id, None)
        exchange.denial = denial
        exchange.policies = exchange.policies or tuple(denial.extra.get("policies", ()))  # type: ignore[arg-type]
        self.tally.decisions[denial.slug] += 1
        if denial.slug == "receipt_unavailable":  # what could not be written is not tried twice under one id
            return denial
        fields = {**self._entry(exchange), "decision": "deny", "slug": denial.slug, "denied_by": denial.by}
        self._note(exchange, denial)
        try:
            await self._receipts.record_decision(fields)
        except Refused as refused:
            exchange.denial = refused.denial
        else:
            exchange.decided = True
        return exchange.denial

    def _note(self, exchange: Exchange, denial: Denial) -> None:
        """For the agent that asks later why its call was refused."""
        agent, now_ms = exchange.tunnel.agent, self._clock.wall_ms()
        self._manifest.refusals.note(agent, denial, self._entry(exchange), now_ms=now_ms)

    # -- response ------------------------------------------------------------------------------------------------

    async def on_challenge(self, exchange: Exchange, head: ResponseHead) -> Forward | None:
        """What to send once more in answer to a 401 or 402; None gives it on to the agent.

        The decision and its receipt stand: destination, operation and account are the same.
        """
        presenter, forward = exchange.presenter, exchange.forward
        if presenter is None or forward is None or not presenter.learn(head):
            return None
        try:
            self.rights.require(exchange)
            again, body = await presenter.again()
        except Refused:
            return None
        if not await self._holds.again(exchange, head.status):
            return None
        exchange.attempts += 1
        exchange.forward = replace(forward, head=again, body=body)
        return exchange.forward

    def on_response_head(self, exchange: Exchange, head: ResponseHead) -> Denial | Collect | Relay:
        """The upstream's head: refused, to be relayed through the scanner, or its body to be held whole."""
        assert exchange.forward is not None
        exchange.status = head.status
        if exchange.meter is not None:
            exchange.meter.head(head.status, head.headers)
        if (presenter := exchange.presenter) is not None:
            presenter.learn(head)
            if withheld := presenter.withheld:
                head = replace(head, headers=tuple(pair for pair in head.headers if pair[0] not in withheld))
        vocabulary = self._memory.vocabulary(exchange.tunnel.agent.name)
        planned = plan(head, exchange.forward.head, vocabulary)  # what was asked for, not what the agent asked for
        if isinstance(planned, Denial):
            return planned
        if exchange.taker is not None and exchange.taker.wants(head, exchange.forward.head):
            exchange.reply, exchange.collect = head, exchange.taker.max_bytes
            return Collect(exchange.taker.max_bytes)
        exchange.redactions += planned.hits
        exchange.filter = planned.filter
        headers = planned.headers
        if exchange.base is not None:
            headers = relocate(self.generation.catalog, exchange.base, exchange.forward.head.authority, headers)
        if head.status == HTTPStatus.SWITCHING_PROTOCOLS:
            exchange.messages = Conversation(
                exchange,
                vocabulary=partial(self._memory.vocabulary, exchange.tunnel.agent.name),
                admitted=partial(self.rights.admitted, exchange),
                rewriter=exchange.rewriter,
                limits=exchange.forward,
            )
        return Relay((*headers, ("briefcased-receipt", exchange.id)), scan=planned.filter is not None)

    async def on_reply(self, exchange: Exchange, body: bytes) -> Denial | Answer:
        """The whole body of an answer, where `on_response_head` asked to hold it: with stand-ins for what is fresh.

        What is fresh rests durably before the agent gets anything; else the answer is withheld.
        """
        return await collected(exchange, body, partial(self._memory.vocabulary, exchange.tunnel.agent.name))

    def publish(self, new: tuple[StandIn, ...]) -> None:
        """Stand-ins that every request from now on may carry."""
        self.generation = replace(self.generation, stand_ins=self.generation.stand_ins.plus(new))
        self._memory.replace_stand_ins(self.generation.stand_ins)

    def on_response_chunk(self, exchange: Exchange, data: bytes) -> bytes | Cut:
        """Scrub one piece of the body; b"" ends it. After a `Cut` the lane resets the agent's connection."""
        return piece(exchange, data)

    def on_trailers(self, exchange: Exchange, trailers: Headers) -> Headers:
        """Scrub trailers."""
        return trailing(exchange, trailers, self._memory.vocabulary(exchange.tunnel.agent.name))

    # -- end -----------------------------------------------------------------------------------------------------

    def on_end(self, exchange: Exchange, outcome: Outcome) -> None:
        """Exactly once, whatever happened: the outcome of an allowed exchange is recorded."""
        self._pending.pop(exchange.id, None)
        if exchange.ended:
            return
        exchange.ended = True
        if exchange.filter is not None:
            exchange.redactions += exchange.filter.hits
        if exchange.allowed:
            self._record_outcome(exchange, outcome)

    def _record_outcome(self, exchange: Exchange, outcome: Outcome) -> None:
        if exchange.denial is not None:
            self._note(exchange, exchange.denial)
        self.tally.ended(outcome.value, exchange.redactions, exchange.request_bytes, exchange.response_bytes)
        self._holds.end(exchange, outcome)
        self._receipts.record_outcome(outcome_entry(exchange, outcome, now_s=self._clock.monotonic_s()))

    def end_pass_through(
        self, receipt: str, started_s: float, *, outcome: Outcome, sent: int, received: int, error: str | None
    ) -> None:
        """The outcome of a tunnel that was passed through unread."""
        duration_ms = int((self._clock.monotonic_s() - started_s) * 1000)
        entry = {"of": receipt, "outcome": outcome.value, "error": error, "duration_ms": duration_ms}
        self._receipts.record_outcome({**entry, "request_bytes": sent, "response_bytes": received})

    def _entry(self, exchange: Exchange) -> dict[str, str | int | bool | None]:
        """What its decision receipt says, but for the decision."""
        path = self.generation.receipt_path(exchange.head) if exchange.head is not None else None
        return decision_entry(exchange, path=path)
