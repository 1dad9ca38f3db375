"""`connect`, `accounts` and `disconnect` as processes, against a certified server; the test is the browser."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import yaml

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
  misnamed: {{kind: oauth, grant: authorization_code, issuer: "{issuer}/", scope: read}}
operations:
  - {{id: read, methods: [GET], path: "/**", action: read}}
"""
ACCOUNTS = {
    "main": ("person", "app"), "par": ("person", "app-par"), "device": ("device", "app"), "bound": ("bound", "app-dpop"),
    "signed": ("signed", "app-jwt"), "certified": ("certified", "app-mtls"), "paying": ("paying", "app"),
    "filing": ("filing", "app"), "misnamed": ("misnamed", "app"),
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


async def connected(config, server, *arguments):
    """`connect` from its start to its end, with a person who says yes."""
    started = await connecting(config, *arguments)
    async with server.client() as client:
        back = await Browser(server, client).authorize(started.url)
        page = await client.get(back)
    assert page.status_code == 200, page.text
    return *await started.end(), page


async def accounts(config):
    listed = await config.run("accounts", "--json", ACME_SECRET=SECRET)
    assert listed.code == 0, listed.err
    return {row["account"]: row for row in json.loads(listed.out)}


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
