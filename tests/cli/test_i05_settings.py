"""I-05: what operators see of settings that wait, and what agents have of them meanwhile: nothing."""

from __future__ import annotations

import json
import signal
import time

import pytest

from proxy.clock import SystemClock
from proxy.db.engine import DATABASE, open_database
from proxy.policy_versions import PolicyVersions
from tests.cli.test_up import change, status
from tests.fakes.issuer import AUDIENCE, ISSUER, SUBJECT, JwksServer, new_key, token


async def restart(up):
    await up.kill(signal.SIGTERM)
    await up.start()


@pytest.mark.slow
async def test_i05_agents_have_nothing_of_what_waits(up):
    named = ("--config", str(up.config))
    change(
        up,
        agents={"tester": {"accounts": []}},
        policies={"preset": "open", "widening": "confirm"},
        listeners={"proxy": "127.0.0.1:0", "control": "127.0.0.1:0", "admin": f"unix:{up.folder}/admin.sock"},
    )
    await restart(up)
    assert await status(up) == 403
    added = up.command("operators", "add", "bob", "--role", "operator", "--json")
    bob = up.folder / "bob.token"
    bob.write_text(json.loads(added.stdout)["token"])

    share = up.folder / "share"
    late = {"accounts": ["*"], "hand_over": {"directory": str(share), "proxy": "127.0.0.1:8080"}}
    change(up, agents={"tester": {"accounts": ["example/main"]}, "late": late})
    shown = up.command("policy", "diff", *named)
    assert shown.stdout.splitlines() == [
        "more may be let through",
        "  agents.late is new",
        "  agents.tester.accounts: example/main is new",
    ]
    held = up.command("reload", *named)
    assert held.returncode == 1
    assert "another operator confirms it: briefcased policy confirm 3\n  agents.late is new" in held.stderr
    assert await status(up) == 403
    assert up.command("health").stdout == "ready; version 3 of the policies is not confirmed\n"
    waiting = up.command("policy", "pending").stdout.splitlines()
    assert waiting[1:] == ["  agents.late is new", "  agents.tester.accounts: example/main is new"]
    await restart(up)
    assert await status(up) == 403, "what waits is not what a start begins with"
    assert not (share / "env.sh").exists()
    own = up.command("policy", "confirm", "3")
    assert (own.returncode, "own_request" in own.stderr) == (1, True)
    confirmed = up.command("policy", "confirm", "3", "--token-file", str(bob))
    assert confirmed.stdout == "version 3 is in force\n", confirmed.stderr
    assert await status(up) == 200
    assert (share / "env.sh").exists()
    assert up.command("policy", "diff", *named).stdout == ""

    key = new_key("ES256", "one")
    (up.folder / "jwks.json").write_bytes(JwksServer([key]).published())
    issuer = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": "jwks.json", "algorithms": ["ES256"]}
    change(up, identity={"tokens": [{**issuer, "agent": {"map": {SUBJECT: "tester"}}}]})
    await restart(up)
    theirs = token(key, "ES256", now=time.time())
    assert (await status(up), await status(up, token=theirs)) == (200, 407)
    database = open_database(up.home / DATABASE)
    versions = PolicyVersions(database, SystemClock())
    found = versions.waiting()
    assert found is not None
    assert found.waits == (f"identity.tokens[{ISSUER} {AUDIENCE}] is new",)
    versions.confirm(found.number, "bob")
    database.dispose()
    await restart(up)
    assert (await status(up), await status(up, token=theirs)) == (200, 200)
    assert up.command("receipts", "verify").returncode == 0


@pytest.mark.slow
async def test_i05_an_agent_that_is_not_named_any_more_does_not_have_what_the_database_says(up):
    """A template that loses the block `agents` leaves everybody with what `agents add` once gave them."""
    wide = json.loads(up.command("agents", "add", "wide", "--account", "*", "--json").stdout)["token"]
    change(up, agents={"tester": {"accounts": ["*"]}, "wide": {"accounts": []}}, policies={"widening": "confirm"})
    await restart(up)
    assert await status(up, token=wide) == 403
    change(up, agents={"tester": {"accounts": ["*"]}})
    held = up.command("reload", "--config", str(up.config))
    assert "agents.wide.accounts: * is new, by `agents add`" in held.stderr
    assert await status(up, token=wide) == 403
    await restart(up)
    assert await status(up, token=wide) == 403
    assert await status(up) == 200
    change(up, agents={"wide": {"accounts": []}})
    done = up.command("reload", "--config", str(up.config))
    assert done.returncode == 0, done.stderr
    assert await status(up) == 403, "nothing was given it but by the block"


@pytest.mark.slow
async def test_i05_the_token_of_one_agent_is_not_put_where_another_one_reads(up):
    """Whoever reads it is that agent: with the directories exchanged, `small` would have what `large` may use."""
    places = {name: str(up.folder / name) for name in ("small", "large")}

    def agents(small, large):
        to = {"proxy": "127.0.0.1:8080"}
        return {
            "small": {"accounts": [], "hand_over": {**to, "directory": places[small]}},
            "large": {"accounts": ["*"], "hand_over": {**to, "directory": places[large]}},
        }

    change(up, agents=agents("small", "large"), policies={"preset": "open", "widening": "confirm"})
    await restart(up)
    before = {name: (up.folder / name / "token").read_text() for name in places}
    assert [await status(up, token=before[name].strip()) for name in ("small", "large")] == [403, 200]
    change(up, agents=agents("large", "small"))
    held = up.command("reload", "--config", str(up.config))
    assert "agents.large.hand_over.directory: changed" in held.stderr
    assert {name: (up.folder / name / "token").read_text() for name in places} == before
    await restart(up)
    assert "not confirmed" in up.command("health").stdout
    assert {name: (up.folder / name / "token").read_text() for name in places} == before
