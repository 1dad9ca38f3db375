"""An issuer, a verifier and a token endpoint without a network: what a `kind: vc` yields is answered from a table."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlencode

import orjson
from cryptography.hazmat.primitives import serialization

from proxy.credentials.kind import MintFailedError
from tests.credentials.vc.certified import Certified
from tests.credentials.vc.driving import driven, given, reply, slug_of, spec
from tests.fakes.credential_issuer import VCT, Issuer, key, signed

BASE, API = "https://issuer.example.test", "https://api.example.test"
CLIENT = "x509_san_dns:api.example.test"
URI = f"{BASE}/status/1"
HIDDEN = {"given_name": "Ada", "family_name": "Möbius", "roles": ["engineer"]}
CERTIFIED, OTHER_CERTIFIED = Certified(), Certified()
NEIGHBOUR = Certified("other.example.test", beside=CERTIFIED)
HEADER = {"by": "header", "audience": API}
TOKEN = {"by": "token_request", "token_endpoint": f"{API}/token"}


def roots(certified):
    return certified.root.public_bytes(serialization.Encoding.PEM).decode()


ASKED = {"by": "openid4vp", "start": f"{API}/start", "verifier": {"client_id": CLIENT, "roots": roots(CERTIFIED)}}
QUERY = {
    "credentials": [
        {"id": "a", "format": "dc+sd-jwt", "meta": {"vct_values": [VCT]}, "claims": [{"path": ["given_name"]}]}
    ]
}


class World:
    """An issuer, a verifier and a token endpoint as a table of answers."""

    def __init__(self, use=HEADER, **fields):
        self.issuer, self.holder = Issuer(BASE), key()
        usual = {"types": [VCT], "issuers": [{"issuer": BASE}], "disclose": [["given_name"], ["roles"]]}
        self.kind = spec(kind="vc", secret="staff", use=use, **{**usual, **fields})
        self.calls = []
        self.web = {
            f"{BASE}/.well-known/jwt-vc-issuer": reply(200, {"issuer": BASE, "jwks": self.issuer.jwks}),
            URI: reply(200, self.issuer.token_status_list(URI, [0] * 8)),
            f"{API}/token": reply(200, {"access_token": "t" * 20, "token_type": "Bearer"}),
            f"{API}/answer": reply(200, {"access_token": "t" * 20}),
        }
        self.ask_for(self.object())

    def sd_jwt(self, **changed):
        return self.issuer.sd_jwt(changed.pop("holder", self.holder), HIDDEN, **changed)

    def minting(self, text=None):
        secrets = {"staff": self.sd_jwt() if text is None else text}
        return self.kind.mint(given(secrets=secrets, holder=self.holder, now_s=int(time.time())))

    def outcome(self, text=None):
        return slug_of(self.minting(text), self.web, self.holder)

    def claims(self, **changed):
        claims = {
            "client_id": CLIENT, "response_type": "vp_token", "response_mode": "direct_post", "nonce": "n-123456789",
            "response_uri": f"{API}/answer", "dcql_query": QUERY, "aud": "https://self-issued.me/v2", **changed,
        }  # fmt: skip
        return {name: value for name, value in claims.items() if value is not None}

    def object(self, *, by=None, x5c=None, typ="oauth-authz-req+jwt", **changed):
        header = {"typ": typ, "x5c": x5c if x5c is not None else CERTIFIED.x5c}
        return signed(by or CERTIFIED.key, header, self.claims(**changed))

    def ask_for(self, object_, url=None):
        link = "openid4vp://?" + urlencode({"client_id": CLIENT, "request_uri": f"{API}/object"})
        self.web[f"{API}/start"] = reply(200, {"request": url or link})
        self.web[f"{API}/object"] = reply(200, object_)

    def answers(self):
        """The presentations that the verifier gets; None where it gets none."""
        try:
            driven(self.minting(), self.web, self.holder, self.calls)
        except MintFailedError as failed:
            slug = failed.denial.slug
        else:
            slug = None
        if slug is not None:
            assert (slug, f"{API}/answer" in [call.url for call in self.calls]) == ("credential_unavailable", False)
            return None
        form = parse_qs(self.calls[-1].body.decode())
        return orjson.loads(form["vp_token"][0])
