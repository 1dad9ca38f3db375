"""`Exchange`: one request and its response, free of any lane; and the words a lane and the pipeline exchange.

A lane (the mitmproxy engine today, the express lane later) drives an exchange through the calls of
`proxy.pipeline.Pipeline` and does what they return. It decides nothing itself:

    on_connect          Denial | Tunnel          the agent asks for a destination
    on_head             Denial | Hold | Answer | Forward  the request head is complete
    on_body             Denial | Answer | Forward         the whole body, where a rule asked for it (after Hold)
    on_challenge        Forward | None           a 401 or 402 that might be answered: send this once more, or give it on
    on_response_head    Denial | Collect | Relay the upstream's head
    on_reply            Denial | Answer          its whole body, where `Collect` asked for it
    on_response_chunk   bytes | Cut              a piece of the body, scrubbed; b"" ends it
    on_trailers         headers                  scrubbed
    on_end              None                     exactly once, whatever happened
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from proxy.errors import Denial
    from proxy.model import Agent, Authority, Headers, RequestHead, ResponseHead, UpstreamProxy
    from proxy.websocket.fault import Closing
    from proxy.websocket.frames import Message

# What engine and addons leave for each other in a flow's metadata (the mitmproxy lane).
EXCHANGE_KEY: Final = "briefcased.exchange"  # the `Exchange`
INVALID_KEY: Final = "briefcased.invalid"  # a `Denial`: the head never reaches the pipeline, only its receipt
BODYLESS_KEY: Final = "briefcased.bodyless"  # True: no request body follows
RESPONSE_BODYLESS_KEY: Final = "briefcased.response_bodyless"  # True: no response body follows
ANSWER_KEY: Final = "briefcased.answer"  # a `Denial` or an `Answer`: to be sent now
HOLD_KEY: Final = "briefcased.hold"  # bytes of body that may be held
RETRIES_KEY: Final = "briefcased.retries"  # further attempts that a challenge may cause
RETRY_KEY: Final = "briefcased.retry"  # True: attempt again now


class Capture(StrEnum):
    """How an agent's connection came to us: what its heads say of their destination."""

    CONNECT = "connect"  # a tunnel to one authority
    ABSOLUTE = "absolute"  # http:// URLs of a proxy's clients
    BASE_URL = "base_url"  # paths below our own address; the first segment names profile or host
    TRANSPARENT = "transparent"  # redirected: the name in the ClientHello or in Host decides


class Outcome(StrEnum):
    """How an allowed exchange ended, as its outcome receipt says."""

    COMPLETED = "completed"
    CLIENT_ABORTED = "client_aborted"
    UPSTREAM_ABORTED = "upstream_aborted"
    RESPONSE_ABORTED = "response_aborted"  # we cut it: a leak or a fault after the answer had begun
    RESPONSE_WITHHELD = "response_withheld"
    NOT_SENT = "not_sent"  # refused or failed at the dial; nothing reached the provider
    UNKNOWN_AFTER_CRASH = "unknown_after_crash"


@dataclass(frozen=True, slots=True)
class Tunnel:
    """What is known of one connection of an agent before any request on it.

    Attributes:
        agent: who asks; `ANONYMOUS` until a head says it.
        authority: of the CONNECT, or the name and port of a redirected TLS connection; None where each head names its
            own.
        unread: where the operator lets the bytes through unread.
        sealed: the operator names this host as one whose TLS is passed through; the ClientHello is still to be judged.
        port: that a redirected plain connection had dialled.
        bound: the listener says who the agent is; no token is asked for.
        source: where it comes from, as failed attempts are counted.
        lineage: the process at the other end and its ancestors, by the names that task tokens may be bound to.
    """

    agent: Agent
    authority: Authority | None
    unread: Unread | None = None
    capture: Capture = Capture.CONNECT
    sealed: bool = False
    port: int | None = None
    bound: bool = False
    source: str = ""
    lineage: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unread:
    """A tunnel whose bytes are copied: where it goes, and the id of the decision receipt that was written for it."""

    dial: Dial
    receipt: str


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What a TLS connection identifies itself with: PEM of the private key, then its certificates, the leaf first."""

    pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Dial:
    """Where to connect, and everything that binds an identity to the connection: equal dials may share one.

    Attributes:
        account: `provider/name`, or `-` for none.
        agent: its name.
        tls: verified TLS to `authority.host`; plain only where the profile says so.
        trust: PEM bundle of roots; None is the default bundle.
        allow_private: CIDR blocks that this host may resolve to although they are private.
        via: the operator's proxy that makes the connection; None where we make it.
        certificate: what we identify ourselves with; after a rotation it is another, and so is the connection.
    """

    authority: Authority
    tls: bool
    agent: str
    account: str
    trust: Path | None = None
    allow_private: tuple[str, ...] = ()
    via: UpstreamProxy | None = None
    certificate: ClientCertificate | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Collect the body, at most this many bytes, then call `on_body`."""

    max_bytes: int


@dataclass(frozen=True, slots=True)
class Forward:
    """Dial and send exactly this. The decision receipt is durable.

    Attributes:
        body: the whole body to send in place of the agent's; None streams the agent's.
        max_body_bytes: cut the exchange when a streamed body grows beyond this.
        max_message_bytes: of one WebSocket message, decoded.
        max_socket_bytes: of all messages of a WebSocket together, both ways.
        retries: how often a challenge may cause another attempt.
    """

    head: RequestHead
    dial: Dial
    body: bytes | None
    max_body_bytes: int
    response_timeout_s: int
    max_message_bytes: int
    max_socket_bytes: int
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Relay:
    """Send this response head; pass every chunk through `on_response_chunk` when `scan` is set."""

    headers: Headers
    scan: bool


@dataclass(frozen=True, slots=True)
class Collect:
    """Hold the whole body, at most this many bytes as they came, then call `on_reply`."""

    max_bytes: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Reset the connection: an answer that has begun must not end cleanly."""

    reason: str


class ChunkFilter(Protocol):
    """A streaming filter over a response body."""

    def feed(self, data: bytes) -> bytes:
        """Bytes that may be released now; b"" at the end flushes. Raises `WithheldError` to cut."""
        ...

    @property
    def hits(self) -> int:
        """How many occurrences were replaced so far."""
        ...


class BodyFilter(Protocol):
    """A streaming rewriter of a request body."""

    def feed(self, data: bytes) -> bytes:
        """Bytes that may leave now; b"" ends the body. Raises `Refused` to give the request up."""
        ...


class Rewriter(Protocol):
    """Puts the secret into the agent's WebSocket messages."""

    def rewritten(self, content: bytes) -> bytes | None:
        """A text message as it leaves; None where it holds a stand-in that it must not."""
        ...


class Presenter(Protocol):
    """The credential of an exchange, where an answer of the provider can teach it something."""

    @property
    def retries(self) -> int:
        """How often a challenge may cause the request to be sent again."""
        ...

    @property
    def withheld(self) -> frozenset[str]:
        """Headers of answers (lower-case) that the agent does not get."""
        ...

    def learn(self, response: ResponseHead) -> bool:
        """Remember what the answer teaches; whether the request should be sent again."""
        ...

    async def again(self) -> tuple[RequestHead, bytes | None]:
        """The request with a new proof or a new credential. Raises `Refused`."""
        ...


class Taker(Protocol):
    """Takes fresh secrets out of a provider's answer, before the agent gets it."""

    @property
    def max_bytes(self) -> int:
        """The longest answer that is held for it."""
        ...

    def wants(self, head: ResponseHead, request: RequestHead) -> bool:
        """Whether an answer with this head may hold some."""
        ...

    async def take(self, head: ResponseHead, body: bytes) -> bytes:
        """The body, decoded, with stand-ins. Raises `Refused` where that is not sure."""
        ...


class Metered(Protocol):
    """What one attempt at the call has reserved, and uses."""

    @property
    def max_bytes(self) -> int | None:
        """How many bytes it may carry, both ways; None for any."""
        ...

    def head(self, status: int, headers: Headers) -> None:
        """The head of the answer."""
        ...

    def came(self, wire: int, clean: bytes, *, request_bytes: int) -> bool:
        """A piece of the body: its bytes as they came, and as the agent gets them; False where it may not go on."""
        ...


class MessageFilter(Protocol):
    """What a lane asks about each whole message of an open WebSocket."""

    @property
    def max_message_bytes(self) -> int:
        """The largest message that may be collected."""
        ...

    def from_agent(self, message: Message) -> Message | Closing:
        """What leaves to the provider, or how to close."""
        ...

    def from_provider(self, message: Message) -> Message | Closing:
        """What leaves to the agent, or how to close."""
        ...


@dataclass(slots=True, eq=False)
class Exchange:
    """The state of one exchange. The pipeline fills it; receipts are written from it.

    Attributes:
        id: of the decision receipt; also the `Briefcased-Receipt` header.
        decided: the decision receipt is durable.
        allowed: the decision was yes; an outcome receipt is owed.
        deciding: the pipeline is at work on it and will write its receipt.
        ended: `on_end` ran.
        via: the operator's proxy that the provider is reached through.
        client_gone: the agent went away while we were deciding.
        on_gone: called when it does.
        named_approval: that the agent thinks it has.
        policies: ids of those that decided.
        calls: how many it makes of each operation; a batch makes several.
        observed: the slug of what policies would have refused it with, were they not only observed.
        candidate: what policies on their way into force would have said, where that is something else.
        risk: its score, 0 to 100; None where it was not told.
        risk_reasons: codes of the rules that hold for it.
        approval: the approval that it has used up.
        approvers: who said yes.
        dialled: there is a connection to the provider: from here on something may have been sent.
        meter: what the call uses, where a budget counts it.
        budgets: names of those that it comes under.
        budget_warnings: of which a soft limit is reached.
        reserved: for all attempts, by unit.
        priced_as: the name in the price list that its cost is from.
        used: in the end, by unit.
        estimated_units: of these the answer told nothing, and the reserve counts.
        over_units: of these the answer told more than was reserved, and the reserve counts.
        redacted: places of the answer that policies have had taken out.
        base: in base-URL mode the path's first segment, which named the destination.
        credential_kind: of the credential.
        credential_token: a keyed hash of the token that was presented last.
        skipped: the credentials before it that could not be had, each as `name:slug`.
        answered: the kind of answer that the sidecar gives itself; None where the call goes to the provider.
        taker: takes fresh secrets out of the answer.
        reply: the head of an answer that is held.
        collect: how much of the answer the lane holds; None to pass it on as it comes.
        captured: the slots of the secrets that were taken out of it.
        attempts: how often the request was sent.
        request_filter: rewrites the agent's body as it streams.
        presenter: what learns from the provider's answers.
        rewriter: where the credential stands in the agent's WebSocket messages.
        messages: how messages pass; set once a 101 has been believed.
    """

    id: str
    tunnel: Tunnel
    generation: int
    started_s: float
    head: RequestHead | None = None
    profile: str | None = None
    operation: str | None = None
    action: str | None = None
    account: str | None = None
    credential: str | None = None
    credential_kind: str | None = None
    credential_token: str | None = None
    skipped: tuple[str, ...] = ()
    answered: str | None = None
    taker: Taker | None = None
    reply: ResponseHead | None = None
    collect: int | None = None
    captured: str | None = None
    attempts: int = 1
    request_filter: BodyFilter | None = None
    presenter: Presenter | None = None
    via: UpstreamProxy | None = None
    denial: Denial | None = None
    forward: Forward | None = None
    deciding: bool = False
    decided: bool = False
    allowed: bool = False
    ended: bool = False
    dialled_address: str | None = None
    status: int | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    redactions: int = 0
    redacted: int = 0
    filter: ChunkFilter | None = None
    fault: str | None = None
    client_gone: bool = False
    on_gone: Callable[[], None] | None = None
    named_approval: str | None = None
    policies: tuple[str, ...] = ()
    observed: str | None = None
    candidate: str | None = None
    calls: Mapping[str, int] = field(default_factory=dict)
    risk: int | None = None
    risk_reasons: tuple[str, ...] = ()
    approval: str | None = None
    approvers: tuple[str, ...] = ()
    dialled: bool = False
    meter: Metered | None = None
    budgets: tuple[str, ...] = ()
    budget_warnings: tuple[str, ...] = ()
    reserved: Mapping[str, int] = field(default_factory=dict)
    priced_as: str | None = None
    used: Mapping[str, int] | None = None
    estimated_units: tuple[str, ...] = ()
    over_units: tuple[str, ...] = ()
    base: str | None = None
    rewriter: Rewriter | None = None
    messages: MessageFilter | None = None
    messages_sent: int = 0
    messages_received: int = 0
    close_code: int | None = None

    def leave(self) -> None:
        """The agent went away while this was being decided."""
        self.client_gone = True
        if self.on_gone is not None:
            self.on_gone()
