"""DPoP against the numbers of RFC 9449 and RFC 7638, and against another library's verifier."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from jwskate import Jwk
from requests_oauth2client import BearerToken, DPoPKey
from requests_oauth2client.dpop import validate_dpop_proof

from proxy.credentials.oauth import dpop
from proxy.credentials.oauth.lessons import MORE_SCOPE, STEP_UP, lesson
from proxy.keys import software
from proxy.keys.public import PublicKey, base64url
from proxy.model import Authority, RequestHead, ResponseHead

# RFC 9449, sections 4.1, 6.1 and 7.1
KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
    "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
}
JKT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
TOKEN = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
ATH = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"


def finished(generator, signer):
    answer = None
    while True:
        try:
            step = generator.send(answer)
        except StopIteration as ended:
            return ended.value
        answer = asyncio.run(signer.sign(step.message))


def made(algorithm="ES256", **more):
    signer = software.generate(algorithm)
    proven = dpop.Proven(**{"method": "POST", "url": "https://server.example.com/token", "now_s": 1_562_262_616, **more})
    return signer, finished(dpop.proof(signer.public, proven), signer)


def test_the_numbers_of_rfc_9449():
    assert PublicKey("ES256", KEY).thumbprint == JKT
    assert dpop.token_hash(TOKEN) == ATH


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "EdDSA", "Ed25519"])
def test_another_library_takes_the_proof(algorithm):
    signer, proof = made(algorithm, token=TOKEN, nonce="eyJ7S_zG.eyJH0-Z.HX4w-7v")
    assert validated(proof, algorithm, token=TOKEN, nonce="eyJ7S_zG.eyJH0-Z.HX4w-7v")
    header, claims = (orjson.loads(dpop.from_base64url(part)) for part in proof.split(".")[:2])
    assert header["jwk"] == signer.public.jwk
    assert "d" not in header["jwk"]
    assert claims["ath"] == ATH
    assert claims["iat"] == 1_562_262_616
    assert len(dpop.from_base64url(claims["jti"])) * 8 >= 96
    assert Jwk(header["jwk"]).thumbprint() == signer.public.thumbprint
