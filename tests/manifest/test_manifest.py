"""The agent-facing manifest, through the real proxy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest
import pytest_asyncio

from proxy.approval.states import Vote
from tests.control.conftest import POLICIES, controlled
from tests.control.tenancy import task_token
from tests.rig.sidecar import KEY, OTHER_KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.rig import Rig
    from tests.rig.sidecar import Answer

pytestmark = pytest.mark.asyncio(loop_scope="module")
AT = "http://briefcased.internal"
AGENTS = {"tester": ("*",), "narrow": ("other/*",), "nobody": ()}
ADMIN = '@id("no-narrow") forbid (principal == Agent::"narrow", action, resource == Operation::"other:any");'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    folder = tmp_path_factory.mktemp("manifest")
    async with controlled(folder, agents=AGENTS) as rig:
        yield rig


async def read(rig: Rig, path: str, *, agent: str = "tester", accept: str = "*/*") -> Answer:
    return await rig.call("GET", AT + path, agent=agent, headers={"Accept": accept})


def operations(listed: dict[str, list[dict[str, list[dict[str, list[dict[str, str]]]]]]]) -> dict[str, str]:
    return {
        f"{profile['profile']}:{one['operation']}": one["standing"]
        for profile in listed["profiles"]
        for account in profile["accounts"]
        for one in account["operations"]
    }


async def test_an_agent_reads_what_it_may_call(rig: Rig) -> None:
    answer = await read(rig, "/operations")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert operations(answer.json()) == {
        "example:read": "allowed",
        "example:slow": "allowed",
        "example:ranged": "allowed",
        "example:write": "approval",
        "example:small": "approval",
        "example:in_body": "approval",
        "example:socket": "approval",
        "other:any": "approval",
    }
    example = answer.json()["profiles"][0]["accounts"][0]
    assert example["account"] == "example/main"
    assert example["hosts"] == [f"https://api.example.test:{rig.provider.port}"]
    (stand_in,) = example["stand_ins"]
    assert stand_in == {"secret": "api_key", "variable": "EXAMPLE_API_KEY", "value": rig.stand_in()}
    read_ = next(one for one in example["operations"] if one["operation"] == "read")
    assert (read_["methods"], read_["path"], read_["action"]) == (["GET", "HEAD"], "/**", "read")
    assert read_["depends_on_call"] is True  # a policy looks at the path
    assert read_["example"] == f"curl 'https://api.example.test:{rig.provider.port}/**'"


async def test_what_the_policies_refuse_whatever_the_call_is_not_listed(rig: Rig) -> None:
    listed = operations((await read(rig, "/operations")).json())
    assert "example:admin" not in listed  # the account does not allow it


async def test_p6_an_agent_sees_its_own_accounts_and_stand_ins_only(rig: Rig) -> None:
    answer = await read(rig, "/operations", agent="narrow")
    assert [profile["profile"] for profile in answer.json()["profiles"]] == ["other"]
    whole = b"".join([(await read(rig, page, agent="narrow")).body for page in ("/", "/operations", "/approvals")])
    assert (await read(rig, "/", agent="narrow")).json()["profiles"] == ["other"]
    assert rig.stand_in("other", agent="tester").encode() not in whole
    assert rig.stand_in("other", agent="narrow").encode() in whole
    assert b"tester" not in whole
    assert (await read(rig, "/operations/example", agent="narrow")).status == 404
    assert (await read(rig, "/operations", agent="nobody")).json()["profiles"] == []


async def test_plain_text_where_it_is_asked_for(rig: Rig) -> None:
    answer = await read(rig, "/", accept="text/plain, application/json;q=0.5")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.body.startswith(b"agent: tester\n")
    assert (await read(rig, "/")).json()["pages"][f"{AT}/budgets"] == "What is left of your budgets."


async def test_the_other_pages(rig: Rig) -> None:
    assert (await read(rig, "/budgets")).json() == {"budgets": []}
    assert (await read(rig, "/ca.pem")).body == rig.authority.bundle_pem()
    skill = await read(rig, "/SKILL.md")
    assert skill.headers["content-type"] == "text/markdown; charset=utf-8"
    assert skill.body.startswith(b"---\nname: briefcased\n")
    assert (await read(rig, "/nothing")).status == 404
    assert (await rig.call("HEAD", f"{AT}/")).body == b""


async def test_j06_a_foreign_approval_and_none_are_answered_alike(rig: Rig) -> None:
    """J-06: also on the page that says how an approval stands."""
    asked = await rig.call("POST", "/issues", content=b"own", headers={"Content-Type": "text/plain"})
    id_ = asked.json()["approval_id"]
    status_url = asked.json()["status_url"]
    own = (await rig.call("GET", status_url)).json()
    assert (own["state"], own["operation"], own["call"]["method"]) == ("pending", "example:write", "POST")
    assert own["call"]["url"].endswith("/issues")
    foreign, none = await read(rig, f"/approvals/{id_}", agent="narrow"), await read(rig, "/approvals/apr_x")
    assert (foreign.status, foreign.body) == (none.status, none.body)
    assert foreign.status == 404
    assert (await read(rig, "/approvals", agent="narrow")).json() == {"approvals": []}
    await rig.sidecar.approvals.vote(id_, Vote("approver-of-ours", yes=True))
    decided = (await rig.call("GET", status_url)).json()
    assert decided["state"] == "approved"
    assert "use_by_ms" in decided
    assert "approver-of-ours" not in str(decided)
    assert id_ in {one["approval_id"] for one in (await read(rig, "/approvals")).json()["approvals"]}


async def test_why_the_last_call_was_refused(rig: Rig) -> None:
    refused = await rig.call("GET", "/closed")
    last = (await read(rig, "/last-refusal")).json()["refused"]
    assert last["slug"] == refused.problem == "policy_denied"
    assert last["receipt"] == refused.headers["briefcased-receipt"]
    assert last["advice"] == refused.json()["advice"]
    assert (last["policies"], last["policy_advice"]) == (["closed"], ["Nobody reads /closed."])
    assert (last["method"], last["host"], last["path"]) == ("GET", "api.example.test", "/closed")
    assert (await read(rig, "/last-refusal", agent="nobody")).json() == {"refused": None}


async def test_a_refused_tunnel_is_a_last_refusal_too(rig: Rig) -> None:
    with pytest.raises(httpx.ProxyError):
        await rig.call("GET", "https://elsewhere.example.test/", agent="nobody")
    last = (await read(rig, "/last-refusal", agent="nobody")).json()["refused"]
    assert (last["slug"], last["host"]) == ("destination_not_allowed", "elsewhere.example.test")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_the_manifest_is_only_read(rig: Rig, method: str) -> None:
    assert (await rig.call(method, f"{AT}/approvals")).problem == "method_not_allowed"


async def test_p3_the_name_is_never_dialled(rig: Rig) -> None:
    for authority in ("briefcased.internal:80", "briefcased.internal:443"):
        reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
        writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{rig.credentials()}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 403 "), head
        writer.close()
    assert (await rig.call("GET", "http://briefcased.internal:8080/")).problem == "destination_not_allowed"


async def test_p4_receipts_say_that_the_manifest_answered(rig: Rig) -> None:
    answer = await read(rig, "/budgets")
    calls = {call.decision["id"]: call for call in await rig.settled(1)}
    call = calls[answer.headers["briefcased-receipt"]]
    assert (call.decision["answered"], call.decision["host"]) == ("manifest", "briefcased.internal")
    assert call.outcome is not None
    assert (call.outcome["outcome"], call.outcome["status"]) == ("completed", 200)
    assert call.outcome["address"] is None


async def test_p1_no_page_holds_a_secret(rig: Rig) -> None:
    await rig.call("POST", "/issues", content=b"{}", headers={"Authorization": f"Bearer {rig.stand_in()}"})
    for page in ("/", "/operations", "/operations/example", "/approvals", "/last-refusal", "/ca.pem", "/SKILL.md"):
        for accept in ("application/json", "text/plain"):
            answer = await read(rig, page, accept=accept)
            assert answer.status == 200, page
            assert KEY.encode() not in answer.body
            assert OTHER_KEY.encode() not in answer.body
            assert b"PRIVATE KEY" not in answer.body


async def test_h01_h10_without_a_token_nothing_is_told(rig: Rig) -> None:
    reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
    writer.write(b"GET http://briefcased.internal/ HTTP/1.1\r\nHost: briefcased.internal\r\nConnection: close\r\n\r\n")
    whole = await reader.read()
    writer.close()
    assert whole.startswith(b"HTTP/1.1 407 ")
    assert b"operations" not in whole


async def test_nothing_unmanaged_is_asked_in_its_place(tmp_path: Path) -> None:
    text = POLICIES + ADMIN
    async with controlled(tmp_path, agents=AGENTS, text=text, unmatched="pass") as rig:
        assert (await read(rig, "/")).status == 200
        assert operations((await read(rig, "/operations", agent="narrow")).json()) == {}
        reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
        writer.write(
            f"CONNECT briefcased.internal:443 HTTP/1.1\r\nHost: briefcased.internal:443\r\n{rig.credentials()}\r\n".encode()
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 403 ")
        writer.close()


async def test_p6_of_two_accounts_only_the_granted_one_is_listed(tmp_path: Path) -> None:
    secrets = {"secrets": {"api_key": "env:EXAMPLE_API_KEY"}}
    providers = {"example": {"accounts": {"one": secrets, "two": secrets}}}
    async with controlled(tmp_path, agents={"tester": ("example/two",)}, providers=providers) as rig:
        (profile,) = (await read(rig, "/operations")).json()["profiles"]
        assert [account["account"] for account in profile["accounts"]] == ["example/two"]


async def test_p6_what_is_done_for_one_user_is_not_told_to_another(tmp_path: Path) -> None:
    """An agent that serves two people has a token of each: approvals and refusals of one are not there for the other."""
    people = {name: {"accounts": ["*"]} for name in ("alice", "anna")}
    described = {"tester": {"accounts": ["*"], "users": ["alice", "anna"]}}
    async with controlled(tmp_path, described=described, users=people) as rig:
        for user in people:
            rig.tokens[user] = task_token(rig, "tester", user=user)
        asked = await rig.call("POST", "/issues?for=alice", content=b"secret plan", agent="alice")
        id_ = asked.json()["approval_id"]
        assert (await read(rig, "/last-refusal", agent="alice")).json()["refused"]["slug"] == "approval_required"
        assert (await read(rig, f"/approvals/{id_}", agent="alice")).json()["call"]["url"].endswith("?for=alice")
        for other in ("anna", "tester"):
            assert (await read(rig, f"/approvals/{id_}", agent=other)).status == 404
            assert (await read(rig, "/approvals", agent=other)).json() == {"approvals": []}
            assert (await read(rig, "/last-refusal", agent=other)).json() == {"refused": None}
