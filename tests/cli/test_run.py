"""`briefcased run`: the program that it runs, what that program holds, and what is said at its end."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal

import pytest
import yaml

from proxy.handover import MARK
from tests.cli.conftest import BRIEFCASED, real_key
from tests.rig.program import LIMIT_S, assert_unseen, ended, started
from tests.rig.sidecar import KEY

GITHUB = "ghp_REAL0123456789abcdefghijklmnopqrstuv"
OPENAI = "sk-proj-REAL0123456789abcdefghijklmnopqr"
CALL = 'curl -sS --noproxy "" -H "Authorization: Bearer $EXAMPLE_API_KEY"'


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (["sh", "-c", "exit 7"], 7, ""),
        pytest.param(["sh", "-c", "kill -TERM $$"], 128 + signal.SIGTERM, "", marks=SLOW),
        pytest.param(["no-such-command-anywhere"], 127, "no-such-command-anywhere: command not found", marks=SLOW),
        pytest.param(["/dev/null"], 126, "/dev/null: ", marks=SLOW),
    ],
    ids=["its own", "after a signal", "unknown", "not executable"],
)
async def test_the_exit_code_is_the_commands(cli, command, code, says):
    ran = await cli.run("run", "--pass-unmatched", "--", *command)
    assert ran.code == code, ran.err
    assert says in ran.err
    assert "Traceback" not in ran.err


async def test_p1_the_command_holds_stand_ins_and_nothing_else(cli):
    held = {"GITHUB_TOKEN": GITHUB, "GH_TOKEN": GITHUB, "REMOTE": f"https://ada:{GITHUB}@github.com/acme/widgets"}
    ran = await cli.run("run", "--", "env", "-0", **held, OTHER="kept", OPENAI_API_KEY=OPENAI)
    assert ran.code == 0, ran.err
    env = dict(line.split("=", 1) for line in ran.out.split("\0") if line)
    assert_unseen(ran.out + ran.err, GITHUB, OPENAI)
    assert env["GITHUB_TOKEN"] == env["GH_TOKEN"]
    assert env["GITHUB_TOKEN"].startswith("ghp_")
    assert len(env["GITHUB_TOKEN"]) == len(GITHUB)
    assert env["REMOTE"] == held["REMOTE"].replace(GITHUB, env["GITHUB_TOKEN"])
    assert env["OPENAI_API_KEY"].startswith("sk-proj-")
    assert env["OTHER"] == "kept"
    assert env["HTTPS_PROXY"] == env["https_proxy"]
    assert env["SSL_CERT_FILE"] == env["NODE_EXTRA_CA_CERTS"]


async def test_p1_a_call_is_made_and_summed_up_in_three_lines(cli, local):
    script = f"{CALL} {local.base}/v1/things && {CALL} -X DELETE {local.base}/v1/things/1"
    ran = await cli.run("run", "--config", str(local.config), "--", "sh", "-c", script, **real_key())
    assert ran.code == 0, ran.err
    assert [seen.all("authorization") for seen in local.provider.requests] == [[f"Bearer {KEY}"]]
    assert_unseen(ran.out + ran.err, KEY)
    assert "policy_denied" in ran.out
    first, second, third = ran.err.splitlines()
    assert first == "briefcased: 1 call allowed, 1 secret scrubbed from answers"
    assert second == "briefcased: 1 refused (policy_denied 1)"
    chain = third.rpartition(" ")[2]
    listed = await cli.run("receipts", "list", "--chain", chain, "--json")
    calls = [json.loads(line) for line in listed.lines]
    assert [(call["decision"]["decision"], call["decision"]["method"]) for call in calls] == [
        ("allow", "GET"),
        ("deny", "DELETE"),
    ]


@pytest.mark.slow
async def test_p1_a_token_in_another_form_becomes_the_stand_in_in_that_form(cli):
    basic = base64.b64encode(f"x-access-token:{GITHUB}".encode()).decode()
    header = f"AUTHORIZATION: basic {basic}"
    ran = await cli.run("run", "--", "env", GITHUB_TOKEN=GITHUB, GIT_CONFIG_VALUE_0=header, HEX=GITHUB.encode().hex())
    assert ran.code == 0, ran.err
    env = dict(line.split("=", 1) for line in ran.lines)
    assert_unseen(ran.out, GITHUB)
    sent = base64.b64decode(env["GIT_CONFIG_VALUE_0"].removeprefix("AUTHORIZATION: basic "))
    assert sent.decode() == f"x-access-token:{env['GITHUB_TOKEN']}"


@pytest.mark.slow
@pytest.mark.parametrize("store", ["file", *(pytest.param(one, marks=pytest.mark.slow) for one in ("exec", "env"))])
async def test_p1_a_secret_of_any_store_is_replaced_wherever_it_stands(cli, local, store):
    (cli.folder / "key").write_text(KEY + "\n")
    ref = {
        "file": f"file:{cli.folder}/key",
        "exec": f'exec:["cat", "{cli.folder}/key"]',
        "env": "env:WORK_KEY",
    }[store]
    described = yaml.safe_load(local.config.read_text())
    described["providers"]["example"]["accounts"]["main"]["secrets"]["api_key"] = ref
    local.config.write_text(yaml.safe_dump(described))
    held = {"URL": f"https://ada:{KEY}@localhost/", "WORK_KEY": KEY, "OTHER": "kept"}
    ran = await cli.run("run", "--config", str(local.config), "--", "env", **held)
    assert ran.code == 0, ran.err
    env = dict(line.split("=", 1) for line in ran.lines)
    assert_unseen(ran.out + ran.err, KEY)
    assert env["WORK_KEY"]
    assert env["URL"] == f"https://ada:{env['WORK_KEY']}@localhost/"
    assert env["OTHER"] == "kept"


READ = "tr '\\0' '\\n' < /proc/{}/environ"


async def test_p1_what_the_command_can_read_of_us_holds_no_secret(cli):
    script = "; ".join((READ.format("$PPID"), "tr '\\0' ' ' < /proc/$PPID/cmdline", "env"))
    ran = await cli.run("run", "--", "sh", "-c", script, OPENAI_API_KEY=OPENAI, GITHUB_TOKEN=GITHUB, OTHER="kept")
    assert_unseen(ran.out + ran.err, OPENAI, GITHUB)
    assert ran.lines.count("OTHER=kept") <= 1
    assert "OTHER=kept" in ran.lines
    assert MARK not in ran.out.rpartition("HTTPS_PROXY")[2]


@pytest.mark.slow
async def test_the_summary_as_json(cli, local):
    script = f"{CALL} {local.base}/v1/things"
    ran = await cli.run("run", "--json", "--config", str(local.config), "--", "sh", "-c", script, **real_key())
    summary = json.loads(ran.err)
    assert summary.pop("chain").startswith("run-")
    assert summary == {"allowed": 1, "refused": {}, "redactions": 1, "providers": ["example"]}


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, *(pytest.param(one, marks=pytest.mark.slow) for one in (signal.SIGINT, signal.SIGHUP))]
)
async def test_signals_reach_the_command(cli, number):
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo got; exit 42' {name}; echo ready; for _ in $(seq 4000); do sleep 0.05; done"
    process = await cli.start("run", "--pass-unmatched", "--", "sh", "-c", script)
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), LIMIT_S) == b"ready\n"
        process.send_signal(number)
    except BaseException:
        process.kill()
        raise
    ran = await ended(process)
    assert (ran.code, ran.out) == (42, "got\n"), ran.err
    assert len(ran.err.splitlines()) == 3


async def test_a_dry_run_says_what_would_be_done_and_does_nothing(cli):
    held = {"GITHUB_TOKEN": GITHUB, "OPENAI_API_KEY": OPENAI}
    told = await cli.run("run", "--dry-run", "--allow", "github", "--", "touch", "made", **held)
    assert told.code == 0, told.err
    assert told.lines[0] == "would run: touch made"
    kept = {tuple(line.split()[:2]) for line in told.lines[1:]}
    assert {("provider", "github"), ("variable", "GITHUB_TOKEN"), ("variable", "OPENAI_API_KEY")} <= kept
    plan = json.loads((await cli.run("run", "--dry-run", "--json", "--allow", "github", "--", "x", **held)).out)
    assert plan["replaced"] == {"GITHUB_TOKEN": "stand-in for github/default"}
    assert plan["removed"] == ["OPENAI_API_KEY"]
    assert plan["unmatched"] == "refuse"
    assert_unseen(told.out + json.dumps(plan), GITHUB, OPENAI)
    assert list(cli.folder.iterdir()) == []


@pytest.mark.slow
async def test_only_what_is_allowed_gets_a_stand_in(cli):
    ran = await cli.run("run", "--allow", "openai", "--", "env", GITHUB_TOKEN=GITHUB, OPENAI_API_KEY=OPENAI)
    env = dict(line.split("=", 1) for line in ran.lines)
    assert "GITHUB_TOKEN" not in env
    assert env["OPENAI_API_KEY"] != OPENAI
    assert_unseen(ran.out + ran.err, GITHUB, OPENAI)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--allow", "githib", "--", "true"], 1, "--allow githib: there is no such profile"),
        (["--allow", "stripe", "--", "true"], 1, "--allow stripe: set one of STRIPE_API_KEY"),
        (["--", "true"], 1, "no provider's variable is set"),
        (["--pass-unmatched"], 2, "give a command after --"),
        (["--pass-unmatched", "--env", "--", "true"], 2, "--env takes no command"),
    ],
)
async def test_what_cannot_be_run(cli, arguments, code, says):
    ran = await cli.run("run", *arguments)
    assert ran.code == code
    assert says in ran.err
    assert "Traceback" not in ran.err


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def gone(process: int) -> None:
    async with asyncio.timeout(15):
        while alive(process):  # another process's end is no event of ours
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "end", ["kill $BRIEFCASED_PID", pytest.param("true", marks=pytest.mark.slow)], ids=["by kill", "with its shell"]
)
async def test_p1_a_sidecar_for_a_shell(cli, local, end):
    briefcased = " ".join((*BRIEFCASED, "run", "--env", "--config", str(local.config)))
    script = f'said=$({briefcased}) || exit 9; eval "$said"; {CALL} {local.base}/v1/things && echo && echo $BRIEFCASED_PID; env; {READ.format("$BRIEFCASED_PID")}; {end}'
    process = await started("sh", "-c", script, env=cli.environment(**real_key()), cwd=cli.folder, session=True)
    ran = await ended(process)
    assert ran.code == 0, ran.err
    assert local.provider.last.all("authorization") == [f"Bearer {KEY}"]
    assert_unseen(ran.out + ran.err, KEY)
    await gone(int(ran.lines[1]))
    verified = await cli.run("receipts", "verify")
    assert verified.out.startswith("receipts verify: ok (1 call")
