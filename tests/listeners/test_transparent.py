"""Redirected connections: the name in the ClientHello or in Host decides, never the address that was dialled."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys

import pytest

from proxy.canonical import proxy_protocol
from tests.rig import running_rig
from tests.rig.raw import end_of, read_answer
from tests.rig.sidecar import KEY

NOWHERE = "198.18.0.7"
AGENTS = {"tester": {"accounts": ["*"]}}


@contextlib.asynccontextmanager
async def transparent(folder, **settings):
    """A sidecar behind a forwarder's socket."""
    more = [{"at": f"unix:{folder}/t.sock", "kind": "transparent", "proxy_protocol": True, "agent": "tester"}]
    listeners = {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0", "more": more}
    async with running_rig(folder, settings={"listeners": listeners, "agents": AGENTS, **settings}) as rig:
        yield rig


@pytest.fixture
async def rig(tmp_path):
    async with transparent(tmp_path, limits={"header_timeout_s": 3}) as running:
        yield running


async def dialled(rig, *, name=None, port=None, header=None):
    """A connection as a forwarder hands it on."""
    reader, writer = await asyncio.open_unix_connection(rig.sidecar.endpoints[1].removeprefix("unix:"))
    told = proxy_protocol.encode(("127.0.0.1", 1), (NOWHERE, port or rig.provider.port), name)
    writer.write(told if header is None else header)
    return reader, writer


async def handshake(rig, writer, sni):
    context = rig.trust()
    context.check_hostname = sni is not None
    await writer.start_tls(context, server_hostname=sni)


async def only(rig):
    (call,) = await rig.settled(1)
    return call.decision


@pytest.mark.parametrize("known", [None, "api.example.test"])
async def test_p1_tls_is_decided_by_its_server_name_and_gets_the_key(rig, known):
    reader, writer = await dialled(rig, name=known)
    await handshake(rig, writer, "api.example.test")
    request = f"GET /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\nAuthorization: Bearer {rig.stand_in()}\r\n\r\n"
    writer.write(request.encode())
    answer = await read_answer(reader)
    assert answer.status == 200
    assert KEY.encode() not in answer.body
    assert rig.provider.last.one("authorization") == f"Bearer {KEY}"
    decision = await only(rig)
    found = {name: decision[name] for name in ("agent", "token_id", "capture", "host", "port")}
    assert found == {
        "agent": "tester", "token_id": f"@uid:{os.geteuid()}", "capture": "transparent", "host": "api.example.test",
        "port": rig.provider.port,
    }  # fmt: skip
    writer.close()


async def test_a_client_without_a_server_name_is_decided_by_the_name_that_it_had_asked_for(rig):
    reader, writer = await dialled(rig, name="api.example.test")
    await handshake(rig, writer, None)
    writer.write(f"GET /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode())
    assert (await read_answer(reader)).status == 200
    writer.close()


@pytest.mark.parametrize(
    ("sni", "known", "port", "slug"),
    [
        (None, None, None, "destination_not_allowed"),
        ("unmanaged.example.test", None, None, "destination_not_allowed"),
        ("api.example.test", None, 444, "destination_not_allowed"),
        ("api.example.test", "other.example.test", None, "authority_mismatch"),
    ],
)
async def test_p4_a_handshake_that_may_not_be_is_told_so_by_an_alert(rig, sni, known, port, slug):
    _, writer = await dialled(rig, name=known, port=port)
    with pytest.raises(ssl.SSLError, match=r"(?i)access.denied"):
        await handshake(rig, writer, sni)
    decision = await only(rig)
    assert (decision["slug"], decision["capture"]) == (slug, "transparent")
    assert not rig.provider.connections


async def test_p8_host_must_be_the_server_name(rig):
    reader, writer = await dialled(rig)
    await handshake(rig, writer, "api.example.test")
    writer.write(f"GET /x HTTP/1.1\r\nHost: other.example.test:{rig.provider.port}\r\n\r\n".encode())
    assert (await read_answer(reader)).problem == "authority_mismatch"
    assert not rig.provider.requests


@pytest.mark.parametrize(
    ("head", "slug"),
    [
        ("GET /x HTTP/1.1\r\nHost: unmanaged.example.test\r\n\r\n", "destination_not_allowed"),
        ("GET /x HTTP/1.1\r\nHost: api.example.test:81\r\n\r\n", "authority_mismatch"),
        ("GET http://unmanaged.example.test/x HTTP/1.1\r\nHost: unmanaged.example.test\r\n\r\n", "malformed_request"),
        ("GET /x HTTP/1.0\r\n\r\n", "malformed_request"),
        ("CONNECT api.example.test:443 HTTP/1.1\r\nHost: api.example.test:443\r\n\r\n", None),
    ],
)
async def test_p4_a_plain_request_goes_where_its_host_says_or_nowhere(rig, head, slug):
    reader, writer = await dialled(rig, port=80)
    writer.write(head.encode())
    answer = await read_answer(reader)
    assert answer.status >= 400
    assert slug in (None, answer.problem)
    assert (await only(rig))["decision"] == "deny"
    assert not rig.provider.connections
    writer.close()


@pytest.mark.parametrize("bytes_", [b"\x00\x01\x02", b"\x16\x03\x01\x00\x00", b"\x16\x02\x01\x00\x05hello", b"ssh\r\n"])
async def test_p4_bytes_that_are_neither_tls_nor_http_are_refused(rig, bytes_):
    reader, writer = await dialled(rig)
    writer.write(bytes_)
    assert await end_of(reader) in ("closed", "reset")
    assert (await only(rig))["slug"] == "malformed_request"
    writer.close()


@pytest.mark.parametrize(
    "header", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 443\r\n", b"\0" * 16]
)
async def test_p5_a_connection_without_a_forwarders_header_is_refused(rig, header):
    reader, writer = await dialled(rig, header=header)
    assert await end_of(reader) in ("closed", "reset")
    assert (await only(rig))["slug"] == "malformed_request"
    writer.close()


SEALED = "unmanaged.example.test"


@pytest.fixture
async def sealed(tmp_path):
    async with transparent(tmp_path) as first:
        port = first.provider.port
        folder = tmp_path / "second"
        folder.mkdir()
        more = [{"at": f"unix:{folder}/t.sock", "kind": "transparent", "proxy_protocol": True, "agent": "tester"}]
        settings = {
            "listeners": {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0", "more": more},
            "agents": AGENTS,
            "passthrough_hosts": [f"{SEALED}:{port}"],
        }
        async with running_rig(folder, settings=settings, provider=first.provider) as rig:
            yield rig


async def unread(rig, reader, writer):
    context = ssl.create_default_context(cafile=str(rig.provider.root))  # the provider's own certificate
    await writer.start_tls(context, server_hostname=SEALED)
    writer.write(f"GET /x HTTP/1.1\r\nHost: {SEALED}\r\nConnection: close\r\n\r\n".encode())
    assert (await read_answer(reader)).status == 200
    writer.close()
    (call,) = await rig.settled(1)
    assert call.decision["tunnel"] is True
    assert call.outcome["outcome"] == "completed"
    assert call.outcome["request_bytes"] > 200  # the ClientHello is counted too
    assert call.outcome["response_bytes"] > 0
    return call


async def test_a_host_that_the_operator_names_passes_unread_through_a_tunnel(sealed):
    reader, writer = await sealed.connect(f"{SEALED}:{sealed.provider.port}")
    await unread(sealed, reader, writer)


async def test_a_host_that_the_operator_names_passes_unread_where_it_was_redirected(sealed):
    call = await unread(sealed, *(await dialled(sealed)))
    assert call.decision["capture"] == "transparent"


async def test_p8_a_sealed_tunnel_is_for_the_host_that_was_asked_for(sealed):
    _, writer = await sealed.connect(f"{SEALED}:{sealed.provider.port}")
    with pytest.raises(ssl.SSLError, match=r"(?i)access.denied"):
        await handshake(sealed, writer, "api.example.test")
    assert (await only(sealed))["slug"] == "authority_mismatch"
    assert not sealed.provider.connections


async def test_p4_only_tls_is_spoken_in_a_sealed_tunnel(sealed):
    reader, writer = await sealed.connect(f"{SEALED}:{sealed.provider.port}")
    writer.write(b"SSH-2.0-x\r\n")
    assert await end_of(reader) in ("closed", "reset")
    assert (await only(sealed))["slug"] == "malformed_request"
    assert not sealed.provider.connections


# -- the kernel's redirection -----------------------------------------------------------------------------------------

RULES = """
table ip t {{ chain out {{ type nat hook output priority -100; ip daddr 198.18.0.0/15 tcp dport {port} redirect to :{to}; }}; }}
"""


def _ask(where, name):
    """The address that the stub resolver gives, asked over UDP by hand (RFC 1035, section 4.1)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        asking.sendto(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0" + labels + b"\0\0\x01\0\x01", where)
        return socket.inet_ntoa(asking.recv(512)[-4:])


async def _in_a_namespace(folder):
    """Runs inside the namespace: says what became of a client that knows of no proxy, and of one that came by itself."""
    more = [{"at": "127.0.0.1:0", "kind": "transparent", "agent": "tester"}]
    listeners = {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0", "dns": "127.0.0.1:0", "more": more}
    async with running_rig(folder, settings={"listeners": listeners, "agents": AGENTS}) as rig:
        listener = rig.sidecar.endpoints[1].rpartition(":")[2]
        rules = RULES.format(port=rig.provider.port, to=listener)
        await asyncio.to_thread(subprocess.run, ["nft", "-f", "-"], input=rules.encode(), check=True)
        reader, writer = await asyncio.open_connection(NOWHERE, rig.provider.port)
        await writer.start_tls(rig.trust(), server_hostname="api.example.test")
        writer.write(f"GET /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode())
        answer = await read_answer(reader)
        writer.close()
        named = await asyncio.to_thread(_ask, rig.sidecar.dns, "api.example.test")
        reader, writer = await asyncio.open_connection(named, rig.provider.port)
        await handshake(rig, writer, None)  # the address alone leads back to the name
        writer.write(f"GET /y HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode())
        resolved = await read_answer(reader)
        writer.close()
        reader, straight = await asyncio.open_connection("127.0.0.1", int(listener))
        straight.write(b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n")
        ended = await end_of(reader)
        straight.close()
        calls = await rig.settled(3)
        return {
            "status": answer.status,
            "resolved": resolved.status,
            "injected": rig.provider.last.one("authorization") == f"Bearer {KEY}",
            "straight": ended,
            "slugs": [call.decision.get("slug") for call in calls],
        }


async def test_p1_connections_that_the_kernel_redirects_are_served(tmp_path):
    if shutil.which("nft") is None or shutil.which("unshare") is None:
        pytest.skip("nft and unshare are needed")
    script = 'ip link set lo up && ip route add local 198.18.0.0/15 dev lo && exec "$0" -m tests.listeners.test_transparent "$1"'
    done = await asyncio.to_thread(
        subprocess.run, ["unshare", "-Urn", "sh", "-ec", script, sys.executable, str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if "unshare failed" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    slugs = [None, None, "malformed_request"]
    assert said == {"status": 200, "resolved": 200, "injected": True, "straight": "closed", "slugs": slugs}


if __name__ == "__main__":
    from pathlib import Path

    print(json.dumps(asyncio.run(_in_a_namespace(Path(sys.argv[1])))))
