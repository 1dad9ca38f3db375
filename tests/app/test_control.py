"""The control listener as a server: what it answers, whatever it is asked; its numbers are in `test_sidecar`."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from tests.rig import running_rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rig(tmp_path_factory):
    async with running_rig(tmp_path_factory.mktemp("control")) as running:
        yield running


async def asked(rig, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*rig.sidecar.control)
    writer.write(request)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("request_", "first_line", "body"),
    [
        (b"GET /healthz?verbose=1 HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK", b'{"status":"ok"}'),
        (b"GET /healthz HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 OK", b'{"status":"ok"}'),
        (b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK", b""),
        (b"GET /healthz/x HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 404 Not Found", b"404 Not Found"),
        (b"POST /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", b"HTTP/1.1 405 ", b"405 Method Not Allowed"),
        (b"GET /healthz HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 Bad Request", b"400 Bad Request"),
        (b"no http at all\r\n\r\n", b"HTTP/1.1 400 Bad Request", b"400 Bad Request"),
        (b"GET /" + b"x" * 40_000, b"HTTP/1.1 431 ", b"431 Request Header Fields Too Large"),
        (HEALTH * 2, b"HTTP/1.1 200 OK", b'{"status":"ok"}'),
    ],
    ids=["query", "1.0", "HEAD", "unknown", "method", "no host", "no http", "too long", "two at once"],
)
async def test_the_control_listener_answers_once_and_closes(rig, request_, first_line, body):
    head, _, content = (await asked(rig, request_)).partition(b"\r\n\r\n")
    assert head.startswith(first_line)
    assert b"connection: close" in head.lower()
    assert content == body


async def test_the_control_listener_closes_at_the_end_and_waits_for_nobody(tmp_path):
    async with running_rig(tmp_path) as rig:
        reader, writer = await asyncio.open_connection(*rig.sidecar.control)
        writer.write(b"GET /healthz HTTP/1.1\r\n")  # the rest never comes
        await writer.drain()
        assert (await asked(rig, HEALTH)).endswith(b'{"status":"ok"}')
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    with pytest.raises(OSError):
        await asyncio.open_connection(*rig.sidecar.control)
