"""Bodies that are signed piece by piece: signed anew while they stream, or passed on where their pieces are unsigned."""

from __future__ import annotations

import asyncio
import hashlib
import re
import struct
import zlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.aws.chunks import MAX_CHUNK_BYTES, ChunkSigner
from proxy.aws.events import EventSigner
from proxy.aws.signing import Keys, Scope
from proxy.errors import Refused
from tests.aws.conftest import KEY_ID

S3 = "s3.us-east-1.amazonaws.com"
FAKE = b"0" * 64
AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=AKIANOBODYSKEYATALLS/20130524/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=00"
SIGNED, TRAILED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
SIGNED_BY_A = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
EXAMPLE = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


def chunked(*pieces, trailer=b"", fake=FAKE):
    body = b"".join(b"%x;chunk-signature=%s\r\n%s\r\n" % (len(piece), fake, piece) for piece in pieces)
    end = b"0;chunk-signature=%s\r\n" % fake
    return body + end + (trailer + b"x-amz-trailer-signature:%s\r\n" % fake if trailer else b"") + b"\r\n"


async def pieces_of(body, size):
    for at in range(0, len(body), size):
        yield body[at : at + size]
        await asyncio.sleep(0)


def headers(kind, service="s3", **more):
    return {"authorization": AUTHORIZATION.format(service), "x-amz-content-sha256": kind, **more}


@pytest.mark.parametrize("http2", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_signed_chunks_are_signed_anew_as_they_stream(rig, http2):
    data = [bytes([n]) * 65536 for n in range(20)] + [b"rest"]
    url = f"https://{S3}:{rig.provider.port}/pets/big"
    for kind, trailer in ((SIGNED, b""), (TRAILED, b"x-amz-checksum-crc32c:sOO8/Q==\r\n")):
        body = chunked(*data, trailer=trailer)
        more = {
            "content-length": str(len(body)),
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": "1310724",
        }
        if trailer:
            more["x-amz-trailer"] = "x-amz-checksum-crc32c"
        answer = await rig.call("PUT", url, headers=headers(kind, **more), content=pieces_of(body, 50_000), http2=http2)
        assert (rig.provider.verdicts.pop(), answer.status) == (None, 200), kind
        assert len(rig.provider.last.body) == len(body)
        assert FAKE not in rig.provider.last.body
        assert data[3] in rig.provider.last.body


async def test_chunks_signed_by_sigv4a_are_signed_anew_as_they_stream(rig):
    host = "pets.mrap.accesspoint.s3-global.amazonaws.com"
    data, fake = [bytes([n]) * 65536 for n in range(5)], FAKE + b"0" * 76 + b"****"
    for kind, trailer in ((SIGNED_BY_A, b""), (f"{SIGNED_BY_A}-TRAILER", b"x-amz-checksum-crc32c:sOO8/Q==\r\n")):
        body = chunked(*data, trailer=trailer, fake=fake)
        given = {
            "authorization": "AWS4-ECDSA-P256-SHA256 Credential=AKIANOBODYSKEYATALLS/20130524/s3/aws4_request, SignedHeaders=host, Signature=30",
            "x-amz-region-set": "*", "x-amz-content-sha256": kind, "content-encoding": "aws-chunked", "content-length": str(len(body)),
            "x-amz-decoded-content-length": str(5 * 65536), **({"x-amz-trailer": "x-amz-checksum-crc32c"} if trailer else {}),
        }  # fmt: skip
        answer = await rig.call(
            "PUT", f"https://{host}:{rig.provider.port}/k", headers=given, content=pieces_of(body, 50_000)
        )
        assert (rig.provider.verdicts.pop(), answer.status) == (None, 200), kind
        assert len(rig.provider.last.body) == len(body)
        assert fake not in rig.provider.last.body
        for bad in (chunked(b"miau", trailer=trailer), body.replace(fake, fake[4:], 1)):
            refused = {**given, "content-length": str(len(bad))}
            answer = await rig.call("PUT", f"https://{host}:{rig.provider.port}/k", headers=refused, content=bad)
            assert answer.problem == "malformed_request"
        given["authorization"] = AUTHORIZATION.format("s3")
        answer = await rig.call("PUT", f"https://{S3}:{rig.provider.port}/k", headers=given, content=body)
        assert answer.problem == "invalid_request"  # pieces are signed as the head is


async def test_unsigned_chunks_with_a_trailer_pass_as_they_are(rig):
    body = b"4\r\nmiau\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    more = {"x-amz-trailer": "x-amz-checksum-crc32", "x-amz-decoded-content-length": "4"}
    given = headers("STREAMING-UNSIGNED-PAYLOAD-TRAILER", **more)
    answer = await rig.call("PUT", f"https://{S3}:{rig.provider.port}/pets/k", headers=given, content=body)
    assert (rig.provider.verdicts, answer.status) == ([None], 200)
    assert rig.provider.last.body == body
    assert rig.provider.last.one("x-amz-content-sha256") == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


async def test_a_declared_hash_streams_and_the_server_checks_it(rig):
    url, body = f"https://{S3}:{rig.provider.port}/pets/k", b"x" * 3_000_000  # more than may be held
    for told, verdict in (
        (hashlib.sha256(body).hexdigest(), None),
        ("0" * 64, "XAmzContentSHA256Mismatch"),
        ("UNSIGNED-PAYLOAD", None),
    ):
        await rig.call("PUT", url, headers=headers(told), content=body)
        assert rig.provider.verdicts.pop() == verdict
        assert rig.provider.last.body == body


async def test_bodies_that_are_not_what_they_say_never_end_well(rig):
    url = f"https://{S3}:{rig.provider.port}/pets/k"
    good = chunked(b"miau")
    for body in (b"miau", good[:-4], good + b"more", good.replace(FAKE, b"zz", 1), good.replace(b"4;", b"3;", 1)):
        answer = await rig.call("PUT", url, headers=headers(SIGNED), content=body)
        assert answer.problem == "malformed_request", body
    assert None not in rig.provider.verdicts
    for kind in ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "STREAMING-NEW-THING", "garbage"):
        answer = await rig.call("PUT", url, headers=headers(kind), content=good)
        assert answer.problem == "invalid_request", kind
    calls = await rig.settled(8)
    assert {(c.decision["decision"], c.outcome and c.outcome["outcome"]) for c in calls} <= {
        ("allow", "client_aborted"), ("allow", "not_sent"), ("allow", "response_withheld"), ("allow", "upstream_aborted"), ("deny", None),
    }  # fmt: skip


def event(payload, at_ms=1_795_600_000_000):
    fields = b"\x05:date\x08" + struct.pack(">q", at_ms) + b"\x10:chunk-signature\x06\x00\x20" + b"\0" * 32
    prelude = struct.pack(">II", 16 + len(fields) + len(payload), len(fields))
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + fields + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


@pytest.mark.parametrize("http2", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_signed_event_streams_are_signed_anew(rig, http2):
    url = f"https://transcribestreaming.us-east-1.amazonaws.com:{rig.provider.port}/stream-transcription"
    body = event(b"audio" * 1000) + event(b"more") + event(b"")
    given = headers(
        "STREAMING-AWS4-HMAC-SHA256-EVENTS", "transcribe", **{"content-type": "application/vnd.amazon.eventstream"}
    )
    answer = await rig.call("POST", url, headers=given, content=pieces_of(body, 999), http2=http2)
    assert (rig.provider.verdicts, answer.status) == ([None], 200)
    assert len(rig.provider.last.body) == len(body)


def test_the_example_of_the_reference_in_any_pieces():
    """Amazon S3 API reference, "Example calculations" of chunked uploads: 65 KiB of `a`."""
    body = chunked(b"a" * 65536, b"a" * 1024)
    seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    wanted = (
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    )
    for size in (1000, 7919, len(body)):
        signer = ChunkSigner(EXAMPLE, Scope("s3", "us-east-1"), stamp="20130524T000000Z", seed=seed, trailer=False)
        out = b"".join(signer.feed(body[at : at + size]) for at in range(0, len(body), size)) + signer.feed(b"")
        at = -1
        for signature in wanted:
            at = out.index(signature.encode(), at + 1)
        assert len(out) == len(body)


def test_the_example_with_a_trailer():
    """Amazon S3 API reference, "Signature calculations: including trailing headers": the same object."""
    body = chunked(b"a" * 65536, b"a" * 1024, trailer=b"x-amz-checksum-crc32c:sOO8/Q==\r\n")
    seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
    wanted = (
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
        "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435",
    )
    signer = ChunkSigner(EXAMPLE, Scope("s3", "us-east-1"), stamp="20130524T000000Z", seed=seed, trailer=True)
    out = signer.feed(body) + signer.feed(b"")
    assert re.findall(rb"(?<=signature[=:])[0-9a-f]{64}", out) == [one.encode() for one in wanted]


def test_chunks_of_sigv4a_are_what_the_common_runtime_signs():
    """aws-c-auth, its test of SigV4A chunks: the public key, and what surrounds the previous signature in each text."""
    public = ec.EllipticCurvePublicNumbers(
        0x18B7D04643359F6EC270DCBAB8DCE6D169D66DDC9778C75CFB08DFDB701637AB,
        0xFA36B35E4FE67E3112261D2E17A956EF85B06E44712D2850BCD3C2161E9993F2,
        ec.SECP256R1(),
    ).public_key()
    seed, trailer = "3045", b"third:3rd\r\nFirst:1st\r\nsecond:2nd\r\n"
    body = chunked(b"a" * 65536, b"a" * 1024, trailer=trailer, fake=FAKE + b"0" * 80)
    scope = Scope("s3", "us-east-1", asymmetric=True)
    signer = ChunkSigner(EXAMPLE, scope, stamp="20130524T000000Z", seed=seed, trailer=True)
    out = signer.feed(body) + signer.feed(b"")
    assert len(out) == len(body)
    padded = re.findall(rb"signature[=:]([0-9a-f]+\**)\r\n", out)
    assert [len(one) for one in padded] == [144] * 4
    made = [one.rstrip(b"*").decode() for one in padded]
    place, empty = "20130524T000000Z\n20130524/s3/aws4_request", hashlib.sha256(b"").hexdigest()
    for kind, previous, signature, digests in (
        ("PAYLOAD", seed, made[0], f"{empty}\nbf718b6f653bebc184e1479f1935b8da974d701b893afcf49e701f3e2f9f9c5a"),
        ("PAYLOAD", made[0], made[1], f"{empty}\n2edc986847e209b4016e141a6dc8716d3207350f416969382d431539bf292e4a"),
        ("PAYLOAD", made[1], made[2], f"{empty}\n{empty}"),
        ("TRAILER", made[2], made[3], "83d8f190334fb741bc8daf73c891689d320bd8017756bc730c540021ed48001f"),
    ):
        text = f"AWS4-ECDSA-P256-SHA256-{kind}\n{place}\n{previous}\n{digests}"
        public.verify(bytes.fromhex(signature), text.encode(), ec.ECDSA(hashes.SHA256()))


def test_a_body_never_changes_its_length():
    """Otherwise what is left over would begin the next request on the connection."""
    good = chunked(b"miau", trailer=b"a:b\r\n")
    for told in (b"", b"00", FAKE + b"00"):
        signer = ChunkSigner(EXAMPLE, Scope("s3", "us-east-1"), stamp="20130524T000000Z", seed="", trailer=True)
        with pytest.raises(Refused):
            signer.feed(good.replace(b"trailer-signature:" + FAKE, b"trailer-signature:" + told))


def test_what_may_be_held_has_a_ceiling():
    for bad in (
        b"x" * 2000,
        b"%x;chunk-signature=%s\r\n" % (MAX_CHUNK_BYTES + 1, FAKE),
        b"ffffffffff;chunk-signature=" + FAKE + b"\r\n",
    ):
        with pytest.raises(Refused):
            ChunkSigner(EXAMPLE, Scope("s3", "us-east-1"), stamp="20130524T000000Z", seed="", trailer=False).feed(bad)
    trailed = ChunkSigner(EXAMPLE, Scope("s3", "us-east-1"), stamp="20130524T000000Z", seed="", trailer=True)
    with pytest.raises(Refused):
        trailed.feed(b"0;chunk-signature=" + FAKE + b"\r\n" + b"a:b\r\n" * 4000)
    for bad in (b"\0" * 12, struct.pack(">III", 1 << 30, 68, 0), event(b"x")[:-5] + b"12345" + b"\0" * 12):
        with pytest.raises(Refused):
            EventSigner(EXAMPLE, Scope("transcribe", "us-east-1"), seed="").feed(bad)
    with pytest.raises(Refused):
        EventSigner(EXAMPLE, Scope("transcribe", "us-east-1"), seed="").feed(event(b"x", at_ms=-1))
    assert KEY_ID
