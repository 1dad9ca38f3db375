"""`briefcased policy`: explained, tested, simulated, kept and brought back, as an operator has it."""

from __future__ import annotations

import json
import os
import signal

import pytest
import yaml

from proxy.clock import SystemClock
from proxy.db.engine import DATABASE, open_database
from proxy.keys.software import generate
from proxy.policy_versions import PolicyVersions
from tests.cli.conftest import real_key

CEDAR = """\
@id("reads") permit (principal, action == Action::"read", resource);
@id("free") permit (principal, action == Action::"callWithoutApproval", resource) when { resource.action == "read" };
@id("shut") @advice("Nobody reads it.") forbid (principal, action, resource) when { context.path == "/shut" };
"""
WIDER = CEDAR + '@id("writes") permit (principal, action == Action::"write", resource);\n'


def with_policies(config, cedar):
    """`config` with a file of policies beside it."""
    file = config.parent / "own.cedar"
    file.write_text(cedar)
    data = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**data, "policies": {"files": [str(file)]}}))
    return file


@pytest.mark.slow
async def test_a_request_is_explained_and_fixtures_are_held_against_it(cli, local):
    with_policies(local.config, CEDAR)
    named = ("--config", str(local.config))
    assert (await cli.run("agents", "add", "coder", "--account", "*")).code == 0
    explained = await cli.run("policy", "explain", "GET", f"{local.base}/shut", "--agent", "coder", *named)
    assert (explained.code, explained.lines[4]) == (1, "refused: policy_denied")
    assert explained.lines[6].endswith("forbids it: Nobody reads it.")
    asked = await cli.run("policy", "explain", "GET", f"{local.base}/x", "--agent", "coder", "--json", *named)
    assert (asked.code, json.loads(asked.out)["outcome"]) == (0, "allow")

    file = cli.folder / "tests.yaml"
    fixture = {"name": "reads", "request": {"method": "GET", "url": f"{local.base}/x"}, "agent": "coder"}
    file.write_text(yaml.safe_dump({"version": 1, "tests": [{**fixture, "expect": "allow"}]}))
    good = await cli.run("policy", "test", str(file), *named)
    assert (good.code, good.lines) == (0, ["ok    reads", "1 test: ok"])
    file.write_text(yaml.safe_dump({"version": 1, "tests": [{**fixture, "expect": "deny"}]}))
    bad = await cli.run("policy", "test", str(file), *named)
    assert bad.code == 1
    assert bad.lines[1:4] == ["        outcome", "      - deny", "      + allow"]


@pytest.mark.slow
async def test_past_calls_are_asked_of_other_policies(cli, local):
    file = with_policies(local.config, CEDAR)
    call = f'curl -sS --noproxy "" {local.base}/v1/things && curl -sS --noproxy "" {local.base}/shut'
    ran = await cli.run("run", "--config", str(local.config), "--", "sh", "-c", call, **real_key())
    assert ran.code == 0, ran.err
    assert (await cli.run("agents", "add", "run", "--account", "*")).code == 0
    candidate = cli.folder / "new.cedar"
    candidate.write_text(file.read_text().replace("forbid", "permit").replace('"read"', '"write"'))
    command = ("policy", "simulate", "--config", str(local.config), "--candidate", str(candidate), "--since", "1h")
    told = json.loads((await cli.run(*command, "--json")).out)
    changed = {one["call"].rpartition("/")[2]: (one["change"], one["was"], one["now"]) for one in told["changes"]}
    assert told["calls"] == 2
    assert changed == {"things": ("tightened", "allow", "deny"), "shut": ("loosened", "deny", "allow")}
    assert "query" in told["not_held"]


@pytest.mark.slow
async def test_a_candidate_is_asked_beside_and_what_it_would_change_is_told(cli, local):
    none = await cli.run("policy", "rollout", "--config", str(local.config))
    assert (none.code, none.err.strip().endswith("has no policies.candidate")) == (1, True)
    with_policies(local.config, CEDAR)
    candidate = cli.folder / "next.cedar"
    candidate.write_text(CEDAR.replace("/shut", "/v1/things"))
    data = yaml.safe_load(local.config.read_text())
    data["policies"]["candidate"] = {"files": [str(candidate)], "agents": ["early"]}
    local.config.write_text(yaml.safe_dump(data))
    call = f'curl -sS --noproxy "" {local.base}/v1/things && curl -sS --noproxy "" {local.base}/shut'
    ran = await cli.run("run", "--config", str(local.config), "--", "sh", "-c", call, **real_key())
    assert ran.code == 0, ran.err
    for agent in ("early", "run"):
        assert (await cli.run("agents", "add", agent, "--account", "*")).code == 0
    command = ("policy", "rollout", "--config", str(local.config), "--since", "1h")
    told = json.loads((await cli.run(*command, "--json")).out)
    assert (told["decides_for"], told["not_for"]) == (["early"], ["run", "tester"])
    operation = told["changes"][0]["operation"]
    assert told["changes"] == [
        {"agent": "run", "operation": operation, "was": "allow", "candidate": "policy_denied", "calls": 1},
        {"agent": "run", "operation": operation, "was": "policy_denied", "candidate": "allow", "calls": 1},
    ]
    shown = (await cli.run(*command)).lines
    assert shown[1:3] == ["decides for  early", "not yet for  run, tester"]
    assert shown[3].split() == ["1", "run", operation, "allow", "->", "policy_denied"]


@pytest.mark.slow
async def test_i05_a_widening_is_shown_and_an_earlier_version_is_brought_back(up):
    file = with_policies(up.config, CEDAR)
    assert up.command("reload", "--config", str(up.config)).returncode == 0
    file.write_text(WIDER)
    named = ("--config", str(up.config))
    shown = up.command("policy", "diff", *named)
    assert shown.returncode == 1
    assert "+" + WIDER.splitlines()[-1] in shown.stdout
    assert "tester example:write (example/main): deny -> strong" in shown.stdout
    assert up.command("reload", *named).returncode == 0
    assert "calls are allowed that were not" in (up.folder / "log").read_text()

    back = up.command("policy", "rollback", "2", "--reason", "too wide", *named)
    assert back.stdout == "version 4, the policies of version 2, is in force, until the files change\n", back.stderr
    versions = json.loads(up.command("policy", "history", "--json").stdout)
    assert [(one["version"], one["restores"], one["in_force"]) for one in versions] == [
        (1, None, False), (2, None, False), (3, None, False), (4, 2, True),
    ]  # fmt: skip
    assert (versions[3]["reason"], versions[3]["receipt"] is not None) == ("too wide", True)
    assert up.command("receipts", "verify").returncode == 0
    gone = up.command("policy", "rollback", "9", "--reason", "x", *named)
    assert (gone.returncode, gone.stderr) == (1, "briefcased: there is no version 9; see briefcased policy history\n")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_i05_whoever_owns_the_files_does_not_confirm_a_rollback_that_takes_them_up(up):
    """At the machine a rollback is a reload: what else the files say would take effect with it."""
    file = with_policies(up.config, CEDAR)
    assert up.command("reload", "--config", str(up.config)).returncode == 0
    await up.kill(signal.SIGTERM)
    os.chown(up.config, 4711, -1)
    os.chown(file, 4712, -1)
    back = up.command("policy", "rollback", "1", "--reason", "x", "--config", str(up.config))
    assert back.returncode == 0, back.stderr
    database = open_database(up.home / DATABASE)
    newest = PolicyVersions(database, SystemClock()).newest()
    database.dispose()
    assert newest is not None
    assert newest.restores == 1
    assert {"uid:0", "uid:4711", "uid:4712"} <= set(newest.authors)


@pytest.mark.slow
async def test_i05_versions_go_through_the_api_where_a_sidecar_has_one_and_say_the_same(up):
    file = with_policies(up.config, CEDAR)
    data = yaml.safe_load(up.config.read_text())
    data["listeners"]["admin"] = f"unix:{up.folder}/admin.sock"
    up.config.write_text(yaml.safe_dump(data))
    await up.kill(signal.SIGTERM)
    await up.start()
    named = ("--config", str(up.config))
    file.write_text(WIDER)
    assert up.command("reload", *named).returncode == 0
    commands = (("diff", "2", "3", *named), ("diff", "9", "2", *named), ("rollback", "9", "--reason", "x", *named))
    said = [told(up.command("policy", *command)) for command in commands]
    assert "tester example:write (example/main): deny -> strong" in said[0][1]

    back = up.command("policy", "rollback", "2", "--reason", "too wide", *named)
    assert back.stdout == "version 4, the policies of version 2, is in force, until the files change\n", back.stderr
    assert up.command("reload", *named).returncode == 0  # the same files
    there = told(up.command("policy", "history", "--json"))
    newest = json.loads(there[1])[-1]
    assert (newest["version"], newest["in_force"], newest["author"]) == (4, True, "local")

    await up.kill(signal.SIGTERM)
    assert told(up.command("policy", "history", "--json")) == there
    assert [told(up.command("policy", *command)) for command in commands] == said
    later = up.command("policy", "rollback", "3", "--reason", "x", *named)
    assert later.stdout.startswith("version 5, the policies of version 3, will be in force from the next start")
    await up.start()
    assert json.loads(up.command("policy", "history", "--json").stdout)[-1]["in_force"] is True
    assert up.command("receipts", "verify").returncode == 0


def told(ran):
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.slow
async def test_i05_a_widening_waits_for_another_operator(up):
    file = with_policies(up.config, CEDAR)
    data = yaml.safe_load(up.config.read_text())
    data["listeners"]["admin"] = f"unix:{up.folder}/admin.sock"
    data["policies"]["widening"] = "confirm"
    up.config.write_text(yaml.safe_dump(data))
    await up.kill(signal.SIGTERM)
    await up.start()
    added = up.command("operators", "add", "bob", "--role", "operator", "--json")
    assert added.returncode == 0, added.stderr
    token = up.folder / "bob.token"
    token.write_text(json.loads(added.stdout)["token"])
    file.write_text(WIDER)
    held = up.command("reload", "--config", str(up.config))
    assert held.returncode == 1
    assert "another operator confirms it: briefcased policy confirm 3" in held.stderr
    assert up.command("health").stdout == "ready; version 3 of the policies is not confirmed\n"
    assert "policy writes may allow more" in up.command("policy", "pending").stdout
    own = up.command("policy", "confirm", "3")
    assert (own.returncode, "own_request" in own.stderr) == (1, True)
    confirmed = up.command("policy", "confirm", "3", "--token-file", str(token))
    assert confirmed.stdout == "version 3 is in force\n", confirmed.stderr
    assert up.command("policy", "pending").stdout == "nothing waits\n"

    wider = WIDER + '@id("admins") permit (principal, action == Action::"admin", resource);\n'
    key = up.folder / "signer.pem"
    key.write_bytes(generate("Ed25519").pem())
    key.chmod(0o600)
    file.write_text(wider)
    signed = up.command(
        "policy", "sign", "--key", str(key), "--out", str(up.folder / "p.sig"), "--config", str(up.config)
    )
    assert signed.returncode == 0, signed.stderr
    assert json.loads((up.folder / "p.sig").read_text())["serial"] > 0
