"""`briefcased secrets`: values go in, and only names come out."""

from __future__ import annotations

import json

import pytest

from proxy.secretstore.local import LocalStore
from tests.rig.program import assert_unseen

FIRST, SECOND, THIRD = "REAL-first-0123456789", "REAL-second-0123456789", "REAL-third-0123456789"


async def test_p1_values_go_in_and_only_names_come_out(cli):
    said = [await cli.run("secrets", "set", "github/token", stdin=f"{FIRST}\n")]
    assert said[-1].out == "stored; refer to it as local:github/token\n"
    (cli.folder / "keys.env").write_text(f"# mine\nexport STRIPE_API_KEY='{SECOND}'\nOPENAI_API_KEY={THIRD}\n")
    said.append(await cli.run("secrets", "import", "keys.env"))
    assert said[-1].out == "stored 2: openai_api_key, stripe_api_key\n"
    said.append(await cli.run("secrets", "list", "--json"))
    assert json.loads(said[-1].out) == ["github/token", "openai_api_key", "stripe_api_key"]
    said.append(await cli.run("secrets", "rm", "github/token"))
    said.append(await cli.run("secrets", "list"))
    assert said[-1].lines == ["openai_api_key", "stripe_api_key"]
    said.append(await cli.run("secrets", "import", "-", stdin=f"ODD={THIRD}'\n"))  # the quote belongs to it
    assert (await LocalStore(cli.state).get("odd")).reveal() == f"{THIRD}'".encode()
    assert all(ran.code == 0 for ran in said)
    assert_unseen("".join(ran.out + ran.err for ran in said), FIRST, SECOND, THIRD)
    for file in cli.state.rglob("*"):
        if file.is_file() and file.stat().st_size:
            assert_unseen(file.read_bytes().decode("latin-1"), FIRST, SECOND, THIRD)
            assert file.stat().st_mode & 0o077 == 0, file


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        (["set", "Token"], FIRST, "a name is lower-case letters"),
        (["set", "token"], "short", "the value is shorter than"),
        (["set", "token"], "", "the value is shorter than"),
        (["rm", "token"], None, "no secret is named token"),
        (["import", "-"], f"not a line {FIRST}", "-:1: a line is NAME=VALUE"),
        (["import", "nowhere.env"], None, "nowhere.env"),
    ],
)
async def test_p1_what_is_refused_shows_no_value(cli, arguments, stdin, says):
    ran = await cli.run("secrets", *arguments, stdin=stdin)
    assert ran.code == 1
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert_unseen(ran.out + ran.err, FIRST)


@pytest.mark.slow
async def test_p1_a_run_takes_its_secret_from_the_store(cli, local):
    await cli.run("secrets", "set", "example", stdin=FIRST)
    local.config.write_text(local.config.read_text().replace("env:EXAMPLE_API_KEY", "local:example"))
    script = f'curl -sS --noproxy "" {local.base}/v1/things'
    ran = await cli.run("run", "--config", str(local.config), "--", "sh", "-c", script)
    assert ran.code == 0, ran.err
    assert local.provider.last.all("authorization") == [f"Bearer {FIRST}"]
    assert_unseen(ran.out + ran.err, FIRST)
