"""One sidecar for all tests of a module: an agent, an issuer with its status lists, and a provider that verifies."""

from __future__ import annotations

import json
import re
import secrets
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest_asyncio
from jwcrypto.jwk import JWK

from tests.fakes.credential_issuer import VCT, Issuer, answer, key, verified
from tests.rig import running_rig
from tests.rig.provider import Provider, echo

if TYPE_CHECKING:
    from tests.rig.sidecar import Answer, Rig

HOSTS = ("api.example.test", "issuer.example.test", "other.example.test")
HIDDEN = {"given_name": "Ada-CANARY-given", "family_name": "Möbius-CANARY-family", "roles": ["engineer-CANARY"]}
PROFILE = """\
schema: 1
name: example
title: Example
docs: https://example.test/
checked: "2026-11-25"
hosts: [{{host: api.example.test, port: {port}}}]
secrets:
  staff: {{env: [STAFF_CREDENTIAL], stand_in: {{template: "vc-{{base62:24}}"}}}}
credentials:
  shown:
    kind: vc
    secret: staff
    types: [https://credentials.example.test/staff]
    issuers: [{{issuer: "https://issuer.example.test:{port}"}}]
    disclose: [[given_name]]
    use: {{by: header, template: "VP {{presentation}}", audience: "https://api.example.test"}}
  exchanged:
    kind: vc
    secret: staff
    types: [https://credentials.example.test/staff]
    issuers: [{{issuer: "https://issuer.example.test:{port}"}}]
    disclose: [[roles]]
    use:
      by: token_request
      token_endpoint: "https://api.example.test:{port}/token"
      form: {{grant_type: "urn:example:vp"}}
      nonce_endpoint: "https://api.example.test:{port}/nonce"
  w3c:
    kind: vc
    format: vc+jwt
    secret: staff
    types: [StaffCredential]
    issuers: [{{issuer: "https://issuer.example.test:{port}"}}]
    use: {{by: header, template: "VP {{presentation}}", audience: "https://api.example.test", nonce: random}}
operations:
  - {{id: read, methods: [GET], path: "/shown/**", action: read, credentials: [shown]}}
  - {{id: exchanged, methods: [GET, POST], path: "/exchanged/**", action: write, credentials: [exchanged]}}
  - {{id: w3c, methods: [GET], path: "/w3c/**", action: read, credentials: [w3c]}}
"""


@dataclass
class Stage:
    """The rig with everything around it. `hold` changes the account's credential."""

    rig: Rig
    folder: Path
    issuer: Issuer
    holder: JWK
    nonces: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    shown: list[dict[str, Any]] = field(default_factory=list)
    held: str = ""

    @property
    def provider(self) -> Provider:
        return self.rig.provider

    def url(self, path: str) -> str:
        return f"https://issuer.example.test:{self.provider.port}{path}"

    def hold(self, text: str) -> str:
        self.held = text
        (self.folder / "next").write_text(text)
        (self.folder / "next").rename(self.folder / "staff")
        return text

    def staff(self, *, holder: JWK | None = None, index: int | None = None, **changed: Any) -> str:
        status = {"status": {"status_list": {"uri": self.url("/status/1"), "idx": index}}} if index is not None else {}
        return self.hold(self.issuer.sd_jwt(holder or self.holder, HIDDEN, **{**status, **changed}))

    def statuses(self, values: list[int], **changed: Any) -> None:
        text = self.issuer.token_status_list(self.url("/status/1"), values, **changed)
        self.provider.on("/status/1", answer(200, text, Content_Type="application/statuslist+jwt"))

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.rig.call("GET", path, headers={"X-Any": self.rig.stand_in()}, **options)

    def reset(self) -> None:
        self.provider.requests.clear()
        for one in (self.nonces, self.tokens, self.shown):
            one.clear()
        metadata = {"issuer": self.issuer.name, "jwks": self.issuer.jwks}
        self.provider.on("/.well-known/jwt-vc-issuer", answer(200, metadata, Content_Type="application/json"))
        self.provider.on("/shown/things", self._challenge)
        self.provider.on("/nonce", self._nonce)
        self.provider.on("/token", self._token)
        self.provider.on("/exchanged/things", self._bearer)
        self.statuses([0] * 8)

    # -- the provider that verifies, with the reference library -------------------------------------------------

    async def _challenge(self, seen, reader, writer):
        found = re.fullmatch(r"VP (\S+)", seen.one("authorization") or "")
        try:
            assert found is not None
            claims = verified(found[1], self.issuer, audience="https://api.example.test", nonce=self.nonces[-1])
        except Exception:
            self.nonces.append(secrets.token_hex(8))
            await answer(401, WWW_Authenticate=f'VP realm="x", nonce="{self.nonces[-1]}"')(seen, reader, writer)
        else:
            self.shown.append(claims)
            await echo(seen, reader, writer)

    async def _nonce(self, seen, reader, writer):
        self.nonces.append(secrets.token_hex(8))
        await answer(200, {"c_nonce": self.nonces[-1]}, Content_Type="application/json")(seen, reader, writer)

    async def _token(self, seen, reader, writer):
        form = {name: values for name, values in parse_qs(seen.body.decode()).items()}
        assert form["grant_type"] == ["urn:example:vp"]
        where = f"https://api.example.test:{self.provider.port}/token"
        try:
            claims = verified(form["vp_token"][0], self.issuer, audience=where, nonce=self.nonces[-1])
        except Exception:
            await answer(400, {"error": "invalid_grant"})(seen, reader, writer)
            return
        self.shown.append(claims)
        self.tokens.append(f"token-CANARY-{len(self.tokens)}-0123456789abcdef")
        body = {"access_token": self.tokens[-1], "token_type": "Bearer", "expires_in": 600}
        await answer(200, body, Content_Type="application/json")(seen, reader, writer)

    async def _bearer(self, seen, reader, writer):
        if self.tokens and seen.one("authorization") == f"Bearer {self.tokens[-1]}":
            await echo(seen, reader, writer)
        else:
            await answer(401, WWW_Authenticate='Bearer error="invalid_token"')(seen, reader, writer)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole_stage():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        provider = Provider(folder, HOSTS)
        await provider.start()
        holder = key()
        account = {"secrets": {"staff": f"file:{folder}/staff"}, "keys": {"holder": "env:HOLDER"}}
        (folder / "staff").write_text("no-credential-yet")
        try:
            async with running_rig(
                folder,
                profiles={"example": PROFILE},
                settings={"providers": {"example": {"accounts": {"main": account}}}, "approvals": {"hold_s": 0}},
                environment={"HOLDER": json.dumps(holder.export(as_dict=True))},
                hosts=HOSTS,
                provider=provider,
            ) as rig:
                yield Stage(rig, folder, Issuer(f"https://issuer.example.test:{provider.port}"), holder)
        finally:
            await provider.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def stage(whole_stage):
    whole_stage.reset()
    return whole_stage


__all__ = ["VCT"]
