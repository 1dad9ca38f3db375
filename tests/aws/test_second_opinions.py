"""Signatures against signers that are not ours: botocore's in this process, smithy's (AWS SDK for JavaScript) and aws4 in Node."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from pathlib import Path

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from proxy.aws import resign
from proxy.aws.scope import Claim
from proxy.aws.signing import UNSIGNED, Keys, Scope
from proxy.model import Authority, RequestHead
from tests.aws.conftest import KEY, KEY_ID
from tests.aws.test_requests import CALLS, stand_in, url
from tests.aws.test_streams import SIGNED, SIGNED_BY_A, chunked, event
from tests.aws.test_streams import headers as claimed
from tests.rig.node import installed

NODE = Path(__file__).parent / "node"
AT_S, STAMP = 1_440_938_160, "20150830T123600Z"
MRAP = "pets.mrap.accesspoint.s3-global.amazonaws.com"
TEXT = "aZ09-._~ !\"#$&'()*+,/:;<=>?@[]^`{|}äß你😀%"


def some(chance, characters=TEXT, most=8):
    return "".join(chance.choice(characters) for _ in range(chance.randint(1, most)))


def made_up(chance):
    """A head in the canonical form, as the sidecar decides on it; what it does not accept is left out."""
    segments = tuple(some(chance, TEXT.translate({ord(c): None for c in "/;%."})) for _ in range(chance.randint(1, 4)))
    names = [some(chance) for _ in range(chance.randint(0, 4))]
    quote = resign._escaped
    query = "&".join(f"{quote(name)}={quote(some(chance))}" for name in [*names, *names[:1]])
    values = [chance.choice(("a", "a  b", " a", "a,b", "käse".encode().decode("latin-1"))) for _ in range(3)]
    headers = tuple((f"x-amz-meta-{chance.choice('abc')}", value.strip()) for value in values)
    return RequestHead(
        chance.choice(("GET", "PUT", "DELETE")), "https", Authority("dynamodb.us-east-1.amazonaws.com", chance.choice((443, 8443))),
        "/", segments, query or None, headers, has_body=False,
    )  # fmt: skip


def by_botocore(head, scope, token):
    """The Authorization that botocore would send with the same date, for what `head` has signed."""
    request = AWSRequest(head.method, f"https://{head.authority}{head.path}{f'?{head.query}' if head.query else ''}")
    for name, value in head.headers:
        if name.startswith("x-amz-"):
            request.headers.add_header(name, value.encode("latin-1").decode())
    request.context.update(timestamp=STAMP, payload_signing_enabled=True)
    signer = (S3SigV4Auth if scope.service == "s3" else SigV4Auth)(
        Credentials(KEY_ID, KEY, token), scope.service, scope.region
    )
    text = signer.string_to_sign(request, signer.canonical_request(request))
    names = signer.signed_headers(signer.headers_to_sign(request))
    return f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, SignedHeaders={names}, Signature={signer.signature(text, request)}"


@pytest.mark.parametrize("service", ["s3", "lambda"])
def test_botocore_signs_the_same(service):
    chance = random.Random(4)
    for number in range(150):
        token = None if number % 2 else "a/session+token=="
        scope, payload = Scope(service, "us-east-1"), UNSIGNED if service == "s3" else resign.signing.EMPTY
        clean = resign.cleaned(made_up(chance), Claim())
        signed, _ = resign.signed(clean, Keys(KEY_ID, KEY, token), scope, Claim(), payload=payload, at_s=AT_S)
        assert signed.header("authorization") == by_botocore(signed, scope, token), clean


async def opinions(rig, services):
    """What the Node packages say of the last requests that the provider got, one service of each."""
    if (problem := installed(NODE)) is not None:
        pytest.skip(problem)
    told = {
        "keys": {"id": KEY_ID, "secret": KEY},
        "requests": [
            {
                "method": seen.method, "host": seen.one("host"), "target": seen.target, "headers": seen.headers,
                "body": base64.b64encode(seen.body).decode(), "service": service, "region": region,
            }
            for seen, (service, region) in zip(rig.provider.requests, services, strict=True)
        ],
    }  # fmt: skip
    node = await asyncio.create_subprocess_exec("node", str(NODE / "judge.mjs"), stdin=-1, stdout=-1)
    out, _ = await asyncio.wait_for(node.communicate(json.dumps(told).encode()), 60)
    return json.loads(out)


def by_a(kind, key_id):
    return {
        "authorization": f"AWS4-ECDSA-P256-SHA256 Credential={key_id}/20130524/s3/aws4_request, SignedHeaders=host, Signature=30",
        "x-amz-region-set": "us-east-1,eu-west-1", "x-amz-content-sha256": kind,
    }  # fmt: skip


@pytest.mark.slow
async def test_smithy_and_aws4_sign_the_same(rig):
    services = []
    for presigned in (False, True):
        for method, host, rest, service, body in CALLS:
            claim = claimed("UNSIGNED-PAYLOAD", service) if not presigned else {}
            query = "&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20261125T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00"
            query += f"&X-Amz-Credential=AKIANOBODYSKEYATALLS%2F20261125%2Fus-east-1%2F{service}%2Faws4_request"
            target = f"{rest}{'&' if '?' in rest else '?'}{query[1:]}" if presigned else rest
            answer = await rig.call(method, url(rig, host, target), headers=claim, content=body)
            assert answer.status == 200, rest
            services.append((service, "us-east-1"))
    key_id = stand_in(rig).access_key
    given = {**by_a("UNSIGNED-PAYLOAD", key_id), "x-amz-meta-b": "a  b", "content-type": "text/plain"}
    await rig.call("PUT", url(rig, MRAP, "/a%20b/c(d)?x=%2F&x=a"), headers=given, content=b"miau")
    wide = b"0" * 144
    for kind, trailer, fake in (
        (SIGNED_BY_A, b"", wide), (f"{SIGNED_BY_A}-TRAILER", b"a:b\r\n", wide), (SIGNED, b"", b"0" * 64), (f"{SIGNED}-TRAILER", b"a:b\r\n", b"0" * 64),
    ):  # fmt: skip
        asymmetric = kind.startswith(SIGNED_BY_A)
        host = MRAP if asymmetric else "s3.us-east-1.amazonaws.com"
        given = by_a(kind, key_id) if asymmetric else claimed(kind)
        await rig.call("PUT", url(rig, host, "/k"), headers=given, content=chunked(b"miau", trailer=trailer, fake=fake))
    stream = {"content-type": "application/vnd.amazon.eventstream"}
    given = claimed("STREAMING-AWS4-HMAC-SHA256-EVENTS", "transcribe", **stream)
    body = event(b"audio" * 100) + event(b"more", at_ms=1_795_600_000_999) + event(b"")
    await rig.call("POST", url(rig, "transcribestreaming.us-east-1.amazonaws.com", "/x"), headers=given, content=body)
    services += [("s3", "")] * 3 + [("s3", "us-east-1")] * 2 + [("transcribe", "us-east-1")]
    assert rig.provider.verdicts == [None] * len(services)
    found = await opinions(rig, services)
    assert found == [[]] * len(services), found
    for seen in rig.provider.requests:
        seen.method = "PATCH"  # and they can say no
    found = await opinions(rig, services)
    assert all(found), found
