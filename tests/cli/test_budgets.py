"""`briefcased budgets`: what is left."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.cli.conftest import real_key

if TYPE_CHECKING:
    from tests.cli.conftest import Cli, Local

CALL = 'curl -sS --noproxy ""'


@pytest.mark.slow
async def test_what_calls_have_used_is_told(cli: Cli, local: Local) -> None:
    settings = yaml.safe_load(local.config.read_text())
    settings["budgets"] = [
        {"name": "calls", "unit": "requests", "limit": 2, "window": "lifetime", "each": ["account"]},
        {"name": "money", "limit": "1.50", "window": "lifetime"},
    ]
    settings["rates"] = [{"name": "steady", "calls": 60, "burst": 9}]
    local.config.write_text(yaml.safe_dump(settings))
    script = " && ".join(f"{CALL} {local.base}/v1/{number}" for number in range(3))
    ran = await cli.run("run", "--config", str(local.config), "--", "sh", "-c", script, **real_key())
    assert "budget_exceeded" in ran.out
    assert len(local.provider.requests) == 2
    listed = await cli.run("budgets", "list", "--config", str(local.config))
    assert listed.lines == [
        "calls account=example/main: 2 requests used, 0 requests held, 0 requests left of 2 requests",
        "money: $0.000000 used, $0.000000 held, $1.500000 left of $1.500000",
        "steady: 60 calls in 60 s, 9 at once",
    ]
    shown = await cli.run("budgets", "show", "calls", "--config", str(local.config), "--json")
    assert json.loads(shown.out) == [
        {
            "budget": "calls",
            "unit": "requests",
            "limit": 2,
            "each": {"account": "example/main"},
            "used": 2,
            "held": 0,
            "left": 0,
            "resets_at_ms": None,
            "holds": 0,
        }
    ]
    used = await cli.run("budgets", "usage", "--config", str(local.config))
    assert used.lines == ["calls account=example/main: 2 requests used, 0 requests held, ever"]
    missing = await cli.run("budgets", "show", "none", "--config", str(local.config))
    assert (missing.code, missing.err) == (1, "briefcased: there is no budget none; there are calls, money\n")
