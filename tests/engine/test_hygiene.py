"""P8 through the real engine: raw heads that must never reach the provider, and what leaves of good ones."""

from __future__ import annotations

import asyncio

import pytest

from tests.rig.raw import end_of, read_answer

HOST = "Host: api.example.test:{port}\r\n"
REFUSED = {
    "length and chunked": (
        "POST /x HTTP/1.1\r\n" + HOST + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "two lengths": ("POST /x HTTP/1.1\r\n" + HOST + "Content-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
    "signed length": ("POST /x HTTP/1.1\r\n" + HOST + "Content-Length: +3\r\n\r\n", 400),
    "obfuscated chunked": ("POST /x HTTP/1.1\r\n" + HOST + "Transfer-Encoding: xchunked\r\n\r\n", 400),
    "chunked twice": (
        "POST /x HTTP/1.1\r\n" + HOST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "chunked in 1.0": ("POST /x HTTP/1.0\r\n" + HOST + "Transfer-Encoding: chunked\r\n\r\n", 400),
    "bare line feed": ("GET /x HTTP/1.1\n" + HOST + "\r\n", 400),
    "folded line": ("GET /x HTTP/1.1\r\n" + HOST + "X-A: a\r\n b\r\n\r\n", 400),
    "space before colon": ("GET /x HTTP/1.1\r\n" + HOST + "X-A : a\r\n\r\n", 400),
    "bare carriage return": ("GET /x HTTP/1.1\r\n" + HOST + "X-A: a\rTransfer-Encoding: chunked\r\n\r\n", 400),
    "nul in a value": ("GET /x HTTP/1.1\r\n" + HOST + "X-A: a\0b\r\n\r\n", 400),
    "control in a value": ("GET /x HTTP/1.1\r\n" + HOST + "X-A: a\x01b\r\n\r\n", 400),
    "no host": ("GET /x HTTP/1.1\r\n\r\n", 400),
    "two hosts": ("GET /x HTTP/1.1\r\n" + HOST + HOST + "\r\n", 400),
    "another host": ("GET /x HTTP/1.1\r\nHost: other.example.test:{port}\r\n\r\n", 421),
    "host without the port": ("GET /x HTTP/1.1\r\nHost: api.example.test\r\n\r\n", 421),
    "absolute form of another host": ("GET https://other.example.test:{port}/x HTTP/1.1\r\n" + HOST + "\r\n", 421),
    "absolute http form in a tunnel": ("GET http://api.example.test:{port}/x HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "dot segments": ("GET /a/../x HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "encoded dot segments": ("GET /a/%2e%2E/x HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "encoded slash": ("GET /a%2fx HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "double slash": ("GET //x HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "semicolon": ("GET /a;b HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "backslash": ("GET /a\\x HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "encoded nul": ("GET /a%00 HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "encoded twice": ("GET /a%252e HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "fragment": ("GET /a#b HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "trace": ("TRACE /x HTTP/1.1\r\n" + HOST + "\r\n", 405),
    "connect inside": ("CONNECT other.example.test:443 HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "unknown method": ("BREW /x HTTP/1.1\r\n" + HOST + "\r\n", 405),
    "lower-case method": ("get /x HTTP/1.1\r\n" + HOST + "\r\n", 405),
    "h2c upgrade": ("GET /x HTTP/1.1\r\n" + HOST + "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 400),
    "long url": ("GET /" + "a" * 20_000 + " HTTP/1.1\r\n" + HOST + "\r\n", 414),
    "many headers": ("GET /x HTTP/1.1\r\n" + HOST + "".join(f"X-{i}: a\r\n" for i in range(200)) + "\r\n", 431),
    "large head": ("GET /x HTTP/1.1\r\n" + HOST + "X-A: " + "a" * 70_000 + "\r\n\r\n", 431),
    "endless head": ("GET /x HTTP/1.1\r\n" + HOST + "X-A: " + "a" * 70_000, 431),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_p8_p4_a_bad_head_is_refused_with_a_receipt(rig, name):
    raw, status = REFUSED[name]
    reader, writer = await rig.tls()
    writer.write(raw.replace("{port}", str(rig.provider.port)).encode("latin-1"))
    answer = await read_answer(reader)
    assert answer.status == status
    assert answer.headers["briefcased-receipt"].startswith("rcp_")
    assert rig.provider.connections == 0
    writer.close()
    (call,) = await rig.settled(1)
    assert call.decision["id"] == answer.headers["briefcased-receipt"]


async def test_p8_what_leaves_is_the_canonical_form(rig):
    reader, writer = await rig.tls()
    head = (
        f"POST /a/%7euser?q=%20&key=stolen HTTP/1.1\r\nhost: API.example.test.:{rig.provider.port}\r\n"
        "Authorization: Bearer mine\r\nAUTHORIZATION: Basic bWluZTptaW5l\r\nCookie: a=b\r\nX-Api-Key: mine\r\nX-Own-Key: mine\r\n"
        "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nProxy-Authorization: Bearer x\r\nTE: trailers\r\n"
        "X_Api_Key: twin\r\nX-Forwarded-For: 1.2.3.4\r\nX-HTTP-Method-Override: DELETE\r\nVia: 1.1 me\r\n"
        "Example-Project: theirs\r\nX-Kept:   spaced out \t\r\nContent-Length: 2\r\n\r\nok"
    )
    writer.write(head.encode())
    assert (await read_answer(reader)).status == 200
    seen = rig.provider.last
    assert seen.target == "/a/~user?q=%20"
    names = [name for name, _ in seen.headers]
    assert len(names) == len(set(names))
    assert set(names) == {"host", "x-kept", "accept-encoding", "authorization", "content-length"}
    assert seen.one("host") == f"api.example.test:{rig.provider.port}"
    assert seen.one("x-kept") == "spaced out"
    assert seen.body == b"ok"
    writer.close()


@pytest.mark.parametrize(
    ("middle", "expected"),
    [
        ("DELETE /b", [200, 403, 200]),
        ("GET //b", [200, 400]),
    ],  # after an unclear head nobody knows where the next begins
)
async def test_b17_pipelined_requests_are_answered_in_order_or_not_at_all(rig, middle, expected):
    reader, writer = await rig.tls()
    host = f"Host: api.example.test:{rig.provider.port}\r\nContent-Length: 0\r\n\r\n"
    writer.write("".join(f"{line} HTTP/1.1\r\n{host}" for line in ("GET /a", middle, "GET /c")).encode())
    assert [(await read_answer(reader)).status for _ in expected] == expected
    if expected[-1] == 400:
        assert await end_of(reader) == "closed"
    writer.close()
    assert [seen.target for seen in rig.provider.requests] == (["/a", "/c"] if expected[-1] == 200 else ["/a"])


async def test_p7_a_head_that_never_ends_is_reset(tmp_path):
    from tests.rig import running_rig

    async with running_rig(tmp_path, settings={"limits": {"header_timeout_s": 0.5}}) as rig:
        reader, writer = await rig.tls()
        writer.write(b"GET /x HTTP/1.1\r\nHost: a")
        assert await end_of(reader) in ("reset", "closed")
        writer.close()
        reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
        writer.write(b"CONNECT api.example.test:443 HTTP/1.1\r\n")
        assert await end_of(reader) in ("reset", "closed")
        writer.close()


async def test_f_only_tls_is_spoken_inside_a_tunnel(rig):
    reader, writer = await rig.connect(f"api.example.test:{rig.provider.port}")
    writer.write(b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n")
    assert await end_of(reader) in ("closed", "reset")
    calls = await rig.settled(1)
    assert calls[0].decision["slug"] == "malformed_request"
    assert rig.provider.connections == 0
    writer.close()


async def test_a29_the_server_name_must_be_the_connect_host(rig):
    reader, writer = await rig.connect(f"api.example.test:{rig.provider.port}")
    context = rig.trust()
    context.check_hostname = False
    await writer.start_tls(context, server_hostname="other.example.test")
    writer.write(f"GET /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode())
    answer = await read_answer(reader)
    assert (answer.status, answer.problem) == (421, "authority_mismatch")
    assert rig.provider.connections == 0
    writer.close()
