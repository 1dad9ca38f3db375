"""Observe, learn, enforce: with real sidecars, one after the other on one state directory."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml

from proxy.cli.learn import profile_text
from proxy.learning import propose, seen_of
from tests.control.conftest import controlled
from tests.rig.process import HOST, configured

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.process import Up

SEEN = (("GET", "/repos/a"), ("GET", "/repos/b"), ("POST", "/issues"))
NEIGHBOURS = (
    ("GET", "/repos/c"),
    ("HEAD", "/repos/a"),
    ("PUT", "/issues"),
    ("POST", "/issues/1"),
    ("DELETE", "/repos/a"),
)


def configure(up: Up, **blocks: object) -> None:
    data = yaml.safe_load(up.config.read_text())
    data.update(blocks)
    up.config.write_text(yaml.safe_dump(data))


async def statuses(up: Up, calls: tuple[tuple[str, str], ...]) -> list[int]:
    trust = ssl.create_default_context(cafile=str(up.home / "ca-bundle.pem"))
    proxy = f"http://agent:{up.token}@{up.address[0]}:{up.address[1]}"
    async with httpx.AsyncClient(proxy=proxy, verify=trust, trust_env=False, timeout=20) as client:
        url = f"https://{HOST}:{up.provider.port}"
        return [(await client.request(method, url + path)).status_code for method, path in calls]


async def test_what_a_sidecar_has_let_through_another_lets_through_by_the_proposal(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("observing", "enforcing")]
    for folder in folders:
        folder.mkdir()
    async with controlled(folders[0], policies={"preset": "read-only", "observe": True}) as rig:
        for method, path in SEEN:
            assert (await rig.call(method, path, content=b"x" if method == "POST" else None)).status == 200
        calls = [call for one in await rig.settled(len(SEEN)) for call in seen_of(one.decision, one.outcome)]
        profiles, port = dict(rig.configuration.profiles), rig.provider.port
    proposal = propose(calls, profiles)
    text = profile_text(proposal.profiles["example"]).replace("{", "{{").replace("}", "}}")
    narrowed = {"example": text.replace(f"port: {port}", "port: {port}")}
    providers = {"example": {"accounts": {"main": {"secrets": {"api_key": "env:EXAMPLE_API_KEY"}}}}}
    budgets = [dict(one) for one in proposal.budgets]
    async with controlled(
        folders[1], text=proposal.policies, profiles=narrowed, providers=providers, budgets=budgets
    ) as rig:
        for method, path in SEEN:
            assert (await rig.call(method, path, content=b"x" if method == "POST" else None)).status == 200
        for method, path in NEIGHBOURS:
            assert (await rig.call(method, path)).status == 403, path
        assert (await rig.call(*SEEN[0])).problem == "budget_exceeded"  # one more than was seen
        assert len(rig.provider.requests) == len(SEEN)


@pytest.mark.slow
async def test_everything_seen_is_allowed_by_the_proposal_and_neighbours_are_not(tmp_path: Path) -> None:
    learnt = tmp_path / "learnt"
    async with configured(tmp_path) as up:
        configure(up, policies={"preset": "read-only", "observe": True})
        await up.start()
        assert await statuses(up, SEEN) == [200, 200, 200]
        told = up.command("learn", "--config", str(up.config), "--write", str(learnt))
        assert told.returncode == 0, told.stderr
        assert told.stdout.startswith("learnt from 3 calls\n")
        assert "these would be refused: none" in told.stdout
        again = up.command("learn", "--config", str(up.config))
        assert again.stdout == told.stdout.partition("\nwritten to")[0]
        await up.kill()
        configure(up, policies={"files": [str(learnt / "policies.cedar")]}, profiles=[str(learnt / "profiles")])
        await up.start()
        assert await statuses(up, SEEN) == [200, 200, 200]
        before = len(up.provider.requests)
        assert await statuses(up, NEIGHBOURS) == [403] * len(NEIGHBOURS)
        assert len(up.provider.requests) == before
