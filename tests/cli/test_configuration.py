"""`briefcased init` and `check`: from nothing to a good file, and every mistake at once."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.rig.program import assert_unseen

GITHUB = "ghp_REAL0123456789abcdefghijklmnopqrstuv"
WRONG = """\
version: 1
mode: production
listeners:
  proxy: nowhere
providers:
  githib:
    accounts: {default: {secrets: {token: env:GITHUB_TOKEN}}}
agents:
  coder: {accounts: ["*"], may: everything}
surprise: true
"""
UNFIT = """\
version: 1
providers:
  githib:
    accounts: {default: {secrets: {token: env:GITHUB_TOKEN}}}
  github:
    accounts:
      default: {secrets: {tokn: env:GITHUB_TOKEN}}
      other: {secrets: {token: ghp_REAL0123456789abcdefghijklmnopqrstuv}}
agents:
  coder: {accounts: [github/nobody]}
"""


async def test_p1_init_writes_a_file_that_check_likes(cli):
    made = await cli.run("init", GITHUB_TOKEN=GITHUB)
    assert made.code == 0, made.err
    text = (cli.folder / "briefcased.yaml").read_text()
    assert_unseen(text, GITHUB)
    assert yaml.safe_load(text)["providers"]["github"]["accounts"]["default"]["secrets"] == {
        "token": "env:GITHUB_TOKEN"
    }
    checked = await cli.run("check")
    assert checked.code == 0, checked.err
    assert checked.out.startswith("briefcased.yaml: good; mode reference, 1 provider")


@pytest.mark.slow
async def test_init_writes_over_nothing_unless_told(cli):
    (cli.folder / "briefcased.yaml").write_text("precious")
    refused = await cli.run("init")
    assert (refused.code, refused.err) == (1, "briefcased: briefcased.yaml exists; --force replaces it\n")
    assert (cli.folder / "briefcased.yaml").read_text() == "precious"
    forced = await cli.run("init", "--force")
    assert forced.code == 0, forced.err
    assert (await cli.run("check")).code == 0


async def test_check_shows_every_mistake_with_its_line(cli):
    (cli.folder / "wrong.yaml").write_text(WRONG)
    checked = await cli.run("check", "--config", "wrong.yaml")
    assert checked.code == 2
    places = [line.split(": ")[:2] for line in checked.err.splitlines()[:-1]]
    assert sorted(places) == [
        ["wrong.yaml:10", "surprise"],
        ["wrong.yaml:2", "mode"],
        ["wrong.yaml:4", "listeners.proxy"],
        ["wrong.yaml:9", "agents.coder.may"],
    ]
    assert checked.err.endswith("4 mistakes found\n")


async def test_p1_check_shows_what_fits_no_profile_and_no_value(cli):
    (cli.folder / "unfit.yaml").write_text(UNFIT)
    checked = await cli.run("check", "--config", "unfit.yaml", "--json")
    assert checked.code == 2
    findings = {(f["line"], f["path"]): f["message"] for f in json.loads(checked.out)}
    assert findings[3, "providers.githib"].endswith("did you mean github?")
    assert findings[7, "providers.github.accounts.default.secrets.tokn"].endswith("did you mean token?")
    assert (8, "providers.github.accounts.other.secrets.token") in findings
    assert findings[10, "agents.coder.accounts[0]"] == "there is no such account"
    assert_unseen(checked.out + checked.err, GITHUB)


async def test_a_file_that_is_not_there(cli):
    checked = await cli.run("check", "--config", "nowhere.yaml")
    assert checked.code == 2
    assert checked.err.startswith("nowhere.yaml:1: ")
    assert "Traceback" not in checked.err
