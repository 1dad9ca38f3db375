"""What an approver sees: the whole request, as text that shows everything it holds. Pure.

Facts that the proxy knows come first; what the agent wrote is quoted below, marked as such, and never used as a title
(J-12). Nothing is cut off: a request that is too large to be looked at whole cannot be approved (J-03).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from publicsuffixlist import PublicSuffixList

from proxy.approval.visible import visible, visible_bytes
from proxy.model import Strength

if TYPE_CHECKING:
    from proxy.approval.fingerprint import Asked

MAX_REVIEW_BYTES: Final = 256 * 1024
"""Of head and body together; nobody reads more."""
_SUFFIXES: Final = PublicSuffixList()


@dataclass(frozen=True, slots=True)
class Card:
    """One request for people's eyes. Every text is escaped (see `visible`); JSON-ready.

    Attributes:
        title: of the operation, from the profile or its id; never from the agent.
        domain: the registrable domain of the host, which says whose it is.
        escaped: how many characters of the request had to be spelt out: more than none deserves a second look.
        origin: scheme, host and port; with `path`, what a standing grant may be made for.
        agent_life: how often an agent of this name was revoked before.
        body_kind: `text`, or `bytes` for what is not UTF-8.
    """

    title: str
    agent: str
    user: str | None
    tenant: str
    account: str
    profile: str
    operation: str
    action: str
    strength: str
    reasons: tuple[dict[str, str], ...]
    cost_microusd: int
    method: str
    origin: str
    path: str
    url: str
    host: str
    domain: str
    headers: tuple[tuple[str, str], ...]
    body: str | None
    body_kind: str
    body_bytes: int
    body_sha256: str | None
    escaped: int
    profile_version: str
    policy_version: str
    agent_life: int


def reviewable(asked: Asked) -> bool:
    """Whether a person can look at all of it."""
    head = asked.head
    size = len(head.path) + len(head.query or "") + sum(len(n) + len(v) for n, v in head.headers)
    return size + len(asked.body or b"") <= MAX_REVIEW_BYTES


def card_of(asked: Asked, title: str) -> Card:
    """The card of a request that is `reviewable`; `title` is the operation's."""
    head, body = asked.head, asked.body
    path = head.path + (f"?{head.query}" if head.query is not None else "")
    url = visible(f"{head.scheme}://{head.authority}{path}")
    headers = [(visible(name), visible(value)) for name, value in head.headers]
    shown = visible_bytes(body) if body is not None else None
    host = head.authority.host
    return Card(
        title=title,
        agent=asked.agent.name,
        user=asked.agent.user.name if asked.agent.user is not None else None,
        tenant=asked.agent.tenant,
        account=asked.account,
        profile=asked.profile,
        operation=asked.operation,
        action=asked.action,
        strength="strong" if asked.strength is Strength.STRONG else "approval",
        reasons=tuple({"code": one.code, "text": one.text, "by": one.by} for one in asked.reasons),
        cost_microusd=asked.cost_microusd,
        method=head.method,
        origin=f"{head.scheme}://{host}:{head.authority.port}",
        path=visible(head.path).text,
        url=url.text,
        host=host,
        domain=_SUFFIXES.privatesuffix(host) or host,
        headers=tuple((name.text, value.text) for name, value in headers),
        body=shown.text if shown is not None else None,
        body_kind="text" if body is None or _is_text(body) else "bytes",
        body_bytes=len(body or b""),
        body_sha256=hashlib.sha256(body).hexdigest() if body is not None else None,
        escaped=url.escaped + sum(n.escaped + v.escaped for n, v in headers) + (shown.escaped if shown else 0),
        profile_version=asked.profile_version,
        policy_version=asked.policy_version,
        agent_life=asked.agent.life,
    )


def _is_text(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
