"""`briefcased receipts`: what happened, found again, and proved."""

from __future__ import annotations

import asyncio
import json
import sqlite3

import pytest

from proxy.db.engine import DATABASE
from tests.cli.conftest import real_key

CALL = 'curl -sS --noproxy ""'


@pytest.fixture
async def happened(cli, local):
    """One allowed call and one refusal."""
    script = f"{CALL} {local.base}/v1/things && {CALL} -X DELETE {local.base}/v1/things/1"
    ran = await cli.run("run", "--config", str(local.config), "--", "sh", "-c", script, **real_key())
    assert ran.code == 0, ran.err
    return cli


async def test_receipts_are_listed_shown_and_verified(happened):
    listed = await happened.run("receipts", "list")
    allowed, refused = listed.lines
    assert allowed.endswith("/v1/things example/main 200 completed")
    assert "refused policy_denied" in refused
    receipt = allowed.split()[2]
    shown = await happened.run("receipts", "show", receipt)
    titles = [line for line in shown.lines if not line.startswith(" ")]
    assert (shown.code, titles) == (0, ["decision", "outcome"])
    assert "  operation        read" in shown.lines
    only = await happened.run("receipts", "list", "--refused", "--json")
    assert [json.loads(line)["decision"]["slug"] for line in only.lines] == ["policy_denied"]
    missing = await happened.run("receipts", "show", "no-such-receipt")
    assert (missing.code, missing.err) == (1, "briefcased: there is no receipt no-such-receipt\n")


@pytest.mark.slow
async def test_p11_verify_tells_a_changed_receipt(happened):
    good = await happened.run("receipts", "verify", "--json")
    report = json.loads(good.out)
    assert (good.code, report["ok"], report["calls"], report["problems"]) == (0, True, 2, [])
    with sqlite3.connect(happened.state / DATABASE) as database:
        changed = database.execute(
            "UPDATE receipts SET body = replace(body, '\"GET\"', '\"PUT\"') WHERE body LIKE '%\"GET\"%'"
        )
        assert changed.rowcount == 1
    database.close()
    bad = await happened.run("receipts", "verify")
    assert bad.code == 1
    assert bad.lines[-1].startswith("receipts verify: ")
    assert bad.lines[-1].endswith(" problems") or bad.lines[-1].endswith(" problem")


@pytest.mark.slow
async def test_tail_follows_and_ends_with_ctrl_c(happened, local):
    tail = await happened.start("receipts", "tail", "--json")
    assert tail.stdout is not None
    script = f"sleep 2; {CALL} {local.base}/v1/later"
    ran = await happened.run("run", "--config", str(local.config), "--", "sh", "-c", script, **real_key())
    assert ran.code == 0, ran.err
    line = await asyncio.wait_for(tail.stdout.readline(), 20)
    assert json.loads(line)["decision"]["path"] == "/v1/later"
    tail.send_signal(2)
    assert await asyncio.wait_for(tail.wait(), 10) == 130
