"""What a verifier can read, and transactions that it wants authorized: OpenID4VP 1.0, driven without a network."""

from __future__ import annotations

import base64
import hashlib
import json
from urllib.parse import urlencode

import pytest
from jwcrypto.jwk import JWK

from proxy.credentials.vc.dcql import answered
from proxy.credentials.vc.held import read
from proxy.credentials.vc.jose import BadTokenError
from proxy.credentials.vc.request import Verifier, unsigned_request
from tests.credentials.vc.world import API, ASKED, CLIENT, QUERY, World
from tests.fakes.credential_issuer import V2, VCT, Issuer, b64, key, verified

PAYMENT = "https://credentials.example.test/payment"
ALLOWED = {**ASKED, "transaction_types": [PAYMENT]}


def transaction(**changed):
    told = {"type": PAYMENT, "credential_ids": ["a"], "amount": "12.50", **changed}
    return b64(json.dumps({name: value for name, value in told.items() if value is not None}).encode())


def proof_in(presentation):
    return json.loads(base64.urlsafe_b64decode(presentation.rpartition("~")[2].split(".")[1] + "=="))


def hashed(text, name):
    return b64(hashlib.new(name.replace("-", ""), text.encode()).digest())


@pytest.mark.parametrize(
    ("hashes", "named"), [(None, None), (["sha-256"], "sha-256"), (["md5", "sha-512", "sha-384"], "sha-384")]
)
def test_a_transaction_that_the_profile_allows_is_authorized_in_the_proof(hashes, named):
    world = World(ALLOWED)
    wanted = [transaction(transaction_data_hashes_alg=hashes), transaction(n=2, transaction_data_hashes_alg=hashes)]
    world.ask_for(world.object(transaction_data=wanted))
    ((presentation,),) = world.answers().values()
    verified(presentation, world.issuer, audience=CLIENT, nonce="n-123456789")
    proof = proof_in(presentation)
    assert proof["transaction_data_hashes"] == [hashed(text, named or "sha-256") for text in wanted]
    assert proof.get("transaction_data_hashes_alg") == named


def test_a_transaction_is_authorized_by_one_credential_alone():
    world = World(ALLOWED)
    two = [{**QUERY["credentials"][0], "id": name} for name in ("a", "b")]
    world.ask_for(
        world.object(dcql_query={"credentials": two}, transaction_data=[transaction(credential_ids=["b", "a"])])
    )
    proofs = {name: proof_in(presentation) for name, (presentation,) in world.answers().items()}
    assert {name for name, proof in proofs.items() if "transaction_data_hashes" in proof} == {"b"}


@pytest.mark.parametrize(
    "listed",
    [[], "x", {}, [7], [transaction(type=None)], [transaction(type="https://x.test/other")], [transaction(credential_ids=None)],
     [transaction(credential_ids=[])], [transaction(credential_ids=["c"])], [transaction(credential_ids=["a", 7])], ["e30"], ["!"],
     [transaction() + "="], [transaction(transaction_data_hashes_alg=["md5"])], [transaction(transaction_data_hashes_alg="sha-256")],
     [transaction(transaction_data_hashes_alg=[])], [transaction(), transaction(transaction_data_hashes_alg=["sha-512"])],
     [transaction(), transaction(type="x")], [transaction(n=n) for n in range(17)], [b64(b"[]")]],
)  # fmt: skip
def test_p5_a_transaction_that_is_not_authorized_refuses_the_whole_request(listed):
    world = World(ALLOWED)
    world.ask_for(world.object(transaction_data=listed))
    assert world.answers() is None


def test_p5_a_transaction_is_only_authorized_where_the_profile_says_so_the_request_is_signed_and_the_proof_is_ours():
    world = World(ASKED)
    world.ask_for(world.object(transaction_data=[transaction()]))
    assert world.answers() is None
    with pytest.raises(BadTokenError, match="signed"):
        unsigned_request({"transaction_data": "[]"}, Verifier(client_id=f"redirect_uri:{API}"))
    place = f"redirect_uri:{API}/answer"
    world = World({**ALLOWED, "verifier": {"client_id": place}})
    claims = {**world.claims(client_id=place), "dcql_query": json.dumps(QUERY)}
    for more, good in (({}, True), ({"transaction_data": json.dumps([transaction()])}, False)):
        world.calls.clear()
        world.ask_for("", "openid4vp://?" + urlencode({**claims, **more}))
        assert (world.answers() is not None) is good
    w3c = World(ALLOWED, format="vc+jwt", types=["StaffCredential"], disclose=[])
    query = {"credentials": [{"id": "a", "format": "jwt_vc_json", "meta": {"type_values": [["StaffCredential"]]}}]}
    for more, slug in (({}, "minted"), ({"transaction_data": [transaction()]}, "credential_unavailable")):
        w3c.ask_for(w3c.object(dcql_query=query, **more))
        assert w3c.outcome(w3c.issuer.vc_jwt(w3c.holder)) == slug


@pytest.mark.parametrize(
    ("formats", "good"),
    [
        (None, True), ({"dc+sd-jwt": {}}, True), ({"vc+sd-jwt": {}}, True), ({"dc+sd-jwt": {"sd-jwt_alg_values": ["ES256", "ES384"]}}, True),
        ({"dc+sd-jwt": {"kb-jwt_alg_values": ["ES256"]}}, True), ({"dc+sd-jwt": {"sd-jwt_alg_values": ["ES384"]}}, False),
        ({"dc+sd-jwt": {"kb-jwt_alg_values": ["EdDSA"]}}, False), ({"mso_mdoc": {}}, False), ({"jwt_vc_json": {}}, False), ({}, False),
        ([], False), ({"dc+sd-jwt": []}, False), ({"dc+sd-jwt": {"kb-jwt_alg_values": "ES256"}}, False),
    ],
)  # fmt: skip
def test_a_verifier_that_cannot_read_what_we_hold_is_told_so(formats, good):
    world = World(ASKED)
    world.ask_for(world.object(client_metadata={"vp_formats_supported": formats}))
    assert (world.answers() is not None) is good


def test_two_names_of_one_algorithm_and_the_formats_of_w3c_credentials():
    ed = JWK.generate(kty="OKP", crv="Ed25519")
    world = World(ASKED)
    world.holder = ed
    for listed, slug in ((["EdDSA"], "minted"), (["Ed25519"], "minted"), (["ES256"], "credential_unavailable")):
        formats = {"dc+sd-jwt": {"kb-jwt_alg_values": listed}}
        world.ask_for(world.object(client_metadata={"vp_formats_supported": formats}))
        assert world.outcome() == slug
    world = World(ASKED, format="vc+jwt", types=["StaffCredential"], disclose=[])
    query = {"credentials": [{"id": "a", "format": "jwt_vc_json", "meta": {"type_values": [["StaffCredential"]]}}]}
    for formats, slug in (({"jwt_vc_json": {"alg_values": ["ES256"]}}, "minted"),
                          ({"jwt_vc_json": {"alg_values": ["ES384"]}}, "credential_unavailable"),
                          ({"dc+sd-jwt": {}}, "credential_unavailable")):  # fmt: skip
        world.ask_for(world.object(dcql_query=query, client_metadata={"vp_formats_supported": formats}))
        assert world.outcome(world.issuer.vc_jwt(world.holder)) == slug


def test_p5_a_query_that_demands_the_holders_proof_is_not_answered_without_one():
    held = read(Issuer().sd_jwt(None, {}), "dc+sd-jwt")
    entry = {"id": "a", "format": "dc+sd-jwt", "meta": {"vct_values": [VCT]}}
    assert answered({"credentials": [entry]}, held, (), bound=True) == {"a": frozenset()}
    for demand in ({}, {"require_cryptographic_holder_binding": True}):
        with pytest.raises(BadTokenError):
            answered({"credentials": [{**entry, **demand}]}, held, (), bound=False)
    asked = {**entry, "require_cryptographic_holder_binding": False}
    assert answered({"credentials": [asked]}, held, (), bound=False) == {"a": frozenset()}


def test_p5_types_that_name_none_are_not_everything():
    held = read(Issuer().vc_jwt(key()), "vc+jwt")
    for types, good in (
        ([["StaffCredential"]], True),
        ([[]], False),
        ([], False),
        ([["StaffCredential", "Other"]], False),
    ):
        query = {"credentials": [{"id": "a", "format": "jwt_vc_json", "meta": {"type_values": types}}]}
        if good:
            assert answered(query, held, (), bound=True) == {"a": frozenset()}
        else:
            with pytest.raises(BadTokenError):
                answered(query, held, (), bound=True)
    assert held.claims["@context"] == [V2]


@pytest.mark.parametrize("url", ["openid4vp://[?client_id=x", "openid4vp://?" + "&".join(f"p{n}=x" for n in range(40))])
def test_p5_a_link_that_is_none_is_refused_as_one(url):
    world = World(ASKED)
    world.ask_for("", url)
    assert world.answers() is None


def test_an_account_whose_answers_may_go_to_more_hosts_is_bound_to_all_of_them():
    world = World({**ASKED, "response_hosts": ["answers.example.test", "other.example.test:8443"]})
    assert world.kind.endpoints({}) == (
        f"{API}/start", "https://answers.example.test", "https://other.example.test:8443",
    )  # fmt: skip


def test_p1_a_token_does_not_show_itself():
    from proxy.credentials.vc.exchanges import Token

    assert "CANARY" not in repr(Token("CANARY", 1))
