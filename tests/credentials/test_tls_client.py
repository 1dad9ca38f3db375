"""`kind: tls_client`: a server that wants a certificate; rotation, and every way of not having a good one."""

from __future__ import annotations

import ssl

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.credentials.several import SeveralCredentials
from proxy.credentials.tls_client import TlsClientCredential
from tests.fakes.signed_api import reply
from tests.rig.client_certs import DAY, NOW, ClientCa
from tests.rig.kinds import assert_never_shown, running_kind

BOTH = {
    "kind": "several",
    "parts": [{"kind": "tls_client"}, {"kind": "header", "header": "X-Key", "secret": "key"}],
}


async def who(seen, _reader, writer):
    certificate = writer.get_extra_info("peercert")
    names = [value for part in certificate["subject"] for _, value in part] if certificate else []
    reply(writer, "200 OK", f"{names} {seen.one('x-key')}")


@pytest_asyncio.fixture
async def mutual(tmp_path):
    """A rig whose provider wants certificates of `ca`; the account's one is at `path`."""
    ca, path = ClientCa(), tmp_path / "client.pem"
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    ref = ca.issue(path, "first")
    async with running_kind(tmp_path, BOTH, {"key": "key-REAL-0123456789"}, account={"keys": {"tls": ref}}) as rig:
        for context in (rig.provider.first, *(rig.provider.contexts[host] for host in rig.provider.hosts)):
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(tmp_path / "ca.pem")
        rig.provider.on("/x", who)
        yield rig, ca, path


async def test_p1_p6_a_rotated_certificate_is_used_at_once_on_a_new_connection(mutual):
    rig, ca, path = mutual
    async with rig.client() as agent:  # one connection of the agent
        first = [await agent.get("/x") for _ in range(2)]
        ca.issue(path, "second")
        second = [await agent.get("/x") for _ in range(2)]
    assert [a.status_code for a in (*first, *second)] == [200] * 4
    assert [a.text.split(" ")[0] for a in (*first, *second)] == ["['first']"] * 2 + ["['second']"] * 2
    assert rig.provider.connections == 2
    http2 = await rig.call("GET", "/x", http2=True)
    assert http2.body.startswith(b"['second']")
    key = path.read_text().split("\n")[1]
    await assert_never_shown(rig, [http2], key, "key-REAL-0123456789")
    calls = await rig.settled(5)
    assert {(c.decision["credential_kind"], c.decision["account"]) for c in calls} == {("several", "signed/main")}


async def test_p5_without_a_good_certificate_nothing_is_dialled(mutual):
    rig, ca, path = mutual
    ca.issue(path, "expired", until=NOW - DAY)
    expired = await rig.call("GET", "/x")
    ca.issue(path, "mismatched", key=ec.generate_private_key(ec.SECP256R1()))
    mismatched = await rig.call("GET", "/x")
    path.write_bytes(path.read_bytes().split(b"-----BEGIN CERTIFICATE")[0])
    bare = await rig.call("GET", "/x")
    path.write_text("nonsense")
    nonsense = await rig.call("GET", "/x")
    path.unlink()
    gone = await rig.call("GET", "/x")
    problems = [a.problem for a in (expired, mismatched, bare, nonsense, gone)]
    assert problems == ["credential_unavailable"] * 5
    assert rig.provider.connections == 0


async def test_a_certificate_that_the_provider_does_not_want(mutual):
    rig, _, path = mutual
    ClientCa("others").issue(path, "stranger")
    answer = await rig.call("GET", "/x")
    assert answer.problem in ("upstream_unreachable", "upstream_tls_untrusted")
    assert rig.provider.requests == []
    (call,) = await rig.settled(1)
    assert call.outcome["outcome"] != "completed"


async def test_an_account_without_one_is_refused(tmp_path):
    async with running_kind(tmp_path, {"kind": "tls_client"}, {}) as rig:
        answer = await rig.call("GET", "/x")
        assert (answer.problem, rig.provider.connections) == ("credential_unavailable", 0)


def test_a_bound_token_and_the_connection_share_the_slot():
    one = TlsClientCredential(kind="tls_client")
    assert (one.certificate_slot(), dict(one.key_names())) == ("tls", {"tls": "ES256"})
    with pytest.raises(ValueError, match="same place"):
        SeveralCredentials(kind="several", parts=(one, one))
