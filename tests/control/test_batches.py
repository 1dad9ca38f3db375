"""K-11: the calls of a JSON-RPC or GraphQL batch are judged, shown and counted one by one, through the real proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
import pytest_asyncio

from proxy.approval.states import Vote
from proxy.catalog.policies import vocabulary
from proxy.model import Agent
from proxy.policy import Policies
from proxy.trial.explain import Outcome, Trial, explained
from proxy.trial.replay import Change, replayed
from tests.rig import running_rig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.rig import Answer, Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROFILE = """\
schema: 1
name: example
title: Example
docs: https://example.test/
checked: "2026-11-26"
hosts: [{{host: api.example.test, port: {port}}}]
secrets: {{api_key: {{stand_in: {{template: "sk-example-{{base62:24}}"}}}}}}
credentials:
  bearer: {{kind: header, header: Authorization, prefix: "Bearer ", secret: api_key}}
  other: {{kind: header, header: X-Key, secret: api_key}}
usage:
  send: {{most: {{mails: {{entries: [/params/arguments/to], cap: 50}}}}}}
  note: {{most: {{notes: {{fixed: 1, cap: 1}}}}}}
operations:
  - id: list
    title: List tools
    methods: [POST]
    path: /mcp
    action: read
    jsonrpc: {{methods: [tools/list, ping], max_batch: 100}}
  - id: pay
    title: Pay
    methods: [POST]
    path: /mcp
    action: admin
    jsonrpc: {{methods: [tools/call], tools: [pay], max_batch: 100}}
    fields: {{amount: {{pointer: /params/arguments/amount, type: Long, required: true}}}}
  - id: send
    title: Send mail
    methods: [POST]
    path: /mcp
    action: write
    jsonrpc: {{methods: [tools/call], tools: [send], max_batch: 100}}
    usage: send
  - id: single
    methods: [POST]
    path: /mcp
    action: write
    jsonrpc: {{methods: [tools/call], tools: [single]}}
  - id: elsewhere
    methods: [POST]
    path: /mcp
    action: write
    jsonrpc: {{methods: [elsewhere], max_batch: 100}}
    credentials: [other]
  - {{id: query, methods: [POST], path: /graphql, action: read, graphql: {{operations: [query], max_batch: 5}}}}
  - id: note
    methods: [POST]
    path: /graphql
    action: write
    graphql: {{operations: [mutation], fields: [note], max_batch: 5}}
    usage: note
"""
POLICIES = """
@id("all") permit (principal, action, resource);
@id("much") forbid (principal, action, resource) when { context.fields has amount && context.fields.amount > 100 };
@id("ask") forbid (principal, action == Action::"callWithoutApproval", resource) when { resource.id == "pay" };
"""
ACCOUNT = {"secrets": {"api_key": "env:EXAMPLE_API_KEY"}, "actions": ["read", "write", "admin"]}
BUDGETS = [
    {"name": "calls", "unit": "requests", "limit": 100_000},
    {"name": "pays", "unit": "requests", "limit": 6, "match": {"operation": "example:pay"}},
    {"name": "mails", "unit": "mails", "limit": 60},
    {"name": "notes", "unit": "notes", "limit": 10},
    {"name": "carried", "unit": "bytes", "limit": 10**12},
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    folder = tmp_path_factory.mktemp("batches")
    policies = folder / "own.cedar"
    policies.write_text(POLICIES)
    blocks = {
        "policies": {"files": [str(policies)]},
        "approvals": {"hold_s": 0.0},
        "providers": {"example": {"accounts": {"main": ACCOUNT}}},
        "budgets": BUDGETS,
        "rates": [{"name": "mailing", "calls": 60, "burst": 20, "match": {"operation": "example:send"}}],
    }
    async with running_rig(folder, profiles={"example": PROFILE}, settings=blocks) as rig:
        yield rig


PING: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


def tool(name: str, **arguments: Any) -> dict[str, Any]:
    return {**PING, "method": "tools/call", "params": {"name": name, "arguments": arguments}}


def note(times: int = 1) -> dict[str, Any]:
    return {"query": "mutation {" + "".join(f" a{n}: note" for n in range(times)) + " }"}


async def sent(rig: Rig, calls: object, path: str = "/mcp") -> tuple[Answer, dict[str, Any], dict[str, Any] | None]:
    """The answer, and what the receipts say of it."""
    known = len(await rig.receipts())
    answer = await rig.call("POST", path, content=orjson.dumps(calls), headers={"Content-Type": "application/json"})
    made = await rig.settled(known + 1)
    call = max(made, key=lambda one: one.decision["id"])
    return answer, call.decision, call.outcome


async def test_each_call_is_named_and_counted_and_the_body_leaves_as_it_came(rig: Rig) -> None:
    batch = [PING, tool("send", to=["a", "b"]), tool("send", to=["c"]), PING]
    answer, decision, outcome = await sent(rig, batch)
    assert answer.status == 200
    assert orjson.loads(rig.provider.requests[-1].body) == batch
    assert (decision["operation"], decision["action"]) == ("send", "write")
    assert decision["calls"] == "list=2 send=2"
    reserved = dict(pair.split("=") for pair in decision["reserved"].split())
    assert (reserved["requests"], reserved["mails"]) == ("4", "3")
    assert outcome is not None
    used = dict(pair.split("=") for pair in outcome["used"].split())
    assert (used["requests"], used["mails"]) == ("4", "3")
    assert 0 < int(used["bytes"]) < int(reserved["bytes"]) < 2 * 16 * 1024 * 1024  # one answer, not four
    assert "requests" not in (outcome["estimated"] or "")


async def test_a_batch_is_explained_and_asked_again_as_a_whole(rig: Rig) -> None:
    batch = [PING, tool("pay", amount=1)]
    generation = rig.sidecar.pipeline.generation
    url = f"https://api.example.test:{rig.provider.port}/mcp"
    headers = (("content-type", "application/json"),)
    agent = Agent("tester", ("*",), "-")
    told = explained(
        generation, Trial("POST", url, agent, 1_764_115_200_000, headers=headers, body=orjson.dumps(batch))
    )
    assert (told.outcome, told.operation) == (Outcome.APPROVAL, "example:pay")
    assert "It makes several calls in one, and all may be made: 1 of list, 1 of pay." in told.sentences
    _, decision, _ = await sent(rig, [PING, tool("send", to=["a"])])
    candidate = """
    @id("all") permit (principal, action, resource);
    @id("no-list") forbid (principal, action == Action::"call", resource) when { resource.id == "list" };
    """
    policies = Policies.load([("new.cedar", candidate)], vocabulary(rig.configuration.profiles.values()))
    (found,) = replayed(generation, policies, {"tester": agent}, [decision])
    assert (found.change, found.now, found.policies) == (Change.TIGHTENED, Outcome.DENY, ("no-list",))


@pytest.mark.parametrize(
    ("batch", "problem", "entry"),
    [
        ([PING, tool("pay", amount=1), tool("pay", amount=101)], "policy_denied", 2),
        ([PING, tool("pay")], "invalid_request", 1),
        ([PING, tool("pay", amount="1")], "invalid_request", 1),
        ([PING, tool("delete")], "operation_not_allowed", None),
        ([tool("single")], None, None),
        ([PING, tool("single")], "invalid_request", None),
        ([PING, {**PING, "method": "elsewhere"}], "operation_not_allowed", None),
        ([{**PING, "method": "elsewhere"}] * 2, None, None),
        ([PING] * 101, "ambiguous_request", None),
        ([PING] * 100, None, None),
        ([tool("send", to=["a"])] * 21, "rate_limited", None),
        ([tool("send", to=["a"] * 40), tool("send", to=["a"] * 40)], "budget_exceeded", None),
        ([{**tool("send"), "id": 1, "method": ["tools/call"]}, PING], "ambiguous_request", None),
    ],
)
async def test_all_of_a_batch_may_leave_or_nothing(
    rig: Rig, batch: list[object], problem: str | None, entry: int | None
) -> None:
    before = len(rig.provider.requests)
    answer, _, _ = await sent(rig, batch)
    assert answer.problem == problem, answer.body
    assert len(rig.provider.requests) - before == (problem is None)
    if problem is not None:
        assert answer.json().get("entry") == entry


async def test_p9_who_is_asked_sees_every_call(rig: Rig) -> None:
    batch = [tool("pay", amount=1), PING, tool("pay", amount=2)]
    asked, _, _ = await sent(rig, batch)
    assert asked.problem == "approval_required"
    card = rig.sidecar.approvals.store.card(asked.json()["approval_id"])
    assert card is not None
    assert (card["operation"], card["title"], card["action"]) == (
        "list, 2 times pay",
        "List tools, 2 times Pay",
        "admin",
    )
    assert card["body"] == orjson.dumps(batch).decode()
    await rig.sidecar.approvals.vote(asked.json()["approval_id"], Vote("ann", yes=True))
    other, _, _ = await sent(rig, [*batch, PING])
    assert other.problem == "approval_required"
    done, decision, _ = await sent(rig, batch)
    assert (done.status, decision["calls"]) == (200, "list=1 pay=2")


async def test_a_budget_of_one_operation_counts_its_calls_alone(rig: Rig) -> None:
    """K-11: 2 of 6 are used up by the test before; five more do not fit, however they come."""
    answer, _, _ = await sent(rig, [tool("pay", amount=3)] * 7)
    assert (answer.problem, answer.json()["budget"]) == ("budget_exceeded", "pays")


async def test_aliases_of_a_mutation_count_each(rig: Rig) -> None:
    answer, decision, outcome = await sent(rig, note(6), "/graphql")
    assert answer.status == 200
    assert decision["calls"] == "note=6"
    reserved = dict(pair.split("=") for pair in decision["reserved"].split())
    assert (reserved["requests"], reserved["notes"]) == ("6", "6")
    assert outcome is not None
    assert "notes=6" in outcome["used"]
    before = len(rig.provider.requests)
    for over in (note(5), [note(3), {"query": "{ a }"}, note(2)]):
        answer, _, _ = await sent(rig, over, "/graphql")
        assert (answer.problem, answer.json()["budget"]) == ("budget_exceeded", "notes")
    assert len(rig.provider.requests) == before
    answer, decision, _ = await sent(rig, [note(3), {"query": "{ a }"}, note(1)], "/graphql")
    assert (answer.status, decision["calls"]) == (200, "note=4 query=1")
