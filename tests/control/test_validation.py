"""Validation through the real proxy: what is refused never reaches the provider, what was checked is what leaves."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING

import orjson
import pytest
import pytest_asyncio

from proxy.approval.states import Vote
from tests.rig import running_rig
from tests.rig.sidecar import accounts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROFILE = """\
schema: 1
name: example
title: Example
docs: https://example.test/
checked: "2026-11-26"
hosts: [{{host: api.example.test, port: {port}}}]
secrets: {{api_key: {{stand_in: {{template: "sk-example-{{base62:24}}"}}}}}}
credentials: {{bearer: {{kind: header, header: Authorization, prefix: "Bearer ", secret: api_key}}}}
strip_query: [key]
operations:
  - id: pay
    methods: [POST]
    path: /pay
    action: write
    limits: {{max_held_bytes: 4096}}
    body: {{schema: {{type: object, required: [amount], properties: {{amount: {{type: integer, minimum: 1}}}}}}}}
    fields: {{amount: {{pointer: /amount, type: Long, required: true}}}}
  - id: form
    methods: [POST]
    path: /form
    action: write
    body: {{format: form}}
    fields: {{to: {{pointer: /to, type: String}}}}
  - id: list
    methods: [GET]
    path: /list
    action: read
    query_schema: {{properties: {{page: {{pattern: "^[0-9]+$"}}}}, additionalProperties: false}}
  - {{id: graphql.query, methods: [GET, POST], path: /graphql, action: read, graphql: {{operations: [query]}}}}
  - {{id: graphql.change, methods: [POST], path: /graphql, action: admin}}
  - {{id: mcp.list, methods: [POST], path: /mcp, action: read, jsonrpc: {{methods: [initialize, tools/list]}}}}
  - {{id: mcp.call, methods: [POST], path: /mcp, action: write, jsonrpc: {{methods: [tools/call], tools: [search]}}}}
  - {{id: batch, methods: [POST], path: /batch, action: write, batch: refused}}
"""
POLICIES = """
@id("all") permit (principal, action, resource);
@id("much") @advice("At most 100.") forbid (principal, action, resource) when { context.fields has amount && context.fields.amount > 100 };
@id("ask") forbid (principal, action == Action::"callWithoutApproval", resource) when { resource.id == "mcp.call" };
@id("eve") forbid (principal, action, resource) when { context.fields has to && context.fields.to == "eve" };
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    folder = tmp_path_factory.mktemp("validation")
    policies = folder / "own.cedar"
    policies.write_text(POLICIES)
    blocks = {
        "policies": {"files": [str(policies)]},
        "approvals": {"hold_s": 0.0},
        "providers": {"example": accounts(api_key="env:EXAMPLE_API_KEY")},
    }
    async with running_rig(folder, profiles={"example": PROFILE}, settings=blocks) as rig:
        yield rig


JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
READ = b'{"query":"query { viewer { id } }"}'
CHANGE = b'{"query":"mutation { query: deleteAll { id } }"}'


def rpc(method: str, **params: str) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})


CALLS = [
    ("/pay", JSON, b'{"amount": 7,\n "note":"\xc3\xa9"}', 200, None),
    ("/pay", JSON, b'{"amount":0}', 422, "invalid_request"),
    ("/pay", JSON, b"{}", 422, "invalid_request"),
    ("/pay", JSON, b"", 422, "invalid_request"),
    ("/pay", JSON, b'{"amount":7,"amount":700}', 400, "ambiguous_request"),
    ("/pay", JSON, b'{"amount":7,"AMOUNT":700}', 400, "ambiguous_request"),
    ("/pay", JSON, b'{"amount":101}', 403, "policy_denied"),
    ("/pay", "text/plain", b'{"amount":7}', 400, "ambiguous_request"),
    ("/pay", JSON, b'{"amount":7,"note":"' + b"x" * 4096 + b'"}', 413, "request_too_large"),
    ("/form", FORM, b"to=bob&n=1", 200, None),
    ("/form", FORM, b"to=eve", 403, "policy_denied"),
    ("/form", FORM, b"to=bob&to=eve", 400, "ambiguous_request"),
    ("/graphql", JSON, READ, 200, None),
    ("/graphql", JSON, CHANGE, 403, "policy_denied"),
    ("/graphql", JSON, b'{"query":"{"}', 400, "ambiguous_request"),
    ("/graphql", JSON, b"[" + READ + b"," + CHANGE + b"]", 422, "invalid_request"),
    ("/graphql", JSON, b"[" + CHANGE + b"]", 403, "policy_denied"),
    ("/mcp", JSON, rpc("tools/list"), 200, None),
    ("/mcp", JSON, rpc("tools/call", name="search"), 403, "approval_required"),
    ("/mcp", JSON, rpc("tools/call", name="delete"), 403, "operation_not_allowed"),
    ("/batch", JSON, b"{}", 403, "operation_not_allowed"),
]  # fmt: skip


@pytest.mark.parametrize("http2", [False, True])
async def test_p3_p8_what_leaves_is_what_was_checked(rig: Rig, http2: bool) -> None:
    async with rig.client(http2=http2) as client:
        for path, type_, body, status, problem in CALLS:
            before = len(rig.provider.requests)
            answer = await client.post(path, content=body, headers={"Content-Type": type_})
            slug = answer.json()["type"].rpartition(":")[2] if problem else None
            assert (answer.status_code, slug) == (status, problem), (path, body)
            arrived = [seen.body for seen in rig.provider.requests[before:]]
            assert arrived == ([body] if problem is None else []), (path, body)


async def test_the_refusal_names_places_and_no_values(rig: Rig) -> None:
    answer = await rig.call("POST", "/pay", json={"amount": "secret-value"})
    assert answer.json()["paths"] == ["/body/amount"]
    assert b"secret-value" not in answer.body


async def test_c14_a_compressed_body_is_refused_before_it_is_read(rig: Rig) -> None:
    before = len(rig.provider.requests)
    headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
    answer = await rig.call("POST", "/pay", content=gzip.compress(b'{"amount":7}'), headers=headers)
    assert (answer.status, answer.problem) == (400, "ambiguous_request")
    assert len(rig.provider.requests) == before


async def test_a_chunked_body_is_held_and_checked(rig: Rig) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"amount":'
        yield b"700}"

    answer = await rig.call("POST", "/pay", content=pieces(), headers={"Content-Type": JSON})
    assert (answer.status, answer.json()["policies"]) == (403, ["much"])


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("/list?page=3", None),
        ("/list?page=3&key=own", None),  # what is taken away is not checked: it does not leave
        ("/list?page=x", "invalid_request"),
        ("/list?more=1", "invalid_request"),
        ("/graphql?query=%7Bviewer%7Bid%7D%7D", None),
        ("/graphql?query=mutation%7Bx%7D", "operation_not_allowed"),
        ("/graphql", "ambiguous_request"),
    ],
)
async def test_c09_queries(rig: Rig, url: str, problem: str | None) -> None:
    answer = await rig.call("GET", url)
    assert answer.problem == problem


async def test_receipts_say_which_operation_it_was(rig: Rig) -> None:
    known = len(await rig.receipts())
    for body in (READ, CHANGE, b'{"query":"{"}'):
        await rig.call("POST", "/graphql", content=body, headers={"Content-Type": JSON})
    calls = await rig.settled(known + 3)
    made = sorted(calls, key=lambda call: call.decision["id"])[-3:]
    assert [(c.decision.get("operation"), c.decision["decision"], c.decision.get("denied_by")) for c in made] == [
        ("graphql.query", "allow", None),
        ("graphql.change", "deny", "policy"),
        (None, "deny", "validate"),
    ]


async def test_p9_what_only_the_body_tells_waits_for_a_person_and_leaves_as_it_was(rig: Rig) -> None:
    body, headers = rpc("tools/call", name="search", q="one"), {"Content-Type": JSON}
    asked = await rig.call("POST", "/mcp", content=body, headers=headers)
    assert asked.problem == "approval_required"
    card = rig.sidecar.approvals.store.card(asked.json()["approval_id"])
    assert card is not None
    assert (card["operation"], card["body"]) == ("mcp.call", body.decode())
    await rig.sidecar.approvals.vote(asked.json()["approval_id"], Vote("ann", yes=True))
    other = await rig.call("POST", "/mcp", content=rpc("tools/call", name="search", q="two"), headers=headers)
    assert other.problem == "approval_required"
    done = await rig.call("POST", "/mcp", content=body, headers=headers)
    assert (done.status, rig.provider.requests[-1].body) == (200, body)


async def test_many_at_once_do_not_meet(rig: Rig) -> None:
    bodies = [orjson.dumps({"amount": 1 + 2 * i}) for i in range(60)]
    before = len(rig.provider.requests)
    async with rig.client() as client:
        sent = [client.post("/pay", content=body, headers={"Content-Type": JSON}) for body in bodies]
        answers = await asyncio.gather(*sent)
    assert [a.status_code for a in answers] == [200 if i < 50 else 403 for i in range(60)]
    assert sorted(seen.body for seen in rig.provider.requests[before:]) == sorted(bodies[:50])
