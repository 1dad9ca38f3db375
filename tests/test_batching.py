"""K-11 and P12: `decide()` on batches: every call is judged by itself, and none as less than the whole request is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from proxy.catalog.configuration import Configuration, mistakes
from proxy.catalog.policies import vocabulary
from proxy.catalog.schema import Profile
from proxy.decision import Decision, decide
from proxy.documents import Document
from proxy.errors import Denial
from proxy.generation import build_generation
from proxy.model import Agent, Authority, RequestHead, Strength
from proxy.policy import Policies
from proxy.risk.circumstances import accustomed
from proxy.settings import Settings
from proxy.trial.explain import decided as trial_of

if TYPE_CHECKING:
    from proxy.decision import Generation
    from proxy.model import Called

NOW_MS = 1_764_115_200_000
KNOWN = accustomed([("rpc", name) for name in ("list", "send", "short")], "rpc.example", NOW_MS)
PROFILE = Document(
    "rpc",
    """\
schema: 1
name: rpc
title: Rpc
docs: https://rpc.example
checked: "2026-11-26"
hosts: [{host: rpc.example}]
secrets: {token: {stand_in: {template: "rpc_{base62:20}"}}}
credentials: {bearer: {kind: header, prefix: "Bearer ", secret: token}}
usage: {send: {most: {mails: {fixed: 2, cap: 2}}}}
operations:
  - {id: list, methods: [POST], path: /, action: read, jsonrpc: {methods: [list], max_batch: 100}}
  - {id: send, methods: [POST], path: /, action: write, jsonrpc: {methods: [send], max_batch: 100}, usage: send}
  - {id: short, methods: [POST], path: /, action: read, jsonrpc: {methods: [short], max_batch: 100}, limits: {max_body_bytes: 200}}
""",
).validated(Profile)
AGENT = Agent("all", ("*",), "t1")
HEAD = RequestHead("POST", "https", Authority("rpc.example", 443), "/", ("",), None, (("content-type", "application/json"),), has_body=True)  # fmt: skip
ALL = '@id("all") permit (principal, action, resource);'


def generation(text: str = ALL, **settings: Any) -> Generation:
    accounts = {"main": {"secrets": {"token": "file:/t"}}}
    raw = {"version": 1, "mode": "staging", "providers": {"rpc": {"accounts": accounts}}, **settings}
    loaded = Settings.model_validate_json(orjson.dumps(raw))
    assert list(mistakes(loaded, {"rpc": PROFILE})) == []
    made = Policies.load([("own.cedar", text)], vocabulary([PROFILE]))
    return build_generation(7, Configuration(loaded, {"rpc": PROFILE}, made), [AGENT], stand_in_key=b"k" * 32)


def message(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def decided(of: Generation, *calls: dict[str, Any], agent: Agent = AGENT, alone: bool = False) -> Decision | Denial:
    return decide(of, agent, HEAD, orjson.dumps(calls[0] if alone else calls), now_ms=NOW_MS, circumstances=KNOWN)


def test_the_decision_is_of_the_weightiest_and_knows_every_call() -> None:
    budgets = [{"name": "mails", "unit": "mails", "limit": 10}]
    found = decided(generation(budgets=budgets), message("list"), message("send"), message("list"), message("send"))
    assert isinstance(found, Decision)
    assert found.match is not None
    assert found.match.operation is not None
    assert (found.match.operation.id, found.match.calls) == ("send", {"list": 2, "send": 2})
    assert [one.estimate.most.get("mails", 0) for one in found.calls] == [0, 2, 0, 2]
    assert found.estimate.most["mails"] == 4
    assert found.estimate.most["bytes"] == max(one.estimate.most["bytes"] for one in found.calls)


def test_a_message_that_is_no_batch_has_no_parts() -> None:
    found = decided(generation(), message("send"), alone=True)
    assert isinstance(found, Decision)
    assert (found.parts, found.calls, found.several) == ((), (found,), False)


@pytest.mark.parametrize(
    ("policy", "calls", "entry"),
    [
        ('forbid (principal, action == Action::"call", resource) when { resource.id == "send" };', ("list", "send"), 1),
        ("forbid (principal, action, resource) when { context has body_bytes && context.body_bytes > 150 };", ("list",) * 4, 0),
        ("forbid (principal, action, resource) when { context has body_bytes && context.body_bytes > 150 };", ("list",), None),
    ],
)  # fmt: skip
def test_policies_see_each_call_with_the_length_of_the_whole(policy: str, calls: tuple[str, ...], entry: Any) -> None:
    found = decided(generation(f"{ALL}\n{policy}"), *map(message, calls))
    assert isinstance(found, Denial) is (entry is not None)
    if isinstance(found, Denial):
        assert (found.slug, found.extra["entry"]) == ("policy_denied", entry)


def test_the_strongest_wish_counts_and_every_reason_is_told() -> None:
    ask = """
    @id("ask") forbid (principal, action == Action::"callWithoutApproval", resource) when { resource.id == "list" };
    @id("strong") forbid (principal, action in [Action::"callWithoutApproval", Action::"callWithoutStrongApproval"], resource)
    when { resource.id == "send" };
    """
    of = generation(ALL + ask)
    for calls, strength, asking in (
        (("list",), Strength.APPROVAL, {"ask"}),
        (("list", "send"), Strength.STRONG, {"ask", "strong"}),
        (("send", "list", "list"), Strength.STRONG, {"ask", "strong"}),
    ):
        found = decided(of, *map(message, calls))
        assert isinstance(found, Decision)
        assert found.ruling.strength is strength
        assert len(found.ruling.reasons) == len(asking)
        assert asking == {"ask", "strong"} & set(found.ruling.policies)


def test_p12_what_is_harmless_in_pieces_is_not_together() -> None:
    """The rule counts many addresses; no call of the batch has many."""
    of = generation()
    one = decided(of, message("send", to="person@mail.example"), alone=True)
    together = decided(of, *(message("send", to=f"person{n}@mail.example") for n in range(60)))
    assert isinstance(one, Decision)
    assert isinstance(together, Decision)
    assert "email_list" not in one.ruling.risk.codes
    assert "email_list" in together.ruling.risk.codes
    assert all(part.ruling.risk == together.ruling.risk for part in together.parts)


SSN = "219-09-9999"


def test_p12_what_is_risky_about_one_call_is_not_hidden_behind_a_riskier_one() -> None:
    new = accustomed([("rpc", "send"), ("rpc", "short")], "rpc.example", NOW_MS)  # it has never listed
    forbid = 'forbid (principal, action, resource) when { context.risk_reasons.contains("first_use") };'
    quiet, noisy = message("list"), message("send", text=f"{SSN} for you")
    for calls in ((quiet,), (quiet, noisy), (noisy, quiet)):
        of = generation(f"{ALL}\n{forbid}")
        found = decide(of, AGENT, HEAD, orjson.dumps(calls), now_ms=NOW_MS, circumstances=new)
        assert isinstance(found, Denial), calls
    of = generation()
    scores = []
    for calls in ((quiet,), (noisy,), (noisy, quiet)):
        found = decide(of, AGENT, HEAD, orjson.dumps(calls), now_ms=NOW_MS, circumstances=new)
        assert isinstance(found, Decision)
        scores.append(found.ruling.risk.score)
        assert found.ruling.risk.score == max(one.ruling.risk.score for one in found.calls)
    assert scores[2] == scores[0] + scores[1]


class Session:
    """Limits of a task token."""

    def __init__(self, *operations: str) -> None:
        self.operations = operations

    def permits(self, called: Called) -> bool:
        return called.operation in self.operations


def test_a_task_token_has_to_cover_every_call() -> None:
    agent = replace(AGENT, session=Session("rpc:list"))
    of = generation()
    assert isinstance(decided(of, message("list"), message("list"), agent=agent), Decision)
    found = decided(of, message("list"), message("send"), agent=agent)
    assert isinstance(found, Denial)
    assert (found.slug, found.extra["entry"]) == ("policy_denied", 1)


def test_the_smallest_limit_is_for_the_whole_body() -> None:
    of = generation()
    assert isinstance(decided(of, message("short")), Decision)
    found = decided(of, message("short"), *[message("list")] * 3)
    assert isinstance(found, Denial)
    assert found.slug == "request_too_large"


def test_what_policies_are_only_observed_to_refuse_is_noted() -> None:
    forbid = '@id("no") forbid (principal, action == Action::"call", resource) when { resource.id == "send" };'
    found = decided(generation(f"{ALL}\n{forbid}", policies={"observe": True}), message("list"), message("send"))
    assert isinstance(found, Decision)
    assert (found.ruling.observed, found.ruling.strength) == ("policy_denied", Strength.NONE)


def test_a_trial_takes_every_call_of_a_batch_for_a_known_one() -> None:
    body = orjson.dumps([message("list"), message("send")])
    found = trial_of(generation(), AGENT, HEAD, body, now_ms=NOW_MS)
    assert isinstance(found, Decision)
    assert found.ruling.risk.codes == ()
