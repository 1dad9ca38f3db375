"""The routes, through the real sidecar."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest

from proxy.identity.store import list_agents
from tests.api.conftest import administered, slug
from tests.rig.sidecar import KEY, OTHER_KEY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_who_you_are_is_said(api: Api) -> None:
    answer = await api.call("approver", "GET", "/whoami")
    assert answer.status_code == 200
    value = answer.json()
    assert value == {
        "name": "approver",
        "role": "approver",
        "token_role": "approver",
        "tenant": None,
        "via": value["via"],
    }
    assert value["via"].startswith("token:")


async def test_agents_are_added_listed_and_revoked_with_receipts(api: Api) -> None:
    added = await api.call("operator", "POST", "/agents", {"name": "helper", "accounts": ["example/*"], "days": 1})
    assert added.status_code == 201
    assert added.json()["token"].startswith("bca_")
    assert (await api.call("operator", "DELETE", "/agents/helper")).json() == {"done": True}
    assert slug(await api.call("operator", "DELETE", "/agents/helper")) == "not_found"
    listed = {one["name"]: one for one in (await api.call("viewer", "GET", "/agents")).json()["agents"]}
    assert listed["tester"] == {"name": "tester", "tenant": "main", "accounts": ["*"], "revoked": False}
    assert listed["helper"]["revoked"] is True
    first, second = (await api.changes())[:2]
    assert (first["change"], first["target"], first["by"], first["kind"]) == (
        "agent_revoke",
        "helper",
        "operator",
        "change",
    )
    assert (second["change"], second["accounts"], second["via"][:6]) == ("agent_add", "example/*", "token:")
    assert await api.rig.problems() == ()


async def test_o10_accounts_are_listed_without_secrets_or_where_they_rest(api: Api) -> None:
    answer = await api.call("viewer", "GET", "/accounts")
    assert [one["account"] for one in answer.json()["accounts"]] == ["example/main", "other/main"]
    assert "EXAMPLE_API_KEY" not in answer.text


async def test_policies_are_shown_and_explained(api: Api) -> None:
    shown = (await api.call("viewer", "GET", "/policies")).json()
    assert {one["id"]: one["effect"] for one in shown["policies"]}["closed"] == "forbid"
    assert shown["version"] == api.rig.sidecar.pipeline.generation.policies.version
    url = f"{api.rig.base}/closed"
    ask = {"agent": "tester", "method": "GET", "url": url}
    before = len(api.rig.provider.requests)
    closed = (await api.call("viewer", "POST", "/policies/explain", ask)).json()
    assert (closed["allowed"], closed["slug"], closed["policies"]) == (False, "policy_denied", ["closed"])
    ask = {"agent": "tester", "method": "POST", "url": f"{api.rig.base}/issues", "body": "{}"}
    write = (await api.call("viewer", "POST", "/policies/explain", ask)).json()
    assert (write["allowed"], write["strength"], write["account"]) == (True, "approval", "example/main")
    assert write["operation"] == "example:write"
    assert [one["code"] for one in write["reasons"]] == ["policy"]
    assert len(api.rig.provider.requests) == before
    nobody = await api.call("viewer", "POST", "/policies/explain", {**ask, "agent": "nobody"})
    assert slug(nobody) == "not_found"


@pytest.mark.parametrize(
    ("change", "slug_"),
    [
        ({"url": "{base}/open"}, None),
        ({"url": "{base}/open", "headers": [{"name": "Host", "value": "elsewhere.test"}]}, "authority_mismatch"),
        ({"url": "{plain}/open"}, "operation_not_allowed"),
        ({"url": "https://[/open"}, "malformed_request"),
        ({"url": "{base}/open", "headers": [{"name": "X", "value": "\u0430"}]}, "malformed_request"),
        ({"url": "{base}/open", "method": "POST", "headers": [{"name": "Content-Length", "value": "9"}], "body": "{}"}, None),
        ({"url": "{base}/open", "method": "POST", "headers": [{"name": "Content-Length", "value": "x"}]}, "malformed_request"),
    ],
    ids=str,
)  # fmt: skip
async def test_what_is_explained_is_judged_as_the_request_would_be(
    api: Api, change: dict[str, Any], slug_: str | None
) -> None:
    places = {"base": api.rig.base, "plain": api.rig.base.replace("https", "http")}
    asked = {"agent": "tester", "method": "GET", **change, "url": change["url"].format(**places)}
    answer = await api.call("viewer", "POST", "/policies/explain", asked)
    assert (answer.status_code, answer.json().get("slug")) == (200, slug_), answer.text


async def test_other_policies_are_asked_about_past_calls(api: Api) -> None:
    for path in ("/simulated", "/kept"):
        assert (await api.rig.call("GET", path)).status == 200
    text = """
    permit (principal, action == Action::"read", resource);
    permit (principal, action in [Action::"callWithoutApproval", Action::"callWithoutStrongApproval"], resource);
    @id("shut") forbid (principal, action, resource) when { context.path == "/simulated" };
    """
    asked: dict[str, Any] = {"policies": {"new.cedar": text}}
    answer = await api.call("operator", "POST", "/policies/simulate", asked)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    calls = {one["call"].rpartition("/")[2]: one for one in found["changes"] if one["now"] is not None}
    assert (calls["simulated"]["change"], calls["simulated"]["policies"]) == ("tightened", ["shut"])
    assert "kept" not in calls
    assert found["counts"]["tightened"] >= 1
    assert found["mistakes"] == []
    theirs = (await api.call("foreign", "POST", "/policies/simulate", asked)).json()
    assert (theirs["calls"], theirs["changes"]) == (0, [])
    wrong = {"policies": {"bad.cedar": "\n\npermit (principal"}}
    told = (await api.call("operator", "POST", "/policies/simulate", wrong)).json()
    assert [(one["file"], one["line"] > 0) for one in told["mistakes"]] == [("bad.cedar", True)]
    assert told["calls"] == 0
    long = {"policies": {f"{n}.cedar": "/" * 40_000 for n in range(2)}}
    assert slug(await api.call("operator", "POST", "/policies/simulate", long)) == "too_large"


async def test_h12_an_agent_is_added_to_a_tenant_that_there_is_and_stays_there(tmp_path: Path) -> None:
    """H-12: there is no default tenant, and nobody moves another's agent, also not one that was revoked."""
    provider = {"accounts": {"main": {"secrets": {"api_key": "env:EXAMPLE_API_KEY"}, "tenant": "here"}}}
    settings = {"tenants": ["here", "elsewhere"], "providers": {"example": provider}}
    async with administered(tmp_path, **settings) as api:

        async def added(who: str, name: str, **more: Any) -> str:
            answer = await api.call(who, "POST", "/agents", {"name": name, **more})
            return "" if answer.status_code == 201 else slug(answer)

        assert await added("operator", "alone") == "conflict"
        assert await added("operator", "lost", tenant="nowhere") == "conflict"
        assert await added("operator", "one", tenant="here", groups=["night"], users=["kim"]) == ""
        assert await added("foreign", "two") == ""
        assert await added("foreign", "three", tenant="here") == "forbidden"
        assert await added("foreign", "one") == "forbidden"
        assert await added("operator", "one", tenant="elsewhere") == "conflict"
        assert await added("operator", "one") == ""  # a further token
        assert (await api.call("operator", "DELETE", "/agents/one")).status_code == 200
        assert await added("foreign", "one") == "forbidden"
        rows = {row.name: (row.tenant, row.groups, row.users) for row in list_agents(api.database)}
        assert rows["one"] == ("here", ("night",), ("kim",))
        assert rows["two"] == ("elsewhere", (), ())
        told = {one["target"]: one["tenant"] for one in await api.changes() if one["change"] == "agent_add"}
        assert (told["one"], told["two"]) == ("here", "elsewhere")


async def test_an_agent_that_is_revoked_stays_in_its_tenant(api: Api) -> None:
    from proxy.clock import SystemClock
    from proxy.identity.store import Belongs, add_agent, revoke_agent

    add_agent(api.database, "gone", (), clock=SystemClock(), belongs=Belongs(tenant="elsewhere"))
    revoke_agent(api.database, "gone", clock=SystemClock())
    mine = {one["name"]: one for one in (await api.call("foreign", "GET", "/agents")).json()["agents"]}
    assert (mine["gone"]["tenant"], mine["gone"]["revoked"]) == ("elsewhere", True)
    removed(api, "gone")


def removed(api: Api, name: str) -> None:
    from sqlalchemy import delete

    from proxy.db.tables import agent_tokens, agents

    with api.database.begin() as connection:
        connection.execute(delete(agent_tokens).where(agent_tokens.c.agent == name))
        connection.execute(delete(agents).where(agents.c.name == name))


async def test_an_approval_is_shown_and_approved_and_the_call_goes_through(api: Api) -> None:
    body = b'{"title":"approve me"}'
    id_ = await api.pending(body=body)
    listed = (await api.call("viewer", "GET", "/approvals?state=pending")).json()["approvals"]
    assert id_ in [one["id"] for one in listed]
    shown = (await api.call("viewer", "GET", f"/approvals/{id_}")).json()
    assert (shown["card"]["method"], shown["card"]["body"], shown["card"]["agent"]) == ("POST", body.decode(), "tester")
    voted = await api.call("approver", "POST", f"/approvals/{id_}/votes", {"approve": True, "reason": "looked at it"})
    assert voted.status_code == 200
    assert voted.json()["approval"]["state"] == "approved"
    assert voted.json()["votes"] == [{"approver": "approver", "approve": True, "reason": "looked at it", "key": None}]
    change = (await api.changes())[0]
    assert (change["change"], change["target"], change["by"], change["vote"], change["reason"], change["tenant"]) == (
        "approval_vote", id_, "approver", "approve", "looked at it", "main",
    )  # fmt: skip
    assert (await api.rig.call("POST", "/issues", content=body)).status == 200
    again = await api.call("approver", "POST", f"/approvals/{id_}/votes", {"approve": False})
    assert slug(again) == "conflict"


async def test_a_rejected_call_stays_refused(api: Api) -> None:
    id_ = await api.pending("/rejected")
    voted = await api.call("approver", "POST", f"/approvals/{id_}/votes", {"approve": False, "reason": "no"})
    assert voted.json()["approval"]["state"] == "rejected"
    assert (await api.rig.call("POST", "/rejected", content=b"{}")).problem == "approval_rejected"


async def test_changes_of_approvals_are_streamed_as_they_happen(api: Api) -> None:
    async with api.client("viewer") as client, client.stream("GET", "/api/v1/approval-events") as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        lines = stream.aiter_lines()

        async def event(id_: str) -> dict[str, object]:
            async with asyncio.timeout(10):
                async for line in lines:
                    if line.startswith("data: ") and (value := orjson.loads(line[6:]))["id"] == id_:
                        return dict(value)
            raise AssertionError

        id_ = await api.pending("/streamed")
        assert (await event(id_))["state"] == "pending"
        await api.call("approver", "POST", f"/approvals/{id_}/votes", {"approve": True})
        assert (await event(id_))["state"] == "approved"


async def test_a_stream_goes_on_after_the_last_event_that_was_received(api: Api) -> None:
    id_ = await api.pending("/resumed")
    await api.call("approver", "POST", f"/approvals/{id_}/votes", {"approve": False})
    since = {"Last-Event-ID": str(time.time_ns() // 1_000_000)}
    async with api.client("viewer", **since) as client, client.stream("GET", "/api/v1/approval-events") as stream:
        async with asyncio.timeout(10):
            async for line in stream.aiter_lines():
                if line.startswith("data: ") and orjson.loads(line[6:])["id"] == id_:
                    break


async def test_receipts_are_listed_shown_and_verified(api: Api) -> None:
    answer = await api.rig.call("GET", "/seen")
    id_ = answer.headers["briefcased-receipt"]
    await api.rig.settled(1)
    one = (await api.call("viewer", "GET", f"/receipts/{id_}")).json()
    assert (one["decision"]["path"], one["outcome"]["status"]) == ("/seen", 200)
    listed = (await api.call("viewer", "GET", "/receipts?limit=1000&agent=tester")).json()["receipts"]
    assert id_ in [call["decision"]["id"] for call in listed]
    refused = (await api.call("viewer", "GET", "/receipts?refused=true")).json()["receipts"]
    assert {call["decision"]["decision"] for call in refused} <= {"deny"}
    report = (await api.call("viewer", "GET", "/verification")).json()
    assert (report["ok"], report["problems"]) == (True, [])
    assert slug(await api.call("viewer", "GET", "/receipts/rcp_none")) == "not_found"


async def test_operators_are_added_and_revoked_at_once(api: Api) -> None:
    added = await api.call("admin", "POST", "/operators", {"name": "eve", "role": "viewer", "hours": 1})
    assert added.status_code == 201
    api.tokens["eve"] = added.json()["token"]
    assert (await api.call("eve", "GET", "/whoami")).json()["role"] == "viewer"
    assert slug(await api.call("admin", "POST", "/operators", {"name": "eve", "role": "admin"})) == "conflict"
    assert (await api.call("admin", "DELETE", "/operators/eve")).status_code == 200
    assert slug(await api.call("eve", "GET", "/whoami")) == "unauthenticated"
    listed = (await api.call("admin", "GET", "/operators")).json()["operators"]
    assert {"name": "eve", "role": "viewer", "tenant": None, "revoked": True} in listed


async def test_usage_of_budgets_is_read_from_the_table(api: Api) -> None:
    from sqlalchemy import insert

    from proxy.db.engine import writing
    from proxy.db.tables import budget_counters

    keys = ['["budget","daily",{"agent":"tester"}]', '["budget","daily",{"tenant":"elsewhere"}]']
    with writing(api.shared) as connection:
        connection.execute(insert(budget_counters), [{"key": k, "bucket": 7, "used": 3, "held": 1} for k in keys])
    found = (await api.call("viewer", "GET", "/budgets/usage")).json()["usage"]
    assert {"budget": "daily", "of": {"agent": "tester"}, "window_from_ms": 7, "used": 3, "held": 1} in found
    assert len(found) == 2
    theirs = (await api.call("foreign", "GET", "/budgets/usage")).json()["usage"]
    assert [one["of"] for one in theirs] == [{"tenant": "elsewhere"}]


async def test_h08_what_is_locked_is_refused_until_it_is_unlocked(api: Api) -> None:
    locked = {"scope": "agent", "name": "tester", "reason": "it calls home"}
    assert (await api.call("operator", "POST", "/locks", locked)).status_code == 200
    [shown] = (await api.call("viewer", "GET", "/locks")).json()["locks"]
    assert {**shown, "at_ms": 0} == {**locked, "by": "operator", "at_ms": 0}
    await _answers(api, "locked_down")
    assert (await api.call("operator", "POST", "/unlocks", locked)).status_code == 200
    await _answers(api, None)
    assert slug(await api.call("operator", "POST", "/unlocks", locked)) == "not_found"
    done = [(one["change"], one["target"], one["by"]) for one in await api.changes()]
    assert ("lock", "agent:tester", "operator") in done
    assert ("unlock", "agent:tester", "operator") in done


async def _answers(api: Api, problem: str | None) -> None:
    """Wait until a call is answered so."""
    async with asyncio.timeout(10):
        while True:
            with suppress(httpx.TransportError):  # a connection that a lock has cut
                if (await api.rig.call("GET", "/seen")).problem == problem:
                    return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "asked",
    [
        {"scope": "all", "name": "x", "reason": "r"},
        {"scope": "agent", "reason": "r"},
        {"scope": "all"},
        {"scope": "all", "reason": "two\nlines"},
        {"scope": "token", "name": "x", "reason": "r"},
    ],
)
async def test_a_lock_that_says_too_little_or_too_much_is_none(api: Api, asked: dict[str, str]) -> None:
    assert slug(await api.call("operator", "POST", "/locks", asked)) == "invalid_request"


async def test_o10_no_secret_is_in_any_answer(api: Api) -> None:
    await api.rig.call("GET", "/seen", headers={"Authorization": f"Bearer {api.rig.stand_in()}"})
    paths = ("agents", "accounts", "policies", "approvals", "receipts", "changes", "operators", "budgets/usage")
    whole = "".join([(await api.call("admin", "GET", f"/{path}")).text for path in paths])
    assert len(whole) > 2000
    for secret in (KEY, OTHER_KEY, *api.rig.tokens.values(), *api.tokens.values()):
        assert secret not in whole


async def test_an_agent_that_the_configuration_alone_names_is_revoked_too(tmp_path: Path) -> None:
    described = {"tester": {"accounts": ["*"]}, "named": {"accounts": ["*"]}}
    async with administered(tmp_path, described=described) as api:
        assert slug(await api.call("foreign", "DELETE", "/agents/named")) == "not_found"
        assert (await api.call("operator", "DELETE", "/agents/named")).json() == {"done": True}
        assert slug(await api.call("operator", "DELETE", "/agents/named")) == "not_found"
        assert slug(await api.call("operator", "DELETE", "/agents/nobody")) == "not_found"
        listed = {one["name"]: one["revoked"] for one in (await api.call("viewer", "GET", "/agents")).json()["agents"]}
        assert listed == {"tester": False, "named": True}
