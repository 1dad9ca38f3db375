"""What an agent gets of an answer: scrubbed, counted, and with the id of its receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.errors import Answer, Denial, Refused
from proxy.exchange import Cut, Exchange
from proxy.firewall import Vocabulary, WithheldError, headers_of_whole, scrub, scrub_headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.model import Headers


def whole(exchange: Exchange, status: int, headers: Headers, body: bytes, vocabulary: Vocabulary) -> Answer:
    """A whole answer."""
    clean, hits = scrub_headers(headers, vocabulary)
    content, more = scrub(body, vocabulary)
    exchange.redactions += hits + more
    exchange.response_bytes = len(content)
    fields = (*clean, ("briefcased-receipt", exchange.id))
    return Answer(status, tuple((n.encode("latin-1"), v.encode("latin-1")) for n, v in fields), content)


async def collected(exchange: Exchange, body: bytes, vocabulary: Callable[[], Vocabulary]) -> Denial | Answer:
    """An answer that was held whole, and counted as it came: what its taker leaves of it.

    It is withheld where that is more than was reserved (K-10). `vocabulary` is asked once the taker is done: what is
    fresh is in it from then on.
    """
    head, taker, meter = exchange.reply, exchange.taker, exchange.meter
    assert head is not None
    assert taker is not None
    try:
        content = await taker.take(head, body)
    except Refused as refused:
        return refused.denial
    if meter is not None and not meter.came(0, content, request_bytes=exchange.request_bytes):
        return Denial("response_withheld", "The answer is longer than what the budget reserved for it.", by="reserve")
    return whole(exchange, head.status, headers_of_whole(head.headers), content, vocabulary())


def piece(exchange: Exchange, data: bytes) -> bytes | Cut:
    """One piece of a body; b"" ends it. After a `Cut` nothing more may reach the agent."""
    if exchange.filter is None:
        clean = data
    else:
        try:
            clean = exchange.filter.feed(data)
        except WithheldError:
            exchange.fault = "response_withheld"
            return Cut("response_withheld")
    exchange.response_bytes += len(clean)
    meter = exchange.meter
    if meter is not None and not meter.came(len(data), clean, request_bytes=exchange.request_bytes):
        exchange.fault = "budget_exceeded"
        return Cut("budget_exceeded")
    return clean


def trailing(exchange: Exchange, trailers: Headers, vocabulary: Vocabulary) -> Headers:
    """The trailers of a body."""
    clean, hits = scrub_headers(trailers, vocabulary)
    exchange.redactions += hits
    if exchange.meter is not None:
        exchange.meter.came(sum(len(name) + len(value) for name, value in trailers), b"", request_bytes=0)
    return clean
