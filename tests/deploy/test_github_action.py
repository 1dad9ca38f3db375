"""The composite actions, step by step in a real bash, with a real sidecar between a step and its provider."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, real_key
from tests.cli.test_run import CALL, alive
from tests.deploy.workflow import Runner
from tests.rig.program import assert_unseen
from tests.rig.sidecar import KEY

ACTION = ROOT / "deploy" / "github-action" / "action.yml"
FINISH = ROOT / "deploy" / "github-action" / "finish" / "action.yml"


@pytest.fixture
def briefcased(tmp_path):
    """A `briefcased` that is installed already."""
    import sys

    program = tmp_path / "briefcased"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec {sys.executable} -m proxy "$@"\n')
    program.chmod(0o755)
    return str(program)


@pytest.mark.slow
async def test_p1_later_steps_call_without_a_key_and_the_receipts_are_kept(cli, local, tmp_path, briefcased):
    folder = tmp_path / "runner"
    (folder / "briefcased").mkdir(parents=True)
    job = Runner(folder, cli.environment())
    await job.use(ACTION, {"command": briefcased, "config": str(local.config)}, **real_key())
    process = int(job.environment["BRIEFCASED_PID"])
    token = job.environment["HTTPS_PROXY"].partition("agent:")[2].partition("@")[0]
    assert f"::add-mask::{token}\n" in job.log
    try:
        called = await job.run(f"env; {CALL} {local.base}/v1/things")
        assert called.code == 0, called.err
        assert local.provider.last.all("authorization") == [f"Bearer {KEY}"]
        assert_unseen(job.log + json.dumps(job.environment), KEY)

        (kept,) = await job.use(FINISH, {})
    finally:
        if alive(process):
            import os

            os.kill(process, 15)
    async with asyncio.timeout(15):
        while alive(process):
            await asyncio.sleep(0.05)
    (receipt,) = [json.loads(line) for line in Path(kept).read_text().splitlines()]
    assert (receipt["decision"]["agent"], receipt["outcome"]["outcome"]) == ("run", "completed")
    assert "receipts verify: ok (1 call" in job.log
    assert job.environment["HTTPS_PROXY"] == "", "what uploads the receipts goes on its own"


def test_no_expression_stands_in_a_script():
    for path in (ACTION, FINISH):
        import yaml

        for step in yaml.safe_load(path.read_text())["runs"]["steps"]:
            assert "${{" not in step.get("run", ""), "an input would be run as code"
