"""`briefcased lock`, `unlock` and task tokens, by a sidecar that runs in a process of its own (H-08)."""

from __future__ import annotations

import asyncio
import ssl
import time

import pytest
import yaml

from tests.answers.test_capture_crash import call
from tests.rig.process import configured

GET = "GET /x HTTP/1.1\r\n"


@pytest.mark.slow
async def test_a_lock_says_what_and_why_and_a_slip_locks_nothing(cli, local):
    config = ("--config", str(local.config))
    slip = await cli.run("lock", "--agent", "nobody", "--reason", "x", *config)
    assert (slip.code, slip.out) == (1, "")
    assert "there is no agent nobody: nothing was locked" in slip.err
    assert (await cli.run("lock", "--all", "--reason", "a fire", *config)).out.endswith(": a fire\n")
    assert (await cli.run("unlock", "--all", *config)).out == "unlocked everything\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("lock", "--all"), "say why"),
        (("lock", "--all", "--reason", "a\nb"), "one line"),
        (("unlock", "--all"), "not locked: everything"),
        (("unlock",), "say what to unlock"),
        (("agents", "token", "nobody"), "there is no agent named nobody"),
        (("agents", "token", "nobody", "--ttl", "99d"), "--ttl is a number"),
        (("agents", "narrow", "bct_x", "--methods", "GET"), "this is no task token"),
    ],
)
async def test_what_cannot_be_done_is_said(cli, arguments, told):
    ran = await cli.run(*arguments)
    assert (ran.code, ran.out) == (1, "")
    assert told in ran.err


@pytest.mark.slow
async def test_h_08_what_the_command_line_stops_stops_within_a_second(tmp_path):
    async with configured(tmp_path) as up:
        await up.start()
        trust = ssl.create_default_context(cafile=str(up.home / "ca-bundle.pem"))

        async def command(*arguments):
            ran = await asyncio.to_thread(up.command, *arguments)
            assert ran.returncode == 0, ran.stderr
            return ran.stdout.strip()

        config = ("--config", str(up.config))
        assert (await call(up, trust, GET)).status == 200
        await command("lock", "--agent", "tester", "--reason", "odd", *config)
        began_s = time.monotonic()
        await asyncio.sleep(1.0)
        answer = await call(up, trust, GET)
        assert answer.status == 503, time.monotonic() - began_s
        assert b"locked_down" in answer.body
        await command("unlock", "--agent", "tester", *config)
        await asyncio.sleep(1.0)
        assert (await call(up, trust, GET)).status == 200
        text = await command("agents", "token", "tester", "--operations", "read", "--ttl", "5m", *config)
        up.token = await command("agents", "narrow", text, "--methods", "get")
        assert (await call(up, trust, GET)).status == 200
        assert (await call(up, trust, "POST /x HTTP/1.1\r\nContent-Length: 0\r\n")).status == 403
        assert (await command("agents", "revoke", "tester", "--token", text, *config)).startswith("revoked task_")
        await asyncio.sleep(1.0)
        with pytest.raises(OSError):  # a 407, then no TLS
            await call(up, trust, GET)


@pytest.mark.slow
async def test_h_08_an_agent_that_the_configuration_alone_names_is_stopped_too(tmp_path):
    """H-08: nobody gave it a token of its own, so that the database does not know it."""
    async with configured(tmp_path) as up:
        described = yaml.safe_load(up.config.read_text())
        described["agents"]["named"] = {"accounts": ["*"]}
        up.config.write_text(yaml.safe_dump(described))
        await up.start()
        trust = ssl.create_default_context(cafile=str(up.home / "ca-bundle.pem"))
        minted = up.command("agents", "token", "named", "--ttl", "5m", "--config", str(up.config))
        up.token = minted.stdout.strip()
        assert (await call(up, trust, GET)).status == 200
        revoked = up.command("agents", "revoke", "named", "--config", str(up.config))
        assert (revoked.returncode, revoked.stdout) == (0, "revoked named\n"), revoked.stderr
        assert up.command("agents", "revoke", "named", "--config", str(up.config)).returncode == 1
        await asyncio.sleep(1.0)
        with pytest.raises(OSError):
            await call(up, trust, GET)
        added = up.command("agents", "add", "named")
        await asyncio.sleep(1.0)
        with pytest.raises(OSError):  # the task token was the other's
            await call(up, trust, GET)
        up.token = added.stdout.strip()
        assert (await call(up, trust, GET)).status == 200
