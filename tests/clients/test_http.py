"""Usual HTTP clients, each a process that holds a stand-in and calls a provider that demands the real key."""

from __future__ import annotations

import json

import pytest

from tests.fakes.demands import demanding
from tests.rig.sidecar import KEY


@pytest.fixture
def stand_in(rig) -> str:
    for path in ("/v1/things/0", "/v1/things/1"):
        rig.provider.on(path, demanding("authorization", f"Bearer {KEY}"))
    return rig.stand_in()


def told_back(line: str) -> dict[str, str]:
    """What the careless provider sent back, as the client printed it: its status was 200."""
    status, _, body = line.partition(" ")
    assert status == "200", line
    return dict(json.loads(body)["headers"])


@pytest.mark.parametrize(("option", "version"), [("--http1.1", "1.1"), ("--http2", "2")])
async def test_p1_curl(rig, client, stand_in, option, version):
    ended = await client.run(
        "curl", "-sS", option, f"{rig.base}/v1/things/0", "-H", f"Authorization: Bearer {stand_in}",
        "-d", "from curl", "-w", "\n%{http_version}",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert ended.lines[-1] == version
    assert told_back(f"200 {ended.lines[0]}")["authorization"] == f"Bearer {stand_in}"
    assert rig.provider.last.all("authorization") == [f"Bearer {KEY}"]
    assert rig.provider.last.body == b"from curl"


async def test_p1_curl_without_any_credential_gets_the_accounts(rig, client, stand_in):
    ended = await client.run("curl", "-sS", "-f", f"{rig.base}/v1/things/0")
    assert ended.code == 0, ended.err
    assert rig.provider.last.all("authorization") == [f"Bearer {KEY}"]


async def test_the_provider_refuses_a_stand_in_that_reaches_it(rig, stand_in):
    """The other tests would pass with a provider that lets everyone in; this one would not."""
    seen = await rig.call(
        "GET", f"https://other.example.test:{rig.provider.port}/v1/things/0", headers={"X-Token": "no"}
    )
    assert seen.status == 401


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("requests_post.py", ()),
        ("httpx_post.py", ("h1",)),
        ("httpx_post.py", ("h2",)),
        ("aiohttp_post.py", ()),
    ],
    ids=["requests", "httpx", "httpx over HTTP/2", "aiohttp"],
)
async def test_p1_python_clients(rig, client, stand_in, program, arguments):
    ended = await client.python(program, rig.base, *arguments, EXAMPLE_API_KEY=stand_in)
    assert ended.code == 0, ended.err
    assert [told_back(line)["authorization"] for line in ended.lines[:2]] == [f"Bearer {stand_in}"] * 2
    assert [seen.target for seen in rig.provider.requests] == ["/v1/things/0", "/v1/things/1"]
    assert all(seen.all("authorization") == [f"Bearer {KEY}"] for seen in rig.provider.requests)
    assert all(seen.body.startswith(b"from ") for seen in rig.provider.requests)
    if arguments == ("h2",):
        assert ended.lines[-1] == "HTTP/2"
