"""Lines for shells, read by the shells themselves."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import subprocess

import pytest

from proxy.cli.shells import PID, SET, Shell, off, script, unsayable
from tests.cli.conftest import BRIEFCASED, real_key
from tests.cli.test_run import gone
from tests.rig.program import assert_unseen, clean_environment, ended, started
from tests.rig.sidecar import KEY

NASTY = {
    "PLAIN": "http://agent:tok@127.0.0.1:8080",
    "QUOTES": """it's "so" `id` $(id) $HOME \\ \\' '\\''""",
    "SEVERAL": "one\ntwo\n\nfour",
    "EMPTY": "",
    "MARKS": "a;b&c|d>e<f*g?h[i]j{k}l~m#n!o^p%q=r\ts",
    "LETTERS": "äöü ☃",
}
INTERACTIVE = [Shell.SH, Shell.BASH, Shell.ZSH, Shell.FISH]


def evaluated(shell, lines, then, environment):
    """The environment of a program that the shell starts after it has read `lines`."""
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    read = 'printf %s "$LINES_TO_READ" | source' if shell is Shell.FISH else 'eval "$LINES_TO_READ"'
    done = subprocess.run(
        [shell, "-c", f"{read}\n{then}"], env={**environment, "LINES_TO_READ": lines}, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if entry)


@pytest.mark.parametrize("shell", INTERACTIVE)
def test_a_shell_sets_exactly_these_values_and_unsets_the_others(shell, tmp_path):
    before = {**clean_environment(tmp_path), "SECRET": "x", "QUOTES": "old"}
    seen = evaluated(shell, script(shell, NASTY, unset=["SECRET", "NEVER_SET"]), "env -0", before)
    assert {name: seen[name] for name in NASTY} == NASTY
    assert "SECRET" not in seen
    assert seen[SET] == " ".join(NASTY)


@pytest.mark.parametrize("shell", INTERACTIVE)
def test_off_takes_every_variable_away_again(shell, tmp_path):
    environment = {**clean_environment(tmp_path), **NASTY, SET: " ".join(NASTY), "OTHER": "stays"}
    seen = evaluated(shell, off(shell, environment), "env -0", environment)
    assert not seen.keys() & {*NASTY, SET}
    assert seen["OTHER"] == "stays"


def test_a_workflows_file_is_read_back_as_the_runner_reads_it():
    text = script(Shell.GITHUB, NASTY, unset=["SECRET"])
    assert workflow_file(text) == {"SECRET": "", **NASTY, SET: " ".join(NASTY)}
    assert workflow_file(off(Shell.GITHUB, {SET: "A B"})) == {"A": "", "B": "", SET: ""}


def workflow_file(text):
    """NAME<<DELIMITER, lines, DELIMITER."""
    found, lines = {}, iter(text.split("\n"))
    for line in lines:
        if not line:
            continue
        name, end = line.split("<<", 1)
        value = []
        while (piece := next(lines)) != end:
            value.append(piece)
        found[name] = "\n".join(value)
    return found


@pytest.mark.parametrize("shell", list(Shell))
@pytest.mark.parametrize("name", ["BASH_FUNC_x%%", "a b", "x;id", "1A", "", "ä"])
def test_p1_a_name_is_never_code(shell, name):
    assert name not in script(shell, {name: "v"}, unset=[name]).replace(f"{SET}", "") or name == ""
    assert script(shell, {name: "v"}, unset=[name]) == script(shell, {})
    assert off(shell, {SET: name, PID: "1; id"}) is None or " " in name
    assert unsayable([name, "GOOD"]) == [name]


@pytest.mark.parametrize(
    ("process", "first"), [("4711", "kill 4711\n"), ("1 2", "unset"), ("-1", "unset"), ("0", "unset"), ("", "unset")]
)
def test_off_ends_a_process_and_nothing_else(process, first):
    assert off(Shell.SH, {SET: f"A {PID}", PID: process}).startswith(first)


def test_off_without_anything_of_ours():
    assert off(Shell.SH, {"HTTPS_PROXY": "http://corporate"}) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "shell", [Shell.BASH, *(pytest.param(one, marks=pytest.mark.slow) for one in (Shell.ZSH, Shell.FISH))]
)
async def test_p1_a_shell_joins_a_running_sidecar_and_leaves_it(up, beside, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    briefcased = " ".join(map(shlex.quote, BRIEFCASED))
    on = f"{briefcased} env --config {up.config} --shell {shell}"
    undo = f"{briefcased} env --off --shell {shell}"
    both = (
        f"{on} | source; env -0; echo; {undo} | source; env -0"
        if shell is Shell.FISH
        else f'eval "$({on})"; env -0; echo; eval "$({undo})"; env -0'
    )
    secrets = {
        "EXAMPLE_API_KEY": KEY,
        "GITHUB_TOKEN": "ghp_another_that_nobody_knows",
        "MY_URL": f"https://x:{KEY}@example.test",
    }
    process = await started(
        shell, "-c", both, env=beside.environment(BRIEFCASED_AGENT_TOKEN=up.token, **secrets), cwd=beside.folder
    )
    done = await ended(process)
    assert (done.code, done.err) == (0, "")
    assert_unseen(done.out, KEY, secrets["GITHUB_TOKEN"])
    within, after = (dict(e.split("=", 1) for e in part.split("\0") if "=" in e) for part in done.out.split("\n", 1))
    assert within["HTTPS_PROXY"] == f"http://agent:{up.token}@{up.state['proxy']}"
    assert within["EXAMPLE_API_KEY"].startswith("sk-example-")
    assert within["MY_URL"] == f"https://x:{within['EXAMPLE_API_KEY']}@example.test"
    assert "GITHUB_TOKEN" not in within
    assert not after.keys() & {"HTTPS_PROXY", "EXAMPLE_API_KEY", "SSL_CERT_FILE", SET, "GITHUB_TOKEN"}


@pytest.mark.slow
async def test_the_one_agent_needs_no_name_and_two_do(up, beside):
    config = ["--config", str(up.config)]
    one = await beside.run("env", *config)
    assert one.code == 0, one.err
    await beside.run("agents", "add", "second")
    two = await beside.run("env", *config)
    assert (two.code, two.out) == (1, "")
    assert "say which agent with --agent: there are second, tester" in two.err
    nothing = await beside.run("env", "--off")
    assert (nothing.code, nothing.out) == (1, "")


@pytest.mark.slow
async def test_off_ends_the_sidecar_of_a_shell(cli, local):
    briefcased = " ".join(map(shlex.quote, BRIEFCASED))
    lines = f'eval "$({briefcased} run --env --shell bash --config {local.config})"; echo $BRIEFCASED_PID; eval "$({briefcased} env --off)"; env'
    process = await started("bash", "-c", lines, env=cli.environment(**real_key()), cwd=cli.folder, session=True)
    done = await ended(process)
    assert done.code == 0, done.err
    await asyncio.wait_for(gone(int(done.lines[0])), 20)
    assert "BRIEFCASED" not in "".join(line for line in done.lines[1:] if not line.startswith("BRIEFCASED_HOME"))
    assert_unseen(done.out + done.err, KEY)
