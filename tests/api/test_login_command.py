"""Operators who log in at a certified OpenID provider (npm `oidc-provider`) with the real command; the test is their browser."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio

from tests.api.conftest import administered, slug
from tests.api.test_commands import BRIEFCASED, ROOT, command, environment
from tests.rig.authorization_server import authorization_server
from tests.rig.browser import Browser
from tests.rig.program import assert_unseen, clean_environment, ended, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.api.conftest import Api
    from tests.rig.authorization_server import AuthorizationServer
    from tests.rig.program import Ended

pytestmark = pytest.mark.asyncio(loop_scope="module")
PEOPLE = {"alice": {"groups": ["approvers"], "email": "alice@example.test"}, "mallory": {"groups": ["others"]}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    with authorization_server(tmp_path_factory.mktemp("as"), people=PEOPLE) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory, server: AuthorizationServer) -> AsyncIterator[Api]:
    rules = [{"claim": "groups", "value": "approvers", "role": "approver"}]
    provider = {
        "label": "corp", "issuer": server.issuer, "client_id": "operators", "roles": rules, "ca_file": str(server.root),
    }  # fmt: skip
    provider["device"] = True
    other = {**provider, "label": "other", "client_id": "app-public", "device": False}
    async with administered(tmp_path_factory.mktemp("desk"), operators={"oidc": [provider, other]}) as api:
        yield api


def at_home(api: Api, home: Path) -> dict[str, str]:
    """The operator's own machine: another state directory, and the address of the API."""
    own = {"BRIEFCASED_HOME": str(home), "PYTHONPATH": str(ROOT), "BRIEFCASED_API_URL": api.base}
    return {**clean_environment(home), **own}


async def logged_in(
    api: Api,
    server: AuthorizationServer,
    home: Path,
    *more: str,
    who: str = "alice",
    refuse: bool = False,
    where: dict[str, str] | None = None,
) -> Ended:
    """`operators login`, with a browser or a code entered elsewhere."""
    command = (
        *BRIEFCASED,
        "operators",
        "login",
        "--issuer",
        "corp",
        "--ca-file",
        str(server.root),
        "--no-browser",
        *more,
    )
    process = await started(*command, env=where or at_home(api, home), cwd=home)
    assert process.stderr is not None
    said = ""
    async with asyncio.timeout(30):
        while (found := re.search(r"Open this page: +(\S+)(?:\nand enter: +(\S+))?\n", said)) is None or (
            "--device" in more and found[2] is None
        ):
            line = await process.stderr.readline()
            assert line, said
            said += line.decode()
    async with server.client() as client:
        browser = Browser(server, client, who)
        if found[2] is not None:
            await browser.approve(found[1], found[2])
        else:
            back = await browser.authorize(found[1], refuse=refuse)
            assert (await httpx.AsyncClient(trust_env=False).get(back)).status_code == 200
    return await ended(process)


async def test_a_person_logs_in_votes_and_logs_out(desk: Api, server: AuthorizationServer, tmp_path: Path) -> None:
    """J-07: an operator with a name of their own; the whole way, with real commands."""
    done = await logged_in(desk, server, tmp_path)
    assert done.code == 0, done.err
    assert re.fullmatch(r"logged in as corp/alice, approver, until [0-9: -]+ UTC\n", done.out)
    file = tmp_path / "operator-sessions.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    token = json.loads(file.read_text())[desk.base]["token"]
    assert_unseen(done.out + done.err, token)
    home = {"BRIEFCASED_HOME": str(tmp_path), "BRIEFCASED_API_URL": desk.base}
    assert (await command(desk, "operators", "whoami", **home)).out.startswith("corp/alice  approver  (all tenants)")
    id_ = await desk.pending("/by-alice")
    approved = await command(desk, "approvals", "approve", id_, **home)
    assert (approved.out, approved.err) == (f"{id_} approved (1 of 1 approvers)\n", "")
    shown = (await desk.call("viewer", "GET", f"/approvals/{id_}")).json()
    assert [one["approver"] for one in shown["votes"]] == ["corp/alice"]
    listed = await command(desk, "operators", "sessions", "list", "--json", **home)
    [mine] = json.loads(listed.out)
    assert (mine["name"], mine["current"]) == ("corp/alice", True)
    assert (await command(desk, "operators", "logout", **home)).out == "logged out\n"
    assert json.loads(file.read_text()) == {}
    desk.tokens["over"] = token
    assert slug(await desk.call("over", "GET", "/whoami")) == "unauthenticated"
    assert "operators login" in (await command(desk, "operators", "whoami", **home)).err
    told = [(one["change"], one["by"]) for one in (await desk.changes())[:3]]
    assert told == [
        ("operator_logout", "corp/alice"),
        ("approval_vote", "corp/alice"),
        ("operator_login", "corp/alice"),
    ]


@pytest.mark.slow
async def test_one_may_log_in_by_the_socket_of_the_machine_too(desk: Api, server: AuthorizationServer) -> None:
    """Then the login says who asks, and no longer the user id."""
    home = environment(desk)  # with what says where the socket is
    assert (await command(desk, "operators", "whoami", **home)).out.startswith("local  admin")
    done = await logged_in(desk, server, desk.rig.home, where=home)
    assert done.code == 0, done.err
    assert (await command(desk, "operators", "whoami", **home)).out.startswith("corp/alice  approver")
    assert (await command(desk, "operators", "logout", **home)).code == 0
    assert (await command(desk, "operators", "whoami", **home)).out.startswith("local  admin")


@pytest.mark.slow
async def test_a_code_is_entered_elsewhere(desk: Api, server: AuthorizationServer, tmp_path: Path) -> None:
    done = await logged_in(desk, server, tmp_path, "--device", "--role", "viewer", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert (told["name"], told["role"]) == ("corp/alice", "viewer")
    assert "token" not in told
    home = {"BRIEFCASED_HOME": str(tmp_path), "BRIEFCASED_API_URL": desk.base}
    ended = await command(desk, "operators", "sessions", "revoke", told["id"], **home)
    assert ended.out == f"revoked {told['id']}\n"
    assert "unauthenticated" in (await command(desk, "operators", "whoami", **home)).err


@pytest.mark.slow
@pytest.mark.parametrize(("who", "refuse", "words"), [("mallory", False, "forbidden"), ("alice", True, "said no")])
async def test_whoever_has_no_role_or_says_no_is_not_logged_in(
    desk: Api, server: AuthorizationServer, tmp_path: Path, who: str, refuse: bool, words: str
) -> None:
    done = await logged_in(desk, server, tmp_path, who=who, refuse=refuse)
    assert (done.code, words in done.err) == (1, True), done.err
    assert not (tmp_path / "operator-sessions.json").exists()
    if not refuse:
        change = (await desk.changes())[0]
        assert (change["by"], change["refused"]) == ("corp/mallory", "no_role")


@pytest.mark.slow
async def test_an_id_token_of_another_client_of_the_provider_buys_nothing(
    desk: Api, server: AuthorizationServer
) -> None:
    """A token that is real in everything, but was issued to `app`."""
    from proxy.credentials.oauth.authorize import challenge
    from proxy.identity.id_token import nonce_for
    from tests.api.oidc import exchanged, verifier
    from tests.rig.authorization_server import SECRET

    secret = verifier()
    nonce = nonce_for(secret, urlsplit(desk.base).netloc)
    query = {
        "response_type": "code", "client_id": "app", "redirect_uri": "http://127.0.0.1:9/callback", "scope": "openid",
        "state": "s", "nonce": nonce, "code_challenge": challenge(secret), "code_challenge_method": "S256",
    }  # fmt: skip
    async with server.client() as client:
        start = str(httpx.URL(f"{server.issuer}/auth", params=query))
        back = await Browser(server, client).authorize(start)
        code = parse_qs(urlsplit(back).query)["code"][0]
        form = {
            "grant_type": "authorization_code", "code": code, "code_verifier": secret, "redirect_uri": query["redirect_uri"],
        }  # fmt: skip
        answer = await client.post("/token", data=form, auth=("app", SECRET))
    text = answer.json()["id_token"]
    assert slug(await exchanged(desk, text, secret)) == "unauthenticated"
    assert (await desk.changes())[0]["refused"] == "token"


async def test_a_file_that_others_may_read_is_not_used(desk: Api, tmp_path: Path) -> None:
    file = tmp_path / "operator-sessions.json"
    file.write_text(json.dumps({desk.base: {"token": desk.tokens["admin"]}}))
    home = {"BRIEFCASED_HOME": str(tmp_path), "BRIEFCASED_API_URL": desk.base}
    os.chmod(file, 0o644)
    assert "others may read" in (await command(desk, "operators", "whoami", **home)).err
    os.chmod(file, 0o600)
    assert (await command(desk, "operators", "whoami", **home)).out.startswith("admin  admin")
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert (await command(desk, "operators", "whoami", **home)).code == 1


async def test_o15_what_an_api_answers_is_not_shown_unless_it_has_the_right_form() -> None:
    from proxy.api.session_models import LoginsView, SessionToken
    from proxy.cli.login import read
    from proxy.errors import BriefcaseError

    way = {
        "label": "corp",
        "issuer": "https://i.test",
        "client_id": "c",
        "scope": "openid",
        "redirect": "http://x/",
        "device": True,
    }
    assert read(LoginsView, {"logins": [way]}).logins[0].label == "corp"
    for change in ({"label": "\x1b[31mred"}, {"issuer": "https://i.test\n"}, {"scope": "{openid}"}, {"device": "yes"}):
        with pytest.raises(BriefcaseError, match="something else"):
            read(LoginsView, {"logins": [{**way, **change}]})
    for answer in ({}, [], None, {"id": "x", "name": "\x1b]0;x", "role": "admin", "token": "t", "expires_at_ms": 1}):
        with pytest.raises(BriefcaseError, match="something else"):
            read(SessionToken, answer)


async def test_where_to_log_in_is_named_where_there_are_several(desk: Api, tmp_path: Path) -> None:
    home = {"BRIEFCASED_HOME": str(tmp_path), "BRIEFCASED_API_URL": desk.base}
    assert "say where with --issuer: corp, other" in (await command(desk, "operators", "login", **home)).err
    refused = await command(desk, "operators", "login", "--device", "--issuer", "other", **home)
    assert "does not take logins by --device" in refused.err
    assert "no login" in (await command(desk, "operators", "logout", **home)).err
