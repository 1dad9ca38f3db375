"""What an approval lets go, through the real proxy: that one request, once, in time, under what it was given under."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from proxy.approval.states import State, Vote
from proxy.catalog.configuration import Configuration
from proxy.catalog.policies import load_policies
from proxy.db.engine import DATABASE
from proxy.keys.public import base64url, from_base64url
from tests.control.conftest import POLICIES, controlled

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
YES, NO = Vote("ann", yes=True), Vote("ann", yes=False)


async def asked(rig: Rig, path: str = "/issues", body: bytes = b"{}", **headers: str) -> str:
    """The approval that a call is told it needs."""
    answer = await rig.call("POST", path, content=body, headers=headers)
    assert answer.problem == "approval_required", answer.body
    return str(answer.json()["approval_id"])


async def approved(rig: Rig, path: str = "/issues", body: bytes = b"{}") -> str:
    id_ = await asked(rig, path, body)
    await rig.sidecar.approvals.vote(id_, YES)
    return id_


async def says(rig: Rig, path: str = "/issues", body: bytes = b"{}", *, named: str | None = None) -> str | None:
    headers = {"Briefcased-Approval": named} if named is not None else {}
    return (await rig.call("POST", path, content=body, headers=headers)).problem


@pytest.mark.parametrize("times", [20, pytest.param(1000, marks=pytest.mark.slow)])
async def test_j_01_an_approval_is_good_once(rig: Rig, times: int) -> None:
    """J-01: used, it is a mismatch, however often and however many at once ask."""
    path, before = f"/once/{times}", len(rig.provider.requests)
    id_ = await approved(rig, path)

    async with rig.client() as client:

        async def again() -> int:
            headers = {"Briefcased-Approval": id_}
            return (await client.post(path, content=b"{}", headers=headers)).status_code

        codes: list[int] = []
        for _ in range(times // 10):
            codes += await asyncio.gather(*(again() for _ in range(10)))
    assert sorted(set(codes)) == [200, 403]
    assert codes.count(200) == len(rig.provider.requests) - before == 1
    assert await says(rig, path, named=id_) == "approval_mismatch"


@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=pytest.mark.slow)])
async def test_j_05_of_the_neighbours_of_an_approved_call_none_goes(rig: Rig, count: int) -> None:
    """J-05: other bodies, paths, queries, methods and headers than the approved ones."""
    path = f"/near/{count}"
    id_ = await approved(rig, path)
    before = len(rig.provider.requests)
    async with rig.client() as client:
        for number in range(count):
            wanted: tuple[str, str, bytes, dict[str, str]] = (
                ("POST", path, b'{"n": %d}' % number, {}),
                ("POST", f"{path}/{number}", b"{}", {}),
                ("POST", f"{path}?n={number}", b"{}", {}),
                ("PUT", path, b"{}", {}),
                ("POST", path, b"{}", {"X-More": str(number)}),
            )[number % 5]
            method, where, body, headers = wanted
            named = {**headers, "Briefcased-Approval": id_}
            answer = await client.request(method, where, content=body, headers=named)
            assert answer.json()["type"].endswith(":approval_mismatch"), (wanted, answer.text)
    assert len(rig.provider.requests) == before
    assert await says(rig, path, named=id_) is None


async def test_j_06_ids_cannot_be_guessed(tmp_path: Path) -> None:
    """J-06: 128 random bits each; a guessed one is nobody's, for the agent as for the page that says how it stands."""
    draw = random.Random(6)
    async with controlled(tmp_path) as rig, rig.client() as client:
        ids = [await asked(rig, f"/guess/{number}") for number in range(3)]
        assert len({id_.removeprefix("apr_") for id_ in ids}) == 3
        assert {len(from_base64url(id_.removeprefix("apr_"))) for id_ in ids} == {16}
        for _ in range(8):
            guessed = "apr_" + base64url(draw.randbytes(16))
            answer = await client.post("/guess/0", content=b"{}", headers={"Briefcased-Approval": guessed})
            assert answer.json()["type"].endswith(":approval_mismatch")
            page = await client.get(f"http://briefcased.internal/approvals/{guessed}")
            assert page.status_code == 404


async def reload(rig: Rig, what: str) -> None:
    """Put another configuration in force, of which one part is not as it was."""
    old = rig.configuration
    settings, profiles = old.settings, dict(old.profiles)
    policies = old.policies or load_policies(settings, profiles)
    match what:
        case "policies":
            file = settings.policies.files[0]
            file.write_text(POLICIES + '@id("more") permit (principal, action == Action::"admin", resource);')
            policies = load_policies(settings, profiles)
        case "profile":
            profiles["example"] = profiles["example"].model_copy(update={"title": "Changed"})
        case "account":
            entry = settings.providers["example"]
            other = entry.accounts["main"].model_copy(update={"secrets": {"api_key": "env:OTHER_TOKEN"}})
            providers = {**settings.providers, "example": entry.model_copy(update={"accounts": {"main": other}})}
            settings = settings.model_copy(update={"providers": providers})
        case "nothing":
            pass
    await rig.sidecar.reload(Configuration(settings, profiles, policies=policies))


@pytest.mark.parametrize(
    ("what", "wanted"),
    [("nothing", None), ("policies", "approval_mismatch"), ("profile", "approval_mismatch"), ("account", "approval_mismatch")],
)  # fmt: skip
async def test_j_13_a_reload_between_approval_and_use(rig: Rig, what: str, wanted: str | None) -> None:
    """J-13: what was approved under other policies, another profile or another credential of the account is not it."""
    id_ = await approved(rig, f"/reloaded/{what}")
    before = len(rig.provider.requests)
    await reload(rig, what)
    try:
        assert await says(rig, f"/reloaded/{what}", named=id_) == wanted
        assert len(rig.provider.requests) - before == (wanted is None)
    finally:
        (rig.configuration.settings.policies.files[0]).write_text(POLICIES)
        await rig.sidecar.reload(rig.configuration)


async def test_j_13_a_reload_while_it_waits(tmp_path: Path) -> None:
    """J-13: also where the call waits on its open connection."""
    async with controlled(tmp_path, hold_s=20) as rig, asyncio.TaskGroup() as tasks:
        call = tasks.create_task(rig.call("POST", "/issues", content=b"held"))
        async with asyncio.timeout(15):
            while not rig.sidecar.approvals.waiting:
                await asyncio.sleep(0.01)
        await reload(rig, "account")
        (pending,) = rig.sidecar.approvals.store.listed(tenant=None, state=State.PENDING, limit=10)
        await rig.sidecar.approvals.vote(pending.id, YES)
        assert (await call).problem == "approval_mismatch"
        assert rig.provider.requests == []


async def test_j_16_what_was_refused_stays_refused_with_its_neighbours(rig: Rig) -> None:
    """J-16: the same method, host and path with another query or body asks nobody for ten minutes."""
    id_ = await asked(rig, "/refused")
    await rig.sidecar.approvals.vote(id_, NO)
    before = len(rig.sidecar.approvals.store.listed(tenant=None, state=None, limit=1000))
    for number in range(6):
        answer = await rig.call("POST", f"/refused?try={number}", content=b'{"n": %d}' % number)
        assert answer.problem == "approval_rejected"
        assert 590 <= int(answer.headers["retry-after"]) <= 600
    assert len(rig.sidecar.approvals.store.listed(tenant=None, state=None, limit=1000)) == before
    assert rig.sidecar.approvals.settings.refused_for_s == 600


async def test_j_15_where_approvals_cannot_be_read_nothing_goes_and_nothing_is_lost(tmp_path: Path) -> None:
    """J-15: 503 while the tables are away, or hold garbage; afterwards what was pending is pending still."""
    async with controlled(tmp_path) as rig:
        pending, ready = await asked(rig, "/pending"), await approved(rig, "/ready")
        before = len(rig.provider.requests)

        def sql(*statements: str) -> None:
            with sqlite3.connect(rig.home / DATABASE, timeout=10) as connection:
                for statement in statements:
                    connection.execute(statement)

        sql("ALTER TABLE approvals RENAME TO away")
        for path in ("/pending", "/ready", "/new"):
            answer = await rig.call("POST", path, content=b"{}")
            assert (answer.status, answer.problem) == (503, "approval_unavailable")
            assert int(answer.headers["retry-after"]) > 0
        sql("ALTER TABLE away RENAME TO approvals")
        for garbage in ("state = 'garbage'", "strength = 'x'"):
            sql(
                "CREATE TABLE kept AS SELECT * FROM approvals",
                f"UPDATE approvals SET {garbage} WHERE state = 'approved'",
            )
            assert await says(rig, "/ready", named=ready) == "approval_unavailable", garbage
            columns = "state = k.state, strength = k.strength"
            sql(f"UPDATE approvals SET {columns} FROM kept AS k WHERE k.id = approvals.id", "DROP TABLE kept")
        assert len(rig.provider.requests) == before
        known = rig.sidecar.approvals.store.get(pending)
        assert known is not None
        assert known.state is State.PENDING
        assert await says(rig, "/ready", named=ready) is None


async def test_j_14_addresses_are_vetted_again_when_the_approved_call_leaves(tmp_path: Path) -> None:
    """J-14, A-09: the name points to a forbidden address by now."""
    async with controlled(tmp_path) as rig:
        id_ = await approved(rig)
        pinned = rig.sidecar._lane._dialler._resolver._hosts
        pinned["api.example.test"] = (ipaddress.ip_address("169.254.169.254"),)
        answer = await rig.call("POST", "/issues", content=b"{}", headers={"Briefcased-Approval": id_})
        assert answer.problem == "destination_forbidden_address"
        assert rig.provider.requests == []


async def test_j_17_a_body_is_there_whole_before_anybody_is_asked(rig: Rig) -> None:
    """J-17: slow or large, nobody is asked about a part; what nobody can look at whole is refused."""
    store = rig.sidecar.approvals.store
    before = len(store.listed(tenant=None, state=None, limit=1000))
    halves = (b'{"a": "' + b"x" * 1000, b'y"}')
    gate = asyncio.Event()

    async def slowly() -> Any:
        yield halves[0]
        await gate.wait()
        yield halves[1]

    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(rig.call("POST", "/slow-body", content=slowly()))
        await asyncio.sleep(0.2)
        assert len(store.listed(tenant=None, state=None, limit=1000)) == before
        gate.set()
    answer = call.result()
    assert answer.problem == "approval_required"
    card = store.card(answer.json()["approval_id"])
    assert card is not None
    assert card["body"] == b"".join(halves).decode()

    large = await rig.call("POST", "/large-body", content=b"x" * (10 * 1024 * 1024))
    assert large.problem in ("policy_denied", "request_too_large")
    assert len(store.listed(tenant=None, state=None, limit=1000)) == before + 1


@pytest.mark.parametrize("count", [12, pytest.param(1000, marks=pytest.mark.slow)])
async def test_j_11_a_flood_leaves_five_questions(tmp_path: Path, count: int) -> None:
    """J-11: identical ones are one question, and of different ones five stand."""
    async with controlled(tmp_path) as rig:
        flood = [f"/flood/{number}" for number in range(count)]
        found: list[str] = []
        async with rig.client() as client:
            for at in range(0, count, 20):
                answers = await asyncio.gather(*(client.post(path, content=b"{}") for path in flood[at : at + 20]))
                found += [answer.json()["type"].rpartition(":")[2] for answer in answers]
        assert found.count("approval_required") == 5
        assert found.count("rate_limited") == count - 5
        standing = rig.sidecar.approvals.store.listed(tenant=None, state=None, limit=1000)
        assert len(standing) == 5
        again = {await says(rig, flood[found.index("approval_required")]) for _ in range(5)}
        assert again == {"approval_required"}
        assert len(rig.sidecar.approvals.store.listed(tenant=None, state=None, limit=1000)) == 5
        assert rig.provider.requests == []


@pytest.mark.parametrize(("more", "holds"), [(5, 10), pytest.param(1000, 100, marks=pytest.mark.slow)])
async def test_j_20_waiting_calls_do_not_keep_others(tmp_path: Path, more: int, holds: int) -> None:
    """J-20: so many wait on open connections, the others are told to come back; reads go on meanwhile."""
    approvals = {"hold_s": 110, "max_waiting": holds, "max_pending_per_agent": 100}
    async with controlled(tmp_path, approvals=approvals) as rig, asyncio.TaskGroup() as tasks:
        service = rig.sidecar.approvals
        calls = []
        for number in range(0, holds, 10):
            calls += [tasks.create_task(_held(rig)) for _ in range(10)]
            async with asyncio.timeout(30):
                while service.waiting < number + 10:
                    await asyncio.sleep(0.01)
        async with rig.client() as client:
            for _ in range(more):
                told = await client.post("/held", content=b"{}")
                assert (told.status_code, told.headers["retry-after"]) == (403, "15")
                assert told.json()["type"].endswith(":approval_required")
            async with asyncio.timeout(5):
                assert (await client.get("/open")).status_code == 200
        assert service.waiting == holds
        (pending,) = service.store.listed(tenant=None, state=State.PENDING, limit=10)
        await service.vote(pending.id, YES)
        assert [await call for call in calls].count(200) == 1
        assert sum(request.method == "POST" for request in rig.provider.requests) == 1


async def _held(rig: Rig) -> int:
    """The status of a call that waits for a person."""
    async with rig.client() as client:
        return (await client.post("/held", content=b"{}", timeout=120)).status_code
