"""Everything that must not be used or answered, driven without a network: what the kind yields is answered from a table."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlencode

import orjson
import pytest
from sd_jwt.common import SDObj

from proxy.credentials.kind import MintFailedError
from tests.credentials.vc.certified import Certified
from tests.credentials.vc.driving import driven, reply
from tests.credentials.vc.world import (
    API,
    ASKED,
    BASE,
    CERTIFIED,
    CLIENT,
    HEADER,
    HIDDEN,
    NEIGHBOUR,
    OTHER_CERTIFIED,
    QUERY,
    TOKEN,
    URI,
    World,
    roots,
)
from tests.fakes.credential_issuer import V2, VCT, Issuer, key, public, signed, verified


def test_this_world_mints_what_nothing_speaks_against():
    for use in (HEADER, TOKEN, ASKED):
        world = World(use)
        assert world.outcome() == "minted"
        assert world.outcome(world.sd_jwt(typ="vc+sd-jwt")) == "minted"
    assert World().outcome(World().sd_jwt()) == "credential_unavailable"


@pytest.mark.parametrize(
    "changed",
    [{"exp": 1}, {"nbf": 2**40}, {"iat": 2**40}, {"exp": "soon"}, {"vct": "https://x.test/"}, {"vct": None}, {"iss": "https://x.test"},
     {"iss": None}, {"typ": "jwt"}, {"status": {"status_list": {}}}, {"holder": key()}, {"holder": None}],
)  # fmt: skip
def test_p5_a_credential_that_must_not_be_used(changed):
    world = World()
    assert world.outcome(world.sd_jwt(**changed)) == "credential_unavailable"


def test_p5_a_claim_that_must_not_be_hidden():
    world = World()
    for name in ("vct", "exp", "nbf", "iss", "status", "cnf"):
        hidden = {**HIDDEN, name: VCT if name == "vct" else BASE if name == "iss" else int(time.time()) + 900}
        open_ = {"vct": None} if name == "vct" else {name: None}
        assert (
            world.outcome(world.issuer.sd_jwt(world.holder if name != "cnf" else None, hidden, **open_))
            == "credential_unavailable"
        )


def test_p5_nothing_within_such_a_claim_is_hidden_either():
    world = World(binding="none")
    for name, inner in (("cnf", {"jwk": public(world.holder)}), ("status", {"status_list": {"uri": URI, "idx": 1}})):
        text = world.issuer.sd_jwt(None, {}, **{name: {SDObj(at): value for at, value in inner.items()}})
        assert world.outcome(text) == "credential_unavailable"


@pytest.mark.parametrize("text", ["", "garbage", "ü", "a.b.c~", "~", "x" * 3_000_000])
def test_p5_what_is_no_credential(text):
    assert World().outcome(text) == "credential_unavailable"


def test_p5_a_credential_signed_by_somebody_else():
    world = World()
    text = world.sd_jwt()
    forged = signed(key(), {"typ": "dc+sd-jwt", "kid": "issuer-1"}, base64.urlsafe_b64decode(text.split(".")[1] + "=="))
    assert world.outcome("~".join((forged, *text.split("~")[1:]))) == "credential_unavailable"


@pytest.mark.parametrize(
    "metadata",
    [reply(404), reply(200, b"garbage"), reply(200, {"issuer": "https://x.test", "jwks": {}}), reply(200, {}), reply(302), reply(200, b"["),
     reply(200, {"issuer": BASE, "jwks": {"keys": []}}), reply(200, {"issuer": BASE, "jwks_uri": 7}), reply(200, {"issuer": BASE, "jwks_uri": "https://nowhere.test/"}),
     reply(200, {"issuer": BASE, "jwks": Issuer().jwks}), reply(200, {"issuer": BASE, "jwks": Issuer().jwks, "jwks_uri": BASE})],
)  # fmt: skip
def test_p5_an_issuer_that_publishes_no_keys_of_its_own(metadata):
    world = World()
    world.web[f"{BASE}/.well-known/jwt-vc-issuer"] = metadata
    assert world.outcome() == "credential_unavailable"


def test_p5_metadata_is_about_exactly_this_issuer():
    world = World()
    for issuer, slug in (
        (BASE, "minted"),
        (f"{BASE}/", "credential_unavailable"),
        ("https://x.test", "credential_unavailable"),
    ):
        world.web[f"{BASE}/.well-known/jwt-vc-issuer"] = reply(200, {"issuer": issuer, "jwks": world.issuer.jwks})
        assert world.outcome() == slug


def test_an_issuers_keys_may_stand_elsewhere_or_in_the_profile_or_in_a_certificate():
    world = World()
    world.web[f"{BASE}/.well-known/jwt-vc-issuer"] = reply(200, {"issuer": BASE, "jwks_uri": f"{BASE}/keys"})
    world.web[f"{BASE}/keys"] = reply(200, world.issuer.jwks)
    assert world.outcome() == "minted"
    alone = World(issuers=[{"issuer": BASE, "jwks": world.issuer.jwks}])
    alone.issuer, alone.web = world.issuer, {}
    assert alone.outcome() == "minted"
    assert alone.outcome(Issuer(BASE).sd_jwt(alone.holder, {})) == "credential_unavailable"
    good, stranger = Certified("issuer.example.test"), Certified("issuer.example.test")
    by = World(issuers=[{"issuer": BASE, "roots": roots(good)}])
    for one, slug in ((good, "minted"), (stranger, "credential_unavailable"), (CERTIFIED, "credential_unavailable")):
        claims = {"iss": BASE, "vct": VCT, "cnf": {"jwk": public(by.holder)}}
        text = signed(one.key, {"typ": "dc+sd-jwt", "x5c": one.x5c}, claims) + "~"
        assert by.outcome(text) == slug
    other_name = World(issuers=[{"issuer": BASE, "roots": roots(CERTIFIED)}])
    claims = {"iss": BASE, "vct": VCT, "cnf": {"jwk": public(other_name.holder)}}
    text = signed(CERTIFIED.key, {"typ": "dc+sd-jwt", "x5c": CERTIFIED.x5c}, claims) + "~"
    assert other_name.outcome(text) == "credential_unavailable"


def test_p5_a_status_decides():
    world = World()
    status = {"status_list": {"uri": URI, "idx": 1}}
    for bits, value, slug in (
        (1, 0, "minted"),
        (1, 1, "credential_revoked"),
        (2, 2, "credential_revoked"),
        (8, 200, "credential_revoked"),
    ):
        world.web[URI] = reply(200, world.issuer.token_status_list(URI, [0, value], bits=bits))
        assert world.outcome(world.sd_jwt(status=status)) == slug
    good = world.issuer.token_status_list
    lists = [
        None, reply(500), reply(200, b"garbage"), reply(200, b"\xff"), reply(200, good(URI + "x", [0] * 8)), reply(200, good(URI, [0] * 8, exp=1)),
        reply(200, Issuer(BASE).token_status_list(URI, [0] * 8)), reply(200, good(URI, [0])[:-9] + "AAAAAAAAA"), reply(200, world.sd_jwt()),
    ]  # fmt: skip
    for one in lists:
        world.web[URI] = one
        with pytest.raises(MintFailedError) as failed:
            driven(world.minting(world.sd_jwt(status=status)), world.web, world.holder)
        assert failed.value.denial.slug == "credential_unavailable"
        assert failed.value.denial.in_doubt
    world.web[URI] = reply(200, good(URI, [0] * 8))
    assert world.outcome(world.sd_jwt(status={"status_list": {"uri": URI, "idx": 8}})) == "credential_unavailable"
    strict = World(require_status=True)
    assert strict.outcome() == "credential_unavailable"


@pytest.mark.parametrize(
    "changed",
    [{"@context": ["https://www.w3.org/2018/credentials/v1"]}, {"@context": V2}, {"type": ["VerifiableCredential"]}, {"type": ["StaffCredential"]},
     {"vc": {}}, {"issuer": "https://x.test"}, {"exp": 1}, {"credentialSubject": None}, {"cnf": None}, {"cnf": {"jwk": public(key())}},
     {"header": {"typ": "JWT"}}, {"credentialStatus": {"type": "Other"}}, {"credentialSubject": {"id": "did:jwk:!!"}, "cnf": None},
     {"validUntil": "2024-01-01T00:00:00Z"}, {"validUntil": "2024-01-01T00:00:00Z", "exp": None}, {"validFrom": "2999-01-01T00:00:00+01:00"},
     {"validUntil": "2999-01-01T00:00:00"}, {"validUntil": 4_000_000_000}],
)  # fmt: skip
def test_p5_a_w3c_credential_that_must_not_be_used(changed):
    world = World(format="vc+jwt", types=["StaffCredential"], disclose=[])
    assert world.outcome(world.issuer.vc_jwt(world.holder)) == "minted"
    assert world.outcome(world.issuer.vc_jwt(world.holder, **changed)) == "credential_unavailable"


def test_a_w3c_credential_ends_when_it_says():
    world = World(format="vc+jwt", types=["StaffCredential"], disclose=[])
    until_s = int(time.time()) + 900
    said = {"validFrom": "2024-01-01T00:00:00.5Z", "validUntil": datetime.fromtimestamp(until_s, UTC).isoformat()}
    minted = driven(world.minting(world.issuer.vc_jwt(world.holder, **said)), world.web, world.holder)
    assert minted.expires_at_s == until_s


def test_p5_a_bitstring_by_another_issuer_says_nothing_even_with_the_same_keys():
    world = World(format="vc+jwt", types=["StaffCredential"], disclose=[])
    entry = {"type": "BitstringStatusListEntry", "statusPurpose": "revocation", "statusListIndex": "1", "statusListCredential": URI}  # fmt: skip
    text = world.issuer.vc_jwt(world.holder, credentialStatus=entry)
    for issuer, slug in ((BASE, "minted"), ("https://x.test", "credential_unavailable")):
        world.web[URI] = reply(200, world.issuer.bitstring(URI, set(), issuer=issuer))
        assert world.outcome(text) == slug


def test_a_w3c_subject_may_be_our_key():
    world = World(format="vc+jwt", types=["StaffCredential"], disclose=[])
    jwk = base64.urlsafe_b64encode(orjson.dumps(public(world.holder))).rstrip(b"=").decode()
    text = world.issuer.vc_jwt(None, credentialSubject={"id": f"did:jwk:{jwk}#0"})
    assert world.outcome(text) == "minted"


@pytest.mark.parametrize(
    "token",
    [None, reply(500), reply(200, b"garbage"), reply(200, {"access_token": 7}), reply(200, {"access_token": "x y"}),
     reply(200, {"access_token": "a" * 20, "expires_in": -1}), reply(200, b'{"access_token": "aaaaaaaa", "expires_in": 1e400}'),
     reply(200, {"access_token": "a" * 20, "token_type": "DPoP"}), reply(429), reply(400, {"error": "invalid_grant"})],
)  # fmt: skip
def test_p5_token_endpoints_that_give_nothing(token):
    world = World(TOKEN)
    world.web[f"{API}/token"] = token
    assert world.outcome() == "token_endpoint_error"


def test_a_token_endpoints_nonce_is_used_once_more():
    world = World({**TOKEN, "nonce_header": "VP-Nonce"})

    def token(call):
        sent = parse_qs(call.body.decode())["vp_token"][0]
        try:
            verified(sent, world.issuer, audience=f"{API}/token", nonce="n-1")
        except ValueError:
            return reply(400, {"error": "use_nonce"}, VP_Nonce="n-1")
        return reply(200, {"access_token": "t" * 20})

    world.web[f"{API}/token"] = token
    assert world.outcome() == "minted"


# -- OpenID4VP -----------------------------------------------------------------------------------------------------------


def one(**changed):
    entry = {"id": "a", "format": "dc+sd-jwt", "meta": {"vct_values": [VCT]}, **changed}
    return {"credentials": [{name: value for name, value in entry.items() if value is not None}]}


ROLE = HIDDEN["roles"][0]
DCQL = {
    "nothing": (one(), {"a": []}),
    "one claim": (one(claims=[{"path": ["given_name"]}]), {"a": ["given_name"]}),
    "an open claim": (one(claims=[{"path": ["vct"], "values": [VCT]}]), {"a": []}),
    "an element": (one(claims=[{"path": ["roles", None], "values": ["x", ROLE]}]), {"a": ["roles"]}),
    "another value": (one(claims=[{"path": ["given_name"], "values": ["Grace"]}]), None),
    "not declared": (one(claims=[{"path": ["family_name"]}]), None),
    "not there": (one(claims=[{"path": ["age"]}]), None),
    "another type": (one(meta={"vct_values": ["https://x.test"]}), None),
    "another format": (one(format="mso_mdoc"), None),
    "no type": (one(meta=None), None),
    "authorities": (one(trusted_authorities=[{"type": "aki", "values": ["x"]}]), None),
    "the first set that can be": (
        one(claims=[{"id": "f", "path": ["family_name"]}, {"id": "g", "path": ["given_name"]}, {"id": "r", "path": ["roles"]}],
            claim_sets=[["f", "g"], ["g"], ["r"]]), {"a": ["given_name"]}),
    "an unknown claim in a set": (one(claims=[{"id": "g", "path": ["given_name"]}], claim_sets=[["x"]]), None),
    "options": ({"credentials": [*one(format="mso_mdoc")["credentials"], {**one()["credentials"][0], "id": "b"}],
                 "credential_sets": [{"options": [["a"], ["b"]]}, {"required": False, "options": [["a"]]}]}, {"b": []}),
    "every one without sets": ({"credentials": [*one(format="mso_mdoc")["credentials"], {**one()["credentials"][0], "id": "b"}]}, None),
    "a bad path": (one(claims=[{"path": [True]}]), None),
    "an empty path": (one(claims=[{"path": []}]), None),
    "a proof of the holder": (one(require_cryptographic_holder_binding=True), {"a": []}),
    "no query": (None, None),
    "garbage": ({"credentials": [{"id": {}}]}, None),
    "garbage in sets": ({**one(), "credential_sets": [{"options": [[{}]]}]}, None),
}  # fmt: skip


@pytest.mark.parametrize(("query", "wanted"), DCQL.values(), ids=DCQL)
def test_the_least_that_satisfies_a_query_is_shown(query, wanted):
    world = World(ASKED)
    world.ask_for(world.object(dcql_query=query))
    vp_token = world.answers()
    if vp_token is not None:
        seen = {n: verified(p, world.issuer, audience=CLIENT, nonce="n-123456789") for n, (p,) in vp_token.items()}
        vp_token = {n: sorted(HIDDEN.keys() & claims.keys()) for n, claims in seen.items()}
    assert vp_token == wanted


REFUSED = {
    "another client": lambda w: w.object(client_id="x509_san_dns:other.example.test"),
    "another answer mode": lambda w: w.object(response_mode="fragment"),
    "another answer type": lambda w: w.object(response_type="vp_token id_token"),
    "no nonce": lambda w: w.object(nonce=None),
    "for somebody else": lambda w: w.object(aud="https://x.test"),
    "expired": lambda w: w.object(exp=1),
    "an answer that goes elsewhere": lambda w: w.object(response_uri="https://other.example.test/answer"),
    "an answer in plain": lambda w: w.object(response_uri="http://api.example.test/answer"),
    "a transaction": lambda w: w.object(transaction_data=["e30"]),
    "no key to encrypt for": lambda w: w.object(response_mode="direct_post.jwt"),
    "a key that is no key": lambda w: w.object(response_mode="direct_post.jwt", client_metadata={"jwks": {"keys": [{"kty": "EC", "alg": "ECDH-ES"}]}}),
    "another type of token": lambda w: w.object(typ="jwt"),
    "signed by another": lambda w: w.object(by=key()),
    "no certificate": lambda w: w.object(x5c=[]),
    "a certificate below another root": lambda w: w.object(by=OTHER_CERTIFIED.key, x5c=OTHER_CERTIFIED.x5c),
    "a certificate of another below the same root": lambda w: w.object(by=NEIGHBOUR.key, x5c=NEIGHBOUR.x5c),
    "an answer that goes nowhere": lambda w: w.object(response_uri="https://["),
    "garbage": lambda w: "garbage",
}  # fmt: skip


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_p5_a_request_that_must_not_be_answered(make):
    world = World(ASKED)
    world.ask_for(make(world))
    assert world.answers() is None


def test_a_verifier_may_be_known_by_its_certificates_hash_by_its_key_or_by_its_place():
    hashed = f"x509_hash:{CERTIFIED.hash}"
    place = f"redirect_uri:{API}/answer"
    own = key("v")
    for client_id, verifier in (
        (hashed, {"client_id": hashed, "roots": roots(CERTIFIED)}),
        ("shop", {"client_id": "shop", "jwks": {"keys": [public(own)]}}),
        (place, {"client_id": place}),
    ):
        world = World({**ASKED, "verifier": verifier})
        claims = world.claims(client_id=client_id)
        if client_id == place:
            world.ask_for("", "openid4vp://?" + urlencode({**claims, "dcql_query": orjson.dumps(QUERY).decode()}))
        else:
            by, header = (own, {"kid": "v"}) if client_id == "shop" else (CERTIFIED.key, {"x5c": CERTIFIED.x5c})
            object_ = signed(by, {"typ": "oauth-authz-req+jwt", **header}, claims)
            world.ask_for("", "openid4vp://?" + urlencode({"client_id": client_id, "request": object_}))
        ((presentation,),) = world.answers().values()
        verified(presentation, world.issuer, audience=client_id, nonce="n-123456789")
        elsewhere = world.claims(client_id=client_id, response_uri=f"{API}/elsewhere")
        if client_id == place:
            world.ask_for("", "openid4vp://?" + urlencode({**elsewhere, "dcql_query": orjson.dumps(QUERY).decode()}))
            world.calls.clear()
            assert world.answers() is None


@pytest.mark.parametrize("broken", [None, reply(503), reply(200, b"garbage"), reply(200, {})])
@pytest.mark.parametrize("path", ["/start", "/object", "/answer"])
def test_p5_a_verifier_that_is_broken(path, broken):
    world = World(ASKED)
    world.web[f"{API}{path}"] = broken
    assert world.outcome() in ("token_endpoint_error", "credential_unavailable")
