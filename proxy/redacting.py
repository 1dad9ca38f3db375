"""redact: what policies want taken out of an answer is taken out before the agent gets anything of it."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from proxy.errors import Denial, Refused
from proxy.firewall import BODYLESS, WithheldError, decoded, redacted

if TYPE_CHECKING:
    from proxy.decision import Decision
    from proxy.exchange import Exchange, Taker
    from proxy.model import RequestHead, ResponseHead

MAX_REDACTED_BYTES: Final = 4 * 1024 * 1024
"""The longest answer that is held for it, encoded or decoded."""


def redacting(exchange: Exchange, decision: Decision, taker: Taker | None) -> Taker | None:
    """`taker`, or what also takes out of its answer what the decision wants taken out."""
    pointers = decision.ruling.redact
    return Redactor(exchange, pointers, taker) if pointers else taker


@dataclass(frozen=True, slots=True)
class Redactor:
    """A `Taker`: of one exchange. An answer of which it is not sure what stands where is withheld."""

    exchange: Exchange
    pointers: tuple[str, ...]
    before: Taker | None

    @property
    def max_bytes(self) -> int:
        """See `Taker`."""
        return MAX_REDACTED_BYTES

    def wants(self, head: ResponseHead, request: RequestHead) -> bool:
        """See `Taker`: every answer that has a body."""
        return head.status not in BODYLESS and not head.end_stream and request.method != "HEAD"

    async def take(self, head: ResponseHead, body: bytes) -> bytes:
        """See `Taker`."""
        if head.status == HTTPStatus.PARTIAL_CONTENT:  # a piece of it may be JSON too, and has other pointers
            raise Refused(_withheld())
        media = next((value for name, value in head.headers if name == "content-type"), None)
        try:
            content = await self._taken(head, body)
            if not content:
                return content
            clean, self.exchange.redacted = redacted(media, content, self.pointers)
        except WithheldError:
            raise Refused(_withheld()) from None
        return clean

    async def _taken(self, head: ResponseHead, body: bytes) -> bytes:
        """What the other taker leaves, where there is one that wants it; decoded."""
        forward = self.exchange.forward
        if self.before is not None and forward is not None and self.before.wants(head, forward.head):
            return await self.before.take(head, body)
        return decoded(head.headers, body, MAX_REDACTED_BYTES)


def _withheld() -> Denial:
    detail = "Policies want parts of the answer taken out, and it is not JSON that can be read."
    return Denial("response_withheld", detail, by="firewall")
