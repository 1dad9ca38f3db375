"""P6, H-12: two tenants in one sidecar, each with canaries of its own; no header says whose a call is (H-06)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.control.tenancy import ACME, BLUE, GOLD, RED, connect_head, task_token, tenancy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with tenancy(tmp_path_factory.mktemp("tenants")) as rig:
        yield rig


async def test_p6_h_12_each_tenant_is_given_its_own_account(rig: Rig) -> None:
    assert (await rig.call("GET", "/x", agent="rival")).status == 200
    assert rig.provider.last.one("authorization") == f"Bearer {BLUE}"
    assert (await rig.call("GET", "/x", agent="coder")).status == 200
    assert rig.provider.last.one("authorization") == f"Bearer {GOLD}"


async def test_p6_h_12_an_account_of_another_tenant_is_never_used(rig: Rig) -> None:
    before = len(rig.provider.requests)
    url = f"https://other.example.test:{rig.provider.port}/x"
    assert (await rig.call("GET", url, agent="rival")).problem == "policy_denied"
    assert len(rig.provider.requests) == before
    assert (await rig.call("GET", url, agent="coder")).status == 200


async def test_p6_h_12_a_stand_in_of_another_tenant_is_refused_and_none_is_made(rig: Rig) -> None:
    theirs = rig.stand_in(account="red", agent="coder")
    answer = await rig.call("GET", "/x", agent="rival", headers={"Authorization": f"Bearer {theirs}"})
    assert answer.problem == "credential_scope"
    made = {(s.agent, str(s.account)) for s in rig.sidecar.pipeline.generation.stand_ins.all}
    assert made == {
        ("coder", "example/red"), ("coder", "example/gold"), ("coder", "other/main"),
        ("helper", "example/red"),
        ("rival", "example/blue"),
    }  # fmt: skip


async def test_p6_h_12_what_a_provider_quotes_of_another_tenants_secret_is_taken_out(rig: Rig) -> None:
    quoted = " ".join((*ACME, BLUE)).encode()
    rig.provider.answers("/quote", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(quoted), quoted))
    for agent in ("rival", "coder"):
        body = (await rig.call("GET", "/quote", agent=agent)).body.decode()
        assert not any(secret in body for secret in (*ACME, BLUE)), body


async def test_h_12_a_user_of_another_tenant_or_of_no_agents_is_nobody(rig: Rig) -> None:
    for agent, user in (("coder", "bob"), ("rival", "alice"), ("helper", "alice"), ("coder", "nobody")):
        rig.tokens["asked"] = task_token(rig, agent, user=user)
        raw = await connect_head(rig, "asked")
        assert raw.startswith(b"HTTP/1.1 407 "), (agent, user)


async def test_agent_and_user_must_both_be_allowed(rig: Rig) -> None:
    rig.tokens["for-alice"] = task_token(rig, user="alice")
    assert (await rig.call("GET", "/x", agent="for-alice")).status == 200
    assert rig.provider.last.one("authorization") == f"Bearer {RED}"  # gold is the default, but not for alice
    rig.tokens["for-anna"] = task_token(rig, user="anna")
    assert (await rig.call("GET", "/x", agent="for-anna")).problem == "policy_denied"


async def test_h_06_no_header_says_on_whose_behalf(rig: Rig) -> None:
    headers = dict.fromkeys(("X-User", "X-Forwarded-User", "X-Agent-Id", "Forwarded", "X-Forwarded-For"), "bob")
    assert (await rig.call("GET", "/x", agent="coder", headers=headers)).status == 200
    assert rig.provider.last.one("authorization") == f"Bearer {GOLD}"
