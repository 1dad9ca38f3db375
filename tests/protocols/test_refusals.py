"""What is no HTTP, or another protocol: refused, the connection closed, a receipt written."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

import pytest

from tests.rig.raw import end_of, read_answer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
RAW = {
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "http in the clear": b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
    "http/2 in the clear": PREFACE,
    "postgres": b"\0\0\0\x08\x04\xd2\x16\x2f",
    "sslv2": b"\x80\x2e\x01\x00\x02",
    "tls record of no handshake": b"\x17\x03\x03\x00\x05hello",
    "handshake of another version": b"\x16\x02\x00\x00\x05hello",
}
UPGRADES = {
    "h2c without settings": "Connection: Upgrade\r\nUpgrade: h2c\r\n",
    "tls": "Connection: Upgrade\r\nUpgrade: TLS/1.3\r\n",
    "connect-udp": "Connection: Upgrade\r\nUpgrade: connect-udp\r\n",
    "websocket and another": "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW)
async def test_p5_raw_bytes_in_a_tunnel_end_it_with_a_receipt(rig, raw):
    reader, writer = await rig.connect(f"api.example.test:{rig.provider.port}")
    writer.write(raw)
    assert await end_of(reader) in ("closed", "reset")
    writer.close()
    (call,) = await rig.settled(1)
    assert (call.decision["decision"], call.decision["slug"]) == ("deny", "malformed_request")
    assert call.decision["host"] == "api.example.test"
    assert rig.provider.connections == 0


async def test_p5_http2_by_prior_knowledge_at_the_listener_is_refused(rig):
    reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
    writer.write(PREFACE)
    answer = await read_answer(reader)
    assert (answer.status, answer.problem) == (400, "malformed_request")
    assert await end_of(reader) == "closed"
    writer.close()
    (call,) = await rig.settled(1)
    assert call.decision["slug"] == "malformed_request"


async def test_p5_http2_by_prior_knowledge_inside_tls_without_alpn_is_refused(rig):
    reader, writer = await rig.tls(alpn="http/1.1")
    writer.write(PREFACE)
    answer = await read_answer(reader)
    assert answer.status in (400, 405)
    writer.close()
    (call,) = await rig.settled(1)
    assert call.decision["decision"] == "deny"


H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
"""Outside a tunnel it is ignored: tests/protocols/test_h2c.py."""


@pytest.mark.parametrize(
    ("lines", "tunnel"), [(H2C, True), *((lines, tunnel) for lines in UPGRADES.values() for tunnel in (True, False))]
)
async def test_p5_another_upgrade_is_refused_and_the_connection_closed(rig, lines, tunnel):
    host = f"api.example.test:{rig.provider.port}"
    if tunnel:
        reader, writer = await rig.tls()
        target, auth = "/x", ""
    else:
        reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
        target, auth = f"http://{host}/x", rig.credentials()
    writer.write(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{auth}{lines}\r\n".encode())
    answer = await read_answer(reader)
    assert (answer.status, answer.problem, answer.headers["connection"]) == (400, "malformed_request", "close")
    assert await end_of(reader) == "closed"
    writer.close()
    (call,) = await rig.settled(1)
    assert call.decision["slug"] == "malformed_request"
    assert rig.provider.connections == 0


async def test_p5_a_switch_of_protocols_that_nobody_asked_for_is_withheld(rig):
    rig.provider.answers("/x", b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nraw")
    answer = await rig.call("GET", "/x")
    assert answer.problem == "response_withheld"
    (call,) = await rig.settled(1)
    assert call.outcome["outcome"] == "response_withheld"


# -- the agent's handshake ---------------------------------------------------------------------------------------


def distrusting(address, authority: str, credentials: str, version: ssl.TLSVersion) -> None:
    """A blocking client, as it sends the alert that asyncio's leaves out."""
    context = ssl.create_default_context()
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(address, timeout=10) as raw:
        raw.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{credentials}\r\n".encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 200 ")
        with pytest.raises(ssl.SSLCertVerificationError):
            context.wrap_socket(raw, server_hostname=authority.partition(":")[0])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_an_agent_that_does_not_trust_the_ca_leaves_a_receipt_that_says_so(rig, version, caplog):
    authority = f"api.example.test:{rig.provider.port}"
    await asyncio.to_thread(distrusting, rig.sidecar.proxy, authority, rig.credentials(), version)
    (call,) = await rig.settled(1)
    assert (call.decision["slug"], call.decision["denied_by"]) == ("ca_not_trusted", "tls")
    assert (call.decision["host"], call.decision["agent"]) == ("api.example.test", "tester")
    assert "agent tester, host api.example.test: The agent does not trust our CA." in caplog.text
    assert await rig.problems() == ()


async def test_an_agent_that_leaves_without_an_alert_is_told_of_too(rig, caplog):
    _, writer = await rig.connect(f"api.example.test:{rig.provider.port}")
    with pytest.raises(ssl.SSLCertVerificationError):
        await writer.start_tls(ssl.create_default_context(), server_hostname="api.example.test")
    (call,) = await rig.settled(1)
    assert call.decision["slug"] == "agent_tls_failed"
    assert "it may not trust our CA" in caplog.text


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")  # which is what the test is about
async def test_a_handshake_that_fails_otherwise_leaves_a_receipt_too(rig):
    _, writer = await rig.connect(f"api.example.test:{rig.provider.port}")
    context = rig.trust()
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, OSError)):
        await writer.start_tls(context, server_hostname="api.example.test")
    (call,) = await rig.settled(1)
    assert call.decision["slug"] == "agent_tls_failed"


async def test_an_agent_that_leaves_within_the_handshake_leaves_a_receipt(rig):
    _, writer = await rig.connect(f"api.example.test:{rig.provider.port}")
    outgoing = ssl.MemoryBIO()
    half = rig.trust().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="api.example.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        half.do_handshake()
    writer.write(outgoing.read())
    await asyncio.sleep(0.1)
    writer.close()
    (call,) = await rig.settled(1)
    assert call.decision["slug"] == "agent_tls_failed"
