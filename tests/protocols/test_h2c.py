"""An offer to go on in HTTP/2 without TLS (`Upgrade: h2c`): outside a tunnel it is ignored, and never forwarded."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from proxy.canonical import proxy_protocol
from tests.rig import running_rig
from tests.rig.raw import read_answer
from tests.rig.sidecar import KEY

PROGRAMS = Path(__file__).parents[1] / "clients" / "programs"
OFFER = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
AGENTS = {"tester": {"accounts": ["*"]}}


@pytest.fixture
async def rig(tmp_path):
    more = [
        {"at": "127.0.0.1:0", "kind": "base_url", "agent": "tester"},
        {"at": f"unix:{tmp_path}/t.sock", "kind": "transparent", "proxy_protocol": True, "agent": "tester"},
    ]
    listeners = {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0", "more": more}
    async with running_rig(tmp_path, settings={"listeners": listeners, "agents": AGENTS}) as running:
        yield running


async def connected(rig, capture):
    """A plain connection of that kind, and the request target and header lines that belong on it."""
    host = f"api.example.test:{rig.provider.port}"
    if capture == "transparent":
        reader, writer = await asyncio.open_unix_connection(rig.sidecar.endpoints[2].removeprefix("unix:"))
        writer.write(proxy_protocol.encode(("127.0.0.1", 1), ("198.18.0.7", rig.provider.port), None))
        return reader, writer, "/x", f"Host: {host}\r\n"
    if capture == "absolute":
        reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
        return reader, writer, f"http://{host}/x", f"Host: {host}\r\n{rig.credentials()}"
    own, _, port = rig.sidecar.endpoints[1].rpartition(":")
    reader, writer = await asyncio.open_connection(own, int(port))
    return reader, writer, "/example/x", f"Host: {own}:{port}\r\n"


async def sent(rig, capture, offer):
    reader, writer, target, lines = await connected(rig, capture)
    writer.write(f"POST {target} HTTP/1.1\r\n{lines}{offer}Content-Length: 2\r\n\r\nhi".encode())
    answer = await read_answer(reader)
    writer.close()
    return answer


async def test_p8_an_offer_on_a_base_url_is_carried_as_http1(rig):
    answer = await sent(rig, "base_url", OFFER)
    assert (answer.status, answer.headers.get("upgrade")) == (200, None)
    seen = rig.provider.last
    assert (seen.target, seen.body, seen.one("authorization")) == ("/x", b"hi", f"Bearer {KEY}")
    assert not {"upgrade", "http2-settings"} & {name.lower() for name, _ in seen.headers}
    (call,) = await rig.settled(1)
    assert (call.decision["decision"], call.decision["capture"]) == ("allow", "base_url")


@pytest.mark.parametrize("capture", ["absolute", "transparent"])
async def test_an_offer_in_the_clear_is_judged_like_the_same_request_without_it(rig, capture):
    """The host of the profile is there over TLS only: what differs is never the offer."""
    answers = [await sent(rig, capture, offer) for offer in ("", OFFER)]
    assert [(answer.status, answer.problem) for answer in answers] == [(answers[0].status, answers[0].problem)] * 2
    assert answers[1].problem != "malformed_request"
    plain, offered = await rig.settled(2)
    assert {**offered.decision, "id": "", "at": ""} | {} != {}
    assert [call.decision["slug"] for call in (plain, offered)] == [plain.decision["slug"]] * 2
    assert offered.decision["capture"] == capture


@pytest.mark.parametrize("capture", ["base_url", "absolute", "transparent"])
async def test_p5_another_upgrade_is_refused_with_a_receipt(rig, capture):
    answer = await sent(rig, capture, "Connection: Upgrade\r\nUpgrade: connect-udp\r\n")
    assert (answer.status, answer.problem, answer.headers["connection"]) == (400, "malformed_request", "close")
    (call,) = await rig.settled(1)
    assert (call.decision["slug"], call.decision["capture"]) == ("malformed_request", capture)
    assert not rig.provider.requests


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
    told = await output_of("curl", "-qsS", "--http2", "--noproxy", "*", "-o", os.devnull, "-w", "%{http_code} %{http_version}", url)
    assert told == "200 1.1"
    assert rig.provider.last.one("authorization") == f"Bearer {KEY}"


@pytest.mark.slow
@pytest.mark.parametrize("body", [(), ("hello",)])
async def test_javas_client_gets_its_answer(rig, body):
    if shutil.which("java") is None:
        pytest.skip("no java")
    told = await output_of("java", str(PROGRAMS / "Plain.java"), f"http://{rig.sidecar.endpoints[1]}/example/x", *body)
    assert told.startswith("200 HTTP_1_1\n")
    assert KEY not in told
    seen = rig.provider.last
    assert (seen.method, seen.body) == (("POST", b"hello") if body else ("GET", b""))
    assert not {"upgrade", "http2-settings"} & {name.lower() for name, _ in seen.headers}
