"""`briefcased doctor` as a user has it."""

from __future__ import annotations

import json

import pytest

from proxy.cli.doctor import chosen
from proxy.cli.doctor.clients import CLIENTS


async def test_two_clients_and_the_machine_are_judged(cli, tmp_path):
    ran = await cli.run("doctor", "--only", "curl,urllib", "--json", "--timeout", "25", TMPDIR=str(tmp_path))
    assert ran.code == 0, ran.err + ran.out
    told = json.loads(ran.out)
    assert {row["client"]: row["verdict"] for row in told["clients"]} == {"curl": "works", "python urllib": "works"}
    assert {"clock", "state", "disk", "variables", "confined mode"} <= {found["check"] for found in told["checks"]}
    assert [path.name for path in tmp_path.iterdir()] == ["user"]
    assert not cli.state.exists()


async def test_a_broken_environment_is_said_and_ends_with_1(cli, tmp_path):
    (cli.folder / "briefcased.yaml").write_text("version: 1\nmode: dreaming\nlisteners: {proxy: 3}\n")
    broken = {"SSL_CERT_FILE": str(tmp_path / "gone.pem"), "https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": ""}
    ran = await cli.run("doctor", "--only", "none", "--json", **broken)
    assert ran.code == 1
    found = {(one["check"], one["level"]) for one in json.loads(ran.out)["checks"]}
    assert {("configuration", "problem"), ("variables", "problem"), ("variables", "warning")} <= found
    shown = await cli.run("doctor", "--only", "none", **broken)
    assert shown.code == 1
    assert "-> Unset SSL_CERT_FILE." in shown.out
    assert "briefcased.yaml:2" in shown.out


async def test_a_client_that_nobody_knows(cli):
    ran = await cli.run("doctor", "--only", "curl,telepathy")
    assert ran.code == 1
    assert "--only telepathy: the doctor knows no such client" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("only", "names"),
    [
        ("curl", {"curl"}),
        ("cur", {"curl", "cursor-agent"}),
        ("requests, AWS", {"python requests", "aws"}),
        ("none", set()),
        (None, {client.name for client in CLIENTS}),
    ],
)
def test_clients_are_chosen_by_the_beginning_of_their_names_or_a_word(only, names):
    assert {client.name for client in chosen(only)} == names


EXPECTED = {
    "curl": {"works"},
    "wget": {"works", "works with"},
    "git": {"works"},
    "python requests": {"works"},
    "python httpx": {"works"},
    "python aiohttp": {"needs confined mode"},
    "python aiohttp (trust_env)": {"works"},
    "python urllib3": {"needs confined mode"},
    "node fetch (no NODE_USE_ENV_PROXY)": {"needs confined mode"},
    "npm": {"works"},
    "cargo": {"works"},
    "java HttpClient": {"needs confined mode"},
    "java HttpClient (Authenticator)": {"works with"},
    "kubectl": {"works"},
    "chromium": {"needs confined mode"},
}


@pytest.mark.slow
async def test_every_client_of_this_machine_gets_a_verdict(cli):
    """The commands run for minutes: the time-limit of `cli.run` does not fit, so each group has its run."""
    verdicts = {}
    for only in (
        "curl,wget,git,gh",
        "python",
        "node,npm,deno,bun",
        "cargo,go",
        "java",
        "docker,kubectl,aws",
        "chromium",
    ):
        process = await cli.start("doctor", "--only", only, "--json", "--timeout", "60", TZ="UTC")
        out, err = await process.communicate()
        verdicts |= {row["client"]: row for row in json.loads(out)["clients"]}
        assert b"Traceback" not in err
    installed = {name: row for name, row in verdicts.items() if row["verdict"] != "not installed"}
    assert installed.keys() >= {"curl", "git"}
    wrong = {
        name: (row["verdict"], row["tried"]) for name, row in installed.items()
        if row["verdict"] not in EXPECTED.get(name, {row["verdict"]})
    }  # fmt: skip
    assert wrong == {}
