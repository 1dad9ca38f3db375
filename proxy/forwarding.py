"""What is dialled and sent for one decision. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.exchange import Dial, Forward

if TYPE_CHECKING:
    from proxy.decision import Decision, Generation
    from proxy.exchange import ClientCertificate, Exchange
    from proxy.model import RequestHead

UNMATCHED_TIMEOUT_S: Final = 600


def forward(
    generation: Generation,
    exchange: Exchange,
    decision: Decision,
    head: RequestHead,
    body: bytes | None,
    certificate: ClientCertificate | None,
) -> Forward:
    """`head` and `body` as they leave, with where they go, as whom, and the ceilings on the way."""
    limits, operation = generation.settings.limits, decision.match.operation if decision.match else None
    provider = decision.match.profile.name if decision.match else ""
    dial = Dial(
        authority=head.authority,
        tls=head.scheme == "https",
        agent=exchange.tunnel.agent.name,
        account=exchange.account or "-",
        trust=generation.trust(provider),
        allow_private=generation.allow_private.get(head.authority.host, ()),
        via=exchange.via,
        certificate=certificate,
    )
    reserved = exchange.meter.max_bytes if exchange.meter is not None else None
    ceilings = [limits.max_body_bytes, operation.limits.max_body_bytes if operation else None, reserved]
    return Forward(
        head=head,
        dial=dial,
        body=body,
        max_body_bytes=min(one for one in ceilings if one is not None),
        response_timeout_s=operation.limits.response_timeout_s if operation else UNMATCHED_TIMEOUT_S,
        max_message_bytes=limits.max_message_bytes,
        max_socket_bytes=limits.max_socket_bytes if reserved is None else min(limits.max_socket_bytes, reserved),
        retries=exchange.presenter.retries if exchange.presenter is not None else 0,
    )
