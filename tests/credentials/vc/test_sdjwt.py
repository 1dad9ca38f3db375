"""SD-JWT for a holder: the numbers of RFC 9901, the reference library as oracle, and everything that must be refused."""

from __future__ import annotations

import itertools
import json

import pytest

from proxy.credentials.kind import Sign
from proxy.credentials.vc.jose import BadTokenError, parse, thumbprint, verify
from proxy.credentials.vc.sdjwt import bound, digest_of, read
from proxy.keys.software import load
from proxy.keys.software import sign as sign_with
from proxy.secret import Secret
from tests.fakes.credential_issuer import Issuer, b64, key, public, signed, verified

TYPES = ("dc+sd-jwt",)
# RFC 9901, section 6.3 (recursive disclosures of an address) and 6.2, with their SHA-256 digests.
STREET = ("WyIyR0xDNDJzS1F2ZUNmR2ZyeU5STjl3IiwgInN0cmVldF9hZGRyZXNzIiwgIlNjaHVsc3RyLiAxMiJd",
          "9gjVuXtdFROCgRrtNcGUXmF65rdezi_6Er_j76kmYyM")  # fmt: skip
LOCALITY = ("WyJlbHVWNU9nM2dTTklJOEVZbnN4QV9BIiwgImxvY2FsaXR5IiwgIlNjaHVscGZvcnRhIl0",
            "6vh9bq-zS4GKM_7GpggVbYzzu6oOGXrmNVGPHP75Ud0")  # fmt: skip
REGION = ("WyI2SWo3dE0tYTVpVlBHYm9TNXRtdlZBIiwgInJlZ2lvbiIsICJTYWNoc2VuLUFuaGFsdCJd",
          "KURDPh4ZC19-3tiz-Df39V8eidy1oV3a3H1Da2N0g88")  # fmt: skip
COUNTRY = ("WyJlSThaV205UW5LUHBOUGVOZW5IZGhRIiwgImNvdW50cnkiLCAiREUiXQ",
           "WN9r9dCBJ8HTCsS2jKASxTjEyW5m5x65_Z_2ro2jfXM")  # fmt: skip
ADDRESS = ("WyJRZ19PNjR6cUF4ZTQxMmExMDhpcm9BIiwgImFkZHJlc3MiLCB7Il9zZCI6IFsiNnZoOWJxLXpTNEdLTV83R3BnZ1ZiWXp6dTZvT0dYcm1OVkdQSFA3NVVkMCIsICI5Z2pWdVh0ZEZST0NnUnJ0TmNHVVhtRjY1cmRlemlfNkVyX2o3NmttWXlNIiwgIktVUkRQaDRaQzE5LTN0aXotRGYzOVY4ZWlkeTFvVjNhM0gxRGEyTjBnODgiLCAiV045cjlkQ0JKOEhUQ3NTMmpLQVN4VGpFeVc1bTV4NjVfWl8ycm8yamZYTSJdfV0",
           "HvrKX6fPV0v9K_yCVFBiLFHsMaxcD_114Em6VT8x1lg")  # fmt: skip
PARTS = (STREET, LOCALITY, REGION, COUNTRY)
KEY = key("k")


def issued(claims, disclosures, **header):
    token = signed(KEY, {"typ": "dc+sd-jwt", "kid": "k", **header}, claims)
    return "~".join((token, *disclosures, ""))


def disclosure(*content):
    text = b64(json.dumps(content).encode())
    return text, digest_of(text, "sha-256")


def run(generator, private):
    """Drive a generator that only signs."""
    made = None
    while True:
        try:
            step = generator.send(made)
        except StopIteration as ended:
            return ended.value
        assert isinstance(step, Sign)
        signer = load(Secret("k", private))
        made = sign_with(signer._key, signer.public.algorithm, step.message)


def test_rfc9901_4_2_digests_of_disclosures():
    assert digest_of("WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0", "sha-256") == (
        "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"
    )
    assert digest_of("WyJsa2x4RjVqTVlsR1RQVW92TU5JdkNBIiwgIkZSIl0", "sha-256") == (
        "w0I8EKcdCtUPkGCNUrfwVp2xEgNjtoIDlOxc9-PlOhs"
    )
    for text, digest in (*PARTS, ADDRESS):
        assert digest_of(text, "sha-256") == digest


def test_rfc9901_6_3_recursive_disclosures_find_their_places():
    texts = [text for text, _ in (*PARTS, ADDRESS)]
    found = read(issued({"_sd": [ADDRESS[1]], "_sd_alg": "sha-256", "sub": "x"}, texts), TYPES)
    assert found.claims == {
        "sub": "x",
        "address": {
            "street_address": "Schulstr. 12",
            "locality": "Schulpforta",
            "region": "Sachsen-Anhalt",
            "country": "DE",
        },
    }
    only_country = found.showing(found.needed([("address", "country")])).split("~")[1:-1]
    assert only_country == [COUNTRY[0], ADDRESS[0]]
    assert set(found.showing(found.needed([("address",)])).split("~")[1:-1]) == set(texts)
    assert found.showing(found.needed([])).split("~")[1:] == [""]


def test_rfc9901_6_2_structured_disclosures_find_their_places():
    claims = {"address": {"_sd": [digest for _, digest in PARTS[:3]], "country": "DE"}}
    found = read(issued(claims, [text for text, _ in PARTS[:3]]), TYPES)
    assert found.claims["address"]["country"] == "DE"
    assert found.showing(found.needed([("address", "region")])).split("~")[1:-1] == [REGION[0]]


def test_elements_of_lists_and_decoys():
    one, other = disclosure("salt-1", "FR"), disclosure("salt-2", "DE")
    claims = {"nationalities": [{"...": one[1]}, {"...": "decoy"}, {"...": other[1]}, "US"], "_sd": ["decoy-2"]}
    found = read(issued(claims, [one[0], other[0]]), TYPES)
    assert found.claims == {"nationalities": ["FR", "DE", "US"]}
    assert found.showing(found.needed([("nationalities", 1)])).split("~")[1:-1] == [other[0]]
    assert found.showing(found.needed([("nationalities", None)])).split("~")[1:-1] == [one[0], other[0]]


def test_p1_what_a_profile_does_not_name_is_not_shown_along_with_what_it_names():
    flat = disclosure("s1", "address", {"country": "DE", "street": "x"})
    found = read(issued({"_sd": [flat[1]]}, [flat[0]]), TYPES)
    assert found.needed([("address", "country")]) == {flat[1]}
    assert found.permitted([("address", "country")]) == frozenset()
    assert found.permitted([("address", "country"), ("address", "street")]) == {flat[1]}
    inner = disclosure("s2", "country", "DE")
    mixed = disclosure("s3", "address", {"_sd": [inner[1]], "street": "x"})
    found = read(issued({"_sd": [mixed[1]]}, [inner[0], mixed[0]]), TYPES)
    assert found.permitted([("address", "country")]) == frozenset()
    assert found.permitted([("address",)]) == {inner[1], mixed[1]}
    listed = disclosure("s4", "roles", ["a", "b"])
    found = read(issued({"_sd": [listed[1]]}, [listed[0]]), TYPES)
    assert found.permitted([("roles", 0)]) == frozenset()
    assert found.permitted([("roles", None)]) == found.permitted([("roles",)]) == {listed[1]}


@pytest.mark.parametrize(
    "value",
    [{"diagnosis": {}}, {"diagnosis": []}, {"diagnosis": {"_sd": ["x"]}}, {"_sd": [], "diagnosis": [{"...": "x"}]}],
)
def test_p1_a_name_that_a_profile_does_not_name_is_not_shown_either(value):
    one = disclosure("s1", "health", {**value, "insured": {"_sd": ["y"]}})
    found = read(issued({"_sd": [one[1]]}, [one[0]]), TYPES)
    assert found.permitted([("health", "insured")]) == frozenset()
    assert found.permitted([("health",)]) == {one[1]}


def test_what_hangs_on_digests_opens_nothing():
    inner = disclosure("s1", "FR")
    one = disclosure("s2", "nationalities", [{"...": inner[1]}, {"...": "decoy"}])
    found = read(issued({"_sd": [one[1]]}, [inner[0], one[0]]), TYPES)
    assert found.permitted([("nationalities", 0)]) == {inner[1], one[1]}


A, B = disclosure("s1", "a", 1), disclosure("s2", "b", {"_sd": []})
ELEMENT = disclosure("s3", 7)
REFUSED = {
    "twice the same disclosure": ({"_sd": [A[1]]}, [A[0], A[0]]),
    "a disclosure that nothing refers to": ({"_sd": [A[1]]}, [A[0], B[0]]),
    "a digest twice in one place": ({"_sd": [A[1], A[1]]}, [A[0]]),
    "a digest twice in two places": ({"_sd": [A[1]], "deep": {"_sd": [A[1]]}}, [A[0]]),
    "a decoy twice": ({"_sd": ["x", "x"]}, []),
    "a claim that is there already": ({"_sd": [A[1]], "a": 2}, [A[0]]),
    "an element among claims": ({"_sd": [ELEMENT[1]]}, [ELEMENT[0]]),
    "a claim among elements": ({"list": [{"...": A[1]}]}, [A[0]]),
    "more beside the digest of an element": ({"list": [{"...": ELEMENT[1], "x": 1}]}, [ELEMENT[0]]),
    "a reserved name": ({"_sd": [disclosure("s", "_sd", [])[1]]}, [disclosure("s", "_sd", [])[0]]),
    "dots as a name": ({"_sd": [disclosure("s", "...", "x")[1]]}, [disclosure("s", "...", "x")[0]]),
    "dots in the open": ({"x": {"...": "y"}}, []),
    "digests that are no list": ({"_sd": "x"}, []),
    "a digest that is a number": ({"_sd": [7]}, []),
    "another hash": ({"_sd": [], "_sd_alg": "md5"}, []),
    "a disclosure of one": ({"_sd": [disclosure("s")[1]]}, [disclosure("s")[0]]),
    "a disclosure of four": ({"_sd": [disclosure("s", "n", 1, 2)[1]]}, [disclosure("s", "n", 1, 2)[0]]),
    "a salt that is a number": ({"_sd": [disclosure(1, "n", 1)[1]]}, [disclosure(1, "n", 1)[0]]),
    "padding": ({"_sd": [A[1]]}, [A[0] + "="]),
    "not base64url": ({"_sd": [A[1]]}, ["+/+/"]),
    "an empty disclosure": ({"_sd": [A[1]]}, ["", A[0]]),
    "too deep": (json.loads('{"x":' * 40 + "1" + "}" * 40), []),
    "too many": ({"_sd": []}, ["YQ"] * 600),
}  # fmt: skip


@pytest.mark.parametrize(("claims", "disclosures"), REFUSED.values(), ids=REFUSED)
def test_p5_what_must_be_refused_is(claims, disclosures):
    with pytest.raises(BadTokenError):
        read(issued(claims, disclosures), TYPES)


def test_p5_a_presentation_is_not_a_credential():
    good = issued({"_sd": [A[1]]}, [A[0]])
    assert read(good, TYPES).claims == {"a": 1}
    for bad in (good + "x.y.z", good.rstrip("~"), good.split("~")[0], f"~{good}", ""):
        with pytest.raises(BadTokenError):
            read(bad, TYPES)


@pytest.mark.parametrize(
    "header", [{"typ": "jwt"}, {"typ": None}, {"crit": ["x"]}, {"b64": False}, {"typ": ["dc+sd-jwt"]}, {"zip": "DEF"}]
)
def test_p5_headers_that_are_refused(header):
    text = f"{b64(json.dumps({'alg': 'ES256', 'typ': 'dc+sd-jwt', **header}).encode())}.e30.AAAA~"
    with pytest.raises(BadTokenError):
        read(text, TYPES)


@pytest.mark.parametrize("alg", ["none", "HS256", "ES256K", None, ["ES256"], {}])
def test_p5_algorithms_that_are_refused(alg):
    with pytest.raises(BadTokenError):
        read(f"{b64(json.dumps({'alg': alg, 'typ': 'dc+sd-jwt'}).encode())}.e30.AAAA~", TYPES)


def test_the_signature_is_by_a_key_that_fits():
    token = parse(signed(KEY, {"typ": "dc+sd-jwt", "kid": "k"}, {"x": 1}), TYPES)
    verify(token, [public(key("other")), public(KEY)])
    good = public(KEY)
    for keys in ([], [public(key("k"))], [{**good, "kid": "j"}], [{**good, "use": "enc"}], [{**good, "alg": "ES384"}],
                 [{"kty": "oct", "k": "AAAA"}], [{"kty": "EC"}], [{}]):  # fmt: skip
        with pytest.raises(BadTokenError):
            verify(token, keys)
    changed = parse(token.text[:-8] + ("AAAAAAAA" if not token.text.endswith("AAAAAAAA") else "BBBBBBBB"), TYPES)
    with pytest.raises(BadTokenError):
        verify(changed, [public(KEY)])


def test_a_thumbprint_is_of_public_keys_only():
    assert thumbprint(public(KEY)) == KEY.thumbprint()
    for bad in (KEY.export(as_dict=True), {"kty": "EC"}, {"kty": ["EC"]}, None, [], {"kty": "oct", "k": "x"}):
        assert thumbprint(bad) is None


NAMES = ("given_name", "family_name", "address", "roles")
HIDDEN = {"given_name": "Ada", "family_name": "Möbius", "address": {"country": "DE"}, "roles": ["admin"]}


@pytest.mark.parametrize("shown", [c for n in range(5) for c in itertools.combinations(NAMES, n)])
def test_the_reference_verifier_sees_what_was_chosen_and_no_more(shown):
    issuer, holder = Issuer(), key()
    held = read(issuer.sd_jwt(holder, HIDDEN), TYPES)
    verify(held.token, issuer.jwks["keys"])
    private = holder.export(as_dict=True)
    signer = load(Secret("k", json.dumps(private)))
    part = held.showing(held.needed([(name,) for name in shown]))
    whole = run(
        bound(part, held.hash_name, "holder", signer.public, audience="https://v.test", nonce="n-1", now_s=_now()),
        json.dumps(private),
    )
    seen = verified(whole, issuer, audience="https://v.test", nonce="n-1")
    assert {name: seen[name] for name in NAMES if name in seen} == {name: HIDDEN[name] for name in shown}
    for audience, nonce in (("https://w.test", "n-1"), ("https://v.test", "n-2")):
        with pytest.raises(ValueError):
            verified(whole, issuer, audience=audience, nonce=nonce)


def test_p5_the_reference_verifier_refuses_one_disclosure_more():
    issuer, holder = Issuer(), key()
    held = read(issuer.sd_jwt(holder, HIDDEN, decoys=False), TYPES)
    private = json.dumps(holder.export(as_dict=True))
    part = held.showing(held.needed([("roles",)]))
    public_key = load(Secret("k", private)).public
    whole = run(bound(part, "sha-256", "holder", public_key, audience="a", nonce="n", now_s=_now()), private)
    verified(whole, issuer, audience="a", nonce="n")
    more = next(p.chain[-1].text for p in held.placed if p.path == ("given_name",))
    head, _, kb = whole.rpartition("~")
    with pytest.raises(ValueError):  # sd_hash covers the disclosures
        verified(f"{head}~{more}~{kb}", issuer, audience="a", nonce="n")


def _now():
    import time

    return int(time.time())
