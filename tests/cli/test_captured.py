"""`briefcased secrets captured`: lists what was captured, without values, and lets it go in a sidecar that runs."""

from __future__ import annotations

import asyncio
import json
import ssl

import pytest

from tests.answers.capturing import reply
from tests.answers.test_capture_crash import CAPTURE, call
from tests.rig.process import configured
from tests.rig.program import assert_unseen

FRESH = "sk-example-FRESH-0123456789abcdef"


@pytest.mark.slow
async def test_what_was_not_captured_cannot_be_removed(cli, local):
    ran = await cli.run("secrets", "captured", "rm", "0123456789abcdef", "--config", str(local.config))
    assert (ran.code, ran.out) == (1, "")
    assert "nothing that was captured has the id 0123456789abcdef" in ran.err


@pytest.mark.slow
async def test_p1_p5_a_captured_secret_is_listed_and_removed_while_the_sidecar_runs(tmp_path):
    async with configured(tmp_path) as up:
        profile = up.folder / "profiles" / "example.yaml"
        profile.write_text(profile.read_text().replace("operations:\n", f"operations:\n{CAPTURE}"))
        up.provider.answers("/keys", reply({"key": FRESH}))
        await up.start()
        trust = ssl.create_default_context(cafile=str(up.home / "ca-bundle.pem"))
        made = await call(up, trust, "POST /keys HTTP/1.1\r\nContent-Length: 0\r\n")
        stand_in = json.loads(made.body)["key"]

        async def captured(*arguments):
            return await asyncio.to_thread(up.command, "secrets", "captured", *arguments, "--config", str(up.config))

        listed, shown = await captured("list", "--json"), await captured("list")
        (row,) = json.loads(listed.stdout)
        assert (row["kind"], row["agent"], row["account"], row["slot"]) == (
            "secret",
            "tester",
            "example/main",
            "api_key",
        )
        assert row["receipt"] == made.headers["briefcased-receipt"]
        assert shown.stdout.startswith(row["id"])
        use = f"GET /x HTTP/1.1\r\nAuthorization: Bearer {stand_in}\r\n"
        assert (await call(up, trust, use)).status == 200
        assert up.provider.requests[-1].one("authorization") == f"Bearer {FRESH}"
        removed = await captured("rm", row["id"])
        assert removed.stdout == f"removed {row['id']}; at the provider it may still be good\n"
        async with asyncio.timeout(5):
            while (answer := await call(up, trust, use)).status == 200:
                await asyncio.sleep(0.1)
        assert b"credential_unavailable" in answer.body
        assert (await captured("list", "--json")).stdout == "[]\n"
        assert (await captured("rm", row["id"])).returncode == 1
        everything = (listed, shown, removed)
        assert_unseen("".join(one.stdout + one.stderr for one in everything) + answer.body.decode(), FRESH)
