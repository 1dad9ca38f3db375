"""The commands over the API, against a real sidecar; most in this process, which saves their start (J-04, O-15)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from proxy.cli import application
from proxy.errors import BriefcaseError
from tests.api.terminal import on_a_terminal
from tests.rig.program import Ended, clean_environment, ended, started

if TYPE_CHECKING:
    from tests.api.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="session")
ROOT = Path(__file__).parents[2]
BRIEFCASED = (sys.executable, "-m", "proxy")
SPOOF = "pay \u202eevil\u202c \x1b[31mred\x1b[0m [bold]x[/bold] \u0430pi"


def environment(api: Api, **variables: str) -> dict[str, str]:
    state = {"pid": os.getpid(), "proxy": "", "control": "", "generation": 1, "reloads": 0, "error": None}
    (api.rig.home / "sidecar.json").write_text(json.dumps({**state, "admin": f"unix:{api.socket}"}))
    own = {"BRIEFCASED_HOME": str(api.rig.home), "PYTHONPATH": str(ROOT)}
    return {**clean_environment(api.rig.home), **own, **variables}


async def command(api: Api, *arguments: str, **variables: str) -> Ended:
    run = CliRunner().invoke
    done = await asyncio.to_thread(run, application(arguments[0]), arguments, env=environment(api, **variables))
    failure = f"briefcased: {done.exception}\n" if isinstance(done.exception, BriefcaseError) else ""
    return Ended(done.exit_code, done.stdout, done.stderr + failure)


@pytest.mark.slow
async def test_the_command_is_a_process_of_its_own(api: Api) -> None:
    id_ = await api.pending("/process")
    shown = await ended(await started(*BRIEFCASED, "approvals", "show", id_, env=environment(api), cwd=api.rig.home))
    assert (shown.code, shown.err) == (0, "")
    assert "sent by the agent, whole:" in shown.out
    none = await ended(
        await started(*BRIEFCASED, "approvals", "show", "apr_no", env=environment(api), cwd=api.rig.home)
    )
    assert (none.code, none.err) == (1, "briefcased: not_found: There is no such thing\n")


async def test_approvals_are_listed_shown_and_decided_by_the_socket(api: Api) -> None:
    body = json.dumps({"note": SPOOF}, ensure_ascii=False).encode()
    id_ = await api.pending("/notes", body)
    listed = await command(api, "approvals", "list")
    assert id_ in listed.out
    assert "tester  example/main  example:write" in listed.out
    shown = await command(api, "approvals", "show", id_)
    assert shown.code == 0, shown.err
    assert "POST https://api.example.test" in shown.out
    assert "look twice" in shown.out
    approved = await command(api, "approvals", "approve", id_, "--reason", "seen")
    assert approved.out == f"{id_} approved (1 of 1 approvers)\n"
    assert (await api.changes())[0]["by"] == "local"
    assert (await api.rig.call("POST", "/notes", content=body)).status == 200
    again = await command(api, "approvals", "reject", id_)
    assert (again.code, again.err) == (
        1,
        "briefcased: conflict: Its state does not allow this: This approval is consumed.\n",
    )


async def test_j04_o15_what_an_agent_wrote_cannot_act_on_the_terminal(api: Api) -> None:
    id_ = await api.pending("/spoof", SPOOF.encode())
    for arguments in (("show", id_), ("show", id_, "--json"), ("list",)):
        shown = await command(api, "approvals", *arguments)
        for char in ("\x1b", "\u202e", "\u202c", "\u0430"):
            assert char not in shown.out
    shown = await command(api, "approvals", "show", id_)
    assert "\\u{202e}" in shown.out
    assert "\\u{1b}[31m" in shown.out
    assert "[bold]x[/bold]" in shown.out  # no markup
    assert "\\u{430}pi" in shown.out


async def test_a_url_needs_a_token_and_no_plain_http(api: Api, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(api.tokens["viewer"] + "\n")
    listed = await command(api, "approvals", "list", "--all", "--json", "--url", api.base, "--token-file", str(file))
    assert isinstance(json.loads(listed.out), list)
    named = {"BRIEFCASED_API_URL": api.base, "BRIEFCASED_OPERATOR_TOKEN": api.tokens["viewer"]}
    id_ = await api.pending("/viewer")
    refused = await command(api, "approvals", "approve", id_, **named)
    assert (refused.code, refused.err) == (1, "briefcased: forbidden: Your role does not allow this\n")
    without = await command(api, "approvals", "list", "--url", api.base)
    assert "an operator's token is needed" in without.err
    clear = await command(api, "approvals", "list", "--url", "http://example.test", "--token-file", str(file))
    assert "use https" in clear.err


@pytest.mark.slow
async def test_watch_follows_as_lines_of_json(api: Api) -> None:
    process = await started(*BRIEFCASED, "approvals", "watch", "--json", env=environment(api), cwd=api.rig.home)
    assert process.stdout is not None
    try:
        id_ = await api.pending("/watched")
        async with asyncio.timeout(20):
            while json.loads(await process.stdout.readline())["id"] != id_:
                pass
    finally:
        process.terminate()
        await process.wait()


async def test_watch_asks_on_a_terminal_and_only_the_whole_word_approves(api: Api) -> None:
    for one in (await api.call("viewer", "GET", "/approvals?state=pending")).json()["approvals"]:
        await api.call("approver", "POST", f"/approvals/{one['id']}/votes", {"approve": False})
    first, second = await api.pending("/a"), await api.pending("/b")
    watching = (*BRIEFCASED, "approvals", "watch")
    async with on_a_terminal(*watching, env=environment(api), cwd=api.rig.home) as terminal:
        await terminal.until(b"[skip]: ")
        terminal.type("y")
        await terminal.until(b"[skip]: ")
        terminal.type("approve")
        await terminal.until(b"reason")
        terminal.type("fine")
        await terminal.until(b" approved (1 of 1 approvers)")
    states = {
        id_: (await api.call("viewer", "GET", f"/approvals/{id_}")).json()["approval"]["state"]
        for id_ in (first, second)
    }
    assert states == {first: "pending", second: "approved"}


async def test_operators_are_added_by_command_with_a_receipt(api: Api) -> None:
    added = await command(api, "operators", "add", "zoe", "--role", "approver", "--hours", "1")
    assert added.code == 0, added.err
    api.tokens["zoe"] = added.out.strip()
    assert (await api.call("zoe", "GET", "/whoami")).json()["role"] == "approver"
    lesser = await command(api, "operators", "token", "zoe", "--role", "viewer", "--json")
    api.tokens["zoe-lesser"] = json.loads(lesser.out)["token"]
    assert (await api.call("zoe-lesser", "GET", "/whoami")).json()["token_role"] == "viewer"
    assert "zoe                  approver   (all tenants)" in (await command(api, "operators", "list")).out
    assert (await command(api, "operators", "add", "zoe", "--role", "admin")).code == 1
    assert (await command(api, "operators", "revoke", "zoe")).out == "revoked zoe\n"
    assert (await api.call("zoe", "GET", "/whoami")).status_code == 401
    changes = [(one["change"], one["target"]) for one in (await api.changes())[:4]]
    assert ("operator_revoke", "zoe") in changes
    assert ("operator_token", "zoe") in changes
    assert (await api.call("admin", "GET", "/verification")).json()["ok"] is True
