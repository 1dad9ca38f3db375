"""Runs a generator that only makes calls, at a server that the operator names: no account, no key, nothing kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.credentials.kind import Call, CallFailedError, Reply
from proxy.egress.dial import NAMED_BY_THE_OPERATOR
from proxy.egress.http import HttpFailedError, parse_https
from proxy.egress.upstream import route

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.credentials.kind import Minting
    from proxy.egress.http import HttpClient
    from proxy.settings import UpstreamProxyEntry

MAX_STEPS = 16


async def answered[T](
    minting: Minting[T], http: HttpClient, *, trust: Path | None, proxy: UpstreamProxyEntry | None = None
) -> T:
    """What `minting` returns; `trust` are the roots of whom it asks.

    Raises:
        MintFailedError: by the generator.
        CallFailedError: no answer, and the generator minds.
    """
    reply: Reply | None = None
    failed: CallFailedError | None = None
    for _ in range(MAX_STEPS):
        try:
            step = minting.throw(failed) if failed is not None else minting.send(reply)  # type: ignore[arg-type]
        except StopIteration as ended:
            value: T = ended.value
            return value
        assert isinstance(step, Call)
        reply = failed = None
        try:
            reply = await _reply(step, http, trust, proxy)
        except CallFailedError as error:
            failed = error
    minting.close()
    raise CallFailedError("too many steps")


async def _reply(call: Call, http: HttpClient, trust: Path | None, proxy: UpstreamProxyEntry | None) -> Reply:
    try:
        url = parse_https(call.url)
        answer = await http.request(
            call.method,
            url,
            headers=call.headers,
            body=call.body,
            max_bytes=call.max_reply_bytes,
            trust=trust,
            via=route(proxy, url.authority),
            allow_private=NAMED_BY_THE_OPERATOR,
        )
    except (HttpFailedError, ValueError) as error:
        raise CallFailedError(str(error)) from None
    return Reply(answer.status, answer.headers, answer.body)
