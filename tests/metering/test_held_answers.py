"""K-10: an answer that is held whole ends where the reserve does, like one that is passed on."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from tests.metering.conftest import MODELS
from tests.metering.test_budgets import sums
from tests.rig import running_rig
from tests.rig.sidecar import accounts

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")
PROFILE = MODELS.replace("usage:\n", "usage:\n  little: {{most: {{bytes: {{fixed: 1000, cap: 1000}}}}}}\n", 1).replace(
    "operations:\n", "operations:\n  - {{id: little, methods: [GET], path: /little, action: read, usage: little}}\n", 1
)


async def test_k_10_p10_an_answer_that_is_held_is_not_longer_than_what_was_reserved(tmp_path: Path) -> None:
    file = tmp_path / "own.cedar"
    file.write_text('@redact("/email") permit (principal, action, resource);')
    settings = {
        "providers": {"example": accounts(api_key="env:EXAMPLE_API_KEY")},
        "budgets": [{"name": "bytes", "unit": "bytes", "limit": 10_000}],
        "policies": {"files": [str(file)]},
    }
    async with running_rig(tmp_path, profiles={"example": PROFILE}, settings=settings) as rig:
        for size, packed, status in ((500, False, 200), (5000, False, 502), (5000, True, 502)):
            text = json.dumps({"email": "ann@example.test", "text": "x" * size}).encode()
            body, coding = (gzip.compress(text), "Content-Encoding: gzip\r\n") if packed else (text, "")
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{coding}Content-Length: {len(body)}\r\n\r\n"
            rig.provider.answers("/little", head.encode() + body)
            answer = await rig.call("GET", "/little")
            assert (answer.status, len(answer.body) < 1000) == (status, True)
            if status != 200:
                assert answer.problem == "response_withheld"
        assert len(await rig.settled(3)) == 3
        used, held = await sums(rig)
        assert (500 + 2000 < used <= 700 + 2000, held) == (True, 0)
