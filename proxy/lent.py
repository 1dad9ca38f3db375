"""`Lent`: a credential on its way with one request; what the provider answers goes back to its kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from proxy.approval.card import MAX_REVIEW_BYTES
from proxy.credentials.answers.fields import MAX_FIELDS_BYTES
from proxy.credentials.captures.store import SCHEME
from proxy.credentials.frames import FramesCredential
from proxy.credentials.order import Order
from proxy.errors import Refused
from proxy.estimating import usage_of
from proxy.exchange import Hold
from proxy.judging import MAX_LOOKED_AT_BYTES
from proxy.model import ANONYMOUS, Reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from proxy.catalog.binding import BoundAccount
    from proxy.credentials import CredentialSpec
    from proxy.credentials.broker import Broker
    from proxy.credentials.kind import Credential
    from proxy.credentials.standin import StandIns
    from proxy.decision import Decision
    from proxy.exchange import ClientCertificate, Exchange
    from proxy.model import AccountId, Agent, RequestHead, ResponseHead


IN_DOUBT: Final = Reason("credential_in_doubt", "Nobody can tell whether the credential still holds.", "credentials")
REPLAYED_BYTES: Final = 256 * 1024
"""A body up to this size is held where the request may have to be sent twice."""


def held(decision: Decision) -> Hold | None:
    """Whether the body must be there before the credential is put on the request.

    A small body is also held where the provider may ask for the request once more.
    """
    if decision.match is None or decision.match.operation is None:
        return None
    if decision.wants_body:
        operation = decision.match.operation
        largest = operation.limits.max_held_bytes
        if operation.reads_body:
            return Hold(min(MAX_FIELDS_BYTES, largest))
        told = operation.needs_body or usage_of(decision.match) is not None
        return Hold(largest if told else min(MAX_LOOKED_AT_BYTES, largest))
    if decision.ruling.strength:  # whoever approves sees all of it
        return Hold(min(MAX_REVIEW_BYTES, decision.match.operation.limits.max_held_bytes))
    limit = decision.match.operation.limits.max_held_bytes
    kinds = [one.credential[1] for one in decision.in_order() if one.credential is not None]
    return Hold(limit) if any(_needs_body(kind, decision.head, limit) for kind in kinds) else None


def _needs_body(kind: CredentialSpec, head: RequestHead, limit: int) -> bool:
    small = head.content_length is not None and head.content_length <= min(REPLAYED_BYTES, limit)
    return kind.wants_body(head) or (head.has_body and ((kind.retries > 0 and small) or kind.in_doubt))


def order_for(
    account: BoundAccount,
    name: str,
    spec: CredentialSpec,
    agent: Agent,
    *,
    captured: Mapping[str, str] = MappingProxyType({}),
    own: bool = False,
) -> Order:
    """What the broker is asked for, for one request of `agent`.

    `captured` are ids of captured secrets, by slot; `own`: the grant is the agent's own.
    """
    described = account.account
    refs = {**described.secrets, **{slot: f"{SCHEME}:{id_}" for slot, id_ in captured.items()}}
    places = {slot: f"{slot}#{id_}" for slot, id_ in captured.items()}
    whole = "#".join((name, *captured.values()))  # what is minted from another secret is another credential
    return Order(
        account.id,
        whole,
        spec,
        refs,
        described.keys,
        account.variables,
        agent.name,
        account.origins,
        own=own,
        places=places,
    )


@dataclass(frozen=True, slots=True)
class Carrying:
    """A request as it leaves, and the certificate that its connection presents."""

    head: RequestHead
    body: bytes | None
    certificate: ClientCertificate | None = None


async def lend_first(
    broker: Broker,
    decision: Decision,
    exchange: Exchange,
    body: bytes | None,
    *,
    stand_ins: StandIns,
    owns: Callable[[str, AccountId, str], bool],
    ask: Callable[[Reason], Awaitable[None]] | None,
) -> Carrying:
    """The request with the first credential of the account's order that can be had.

    The next one is tried only after refusals that the profile names; nothing has been sent of the request by then.
    `owns` tells whether an agent has logged in itself for a credential of an account; `ask` lets a person decide about
    one that is in doubt, None where nobody may.

    Raises:
        Refused: the last one cannot be had either, or one of them for another reason.
    """
    agent = exchange.tunnel.agent
    for one in decision.in_order():
        if one.credential is None or one.account is None:
            break
        name, spec = one.credential
        exchange.credential, exchange.credential_kind, exchange.credential_token = name, spec.kind, None
        own = owns(agent.name, one.account.id, name)
        order = order_for(one.account, name, spec, agent, captured=one.captured, own=own)
        try:
            return await lend(broker, order, exchange, one.head, body, stand_ins=stand_ins)
        except Refused as refused:
            if refused.denial.in_doubt and ask is not None:
                await ask(IN_DOUBT)
                return await lend(
                    broker, replace(order, unconfirmed=True), exchange, one.head, body, stand_ins=stand_ins
                )
            slug = refused.denial.slug
            if one.otherwise is None or slug not in one.account.profile.skip_credential_when:
                raise
            exchange.skipped += (f"{name}:{slug}",)
    return Carrying(decision.head, body)


async def lend(
    broker: Broker, order: Order, exchange: Exchange, head: RequestHead, body: bytes | None, *, stand_ins: StandIns
) -> Carrying:
    """mint -> present: the request with its credential in its place; `exchange` learns what it is presented with.

    Raises:
        Refused: there is no credential, or it cannot be put there.
    """
    kind, agent = order.kind, exchange.tunnel.agent.name
    minted = await broker.mint(order)
    exchange.credential_token = broker.token_id(minted)
    presented = await broker.prove(order, minted, head, body)
    certificate = await broker.certificate(order)
    exchange.presenter = Lent(broker, order, minted, head, body, presented.head)
    exchange.request_filter = presented.filter
    if isinstance(kind, FramesCredential) and presented.head.scheme == "https":
        exchange.rewriter = kind.rewriter(minted, stand_ins, stand_ins.lookup(agent, order.account, kind.secret))
    return Carrying(presented.head, presented.body, certificate)


def lasting_orders(accounts: Iterable[BoundAccount]) -> Iterator[Order]:
    """What may have been kept for `accounts` by an earlier process: one order for each durable credential."""
    for account in accounts:
        for name, spec in account.profile.credentials.items():
            complete = spec.secret_names() <= account.account.secrets.keys()
            if spec.durable and not spec.per_agent and complete and spec.variable_names() <= account.variables.keys():
                yield order_for(account, name, spec, ANONYMOUS)


@dataclass(slots=True)
class Lent:
    """`clean` and `body` are the request without the credential, `sent` the head as it left last."""

    broker: Broker
    order: Order
    credential: Credential
    clean: RequestHead
    body: bytes | None
    sent: RequestHead
    attempt: int = 0
    wanted: str = "no"

    @property
    def retries(self) -> int:
        """See `Presenter`."""
        return self.order.kind.retries

    @property
    def withheld(self) -> frozenset[str]:
        """See `Presenter`."""
        return self.order.kind.withheld_headers()

    def learn(self, response: ResponseHead) -> bool:
        """See `Presenter`."""
        self.wanted = self.broker.learn(self.order, self.credential, self.sent, response, attempt=self.attempt)
        return self.wanted != "no"

    async def again(self) -> tuple[RequestHead, bytes | None]:
        """See `Presenter`."""
        self.attempt += 1
        if self.wanted == "mint":
            self.credential = await self.broker.mint(self.order)
        presented = await self.broker.prove(self.order, self.credential, self.clean, self.body, attempt=self.attempt)
        self.sent = presented.head
        return presented.head, presented.body
