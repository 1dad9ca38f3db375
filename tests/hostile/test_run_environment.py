"""P1 for the child of `briefcased run`: what it can read around itself."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from pathlib import Path

import pytest
import yaml

from proxy.catalog.loader import load_profiles, shipped
from proxy.cli.variables import without_secrets
from tests.rig import Provider
from tests.rig.process import HOST, configuration
from tests.rig.program import LIMIT_S
from tests.rig.sidecar import EXAMPLE, KEY

ROOT = Path(__file__).parents[2]
OWN = "WORK_KEY_OF_THE_OPERATOR"


@pytest.fixture
async def config(tmp_path):
    """A configuration whose secret stands in a variable that no profile names."""
    provider = Provider(tmp_path, (HOST,))
    await provider.start()
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    text = EXAMPLE.replace("host: api.example.test", f"host: {HOST}").format(port=provider.port)
    (profiles / "example.yaml").write_text(text)
    described = configuration(provider, profiles)
    described["providers"]["example"]["accounts"]["main"]["secrets"]["api_key"] = f"env:{OWN}"
    path = tmp_path / "briefcased.yaml"
    path.write_text(yaml.safe_dump(described))
    yield path
    await provider.stop()


async def said(tmp_path, *arguments: str, **variables: str) -> str:
    own = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "BRIEFCASED_HOME": str(tmp_path / "state"),
        "PYTHONPATH": str(ROOT),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy", "run", *arguments, env={**own, **variables}, cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode == 0, out
    return out.decode()


async def test_p1_a_variable_that_the_configuration_reads_is_not_inherited(tmp_path, config):
    assert KEY not in await said(tmp_path, "--config", str(config), "--", "env", **{OWN: KEY})


@pytest.mark.slow
async def test_p1_the_child_cannot_read_its_parents_environment(tmp_path):
    script = "tr '\\0' '\\n' < /proc/$PPID/environ; true"
    assert KEY not in await said(tmp_path, "--", "sh", "-c", script, OPENAI_API_KEY=KEY)


def test_p1_a_token_inside_a_basic_header_is_not_inherited():
    token = "ghp_REAL0123456789abcdefghijklmnopqrstuv"
    header = "AUTHORIZATION: basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()
    clean, _ = without_secrets(
        {"GITHUB_TOKEN": token, "GIT_CONFIG_VALUE_0": header},
        load_profiles([shipped()]),
        {"GITHUB_TOKEN": "ghp_stand_in"},
    )
    assert clean.get("GIT_CONFIG_VALUE_0") != header
