"""The order of an account at work: what is not connected is passed over for the next one, and the receipts say so."""

from __future__ import annotations

import base64
import json

import pytest
import pytest_asyncio

from proxy.credentials.grants import GrantKey, Grants
from proxy.credentials.oauth.state import Kept
from proxy.db.engine import DATABASE, open_database
from proxy.db.sealing import Seal
from proxy.model import AccountId
from proxy.services import SEAL_KEY
from tests.fakes.credential_issuer import Issuer, answer, key, verified
from tests.fakes.token_server import TokenServer
from tests.rig import running_rig
from tests.rig.kinds import assert_never_shown
from tests.rig.provider import Provider
from tests.rig.sidecar import KEY, OTHER_KEY

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOSTS = ("api.example.test", "other.example.test", "auth.example.test", "issuer.example.test")
SECRET, OTHER_SECRET = "s3cr3t/+ %:value-of-the-client", "0ther-s3cret-of-another-client"
PROFILE = """\
schema: 1
name: @name@
title: Widgets
docs: https://example.test/
checked: "2026-11-26"
hosts: [{{host: @host@, port: {port}}}]
secrets:
  client_secret: {{stand_in: {{template: "cs-{{base62:24}}"}}}}
  api_key: {{stand_in: {{template: "sk-example-{{base62:24}}"}}}}
variables: {{client_id: {{pattern: "[a-z ]+"}}}}
credentials:
  staff:
    kind: vc
    types: [https://credentials.example.test/staff]
    issuers: [{{issuer: "https://issuer.example.test:{port}"}}]
    use: {{by: header, template: "VP {{presentation}}", audience: "https://@host@", nonce: random}}
  login:
    kind: oauth
    grant: authorization_code
    token_endpoint: "https://auth.example.test:{port}/token"
    connect: {{authorization_endpoint: "https://auth.example.test:{port}/authorize"}}
  key: {{kind: header, header: X-Api-Key, secret: api_key}}
@more@
operations:
  - {{id: read, methods: [GET], path: "/**", action: read}}
  - {{id: write, methods: [POST], path: "/**", action: write}}
  - {{id: people, methods: [GET], path: "/people/**", action: read, credentials: [staff, login]}}
"""
LENIENT = "skip_credential_when: [not_connected, credential_revoked]"
NAMES = ("fresh", "member", "holder", "withdrawn", "down")


def accounts(provider, client):
    """All alike. Each provider has secrets of its own: the same ones at two places would need consent."""
    name = provider.upper()
    secrets = {"client_secret": f"env:{name}_SECRET", "api_key": f"env:{name}_KEY"}
    account = {"secrets": secrets, "variables": {"client_id": client}, "keys": {"holder": "env:HOLDER"}}
    return {"accounts": dict.fromkeys(NAMES, account)}


def profile(name, host, more=""):
    return PROFILE.replace("@name@", name).replace("@host@", host).replace("@more@", more)


class Stage:
    """The rig, an issuer, an authorization server; every account is without any grant at first."""

    def __init__(self, rig):
        self.rig, self.holder, self.server = rig, key(), TokenServer()
        self.issuer = Issuer(f"https://issuer.example.test:{rig.provider.port}")
        self.seal = Seal((rig.home / SEAL_KEY).read_bytes())

    def put(self, account, credential, kept):
        """As `briefcased connect` and `credentials receive` do, in the database of the sidecar."""
        database = open_database(self.rig.home / DATABASE)
        try:
            grants = Grants(database, self.seal, self.rig.sidecar._parts.clock)
            grants.put(GrantKey(AccountId(*account.split("/")), credential), kept)
        finally:
            database.dispose()

    def sign_in(self, account):
        endpoint = f"https://auth.example.test:{self.rig.provider.port}/token"
        self.put(account, "login", Kept(refresh_token=self.server.login(account), issuer=endpoint).written())

    async def call(self, account, path="/things", method="GET", **options):
        provider, _, name = account.partition("/")
        host = HOSTS[0] if provider == "strict" else HOSTS[1]
        stand_in = self.rig.stand_in(provider, "api_key", name)
        url = f"https://{host}:{self.rig.provider.port}{path}"
        self.rig.provider.requests.clear()
        answered = await self.rig.call(method, url, headers={"X-Api-Key": stand_in}, **options)
        await assert_never_shown(self.rig, [answered], KEY, SECRET, OTHER_KEY, OTHER_SECRET, *self.server.tokens)
        return answered

    async def receipt(self):
        """What the last decision says of credentials."""
        said = (await self.rig.receipts())[-1].decision
        return said["credential"], said.get("skipped")

    def arrived(self):
        """Paths that were asked of the API, and whatever credentials came along."""
        wanted = [seen for seen in self.rig.provider.requests if not seen.path.startswith(("/token", "/.well-known"))]
        return [(seen.path, seen.one("authorization"), seen.one("x-api-key")) for seen in wanted]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory):
    folder, holder = tmp_path_factory.mktemp("order"), key()
    provider = Provider(folder, HOSTS)
    await provider.start()
    environment = {
        "STRICT_SECRET": SECRET, "STRICT_KEY": KEY, "LENIENT_SECRET": OTHER_SECRET, "LENIENT_KEY": OTHER_KEY,
        "HOLDER": json.dumps(holder.export(as_dict=True)),
    }  # fmt: skip
    try:
        async with running_rig(
            folder,
            profiles={"strict": profile("strict", HOSTS[0]), "lenient": profile("lenient", HOSTS[1], LENIENT)},
            settings={
                "providers": {"strict": accounts("strict", "client one"), "lenient": accounts("lenient", "other")}
            },
            environment=environment,
            hosts=HOSTS,
            provider=provider,
        ) as rig:
            made = Stage(rig)
            made.holder = holder
            made.server.clients["other"] = OTHER_SECRET
            provider.on("/token", made.server.token)
            metadata = {"issuer": made.issuer.name, "jwks": made.issuer.jwks}
            provider.on("/.well-known/jwt-vc-issuer", answer(200, metadata, Content_Type="application/json"))
            yield made
    finally:
        await provider.stop()


async def test_what_nobody_has_connected_is_passed_over_for_the_next_one(stage):
    assert (await stage.call("strict/fresh")).status == 200
    assert stage.arrived() == [("/things", None, KEY)]
    assert await stage.receipt() == ("key", "staff:not_connected,login:not_connected")


async def test_a_body_leaves_whole_whichever_credential_is_taken(stage):
    assert (await stage.call("strict/fresh", method="POST", content=b"x" * 3000)).status == 200
    assert len(stage.rig.provider.last.body) == 3000
    assert await stage.receipt() == ("key", "staff:not_connected,login:not_connected")


async def test_p3_where_the_last_one_is_not_connected_either_the_agent_sees_its_answer(stage):
    refused = await stage.call("strict/fresh", "/people/1")
    assert refused.problem == "not_connected"
    assert "connect" in refused.json()["detail"]
    assert stage.rig.provider.requests == []
    assert await stage.receipt() == ("login", "staff:not_connected")


async def test_a_login_serves_where_no_credential_was_received(stage):
    stage.sign_in("strict/member")
    stage.rig.provider.on("/people/1", stage.server.resource)
    assert (await stage.call("strict/member", "/people/1")).status == 200
    assert await stage.receipt() == ("login", "staff:not_connected")
    assert [len(stage.server.forms), stage.arrived()[0][2]] == [1, None]


async def test_a_challenge_is_never_answered_by_the_next_one(stage):
    stage.sign_in("lenient/member")
    stage.rig.provider.on("/closed", answer(401, WWW_Authenticate='Bearer error="invalid_token"'))
    answered = await stage.call("lenient/member", "/closed")
    assert answered.status == 401
    assert {found for _, _, found in stage.arrived()} == {None}
    assert len(stage.arrived()) == 2  # one more token, and no other credential


async def test_the_first_one_is_used_once_it_is_there(stage):
    stage.put("strict/holder", "staff", {"credential": stage.issuer.sd_jwt(stage.holder, {"role": "engineer"})})
    assert (await stage.call("strict/holder")).status == 200
    ((_, sent, other),) = stage.arrived()
    nonce = json.loads(_decoded(sent.rpartition("~")[2].split(".")[1]))["nonce"]
    assert verified(sent.removeprefix("VP "), stage.issuer, audience=f"https://{HOSTS[0]}", nonce=nonce)
    assert other is None
    assert await stage.receipt() == ("staff", None)


@pytest.mark.parametrize("provider", ["strict", "lenient"])
async def test_what_was_withdrawn_is_passed_over_only_where_the_profile_says_so(stage, provider):
    stage.sign_in(f"{provider}/withdrawn")
    stage.server.families[f"{provider}/withdrawn"].revoked = True
    answered = await stage.call(f"{provider}/withdrawn")
    if provider == "strict":
        assert answered.problem == "credential_revoked"
        assert stage.arrived() == []
        assert await stage.receipt() == ("login", "staff:not_connected")
    else:
        assert answered.status == 200
        assert stage.arrived() == [("/things", None, OTHER_KEY)]
        assert await stage.receipt() == ("key", "staff:not_connected,login:credential_revoked")


async def test_p5_a_fault_of_the_token_endpoint_is_no_reason_for_a_stronger_credential(stage):
    stage.sign_in("lenient/down")
    stage.server.script = [(500, {}, b"broken")]
    assert (await stage.call("lenient/down")).problem == "token_endpoint_error"
    assert stage.arrived() == []


def _decoded(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
