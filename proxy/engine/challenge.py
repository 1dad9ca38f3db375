"""A challenge (401, 402) answered inside the stream: ask the addons, send the request once more, unseen by the agent.

The second attempt has its own id on the upstream side (`alias`), because HTTP/2 never uses a stream twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from mitmproxy.proxy.layers.http import DropStream, HttpStream, SendHttp
from mitmproxy.proxy.layers.http._events import (
    HttpEvent,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    ResponseData,
    ResponseEndOfMessage,
)

from proxy.engine.commands import SidecarRetryHook
from proxy.exchange import EXCHANGE_KEY, RETRIES_KEY, RETRY_KEY, Exchange

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitmproxy import http
    from mitmproxy.proxy import commands
    from mitmproxy.proxy.layers.http import HttpLayer

    type Steps[T] = Generator[commands.Command, object, T]

MAX_CHALLENGE_BYTES: Final = 64 * 1024
RETRY_ID_SHIFT: Final = 40


class ChallengeStream(HttpStream):
    """The seam for credential kinds that learn from a challenge; `SidecarStream` completes it."""

    bodyless = False
    attempt = 0
    alias: int | None = None
    challenge: http.Response | None = None

    @property
    def exchange(self) -> Exchange | None:
        """The exchange that the gate made for this flow."""
        found = self.flow.metadata.get(EXCHANGE_KEY) if hasattr(self, "flow") else None
        return found if isinstance(found, Exchange) else None

    def _begin_response(self, response: http.Response, *, end_stream: bool) -> Steps[None]:  # noqa: ARG002
        """Give `response` on towards the agent."""
        raise AssertionError("SidecarStream has it")

    def _may_ask_again(self, response: http.Response) -> bool:
        meta = self.flow.metadata
        return (
            self.attempt < int(meta.get(RETRIES_KEY, 0))
            and self.client_state == self.state_done
            and response.status_code in (401, 402)
            and self._replayable_body() is not None
        )

    def _replayable_body(self) -> bytes | None:
        if self.bodyless:
            return b""
        return None if self.flow.request.stream else self.flow.request.raw_content  # what streamed is gone

    def state_challenge(self, event: HttpEvent) -> Steps[None]:
        """Collect the challenge, ask the addons, and send the request once more or give the challenge on."""
        assert self.challenge is not None
        if isinstance(event, ResponseData):
            self.response_body_buf += event.data[: MAX_CHALLENGE_BYTES - len(self.response_body_buf)]
        elif isinstance(event, ResponseEndOfMessage):
            self.challenge.data.content = bytes(self.response_body_buf)
            self.response_body_buf.clear()
            self.flow.response = self.challenge
            self.attempt += 1
            yield SidecarRetryHook(self.flow)
            if (yield from self.check_killed(emit_error_hook=True)):
                return
            if self.flow.metadata.pop(RETRY_KEY, False):
                yield from self._send_again()
            else:
                yield from self._give_challenge_on()

    def _give_challenge_on(self) -> Steps[None]:
        assert self.flow.response is not None
        content = self.flow.response.raw_content or b""
        yield from self._begin_response(self.flow.response, end_stream=not content)
        if self.server_state == self.state_stream_response_body:
            yield from self.server_state(ResponseData(self.stream_id, content))
        if self.server_state in (self.state_stream_response_body, self.state_consume_response_body):
            yield from self.server_state(ResponseEndOfMessage(self.stream_id))

    def _send_again(self) -> Steps[None]:
        body = self._replayable_body() or b""
        self.flow.response = None
        if not (yield from self.make_server_connection()):
            return
        parent = cast("HttpLayer", self.context.layers[self.context.layers.index(self) - 1])
        self.alias = self.stream_id + (self.attempt << RETRY_ID_SHIFT)
        parent.streams[self.alias] = self
        self.server_state = self.state_wait_for_response_headers
        server = self.context.server
        yield SendHttp(RequestHeaders(self.alias, self.flow.request, end_stream=not body), server)
        if body:
            yield SendHttp(RequestData(self.alias, body), server)
        yield SendHttp(RequestEndOfMessage(self.alias), server)

    def flow_done(self) -> Steps[None]:
        """As mitmproxy, and forget the second attempt's id."""
        if self.alias is not None:
            yield DropStream(self.alias)
        yield from super().flow_done()
