"""I-05: versions of the policies through the control API: read, compared and brought back, through the same gate."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from proxy.cli import application
from proxy.cli.up import operating_user
from proxy.clock import SystemClock
from proxy.db.engine import writing
from proxy.errors import BriefcaseError
from proxy.policy_change import WaitingError
from proxy.policy_versions import PolicyVersions
from tests.api.conftest import BOTH, Api, administered, slug
from tests.api.test_commands import command, environment
from tests.control.conftest import POLICIES
from tests.control.test_policy_versions import NO_CHANGES, WIDER, configured

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

    from proxy.catalog.configuration import Configuration

pytestmark = pytest.mark.asyncio(loop_scope="session")
CELL = "tester example:write (example/main): approval -> allow"


_numbers = itertools.count(1)


@dataclass
class Kept:
    """`api` of a sidecar that keeps versions, and the file of its policies."""

    api: Api
    file: Path

    @property
    def versions(self) -> PolicyVersions:
        return PolicyVersions(self.api.database, SystemClock())

    @property
    def newest(self) -> int:
        found = self.versions.newest()
        assert found is not None
        return found.number

    def written(self, cedar: str) -> Configuration:
        """Files that say `cedar`, and are no earlier ones: those would bring a rollback back with them."""
        return configured(self.api.rig, self.file, f"{cedar}\n// {next(_numbers)}\n")

    async def reload(self, cedar: str) -> int:
        """Put `cedar` in force, whoever has to confirm it; its version."""
        wanted = self.written(cedar)
        try:
            await self.api.rig.sidecar.reload(wanted)
        except WaitingError as waiting:
            self.versions.confirm(waiting.version.number, "somebody")
            await self.api.rig.sidecar.reload(wanted)
        return self.newest

    async def waits(self, cedar: str) -> int:
        with pytest.raises(WaitingError) as waiting:
            await self.api.rig.sidecar.reload(self.written(cedar))
        return waiting.value.version.number

    async def back(self, version: int, who: str = "operator", reason: str = "too wide") -> httpx.Response:
        return await self.api.call(who, "POST", "/policies/rollback", {"version": version, "reason": reason})

    async def get(self, path: str, who: str = "viewer") -> Any:
        answer = await self.api.call(who, "GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def writes(self, name: str) -> str | None:
        """What a write is refused with."""
        return (await self.api.rig.call("POST", f"/{name}", content=name.encode())).problem


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=BOTH)
async def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kept]:
    database = request.getfixturevalue("server") if request.param == "postgresql" else None
    folder = tmp_path_factory.mktemp("versions")
    policies = {"files": [str(folder / "own.cedar")], "widening": "confirm"}
    async with administered(folder, database, author="ann", policies=policies) as api:
        yield Kept(api, folder / "own.cedar")


async def test_i05_versions_are_listed_shown_and_compared(kept: Kept) -> None:
    first = await kept.reload(POLICIES)
    text = kept.file.read_text()
    second = await kept.reload(WIDER)
    listed = (await kept.get("/policies/versions?limit=2"))["versions"]
    assert [(one["version"], one["in_force"]) for one in listed] == [(second, True), (first, False)]
    assert (listed[0]["author"], listed[0]["reason"], listed[0]["restores"]) == ("ann", "reload", None)
    assert (listed[0]["confirmed_by"], listed[0]["waits"]) == ("somebody", False)
    earlier = (await kept.get(f"/policies/versions?before={second}"))["versions"]
    assert second not in [one["version"] for one in earlier]

    shown = await kept.get(f"/policies/versions/{first}")
    assert shown["texts"] == [{"file": str(kept.file), "text": text}]
    assert shown["version"] == earlier[0]

    changed = await kept.get(f"/policies/versions/{first}/difference?to={second}")
    assert (changed["same"], changed["compared"]) == (False, True)
    assert (changed["added"], changed["removed"], changed["changed"]) == (["all-free", "deletes"], [], [])
    assert "+" + WIDER.splitlines()[-1] in changed["text"]
    assert changed["decisions"] == [
        {
            "agent": "tester", "operation": f"example:{one}", "account": "example/main",
            "was": "approval", "now": "allow", "widened": True,
        } for one in ("write", "small", "in_body", "socket")
    ] + [
        {
            "agent": "tester", "operation": "other:any", "account": "other/main",
            "was": "approval", "now": "allow", "widened": True,
        }
    ]  # fmt: skip
    assert await kept.get(f"/policies/versions/{first}/difference") == changed  # to the one in force
    back = await kept.get(f"/policies/versions/{second}/difference?to={first}")
    assert {(one["was"], one["now"], one["widened"]) for one in back["decisions"]} == {("allow", "approval", False)}
    assert (await kept.get(f"/policies/versions/{second}/difference"))["same"] is True

    for path in ("0", "99999", "99999999999999999999", "none", "-1", "%31", "1/difference?to=99999"):
        answer = await kept.api.call("viewer", "GET", f"/policies/versions/{path}")
        assert (answer.status_code, path) == (200 if path == "%31" else 404, path), answer.text
    assert slug(await kept.api.call("viewer", "GET", "/policies/versions/1/difference?to=0")) == "invalid_request"


async def test_i05_an_earlier_version_is_brought_back_at_once_and_once(kept: Kept) -> None:
    first = await kept.reload(POLICIES)
    second = await kept.reload(WIDER)
    assert await kept.writes("a") is None
    answer = await kept.back(first)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"version": second + 1, "restores": first, "state": "in_force", "wider": []}
    assert await kept.writes("b") == "approval_required"
    for who in ("operator", "admin"):
        assert (await kept.back(first, who)).json() == answer.json()
    assert kept.newest == second + 1

    changes = [one for one in await kept.api.changes() if one["change"] in ("policies", "policies_rollback")]
    told, who = changes[2:4]  # after those that changed nothing
    assert (who["change"], who["by"], who["target"], who["reason"]) == (
        "policies_rollback", "operator", f"version {first}", "too wide",
    )  # fmt: skip
    assert who["via"].startswith("token:")
    assert (told["change"], told["version"], told["restores"], told["author"], told["reason"]) == (
        "policies", second + 1, first, "operator", "too wide",
    )  # fmt: skip
    assert (told["widened"], told["removed"]) == (0, "all-free deletes")
    [newest] = (await kept.get("/policies/versions?limit=1"))["versions"]
    assert (newest["version"], newest["restores"], newest["in_force"], newest["author"]) == (
        second + 1, first, True, "operator",
    )  # fmt: skip
    assert newest["receipt"] == told["id"]

    await kept.api.rig.sidecar.reload(configured(kept.api.rig, kept.file, kept.file.read_text()))  # the same
    assert await kept.writes("c") == "approval_required"
    assert kept.newest == second + 1
    await kept.reload(WIDER)
    assert await kept.writes("d") is None
    assert await kept.api.rig.problems() == ()


async def test_i05_a_rollback_that_widens_waits_for_somebody_else(kept: Kept) -> None:
    wide = await kept.reload(WIDER)
    narrow = await kept.reload(POLICIES)
    answer = (await kept.back(wide, reason="urgent")).json()
    assert (answer["version"], answer["restores"], answer["state"]) == (narrow + 1, wide, "waiting")
    assert CELL in answer["wider"]
    assert await kept.writes("e") == "approval_required"
    assert (await kept.back(wide)).json() == answer  # once
    [pending] = (await kept.get("/policies/pending"))["pending"]
    assert (pending["version"], pending["author"], pending["authors"], pending["reason"]) == (
        narrow + 1, "operator", ["operator"], "urgent",
    )  # fmt: skip
    assert [one["waits"] for one in (await kept.get("/policies/versions?limit=2"))["versions"]] == [True, False]
    own = await kept.api.call("operator", "POST", "/policies/confirmations", {"version": narrow + 1})
    assert slug(own) == "own_request"
    good = await kept.api.call("admin", "POST", "/policies/confirmations", {"version": narrow + 1})
    assert good.status_code == 200
    assert await kept.writes("f") is None  # no file was read again for it
    last = (await kept.api.changes())[0]
    assert (last["change"], last["confirmed_by"], last["author"]) == ("policies", "admin", "operator")


@pytest.mark.slow
async def test_i05_two_sets_do_not_wait_at_once_and_a_narrower_one_needs_not_wait(kept: Kept) -> None:
    wide = await kept.reload(WIDER)
    narrow = await kept.reload(POLICIES)
    widest = await kept.waits(WIDER)
    refused = await kept.back(wide)
    assert slug(refused) == "conflict"
    assert (await kept.api.changes())[0]["refused"] == "conflict"
    assert kept.newest == widest  # still the one that waits
    assert (await kept.back(narrow)).json()["state"] == "in_force"
    assert (await kept.get("/policies/pending"))["pending"] == []
    waiting = (await kept.back(wide)).json()
    assert waiting["state"] == "waiting"  # the files say something else, and its confirmation counts all the same
    confirmed = await kept.api.call("admin", "POST", "/policies/confirmations", {"version": waiting["version"]})
    assert confirmed.status_code == 200
    assert await kept.writes("g") is None
    assert await kept.waits(WIDER + '@id("more") permit (principal, action, resource);') > widest


async def test_j06_another_tenants_agents_are_not_told_of_and_policies_are_everybodys(kept: Kept) -> None:
    first = await kept.reload(POLICIES)
    second = await kept.reload(WIDER)
    assert (await kept.get("/policies/versions", "foreign")) == await kept.get("/policies/versions")
    theirs = await kept.get(f"/policies/versions/{first}/difference?to={second}", "foreign")
    assert (theirs["added"], theirs["decisions"]) == (["all-free", "deletes"], [])
    assert slug(await kept.back(first, "foreign")) == "forbidden"
    await kept.reload(POLICIES)
    await kept.waits(WIDER)
    [mine], [foreign] = [(await kept.get("/policies/pending", who))["pending"] for who in ("viewer", "foreign")]
    assert CELL in mine["wider"]
    assert foreign["wider"] == ["policy all-free may allow more", "policy deletes may allow more"]
    kept.versions.withdraw(mine["version"])


async def test_what_cannot_be_brought_back_is_refused_and_nothing_changes(kept: Kept) -> None:
    first = await kept.reload(POLICIES)
    version = kept.api.rig.sidecar.pipeline.generation.policies.version
    gone = (("old.cedar", 'permit (principal, action == Action::"example:gone", resource);'),)
    unfit = kept.versions.add(digest="-", sources=gone, files_digest="-", frame=None, author="ann", reason="x")
    assert slug(await kept.back(unfit)) == "conflict"
    assert slug(await kept.api.call("viewer", "GET", f"/policies/versions/{unfit}/difference")) == "conflict"
    assert slug(await kept.back(99999)) == "not_found"
    assert slug(await kept.back(0)) == "invalid_request"
    assert slug(await kept.back(first, reason="")) == "invalid_request"
    async with kept.api.rig.sidecar._turn:  # as while a reload is under way
        assert slug(busy := await kept.back(first)) == "conflict"
        assert busy.json()["detail"] == "A reload is under way."
    assert kept.newest == unfit
    kept.versions.withdraw(unfit)
    assert kept.api.rig.sidecar.pipeline.generation.policies.version == version
    many = await asyncio.gather(*(kept.back(first) for _ in range(5)))
    assert {one.status_code for one in many} <= {200, 409}
    assert [one.restores for one in kept.versions.every()].count(first) == 1


@pytest.mark.slow
async def test_a_comparison_is_one_at_a_time_and_holds_up_nobody(kept: Kept) -> None:
    first = await kept.reload(POLICIES)
    one = '@id("n{0}") permit (principal, action, resource == Operation::"example:read") when {{ context.port == {0} }};\n'
    second = await kept.reload(POLICIES + "".join(map(one.format, range(400))))
    path = f"/policies/versions/{first}/difference?to={second}"
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(kept.api.call("viewer", "GET", path)) for _ in range(4)]
        await asyncio.sleep(0)  # each makes its client
        began, longest = time.perf_counter(), 0.0
        while not all(task.done() for task in running):
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before)
    whole = time.perf_counter() - began
    answers = {task.result().status_code: task.result() for task in running}
    assert answers.keys() == {200, 429}
    assert len(answers[200].json()["added"]) == 400
    assert answers[429].headers["retry-after"] == "5"
    assert longest < whole / 2  # Cedar reads a set in one go
    await kept.reload(POLICIES)


@pytest.mark.slow
async def test_what_cannot_be_recorded_is_not_brought_back(tmp_path: Path) -> None:
    (tmp_path / "own.cedar").write_text(POLICIES)
    async with administered(tmp_path, author="ann") as api:
        kept = Kept(api, tmp_path / "own.cedar")
        await kept.reload(WIDER)
        trigger = NO_CHANGES.replace("NEW.kind = 'change'", "NEW.kind = 'change' AND NEW.body LIKE '%\"restores\":1%'")
        with writing(api.database) as connection:
            connection.exec_driver_sql(trigger)
        assert slug(await kept.back(1)) == "unavailable"
        assert await kept.writes("h") is None
        assert kept.newest == 2  # no reload takes it up either
        with writing(api.database) as connection:
            connection.exec_driver_sql("DROP TRIGGER no_changes")
        assert (await kept.back(1)).json()["version"] == 3
        assert await kept.writes("i") == "approval_required"
        with pytest.raises(BriefcaseError):
            api.rig.sidecar._enforcing._version(99)


async def test_how_far_a_candidate_is_is_told_to_each_tenant_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "next.cedar").write_text(WIDER)
    candidate = {"files": [str(tmp_path / "next.cedar")], "agents": ["early"]}
    policies = {"files": [str(tmp_path / "own.cedar")], "candidate": candidate}
    agents = {"early": ("*",), "late": ("*",)}
    async with administered(tmp_path, author="ann", policies=policies, agents=agents) as api:
        assert (await api.rig.call("POST", "/x", content=b"1", agent="late")).problem == "approval_required"
        await api.rig.settled(1)
        kept = Kept(api, tmp_path / "own.cedar")
        told = await kept.get("/policies/rollout")
        change = {
            "agent": "late",
            "operation": "example:write",
            "was": "approval_required",
            "candidate": "allow",
            "calls": 1,
        }
        assert told["changes"] == [change]
        assert (told["decides_for"], told["not_for"]) == (["early"], ["late"])
        assert told["stage"] == {"agents": ["early"], "groups": [], "percent": 0}
        assert told["version"] == api.rig.sidecar.pipeline.generation.rollout.candidate.version
        assert (await kept.get(f"/policies/rollout?since_ms={2**50}"))["changes"] == []
        theirs = await kept.get("/policies/rollout", "foreign")
        nothing = {"stage": {"agents": [], "groups": [], "percent": 0}, "decides_for": [], "not_for": [], "changes": []}
        assert theirs == {"version": told["version"], **nothing}
        assert (await kept.back(1)).json()["state"] == "in_force"  # which ends the stage
        empty = {"version": None, "stage": None, "decides_for": [], "not_for": [], "changes": []}
        assert await kept.get("/policies/rollout") == empty


async def test_i05_the_commands_go_through_the_api_and_print_what_they_print_at_the_machine(kept: Kept) -> None:
    first = await kept.reload(POLICIES)
    second = await kept.reload(WIDER)
    api, token = kept.api, {"BRIEFCASED_OPERATOR_TOKEN": kept.api.tokens["operator"]}

    back = await command(api, "policy", "rollback", str(first), "--reason", "too\x1b[2Jwide")
    ended = "is in force, until the files change\n"
    assert (back.code, back.out) == (0, f"version {second + 1}, the policies of version {first}, {ended}"), back.err
    assert (await api.changes())[0]["author"] == "local"
    made = kept.versions.one(second + 1)
    assert made is not None
    assert set(made.authors) == {"local", f"uid:{os.getuid()}", operating_user()}  # none of whom may confirm it
    told = [await command(api, "policy", "history", *more) for more in ((), ("--json",))]
    assert told[0].lines[-1].startswith(f"* {second + 1:>4}  ")
    assert told[0].lines[-1].endswith(rf"local        too\u{{1b}}[2Jwide (those of {first})")
    assert json.loads(told[1].out)[-2]["version"] == second

    held = await command(api, "policy", "rollback", str(second), "--reason", "x", "--url", api.base, **token)
    assert (held.code, held.out) == (1, "")
    assert f"another operator confirms it: briefcased policy confirm {second + 2}\n  {CELL}" in held.err
    kept.versions.withdraw(second + 2)
    absent = await command(api, "policy", "rollback", "99999", "--reason", "x")
    assert absent.err == "briefcased: there is no version 99999; see briefcased policy history\n"

    shown = await command(api, "policy", "diff", str(first), str(second))
    assert (shown.code, f"+{WIDER.splitlines()[-1]}" in shown.lines, f"  {CELL}" in shown.lines) == (1, True, True)
    told_json = await command(api, "policy", "diff", str(first), str(first), "--json")
    same = {"same": True, "added": [], "removed": [], "changed": [], "compared": True, "text": [], "decisions": [],
                "around": []}  # fmt: skip
    assert (told_json.code, json.loads(told_json.out)) == (0, same)
    for one, other in ((99998, first), (first, 99998)):
        absent = await command(api, "policy", "diff", str(one), str(other))
        assert absent.err == "briefcased: there is no version 99998; see briefcased policy history\n"
    far = await command(api, "policy", "diff", str(first), "--url", api.base, **token)
    assert far.err == "briefcased: files are compared at the machine; name two versions\n"
    none = await command(api, "policy", "rollout")
    assert none.err == "briefcased: the configuration in force has no policies.candidate\n"

    alone = environment(api)
    (api.rig.home / "sidecar.json").unlink()  # no sidecar runs here, as it seems
    for more, there in zip(((), ("--json",)), told, strict=True):
        assert CliRunner().invoke(application("policy"), ["policy", "history", *more], env=alone).stdout == there.out
