"""The same with products that people run: tinyproxy (HTTP CONNECT), microsocks and Dante (SOCKS 5).

They resolve names themselves, so each runs in a mount namespace of its own with a hosts file that knows ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.fakes.upstream_proxy import PASSWORD, USER
from tests.rig import Provider, running_rig
from tests.rig.sidecar import HOSTS, KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NAMESPACE = ("unshare", "--mount", "--map-root-user")
LOGIN = {"username": "env:CORP_USER", "password": "env:CORP_PASSWORD"}
TINYPROXY = f"""\
Port {{port}}
Listen 127.0.0.1
Timeout 60
LogLevel Info
MaxClients 20
Allow 127.0.0.1
BasicAuth {USER} {PASSWORD}
"""
DANTE = """\
logoutput: stderr
internal: 127.0.0.1 port = {port}
external: lo
clientmethod: none
socksmethod: none
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
"""
PRODUCTS = {
    "tinyproxy": ("http", TINYPROXY, ("tinyproxy", "-d", "-c", "{file}"), True),
    "microsocks": ("socks5", "", ("microsocks", "-i", "127.0.0.1", "-p", "{port}", "-u", USER, "-P", PASSWORD), True),
    "danted": ("socks5", DANTE, ("danted", "-f", "{file}"), False),
}


@contextlib.asynccontextmanager
async def product(name: str, folder: Path) -> AsyncIterator[str]:
    """The URL of a running one; skips where it is not installed or cannot be given a hosts file."""
    scheme, configuration, command, _ = PRODUCTS[name]
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install tinyproxy microsocks dante-server)")
    if subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this kernel gives us no mount namespace, so the product cannot be told our names")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hosts, file = folder / "hosts", folder / f"{name}.conf"
    hosts.write_text(f"127.0.0.1 localhost {' '.join(HOSTS)}\n")
    file.write_text(configuration.format(port=port))
    words = [word.format(port=port, file=file) for word in command]
    script = f'mount --bind {hosts} /etc/hosts && exec "$@"'
    process = await asyncio.create_subprocess_exec(
        *NAMESPACE, "sh", "-c", script, "sh", *words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await _listening(port)
        yield f"{scheme}://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def _listening(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


@contextlib.asynccontextmanager
async def behind(url: str, folder: Path, *, login: bool, word: str = PASSWORD) -> AsyncIterator:
    provider = Provider(folder, HOSTS)
    await provider.start()
    entry = {"url": url, **(LOGIN if login else {})}
    async with running_rig(
        folder,
        provider=provider,
        resolve={},
        settings={"egress": {"upstream_proxy": entry, "ca_bundle": str(provider.root)}},
        environment={"CORP_USER": USER, "CORP_PASSWORD": word},
    ) as rig:
        yield rig
    await provider.stop()


@pytest.mark.parametrize("name", PRODUCTS)
async def test_a_call_through_a_real_product(tmp_path, name):
    async with product(name, tmp_path) as url, behind(url, tmp_path, login=PRODUCTS[name][3]) as rig:
        first = await rig.call("POST", "/x", content=b"a" * 100_000)
        nobody = await rig.call("GET", f"https://other.example.test:{rig.provider.port}/x", http2=True)
        assert (first.status, nobody.status) == (200, 200), (first.body, nobody.body)
        assert [len(seen.body) for seen in rig.provider.requests] == [100_000, 0]
        assert rig.provider.requests[0].one("authorization") == f"Bearer {KEY}"
        calls = await rig.settled(2)
        assert {call.decision["upstream_proxy"] for call in calls} == {url.partition("://")[2]}


@pytest.mark.parametrize("name", ["tinyproxy", "microsocks"])
async def test_p1_a_real_product_that_does_not_know_us(tmp_path, name):
    async with product(name, tmp_path) as url:
        for number, login in enumerate((True, False)):
            folder = tmp_path / str(number)
            folder.mkdir()
            async with behind(url, folder, login=login, word="wrong-wrong") as rig:
                answer = await rig.call("GET", "/x")
                assert (answer.status, answer.problem) == (502, "upstream_proxy_auth")
                assert rig.provider.connections == 0


@pytest.mark.parametrize("name", PRODUCTS)
async def test_a_provider_that_a_real_product_cannot_reach(tmp_path, name):
    async with product(name, tmp_path) as url, behind(url, tmp_path, login=PRODUCTS[name][3]) as rig:
        await rig.provider.stop()
        answer = await rig.call("GET", "/x")
        assert answer.problem == "upstream_unreachable"
