"""What an agent may call: the operations of the profiles it has an account of, as its policies let it. Pure.

A policy is asked with the template of a call in place of a call, so what it says may change with the call's details
where a policy reads them: such an entry says so, and is listed whatever the answer was.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.catalog.base_url import DEFAULT_PORTS
from proxy.catalog.matcher import Match
from proxy.credentials.kind import filled, named_in
from proxy.judging import plain_question, refusal
from proxy.manifest.examples import example_of
from proxy.model import Authority, RequestHead, Strength

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.catalog.binding import BoundAccount
    from proxy.catalog.schema import HostRule, Operation, Profile
    from proxy.decision import Generation
    from proxy.model import Agent

type Fields = dict[str, object]
STANDINGS: Final = {
    "allowed": "The call goes through.",
    "approval": "A person is asked first.",
    "strong_approval": "A person is asked first, and proves who they are.",
    "depends": "The policies refuse it or not, by the details of the call.",
}
_BY_STRENGTH: Final = {
    Strength.NONE: "allowed",
    Strength.APPROVAL: "approval",
    Strength.STRONG: "strong_approval",
}


def listing(generation: Generation, agent: Agent, profile: Profile, *, now_ms: int) -> Fields | None:
    """What `agent` may call of `profile` at `now_ms`; None where that is nothing."""
    usable = [one for one in generation.accounts.get(profile.name, ()) if agent.may_use(one.id, one.tenant)]
    accounts = [_account(generation, agent, profile, one, now_ms) for one in usable]
    accounts = [one for one in accounts if one["operations"]]
    if not accounts:
        return None
    return {"profile": profile.name, "title": profile.title, "docs": profile.docs, "accounts": accounts}


def _account(generation: Generation, agent: Agent, profile: Profile, account: BoundAccount, now_ms: int) -> Fields:
    held = generation.stand_ins.held(agent.name, account.id)
    matches = (Match(profile, profile.hosts[0], operation, {}) for operation in profile.operations)
    variables = {slot: profile.secrets[slot].env for slot in held if slot in profile.secrets}
    return {
        "account": str(account.id),
        "default": account.is_default,
        "hosts": [url for rule in profile.hosts if (url := _origin(rule, account)) is not None],
        "stand_ins": [
            {"secret": slot, "variable": next(iter(variables.get(slot, ())), None), "value": value}
            for slot, value in sorted(held.items())
        ],
        "operations": [
            found for match in matches if (found := _operation(generation, agent, match, account, now_ms)) is not None
        ],
    }


def _operation(generation: Generation, agent: Agent, match: Match, account: BoundAccount, now_ms: int) -> Fields | None:
    profile, operation = match.profile, match.operation
    assert operation is not None
    if operation.action not in account.account.actions:
        return None
    if not (operation.anonymous or operation.answer or account.credentials_for(operation)):
        return None
    rule = next((rule for rule in profile.hosts if operation.applies_to(rule)), None)
    if rule is None:
        return None
    standing = _standing(generation, agent, replace(match, host_rule=rule), account, now_ms)
    if standing is None:
        return None
    described: Fields = {
        "operation": operation.id,
        "title": operation.title or operation.id,
        "methods": list(operation.methods),
        "path": operation.path,
        "action": operation.action.value,
        **standing,
        "example": example_of(profile, operation, _origin(rule, account) or f"{rule.scheme}://{rule.host}"),
    }
    optional: Fields = {
        "hosts": list(operation.hosts),
        "query": operation.query,
        "headers": operation.headers,
        "websocket": operation.websocket,
        "answered_here": operation.answer is not None,
        "max_body_bytes": operation.limits.max_body_bytes,
    }
    return {**described, **{name: value for name, value in optional.items() if value}}


def _standing(generation: Generation, agent: Agent, match: Match, account: BoundAccount, now_ms: int) -> Fields | None:
    """What the policies say of a call like this; None where they refuse every one."""
    if generation.settings.policies.observe:
        return {"standing": "allowed", "depends_on_call": False}
    assert match.operation is not None
    found: list[str] = []
    unsettled, policies = False, generation.policies_for(agent)
    for method in match.operation.methods:
        head = _template(match.operation, match.host_rule, method)
        question = plain_question(agent, match, str(account.id), head, mode=generation.settings.mode, now_ms=now_ms)
        verdict = policies.judge(question)
        depends = not policies.settled(question, verdict)
        unsettled |= depends
        if refusal(verdict) is None:
            found.append(_BY_STRENGTH[verdict.strength])
        elif depends:
            found.append("depends")
    if not found:
        return None
    return {"standing": max(found, key=list(STANDINGS).index), "depends_on_call": unsettled}


def _template(operation: Operation, rule: HostRule, method: str) -> RequestHead:
    """A call that stands for every call of `operation`."""
    return RequestHead(
        method=method,
        scheme=rule.scheme,
        authority=Authority(rule.host, rule.port),
        path=operation.path,
        segments=tuple(operation.path[1:].split("/")),
        query=None,
        headers=(),
        has_body=False,
        websocket=operation.websocket,
    )


def _origin(rule: HostRule, account: BoundAccount) -> str | None:
    host = rule.host
    if rule.account_host is not None:
        if not named_in(rule.account_host) <= account.variables.keys():
            return None
        host = filled(rule.account_host, account.variables)
    port = "" if rule.port == DEFAULT_PORTS[rule.scheme] else f":{rule.port}"
    return f"{rule.scheme}://{host}{port}"


def profiles_of(generation: Generation, agent: Agent) -> Iterator[Profile]:
    """The enabled profiles that `agent` has an account of, by name."""
    for name, profile in sorted(generation.catalog.profiles.items()):
        if any(agent.may_use(account.id, account.tenant) for account in generation.accounts.get(name, ())):
            yield profile
