"""H-04: an agent's token leaves no trace: not in logs, files, receipts, the process table, or what children are given."""

from __future__ import annotations

import asyncio
import base64
import ssl
from pathlib import Path

import pytest

from tests.answers.test_capture_crash import call
from tests.rig import running_rig
from tests.rig.process import configured
from tests.rig.raw import read_answer

FRAGMENT = 12
"""Bytes of a secret that count as a leak."""


def forms(token: str) -> tuple[bytes, ...]:
    """The secret part of a token in the spellings in which it travels."""
    secret = token.split("_", 2)[2].encode()
    encoded = [base64.b64encode(b"x" * pad + secret)[4:-4] for pad in range(3)]
    return (secret[:FRAGMENT], secret[-FRAGMENT:], secret.hex().encode()[:24], *(one[:FRAGMENT] for one in encoded))


async def heads(address: tuple[str, int], target: str, token: str) -> list[int]:
    """Ways to send the token, also where it does not belong; the statuses."""
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
        reader, writer = await asyncio.open_connection(*address)
        writer.write(f"{head}\r\n\r\n".encode())
        found.append((await read_answer(reader)).status)
        writer.close()
    return found


def traces(token: str, folder: Path, **more: bytes) -> set[tuple[str, bytes]]:
    """Where a part of the token is found, in files below `folder` or in `more`."""
    places = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()} | more
    return {(name, form) for name, data in places.items() for form in forms(token) if form in data}


async def test_h_04_a_token_leaves_no_trace(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """H-04: accepted in its header alone; in a URL or its userinfo it is nobody's, and receipts do not show it."""
    caplog.set_level("DEBUG")
    async with running_rig(tmp_path) as rig:
        token = rig.tokens["tester"]
        target = f"api.example.test:{rig.provider.port}"
        statuses = await heads(rig.sidecar.proxy, target, token)
        assert statuses == [403, 407, 400, 407, 400, 407]
        assert (await rig.call("GET", "/x")).status == 200
        await rig.settled(7)
        seen = rig.provider.last
        assert traces(token, tmp_path, log=caplog.text.encode(), request=seen.head) == set()
        assert seen.one("via") is None


@pytest.mark.slow
async def test_h_04_nor_in_the_process_table(tmp_path: Path) -> None:
    """H-04: the same by a sidecar in a process of its own, with its log, its arguments and its environment."""
    async with configured(tmp_path) as up:
        await up.start()
        trust = ssl.create_default_context(cafile=str(up.home / "ca-bundle.pem"))
        assert (await call(up, trust, "GET /x HTTP/1.1\r\n")).status == 200
        assert (await heads(up.address, f"127.0.0.1:{up.provider.port}", up.token))[1:] == [407, 400, 407, 400, 407]
        assert up.process is not None
        table = {name: Path(f"/proc/{up.process.pid}/{name}").read_bytes() for name in ("cmdline", "environ")}
        await up.kill()
        assert traces(up.token, tmp_path, **table) == set()


def test_the_search_finds_a_token() -> None:
    token = "bca_AAAAAAAAAAAA_" + "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
    for pad in range(3):
        data = b"-" + base64.b64encode(b"u" * pad + token.encode()) + b"-"
        assert any(form in data for form in forms(token)), pad
    assert any(form in token.encode() for form in forms(token))
