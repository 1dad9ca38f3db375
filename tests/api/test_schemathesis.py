"""Everything that the OpenAPI document promises, tried by schemathesis against the running API."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy.api.routes import ROUTES
from tests.api.conftest import administered

if TYPE_CHECKING:
    from tests.api.conftest import Api

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
ARGUMENTS = (
    "--checks", "all",
    "--exclude-checks", "ignored_auth",  # sends wrong tokens until it is throttled; test_admission.py tries them
    "--exclude-path", "/api/v1/approval-events",  # never ends
    "--max-examples", "10", "--seed", "7", "--no-color", "--continue-on-failure",
)  # fmt: skip


@pytest.mark.parametrize("who", ["admin", "foreign"])
async def test_o09_the_api_keeps_to_its_document(tmp_path: Path, who: str) -> None:
    async with administered(tmp_path, author="ann") as api:  # its own: operators are revoked as well
        await api.pending()
        await keeps_to_its_document(api, tmp_path, who)


async def keeps_to_its_document(api: Api, tmp_path: Path, who: str) -> None:
    process = await asyncio.create_subprocess_exec(
        str(SCHEMATHESIS), "run", f"{api.base}/api/openapi.json", "-H", f"Authorization: Bearer {api.tokens[who]}", *ARGUMENTS,
        cwd=tmp_path, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(400):
        out, _ = await process.communicate()
    found = [line[:200] for line in out.decode().splitlines() if re.match(r"- ST|_{4}|\[\d{3}\]|    `", line)]
    assert process.returncode == 0, "\n".join(found)
    assert f"Tested: {len(ROUTES) - 1}" in out.decode()
