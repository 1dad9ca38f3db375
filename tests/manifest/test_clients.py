"""Stock clients read the manifest with nothing but their proxy variables."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING

import orjson
import pytest

from tests.control.conftest import controlled

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

AT = "http://briefcased.internal"
NODE = """
const proxy = new URL(process.env.http_proxy), get = require("http").get
const token = Buffer.from(`${proxy.username}:${decodeURIComponent(proxy.password)}`).toString("base64")
const options = {host: proxy.hostname, port: proxy.port, path: process.argv[1], headers: {
  host: new URL(process.argv[1]).host, "proxy-authorization": `Basic ${token}`}}
get(options, answer => answer.pipe(process.stdout))
"""


async def output(environment: Mapping[str, str], *command: str) -> bytes:
    kept = {"PATH": os.environ["PATH"], **environment}
    process = await asyncio.create_subprocess_exec(*command, env=kept, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(20):
        told, _ = await process.communicate()
    assert process.returncode == 0
    return told


async def test_curl_and_node_read_it(tmp_path: Path) -> None:
    curl, node = shutil.which("curl"), shutil.which("node")
    if curl is None or node is None:
        pytest.skip("no curl, or no node")
    async with controlled(tmp_path) as rig:
        told = orjson.loads(await output(rig.env(), curl, "-qsS", f"{AT}/"))
        assert told["agent"] == "tester"
        assert told["pages"].keys() >= {f"{AT}/operations", f"{AT}/SKILL.md"}
        text = await output(rig.env(), curl, "-qsS", "-H", "Accept: text/plain", f"{AT}/budgets")
        assert text == b"budgets: none\n"
        assert orjson.loads(await output(rig.env(), node, "-e", NODE, f"{AT}/")) == told
