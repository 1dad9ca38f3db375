"""`connect`, `accounts` and `disconnect` as processes, against a certified server; the test is the browser."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import ssl
import time
from dataclasses import dataclass
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest
import yaml

from proxy.clock import SystemClock
from proxy.credentials.grants import GrantKey, Grants
from proxy.db.engine import DATABASE, open_database
from proxy.db.sealing import Seal
from proxy.model import AccountId
from proxy.services import SEAL_KEY, persistent_key
from tests.rig.authorization_server import SECRET, authorization_server
from tests.rig.browser import Browser
from tests.rig.program import assert_unseen, ended

PROFILE = """\
schema: 1
name: acme
title: Acme
docs: https://acme.test/
checked: "2026-11-25"
hosts: [{{host: 127.0.0.1, port: {port}}}]
variables: {{client_id: {{example: app}}}}
secrets: {{client_secret: {{stand_in: {{template: "acme-{{base62:24}}"}}}}}}
credentials:
  person: {{kind: oauth, grant: authorization_code, issuer: "{issuer}", scope: read write, resource: ["{resource}"]}}
  device: {{kind: oauth, grant: device_code, issuer: "{issuer}", scope: read, resource: ["{resource}"]}}
  bound: {{kind: oauth, grant: authorization_code, issuer: "{issuer}", scope: read, resource: ["{resource}"], sender: dpop, client: {{auth: none}}}}
  signed: {{kind: oauth, grant: authorization_code, issuer: "{issuer}", scope: read, resource: ["{resource}"], client: {{auth: private_key_jwt}}}}
  certified: {{kind: oauth, grant: authorization_code, issuer: "{issuer}", scope: read, resource: ["{resource}"], sender: tls, client: {{auth: tls}}}}
  paying: {{kind: oauth, grant: authorization_code, issuer: "{issuer}", scope: read, resource: ["{resource}"], authorization_details: [{{type: payment, actions: [read]}}]}}
  filing: {{kind: oauth, grant: authorization_code, issuer: "{issuer}", scope: read, resource: ["{resource}"], authorization_details: [{{type: files, actions: [read, write]}}]}}
  fresh: {{kind: oauth, grant: authorization_code, issuer: "{issuer}", scope: openid read, resource: ["{resource}"]}}
  misnamed: {{kind: oauth, grant: authorization_code, issuer: "{issuer}/", scope: read}}
operations:
  - {{id: read, methods: [GET], path: "/**", action: read}}
"""
ACCOUNTS = {
    "main": ("person", "app"), "par": ("person", "app-par"), "device": ("device", "app"), "bound": ("bound", "app-dpop"),
    "signed": ("signed", "app-jwt"), "certified": ("certified", "app-mtls"), "paying": ("paying", "app"),
    "filing": ("filing", "app"), "fresh": ("fresh", "app"), "misnamed": ("misnamed", "app"),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with authorization_server(tmp_path_factory.mktemp("as")) as running:
        yield running


@pytest.fixture
def config(cli, server):
    """A configuration with one account for each way to connect; `main` is the default."""
    folder = cli.folder / "profiles"
    folder.mkdir()
    text = PROFILE.format(port=server.resource_port, issuer=server.issuer, resource=server.resource)
    (folder / "acme.yaml").write_text(text)
    keys = {
        "signed": {"client": f"file:{server.keys.signing}"},
        "certified": {"tls": f"file:{server.keys.certificate}"},
    }
    accounts = {
        name: {
            "secrets": {"client_secret": "env:ACME_SECRET"}, "variables": {"client_id": client}, "default": name == "main",
            "credentials": [credential], "keys": keys.get(name, {}),
        }
        for name, (credential, client) in ACCOUNTS.items()
    }  # fmt: skip
    (cli.folder / "briefcased.yaml").write_text(
        yaml.safe_dump(
            {
                "version": 1,
                "listeners": {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0"},
                "profiles": [str(folder)],
                "providers": {"acme": {"accounts": accounts}},
                "agents": {"tester": {"accounts": ["*"]}},
                "egress": server.egress(),
            }
        )
    )
    return cli


@dataclass
class Connecting:
    """A `connect` that waits for the browser; `url` is what it wants opened, `said` its first lines."""

    process: asyncio.subprocess.Process
    said: str
    url: str = ""

    @property
    def redirect(self):
        return urlsplit(parse_qs(urlsplit(self.url).query)["redirect_uri"][0])

    async def end(self):
        done = await ended(self.process)
        return done.code, done.out, self.said + done.err


async def connecting(config, *arguments, until="Open this page: "):
    process = await config.start("connect", *arguments, "--no-browser", ACME_SECRET=SECRET)
    said = ""
    async with asyncio.timeout(30):
        while until not in said:
            line = await process.stderr.readline()
            assert line, said
            said += line.decode()
    found = re.search(r"Open this page:\s+(\S+)", said)
    return Connecting(process, said, found[1] if found else "")


async def connected(config, server, *arguments, browser=None):
    """`connect` from its start to its end, with a person who says yes, in a fresh browser or in `browser`."""
    started = await connecting(config, *arguments)
    async with contextlib.AsyncExitStack() as stack:
        client = browser or await stack.enter_async_context(server.client())
        back = await Browser(server, client).authorize(started.url)
        page = await client.get(back)
    assert page.status_code == 200, page.text
    return *await started.end(), page


async def accounts(config):
    listed = await config.run("accounts", "--json", ACME_SECRET=SECRET)
    assert listed.code == 0, listed.err
    return {row["account"]: row for row in json.loads(listed.out)}


@pytest.mark.slow
async def test_a_person_connects_an_account_and_disconnects_it(config, server):
    await server.requests()
    code, out, err, page = await connected(config, server, "acme", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert [told[name] for name in ("account", "credential", "scope", "refreshes")] == [
        "acme/main",
        "person",
        "read write",
        True,
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", told["expires_at"])
    row = (await accounts(config))["acme/main"]
    assert (row["state"], row["scope"], row["refreshes"]) == ("connected", "read write", True)
    stored = b"".join(path.read_bytes() for path in config.state.iterdir() if path.is_file()).decode("latin-1")
    for seen in (out + err + page.text + repr(page.headers) + repr(row), stored):
        assert_unseen(seen, SECRET)
        assert "eyJ" not in seen

    gone = await config.run("disconnect", "acme/main", ACME_SECRET=SECRET)
    assert (gone.code, gone.out) == (0, "disconnected acme/main; revoked: refresh token\n"), gone.err  # JWTs cannot be
    seen = await server.requests()
    hints = [
        dict(parse_qsl(request["body"]))["token_type_hint"]
        for request in seen
        if request["path"] == "/token/revocation"
    ]
    assert hints == ["refresh_token", "access_token"]
    redeemed = next(dict(parse_qsl(request["body"])) for request in seen if request["path"] == "/token")
    assert redeemed["resource"] == server.resource
    assert [request["path"] for request in seen].count("/request") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["par", "bound", "signed", "certified", "paying"])
async def test_every_way_of_asking_is_taken_by_the_certified_server(config, server, name):
    await server.requests()
    code, out, err, _ = await connected(config, server, f"acme/{name}")
    scope = "read write" if name == "par" else "read"
    assert (code, out) == (0, f"connected acme/{name}; scope: {scope}; refreshed when needed\n"), err
    seen = await server.requests()
    redeemed = [dict(parse_qsl(request["body"])) for request in seen if request["path"] == "/token"]
    assert {form["grant_type"] for form in redeemed} == {"authorization_code"}
    pushed = dict(parse_qsl(next(request["body"] for request in seen if request["path"] == "/request")))
    assert ("dpop_jkt" in pushed) == (name == "bound")
    assert ("authorization_details" in pushed) == (name == "paying")
    assert ("client_assertion" in pushed) == (name == "signed")
    if name == "certified":
        assert all(request["certificate"] for request in seen if request["path"] in ("/token", "/request"))


@pytest.mark.slow
async def test_p5_less_than_was_asked_for_is_said_and_nothing_is_stored(config, server):
    """The server grants reading where reading and writing were asked for: less is taken; another issuer is not."""
    code, _, err, _ = await connected(config, server, "acme/filing")
    assert code == 0, err
    wrong = await config.run("connect", "acme/misnamed", "--no-browser", ACME_SECRET=SECRET)
    assert (wrong.code, "names exactly this issuer" in wrong.err) == (1, True)
    assert (await accounts(config))["acme/misnamed"]["state"] == "not_connected"


@pytest.mark.slow
async def test_a_person_says_no(config, server):
    started = await connecting(config, "acme")
    async with server.client() as client:
        back = await Browser(server, client).authorize(started.url, refuse=True)
        page = await client.get(back)
    code, out, err = await started.end()
    assert (code, out) == (1, "")
    assert err.endswith("briefcased: acme/main: The person, or the provider, said no.\n")
    assert "aborted" not in page.text + err


@pytest.mark.slow
async def test_p2_another_servers_answer_ends_it_and_no_code_is_redeemed(config, server):
    await server.requests()
    started = await connecting(config, "acme")
    async with server.client() as client:
        back = await Browser(server, client).authorize(started.url)
        forged = re.sub(r"iss=[^&]+", "iss=https%3A%2F%2Fevil.test", back)
        assert forged != back
        assert (await client.get(re.sub(r"state=[^&]+", "state=other", back))).status_code == 400
        await client.get(forged)
    code, _, err = await started.end()
    assert (code, "another authorization server" in err, "evil" in err) == (1, True, False)
    assert [request for request in await server.requests() if request["path"] == "/token"] == []


@pytest.mark.slow
async def test_interrupted_it_leaves_nothing(config):
    started = await connecting(config, "acme")
    started.process.send_signal(signal.SIGINT)
    code, out, err = await started.end()
    assert (code, out) == (130, "")
    assert err.endswith("interrupted; nothing is stored\n")
    assert "Traceback" not in err


@pytest.mark.slow
async def test_a_device_code_is_entered_elsewhere_while_the_server_is_slow(config, server):
    await server.requests()
    started = await connecting(config, "acme/device", until="or open:")
    uri = re.search(r"Open this page:\s+(\S+)\nand enter:\s+(\S+)\n", started.said)
    assert uri, started.said
    await server.faults(
        {"path": "/token", "drop": True},
        {"path": "/token", "status": 400, "body": '{"error": "authorization_pending"}'},
    )
    async with server.client() as client:
        await Browser(server, client).approve(uri[1], uri[2])
    code, out, err = await started.end()
    assert (code, out) == (0, "connected acme/device; scope: read; refreshed when needed\n"), err
    polls = await server.requests("/token")
    assert len(polls) == 3


@contextlib.asynccontextmanager
async def agent_of(config, server):
    """What an agent gets through a running sidecar: `until(path, status)` is its answer once that is its status."""
    added = await config.run("agents", "add", "tester")
    sidecar = await config.start("up", ACME_SECRET=SECRET)
    try:
        state = config.state / "sidecar.json"
        async with asyncio.timeout(30):
            while not state.exists():
                await asyncio.sleep(0.05)
        proxy = f"http://agent:{added.out.strip()}@{json.loads(state.read_text())['proxy']}"
        trust = ssl.create_default_context(cafile=str(config.state / "ca-bundle.pem"))
        async with httpx.AsyncClient(proxy=proxy, verify=trust, trust_env=False, timeout=20) as agent:

            async def until(path, status):
                async with asyncio.timeout(15):
                    while (answer := await agent.get(server.resource + path)).status_code != status:
                        await asyncio.sleep(0.2)
                return answer

            yield until
    finally:
        sidecar.terminate()
        await ended(sidecar)


@pytest.mark.slow
async def test_a_running_sidecar_notices_both(config, server):
    async with agent_of(config, server) as until:
        assert "not_connected" in (await until("/echo/x", 403)).text
        code, _, err, _ = await connected(config, server, "acme")
        assert code == 0, err
        answer = await until("/echo/x", 200)
        assert answer.json()["sub"] == "alice"
        assert "eyJ" not in answer.text
        gone = await config.run("disconnect", "acme", ACME_SECRET=SECRET)
        assert gone.code == 0, gone.err
        assert "not_connected" in (await until("/echo/x", 403)).text


@pytest.mark.slow
async def test_an_api_that_wants_a_newer_login_gets_one_when_a_person_connects_again(config, server):
    """RFC 9470: no blind retry; the browser is still signed in, and only `max_age` makes the server ask again."""
    written = config.folder / "briefcased.yaml"
    settings = yaml.safe_load(written.read_text())
    for name, account in settings["providers"]["acme"]["accounts"].items():
        account["default"] = name == "fresh"
    written.write_text(yaml.safe_dump(settings))
    async with server.client() as browser:
        code, _, err, _ = await connected(config, server, "acme/fresh", browser=browser)
        assert code == 0, err
        async with agent_of(config, server) as until:
            first_s = (await until("/fresh/600/x", 200)).json()["auth_time"]
            await asyncio.sleep(5.1)
            await server.requests()
            asked = await until("/fresh/5/x", 401)
            assert 'error="insufficient_user_authentication", max_age="5"' in asked.headers["www-authenticate"]
            assert await server.requests("/token") == []
            code, _, err, _ = await connected(config, server, "acme/fresh", browser=browser)
            assert code == 0, err
            assert (await until("/fresh/5/x", 401)).status_code == 401, "the login is the old one"
            code, _, err, _ = await connected(config, server, "acme/fresh", "--max-age", "5", browser=browser)
            assert code == 0, err
            too_young_for_the_first_s = int(time.time()) - first_s - 1
            assert (await until(f"/fresh/{too_young_for_the_first_s}/x", 200)).json()["auth_time"] > first_s


@pytest.mark.slow
async def test_a_provider_that_is_busy_is_asked_again_and_one_that_is_away_keeps_the_account(config, server):
    code, _, err, _ = await connected(config, server, "acme")
    assert code == 0, err
    await server.faults({"path": "/token/revocation", "status": 500, "body": "<b>no</b>"})
    away = await config.run("disconnect", "acme", ACME_SECRET=SECRET)
    assert (away.code, "still connected" in away.err, "<b>" in away.err) == (1, True, False)
    assert (await accounts(config))["acme/main"]["state"] == "connected"
    await server.faults({"path": "/token/revocation", "status": 503, "headers": {"Retry-After": "1"}})
    busy = await config.run("disconnect", "acme", ACME_SECRET=SECRET)
    assert busy.code == 0, busy.err
    assert "asking again in 1 s" in busy.err


@pytest.mark.slow
async def test_p5_what_cannot_be_read_or_asked_does_not_keep_an_operator_from_ending_the_use_of_an_account(config):
    database = open_database(config.state / DATABASE)
    grants = Grants(database, Seal(persistent_key(config.state / SEAL_KEY)), SystemClock())
    key = GrantKey(AccountId("acme", "main"), "person")
    grants.put(key, {"refresh_token": "rt-number-1"})
    refused = await config.run("disconnect", "acme")  # the client's secret is not there
    assert (refused.code, grants.read(key).kept) == (1, {"refresh_token": "rt-number-1"})
    gone = await config.run("disconnect", "acme", "--only-here")
    assert (gone.code, gone.out) == (0, "disconnected acme/main; nothing was revoked\n"), gone.err
    assert grants.read(key).version == 0
    again = await config.run("disconnect", "acme", "--only-here")
    assert (again.code, "is not connected" in again.err) == (1, True)
    database.dispose()


@pytest.mark.slow
async def test_the_browser_is_opened_where_that_is_wanted(config, server, tmp_path):
    opened = tmp_path / "opened"
    (tmp_path / "browser").write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}.part && mv {opened}.part {opened}\n')
    (tmp_path / "browser").chmod(0o755)
    process = await config.start("connect", "acme", "--json", ACME_SECRET=SECRET, BROWSER=str(tmp_path / "browser"))
    async with asyncio.timeout(30):
        while not opened.exists():
            await asyncio.sleep(0.05)
    async with server.client() as client:
        await client.get(await Browser(server, client).authorize(opened.read_text()))
    done = await ended(process)
    assert json.loads(done.out)["account"] == "acme/main"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("connect", "nobody"), "the configuration has no account nobody"),
        (("connect", "acme/nobody"), "it has acme/bound, "),
        (("disconnect", "acme/main"), "acme/main is not connected"),
    ],
)
async def test_mistakes_are_told(config, arguments, words):
    said = await config.run(*arguments, ACME_SECRET=SECRET)
    assert (said.code, said.out) == (1, "")
    assert words in said.err
    assert "Traceback" not in said.err
