"""H-04: an agent's token leaves no trace: not in logs, files, receipts, the process table, or what children are given."""

from __future__ import annotations

import asyncio
import base64
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from tests.answers.test_capture_crash import call
from tests.rig.process import configured
from tests.rig.raw import read_answer

if TYPE_CHECKING:
    from tests.rig.process import Up

FRAGMENT = 12
"""Bytes of a secret that count as a leak."""


def forms(token: str) -> tuple[bytes, ...]:
    """The secret part of a token in the spellings in which it travels."""
    secret = token.split("_", 2)[2].encode()
    encoded = [base64.b64encode(b"x" * pad + secret)[4:-4] for pad in range(3)]
    return (secret[:FRAGMENT], secret[-FRAGMENT:], secret.hex().encode()[:24], *(one[:FRAGMENT] for one in encoded))


async def heads(up: Up) -> list[int]:
    """Ways to send the token, also where it does not belong; the statuses."""
    target, token = f"127.0.0.1:{up.provider.port}", up.token
    basic = base64.b64encode(f"agent:{token}".encode()).decode()
    found = []
    for head in (
        f"GET http://{target}/{token} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic {basic}",
        f"GET http://agent:{token}@{target}/x HTTP/1.1\r\nHost: {target}",
        f"CONNECT agent:{token}@{target} HTTP/1.1\r\nHost: {target}",
        f"GET http://{target}/x?token={token} HTTP/1.1\r\nHost: {target}",
        f"BREW{token} * HTTP/9.9\r\n{token}",
        f"CONNECT {target} HTTP/1.1\r\nProxy-Authorization: Bearer {token}x",
    ):
        reader, writer = await asyncio.open_connection(*up.address)
        writer.write(f"{head}\r\n\r\n".encode())
        found.append((await read_answer(reader)).status)
        writer.close()
    return found


async def test_h_04_a_token_leaves_no_trace(tmp_path: Path) -> None:
    """H-04: accepted in its header alone; in a URL or its userinfo it is nobody's."""
    async with configured(tmp_path) as up:
        await up.start()
        trust = ssl.create_default_context(cafile=str(up.home / "ca-bundle.pem"))
        assert (await call(up, trust, "GET /x HTTP/1.1\r\n")).status == 200
        statuses = await heads(up)
        assert statuses[1:] == [407, 400, 407, 400, 407], statuses
        assert up.process is not None
        table = {name: Path(f"/proc/{up.process.pid}/{name}").read_bytes() for name in ("cmdline", "environ")}
        seen = up.provider.requests[-1]
        await up.kill()
        files = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        places = {**files, **table, "request": seen.head}
        found = {(name, form) for name, data in places.items() for form in forms(up.token) if form in data}
        assert found == set()
        assert b"via" not in {name.lower() for name, _ in seen.headers}


def test_the_search_finds_a_token() -> None:
    token = "bca_AAAAAAAAAAAA_" + "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
    for pad in range(3):
        data = b"-" + base64.b64encode(b"u" * pad + token.encode()) + b"-"
        assert any(form in data for form in forms(token)), pad
    assert any(form in token.encode() for form in forms(token))
