"""Observe, learn, enforce: with real sidecars, one after the other on one state directory."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import httpx
import yaml

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
