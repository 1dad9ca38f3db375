"""What an approval is bound to: one keyed digest over everything that a request is (P9). Pure.

Two requests have one fingerprint only if they are the same request: same agent, user, account, profile, policies,
method, URL, headers, body and cost ceiling. The key is the installation's, so that nobody can tell from a fingerprint
what was asked. Form: HMAC-SHA256 over canonical JSON (RFC 8785).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import rfc8785

if TYPE_CHECKING:
    from proxy.model import Agent, Reason, RequestHead, Strength

VOLATILE: Final = frozenset(
    {
        "baggage",
        "traceparent",
        "tracestate",
        "x-request-id",
        "x-stainless-read-timeout",
        "x-stainless-retry-count",
        "x-stainless-timeout",
    }
)
"""Headers that clients change from one attempt at the same request to the next. Source: W3C Trace Context; the OpenAI
and Anthropic SDKs. They reach the provider as the agent sends them."""
_VERSION: Final = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that may leave only with an approval.

    Attributes:
        head: canonical, without a credential.
        body: whole; None where the request has none.
        profile_version: digest of the profile and the account's settings as they were loaded.
        policy_version: digest of the policies in force.
        cost_microusd: the most that it may cost.
        needs: how many approvers must say yes.
    """

    agent: Agent
    account: str
    profile: str
    profile_version: str
    operation: str
    action: str
    policy_version: str
    mode: str
    head: RequestHead
    body: bytes | None
    strength: Strength
    reasons: tuple[Reason, ...]
    cost_microusd: int = 0
    needs: int = 1


def fingerprint(asked: Asked, *, key: bytes, volatile: frozenset[str] = VOLATILE) -> str:
    """The digest of the whole request, in hexadecimal."""
    agent, head, body = asked.agent, asked.head, asked.body or b""
    return _digest(
        key,
        {
            "version": _VERSION,
            "tenant": agent.tenant,
            "agent": [agent.name, agent.life],
            "user": agent.user.name if agent.user is not None else None,
            "task": agent.task,
            "account": asked.account,
            "profile": [asked.profile, asked.profile_version],
            "operation": [asked.operation, asked.action],
            "policy": asked.policy_version,
            "mode": asked.mode,
            "method": head.method,
            "scheme": head.scheme,
            "host": head.authority.host,
            "port": head.authority.port,
            "path": head.path,
            "query": head.query,
            "websocket": head.websocket,
            "headers": [[name, value] for name, value in head.headers if name not in volatile],
            "body": [len(body), hashlib.sha256(body).hexdigest()] if asked.body is not None else None,
            "cost_microusd": str(asked.cost_microusd),  # RFC 8785 numbers end at 2**53
            "reasons": sorted(reason.code for reason in asked.reasons),
            "strength": int(asked.strength),
            "needs": asked.needs,
        },
    )


def family(asked: Asked, *, key: bytes) -> str:
    """What near-identical requests share: who, and method, host and path (J-16)."""
    agent, head = asked.agent, asked.head
    place = [head.method, head.scheme, str(head.authority), head.path]
    return _digest(key, {"family": [agent.tenant, agent.name, asked.account, *place]})


def _digest(key: bytes, value: dict[str, object]) -> str:
    return hmac.new(key, rfc8785.dumps(value), hashlib.sha256).hexdigest()  # type: ignore[arg-type]  # JSON
