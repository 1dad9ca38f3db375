"""What may pass on one open WebSocket: scrubbed from the provider, with the secret put in towards it, counted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from proxy.firewall import WithheldError, packed, scrub, unpacked
from proxy.websocket.fault import MESSAGE_TOO_LARGE, POLICY_VIOLATION, Closing

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.exchange import Exchange, Rewriter
    from proxy.firewall import Vocabulary
    from proxy.model import Agent
    from proxy.websocket.frames import Message

TOTAL_REACHED: Final = Closing(POLICY_VIOLATION, "socket_total_reached")
REVOKED: Final = Closing(POLICY_VIOLATION, "proxy_auth_required")
FOREIGN_STAND_IN: Final = Closing(POLICY_VIOLATION, "credential_scope")


class SocketLimits(Protocol):
    """Ceilings of one WebSocket, in bytes of decoded messages; the total is of both directions."""

    @property
    def max_message_bytes(self) -> int: ...  # noqa: D102
    @property
    def max_socket_bytes(self) -> int: ...  # noqa: D102


class Conversation:
    """A `MessageFilter`. What may change while a socket is open is asked for each message.

    `vocabulary`: secrets rotate. `admitted`: None where the agent's token was revoked or has expired.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        vocabulary: Callable[[], Vocabulary],
        admitted: Callable[[], Agent | None],
        rewriter: Rewriter | None,
        limits: SocketLimits,
    ) -> None:
        self._exchange: Final = exchange
        self._vocabulary: Final = vocabulary
        self._admitted: Final = admitted
        self._rewriter: Final = rewriter
        self._max_total_bytes: Final = limits.max_socket_bytes
        self.max_message_bytes: Final = limits.max_message_bytes

    def from_agent(self, message: Message) -> Message | Closing:
        """A message on its way to the provider; only a text can hold a place for a secret."""
        exchange = self._exchange
        exchange.request_bytes += len(message.content)
        if (closing := self._over()) is not None:
            return closing
        passed = message
        if self._rewriter is not None and message.text:
            content = self._rewriter.rewritten(message.content)
            if content is None:
                return FOREIGN_STAND_IN
            if content is not message.content:
                # Not compressed: its length would say something of the secret to who sees the wire.
                passed = _changed(replace(message, compressed=False), content)
        exchange.messages_sent += 1
        return passed

    def from_provider(self, message: Message) -> Message | Closing:
        """A message on its way to the agent."""
        exchange, vocabulary = self._exchange, self._vocabulary()
        passed = message
        if vocabulary:
            try:
                content, hits = self._scrubbed(message, vocabulary)
            except WithheldError:
                return MESSAGE_TOO_LARGE
            if hits:
                exchange.redactions += hits
                passed = _changed(message, content)
        exchange.response_bytes += len(passed.content)
        if (closing := self._over()) is not None:
            return closing
        exchange.messages_received += 1
        return passed

    def _scrubbed(self, message: Message, vocabulary: Vocabulary) -> tuple[bytes, int]:
        """Raises `WithheldError` for a packed message that is too large."""
        inside = None if message.text else unpacked(message.content, self.max_message_bytes)
        if inside is not None:
            clean, hits = scrub(inside, vocabulary)
            if hits:
                return packed(clean), hits
        return scrub(message.content, vocabulary)

    def _over(self) -> Closing | None:
        """Why nothing more may pass, in either direction."""
        if self._exchange.request_bytes + self._exchange.response_bytes > self._max_total_bytes:
            return TOTAL_REACHED
        return REVOKED if self._admitted() is None else None


def _changed(message: Message, content: bytes) -> Message:
    """With other content, in one frame."""
    return replace(message, content=content, ends=())
