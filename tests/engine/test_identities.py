"""P6: nothing crosses from one account or agent to another."""

from __future__ import annotations

import asyncio

import pytest

from tests.rig import running_rig
from tests.rig.sidecar import KEY

SECOND = "sk-example-SECOND-0123456789abcdef"
SETTINGS = {
    "providers": {
        "example": {
            "accounts": {
                "main": {
                    "secrets": {"api_key": "env:EXAMPLE_API_KEY"},
                    "default": True,
                    "headers": {"Example-Project": "one"},
                },
                "work": {"secrets": {"api_key": "env:SECOND_KEY"}},
            }
        },
        "other": {"accounts": {"main": {"secrets": {"token": "env:OTHER_TOKEN"}}}},
    }
}
AGENTS = {"alice": ("example/*",), "bob": ("example/work",), "carol": ("example/main",), "dave": ()}


@pytest.fixture
async def rig(tmp_path):
    async with running_rig(tmp_path, settings=SETTINGS, agents=AGENTS, environment={"SECOND_KEY": SECOND}) as running:
        yield running


@pytest.mark.parametrize("http2", [False, True])
async def test_p6_two_accounts_on_one_connection_do_not_share_an_upstream(rig, http2):
    main = rig.stand_in(account="main", agent="alice")
    work = rig.stand_in(account="work", agent="alice")
    async with rig.client("alice", http2=http2) as client:
        for stand_in in (main, work, main, work):
            answer = await client.get("/x", headers={"Authorization": f"Bearer {stand_in}"})
            assert answer.status_code == 200
    keys = [(seen.connection, seen.one("authorization")) for seen in rig.provider.requests]
    assert [key for _, key in keys] == [f"Bearer {KEY}", f"Bearer {SECOND}"] * 2
    connections = {number for number, _ in keys}
    assert len(set(keys)) == len(connections)


async def test_p6_accounts_are_chosen_by_stand_in_by_agent_or_by_default(rig):
    by_default = await rig.call("GET", "/x", agent="alice")
    assert by_default.status == 200
    assert rig.provider.last.one("authorization") == f"Bearer {KEY}"
    assert rig.provider.last.one("example-project") == "one"
    await rig.call("GET", "/x", agent="bob")
    assert rig.provider.last.one("authorization") == f"Bearer {SECOND}"
    assert rig.provider.last.one("example-project") is None


async def test_p6_an_agent_may_not_use_what_it_was_not_granted(rig):
    for agent, stand_in_of in (("dave", None), ("carol", "work"), ("bob", "main")):
        headers = {}
        if stand_in_of:
            headers = {"Authorization": f"Bearer {rig.stand_in(account=stand_in_of, agent='alice')}"}
        answer = await rig.call("GET", "/x", agent=agent, headers=headers)
        assert answer.problem in ("policy_denied", "credential_scope")
    assert rig.provider.requests == []


async def test_p6_a_stand_in_at_another_provider_has_its_own_message(rig):
    stand_in = rig.stand_in(account="main", agent="alice")
    for place in (
        {"headers": {"X-Token": stand_in}},
        {"params": {"q": stand_in}},
        {"headers": {"Authorization": f"Bearer {stand_in}"}},
    ):
        answer = await rig.call("GET", f"https://other.example.test:{rig.provider.port}/x", agent="alice", **place)
        assert answer.problem == "credential_scope"
    assert rig.provider.requests == []


async def test_a_stand_in_quoted_in_a_body_is_left_alone(rig):
    quoted = f"you said {rig.stand_in(account='work', agent='alice')}"
    answer = await rig.call("POST", "/x", agent="alice", content=quoted)
    assert answer.status == 200
    assert rig.provider.last.body.decode() == quoted
    assert rig.provider.last.one("authorization") == f"Bearer {KEY}"


async def test_p6_parallel_agents_never_see_each_others_credentials(rig):
    async def many(agent: str, expected: str) -> None:
        async with rig.client(agent, http2=agent == "bob") as client:
            for index in range(20):
                await client.get(f"/{agent}/{index}")
        mine = [seen for seen in rig.provider.requests if seen.path.startswith(f"/{agent}/")]
        assert {seen.one("authorization") for seen in mine} == {f"Bearer {expected}"}

    async with asyncio.TaskGroup() as group:
        for agent, key in (("alice", KEY), ("bob", SECOND), ("carol", KEY)):
            group.create_task(many(agent, key))
    shared = {}
    for seen in rig.provider.requests:
        shared.setdefault(seen.connection, set()).add((seen.path.split("/")[1], seen.one("authorization")))
    assert all(len(users) == 1 for users in shared.values())
