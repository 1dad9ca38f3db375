"""An offer to go on in HTTP/2 without TLS (`Upgrade: h2c`): outside a tunnel it is ignored, and never forwarded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from pathlib import Path

import pytest

from proxy.canonical import proxy_protocol
from tests.rig import running_rig
from tests.rig.raw import end_of, read_answer
from tests.rig.sidecar import EXAMPLE, KEY, OTHER

PROGRAMS = Path(__file__).parents[1] / "clients" / "programs"
OFFER = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
AGENTS = {"tester": {"accounts": ["*"]}}
CAPTURES = ("base_url", "absolute", "transparent")


@pytest.fixture
async def rig(tmp_path):
    """A sidecar with a listener of each kind, whose provider speaks plain HTTP; `rig.heads` are those that arrived."""
    heads: list[bytes] = []

    async def serve(reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                if b"content-length: 2\r\n" in heads[-1].lower():
                    assert await reader.readexactly(2) == b"hi"
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    more = [
        {"at": "127.0.0.1:0", "kind": "base_url", "agent": "tester"},
        {"at": f"unix:{tmp_path}/t.sock", "kind": "transparent", "proxy_protocol": True, "agent": "tester"},
    ]
    listeners = {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0", "more": more}
    profiles = {"example": EXAMPLE.replace("port: {port}", f"port: {port}, scheme: http"), "other": OTHER}
    async with running_rig(tmp_path, settings={"listeners": listeners, "agents": AGENTS}, profiles=profiles) as running:
        running.heads, running.plain_port = heads, port
        yield running
    server.close()


async def connected(rig, capture):
    """A plain connection of that kind, and the request target and header lines that belong on it."""
    host = f"api.example.test:{rig.plain_port}"
    if capture == "transparent":
        reader, writer = await asyncio.open_unix_connection(rig.sidecar.endpoints[2].removeprefix("unix:"))
        writer.write(proxy_protocol.encode(("127.0.0.1", 1), ("198.18.0.7", rig.plain_port), None))
        return reader, writer, "/x", f"Host: {host}\r\n"
    if capture == "absolute":
        reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
        return reader, writer, f"http://{host}/x", f"Host: {host}\r\n{rig.credentials()}"
    own, _, port = rig.sidecar.endpoints[1].rpartition(":")
    reader, writer = await asyncio.open_connection(own, int(port))
    return reader, writer, "/example/x", f"Host: {own}:{port}\r\n"


@pytest.mark.parametrize("capture", CAPTURES)
async def test_p8_an_offer_is_ignored_and_the_connection_goes_on_in_http1(rig, capture):
    reader, writer, target, lines = await connected(rig, capture)
    writer.write(f"POST {target} HTTP/1.1\r\n{lines}{OFFER}Content-Length: 2\r\n\r\nhi".encode())
    answers = [await read_answer(reader)]
    writer.write(f"GET {target} HTTP/1.1\r\n{lines}{OFFER}\r\n".encode())
    answers.append(await read_answer(reader))
    writer.close()
    assert [(answer.status, answer.body, "upgrade" in answer.headers) for answer in answers] == [
        (200, b"ok", False)
    ] * 2
    assert [head.split(b"\r\n")[0] for head in rig.heads] == [b"POST /x HTTP/1.1", b"GET /x HTTP/1.1"]
    for head in rig.heads:
        assert KEY.encode() in head
        assert not any(name in head.lower() for name in (b"upgrade", b"h2c", b"http2-settings"))
    calls = await rig.settled(2)
    assert [(call.decision["decision"], call.decision["capture"]) for call in calls] == [("allow", capture)] * 2


@pytest.mark.parametrize("capture", CAPTURES)
async def test_p5_another_upgrade_is_refused_with_a_receipt(rig, capture):
    reader, writer, target, lines = await connected(rig, capture)
    writer.write(f"GET {target} HTTP/1.1\r\n{lines}Connection: Upgrade\r\nUpgrade: connect-udp\r\n\r\n".encode())
    answer = await read_answer(reader)
    assert (answer.status, answer.problem, answer.headers["connection"]) == (400, "malformed_request", "close")
    assert await end_of(reader) == "closed"
    writer.close()
    (call,) = await rig.settled(1)
    assert (call.decision["slug"], call.decision["capture"]) == ("malformed_request", capture)
    assert not rig.heads


async def output_of(*command):
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=environment)
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    return output.decode()


async def test_curl_that_offers_http2_gets_its_answer(rig):
    if shutil.which("curl") is None or "HTTP2" not in await output_of("curl", "-q", "--version"):
        pytest.skip("no curl that speaks HTTP/2")
    url = f"http://{rig.sidecar.endpoints[1]}/example/x"
    told = await output_of("curl", "-qsS", "--http2", "--noproxy", "*", "-w", " %{http_code} %{http_version}", url)
    assert told == "ok 200 1.1"
    assert KEY.encode() in rig.heads[0]


@pytest.mark.slow
@pytest.mark.parametrize("body", [(), ("hi",)])
async def test_javas_client_gets_its_answer(rig, body):
    if shutil.which("java") is None:
        pytest.skip("no java")
    told = await output_of("java", str(PROGRAMS / "Plain.java"), f"http://{rig.sidecar.endpoints[1]}/example/x", *body)
    assert told == "200 HTTP_1_1\nok\n"
    (head,) = rig.heads
    assert head.startswith(b"POST /x" if body else b"GET /x")
    assert KEY.encode() in head
    assert b"upgrade" not in head.lower()
