"""A capability is minted for a token or a verifiable credential of the same account; driven without a network."""

from __future__ import annotations

import json
import re
import time

import pytest
from pydantic import ValidationError

from tests.credentials.vc.driving import driven, given, reply, spec
from tests.fakes.credential_issuer import VCT, Issuer, key, signed, verified

BASE, API = "https://issuer.example.test", "https://api.example.test"
VC = {"kind": "vc", "secret": "staff", "types": [VCT], "issuers": [{"issuer": BASE}], "disclose": [["role"]],
      "use": {"by": "header", "audience": API}}  # fmt: skip
OAUTH = {"kind": "oauth", "grant": "client_credentials", "token_endpoint": f"{BASE}/token", "client": {"id": "me"}}


def capability(**claims):
    return signed(key(), {"typ": "JWT"}, {"jti": "a", "exp": int(time.time()) + 60, "max_calls": 2, **claims})


def minted(using, web, *, secrets, holder=None, kept=None):
    kind = spec(kind="capability", endpoint=f"{API}/mint?x=1", using=using)
    offered = given(secrets=secrets, holder=holder, now_s=int(time.time()), kept=kept or {})
    calls = []
    return driven(kind.mint(offered), web, holder, calls), calls


def test_for_an_access_token_which_is_kept_and_used_again():
    def mint(call):
        assert call.headers["authorization"] == "Bearer access-token-1"
        return reply(200, {"token": capability()})

    web = {f"{BASE}/token": reply(200, {"access_token": "access-token-1", "token_type": "Bearer", "expires_in": 600}),
           f"{API}/mint?x=1": mint}  # fmt: skip
    credential, calls = minted(OAUTH, web, secrets={"client_secret": "s" * 20})
    assert [call.url for call in calls] == [f"{BASE}/token", f"{API}/mint?x=1"]
    assert credential.max_uses == 2
    assert "access_token" in credential.secrets  # so that answers are searched for it too
    again, calls = minted(OAUTH, web, secrets={"client_secret": "s" * 20}, kept=credential.keep)
    assert [call.url for call in calls] == [f"{API}/mint?x=1"]
    assert again.keep is None


def test_for_a_verifiable_credential_whose_challenge_is_answered():
    issuer, holder = Issuer(BASE), key()

    def mint(call):
        found = re.fullmatch(r"VP (\S+)", call.headers.get("authorization", ""))
        if found is None:
            return reply(401, WWW_Authenticate='VP nonce="n-1"')
        assert verified(found[1], issuer, audience=API, nonce="n-1")["role"] == "engineer"
        return reply(200, {"token": capability()})

    web = {
        f"{BASE}/.well-known/jwt-vc-issuer": reply(200, {"issuer": BASE, "jwks": issuer.jwks}),
        f"{API}/mint?x=1": mint,
    }
    credential, calls = minted(VC, web, secrets={"staff": issuer.sd_jwt(holder, {"role": "engineer"})}, holder=holder)
    assert [call.url for call in calls[1:]] == [f"{API}/mint?x=1"] * 2
    assert json.loads(calls[-1].body) == {}
    assert credential.facts == {"jti": "a"}


@pytest.mark.parametrize(
    "using", [{**VC, "secret": None}, {**OAUTH, "grant": "authorization_code"}, {**OAUTH, "grant": "device_code"}]
)
def test_a_credential_that_needs_a_person_cannot_be_used_inside(using):
    with pytest.raises(ValidationError):
        spec(kind="capability", endpoint=f"{API}/mint", using=using)
