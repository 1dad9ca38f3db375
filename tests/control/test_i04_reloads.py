"""I-04: while files are broken, half-written or swapped, decisions under load are those of the configuration in force."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from proxy.errors import ConfigError
from proxy.policy_change import WaitingError
from tests.control.conftest import POLICIES
from tests.control.test_policy_versions import changes, configured
from tests.rig import running_rig

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig import Rig

WANTED = {("GET", "/open"): 200, ("GET", "/closed"): 403, ("POST", "/x"): 403, ("DELETE", "/x"): 403}


async def load(rig: Rig, stop: asyncio.Event) -> int:
    """Calls until `stop`, each decided as before; how many."""
    made = 0
    async with rig.client() as client:
        while not stop.is_set():
            for (method, path), status in WANTED.items():
                answer = await client.request(method, path)
                assert answer.status_code == status, (method, path, answer.text)
                made += 1
    return made


async def reload(rig: Rig, file: Path, text: str) -> str:
    """What becomes of a reload with the file saying `text`."""
    try:
        await rig.sidecar.reload(configured(rig, file, text))
    except ConfigError as error:
        await rig.sidecar.rejected(len(error.findings))
        return "rejected"
    except WaitingError:
        return "waits"
    return "in force"


@pytest.mark.parametrize("rounds", [15, pytest.param(500, marks=pytest.mark.slow)])
async def test_i04_reloads_under_load_with_truncated_files(tmp_path: Path, rounds: int) -> None:
    """A cut at the end of a policy leaves a good file, without the forbids that stood behind: it waits (I-05)."""
    file, chance = tmp_path / "own.cedar", random.Random(4)
    file.write_text(POLICIES)
    permits = POLICIES[: POLICIES.index('@id("closed")')]
    settings = {"policies": {"files": [str(file)], "widening": "confirm"}, "approvals": {"hold_s": 0}}
    async with running_rig(tmp_path, settings=settings, author="ann") as rig, asyncio.TaskGroup() as tasks:
        version = rig.sidecar.pipeline.generation.policies.version
        stop = asyncio.Event()
        busy = [tasks.create_task(load(rig, stop)) for _ in range(2)]
        ended = []
        for number in range(rounds):
            cut = permits if number % 5 == 0 else POLICIES[: chance.randrange(len(permits), len(POLICIES) - 2)]
            ended.append(await reload(rig, file, cut))
            await asyncio.sleep(0)
            assert rig.sidecar.pipeline.generation.policies.version == version
        ended.append(await reload(rig, file, POLICIES))
        stop.set()
        assert set(ended[:-1]) == {"rejected", "waits"}
        assert ended[-1] == "in force"
        assert min([await one for one in busy]) > 0
        told = [one["change"] for one in await changes(rig)]
        assert told.count("config_rejected") == ended.count("rejected")
        assert told.count("policies_pending") == 1  # the same set waits only once
        assert await rig.problems() == ()


async def test_i04_a_link_that_is_swapped_gives_one_file_or_the_other(tmp_path: Path) -> None:
    link, narrow = tmp_path / "own.cedar", tmp_path / "narrow.cedar"
    whole = tmp_path / "whole.cedar"
    whole.write_text(POLICIES)
    narrow.write_text('@id("reads") permit (principal, action == Action::"read", resource);')
    link.symlink_to(whole)
    async with running_rig(tmp_path, settings={"policies": {"files": [str(link)]}}, author="ann") as rig:
        for target in (narrow, whole, narrow):
            (tmp_path / "next").symlink_to(target)
            (tmp_path / "next").replace(link)
            await rig.sidecar.reload(configured(rig, link, target.read_text()))
            ids = set(rig.sidecar.pipeline.generation.policies.policies)
            assert ids == ({"reads"} if target is narrow else {"reads", "reads-free", "writes", "not-strong", "closed"})


async def test_i04_an_agent_that_is_added_meanwhile_does_not_bring_the_old_policies_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first installation, which the new agent causes, waits for a secret store while a reload narrows."""
    monkeypatch.setattr("proxy.sidecar.WATCH_AGENTS_S", 0.01)
    file = tmp_path / "own.cedar"
    file.write_text(POLICIES)
    settings = {"policies": {"files": [str(file)]}, "approvals": {"hold_s": 0}}
    async with running_rig(tmp_path, settings=settings, author="ann") as rig, asyncio.TaskGroup() as tasks:
        sidecar, waits, go = rig.sidecar, asyncio.Event(), asyncio.Event()
        read = sidecar._memory.preload

        async def slow(*given: Any) -> list[str]:
            if not waits.is_set():
                waits.set()
                await go.wait()
            return await read(*given)

        monkeypatch.setattr(sidecar._memory, "preload", slow)
        sidecar._agents = frozenset()  # as it was before the agents came
        watching = tasks.create_task(sidecar.watch_agents())
        await asyncio.wait_for(waits.wait(), 10)
        narrow = configured(rig, file, POLICIES + '@id("none") forbid (principal, action, resource);')
        reloading = tasks.create_task(sidecar.reload(narrow))
        await asyncio.wait((reloading,), timeout=0.5)
        go.set()
        await asyncio.wait_for(reloading, 10)
        await asyncio.sleep(0.1)
        watching.cancel()
        assert (await rig.call("GET", "/open")).problem == "policy_denied"
        assert "none" in sidecar.pipeline.generation.policies.policies
