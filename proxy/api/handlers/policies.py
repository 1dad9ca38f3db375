"""/policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from proxy.api.models import Done
from proxy.api.policy_models import (
    Confirmation,
    ExplainRequest,
    Explanation,
    PendingPolicies,
    PendingView,
    PoliciesView,
    PolicyView,
    Why,
)
from proxy.api.problems import ProblemError
from proxy.canonical import Place, canonical_head, parse_authority
from proxy.db.threads import in_thread
from proxy.errors import Denial
from proxy.model import HTTPS_PORT, RawHead
from proxy.trial.explain import decided

if TYPE_CHECKING:
    from proxy.api.call import Call
    from proxy.decision import Decision, Generation
    from proxy.model import RequestHead
    from proxy.policy_versions import Version

_PORTS: Final = {"http": 80, "https": HTTPS_PORT}


async def show(call: Call) -> PoliciesView:
    """The policies in force, as they were written."""
    generation = call.services.generation()
    settings = generation.settings
    return PoliciesView(
        version=generation.policies.version,
        preset=settings.policies.chosen(settings.mode),
        observe=settings.policies.observe,
        generation=generation.number,
        policies=[
            PolicyView(
                id=one.id, file=one.file, line=one.line, effect="permit" if one.permits else "forbid", text=one.text
            )
            for one in generation.policies.policies.values()
        ],
    )


async def pending(call: Call) -> PendingView:
    """What waits for a confirmation."""
    enforcing = call.services.enforcing
    found = await in_thread(enforcing.pending) if enforcing is not None else None
    return PendingView(pending=[] if found is None else [_pending(found)])


async def confirm(call: Call) -> Done:
    """Let a set that allows more take effect, by a reload that follows at once (I-05)."""
    asked, enforcing = call.sent(Confirmation), call.services.enforcing
    if call.operator.tenant is not None:
        raise ProblemError("forbidden", "Policies are those of all tenants.")
    found = await in_thread(enforcing.pending) if enforcing is not None else None
    if enforcing is None or found is None or found.number != asked.version:
        raise ProblemError("not_found", "No such version waits.")
    target = f"version {found.number}"
    if enforcing.unfit(found, call.operator):
        await call.record("policies_confirm", target, refused="own_request")
        raise ProblemError("own_request", "Whoever wrote it does not confirm it.")
    await call.record("policies_confirm", target, digest=found.digest)
    await in_thread(enforcing.confirm, found, call.operator)
    enforcing.confirmed.set()
    return Done()


def _pending(version: Version) -> PendingPolicies:
    return PendingPolicies(
        version=version.number,
        digest=version.digest,
        author=version.author,
        authors=list(version.authors),
        reason=version.reason,
        restores=version.restores,
        at_ms=version.at_ms,
        wider=list(version.waits),
    )


async def explain(call: Call) -> Explanation:
    """What would be decided about a request now; nothing is sent, no approval is asked for."""
    asked, generation = call.sent(ExplainRequest), call.services.generation()
    agent = next((one for one in call.services.agents() if one.name == asked.agent), None)
    if agent is None or not call.operator.may_see(agent.tenant):
        raise ProblemError("not_found", "There is no such agent.")
    head = _head(asked, generation)
    body = None if asked.body is None else asked.body.encode()
    if isinstance(head, Denial):
        return _explanation(head, generation)
    return _explanation(decided(generation, agent, head, body, now_ms=call.services.clock.wall_ms()), generation)


def _head(asked: ExplainRequest, generation: Generation) -> RequestHead | Denial:
    url = urlsplit(asked.url)
    authority = parse_authority(url.netloc.encode("latin-1"), _PORTS[url.scheme])
    if authority is None:
        return Denial("malformed_request", "The URL names no host.", by="canonical")
    try:
        headers = tuple((one.name.lower().encode("latin-1"), one.value.encode("latin-1")) for one in asked.headers)
    except UnicodeEncodeError:
        return Denial("malformed_request", "A header is not latin-1.", by="canonical")
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    length = () if asked.body is None else ((b"content-length", str(len(asked.body.encode())).encode()),)
    raw = RawHead(
        method=asked.method.encode(),
        target=target.encode("latin-1"),
        authority=b"",
        scheme=b"",
        headers=((b"host", b"localhost"), *(one for one in headers if one[0] not in _FRAMING), *length),
        http_version="HTTP/1.1",
        end_stream=asked.body is None,
    )
    slash = generation.catalog.allows_encoded_slash(authority.host, authority.port)
    place = Place(base=(url.scheme, authority))
    return canonical_head(raw, place=place, sni=None, limits=generation.head_limits, encoded_slash=slash)


_FRAMING: Final = frozenset({b"host", b"content-length", b"transfer-encoding"})


def _explanation(decided: Decision | Denial, generation: Generation) -> Explanation:
    mode = generation.settings.mode
    if isinstance(decided, Denial):
        named = decided.extra.get("policies", [])
        return Explanation(
            allowed=False,
            slug=decided.slug,
            detail=decided.detail,
            strength="none",
            policies=list(named) if isinstance(named, list) else [],
            reasons=[],
            observed=None,
            account=None,
            operation=None,
            mode=mode,
        )
    ruling, match = decided.ruling, decided.match
    operation = match.operation if match is not None else None
    return Explanation(
        allowed=True,
        slug=None,
        detail=None,
        strength=("none", "approval", "strong")[ruling.strength],
        policies=list(ruling.policies),
        reasons=[Why(code=one.code, text=one.text, by=one.by) for one in ruling.reasons],
        observed=ruling.observed,
        account=str(decided.account.id) if decided.account is not None else None,
        operation=f"{match.profile.name}:{operation.id}" if match is not None and operation is not None else None,
        mode=mode,
    )
