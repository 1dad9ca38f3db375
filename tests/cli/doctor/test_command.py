"""`briefcased doctor` as a user has it."""

from __future__ import annotations

import json

import pytest

from proxy.cli.doctor import chosen
from proxy.cli.doctor.clients import CLIENTS
from proxy.errors import BriefcaseError
from tests.rig.program import ended

LONG_S = 120  # on a machine that does much else


@pytest.mark.slow
async def test_two_clients_and_the_machine_are_judged(cli, tmp_path):
    process = await cli.start("doctor", "--only", "curl,urllib", "--json", "--timeout", "25", TMPDIR=str(tmp_path))
    ran = await ended(process, limit_s=LONG_S)
    assert ran.code == 0, ran.err + ran.out
    told = json.loads(ran.out)
    assert {row["client"]: row["verdict"] for row in told["clients"]} == {"curl": "works", "python urllib": "works"}
    assert {"clock", "state", "disk", "variables", "confined mode"} <= {found["check"] for found in told["checks"]}
    assert [path.name for path in tmp_path.iterdir()] == ["user"]
    assert not cli.state.exists()


@pytest.mark.slow
async def test_a_broken_environment_is_said_and_ends_with_1(cli, tmp_path):
    (cli.folder / "briefcased.yaml").write_text("version: 1\nmode: dreaming\nlisteners: {proxy: 3}\n")
    broken = {"SSL_CERT_FILE": str(tmp_path / "gone.pem"), "https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": ""}
    ran = await ended(await cli.start("doctor", "--only", "none", **broken), limit_s=LONG_S)
    assert ran.code == 1
    assert "2 mistakes, the first: briefcased.yaml:2" in ran.out
    assert "-> Unset SSL_CERT_FILE." in ran.out
    assert "nothing listens at 127.0.0.1:9" in ran.out
    assert "HTTPS_PROXY and https_proxy disagree" in ran.out


def test_a_client_that_nobody_knows():
    with pytest.raises(BriefcaseError, match="--only telepathy: the doctor knows no such client"):
        chosen("curl,telepathy")


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
