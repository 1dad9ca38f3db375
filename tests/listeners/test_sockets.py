"""Where listeners are: unix sockets and their peers, descriptors that were inherited, socket activation."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess

import httpx
import pytest

from proxy.errors import BriefcaseError
from proxy.front.sockets import open_sockets
from tests.rig import running_rig
from tests.rig.raw import read_answer
from tests.rig.sidecar import KEY

AGENTS = {"tester": {"accounts": ["*"]}}
GRANTS = {"tester": ("*",), "second": ("example/*",)}


def settings(*more, proxy="127.0.0.1:0"):
    return {"listeners": {"proxy": proxy, "control": "127.0.0.1:0", "more": list(more)}, "agents": AGENTS}


def based(at, **fields):
    return {"at": at, "kind": "base_url", "agent": "tester", **fields}


async def get(path, **transport):
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(**transport), base_url="http://localhost") as http:
        return await http.get(path)


async def test_p5_the_user_at_the_other_end_of_a_unix_socket_is_the_agent(tmp_path):
    path = tmp_path / "agent.sock"
    async with running_rig(tmp_path, settings=settings(based(f"unix:{path}"))) as rig:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (await get("/example/x", uds=str(path))).status_code == 200
        assert rig.provider.last.one("authorization") == f"Bearer {KEY}"
        (call,) = await rig.settled(1)
        assert (call.decision["agent"], call.decision["token_id"]) == ("tester", f"@uid:{os.geteuid()}")
    assert not path.exists()


async def test_p5_another_user_is_refused(tmp_path):
    path = tmp_path / "agent.sock"
    other = os.geteuid() + 4711
    async with running_rig(tmp_path, settings=settings(based(f"unix:{path}", uids=[other]))) as rig:
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        assert (await get("/example/x", uds=str(path))).status_code == 407
        assert not rig.provider.requests
        (call,) = await rig.settled(1)
        assert (call.decision["slug"], call.decision["capture"]) == ("proxy_auth_required", "base_url")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_a_named_user_gets_in(tmp_path):
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        listener = based(f"unix:{folder}/a.sock", uids=[65534])
        async with running_rig(tmp_path, settings=settings(listener)) as rig:
            command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", f"{folder}/a.sock"]
            done = await asyncio.to_thread(
                subprocess.run, [*command, "http://localhost/example/x"], user=65534, capture_output=True, check=False
            )
            assert done.stdout == b"200"
            (call,) = await rig.settled(1)
            assert call.decision["token_id"] == "@uid:65534"


async def test_tunnels_are_opened_over_a_unix_socket_too(tmp_path):
    at = f"unix:{tmp_path}/p.sock"
    async with running_rig(tmp_path, settings=settings({"at": at, "agent": "tester"}, proxy="127.0.0.1:0")) as rig:
        reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/p.sock")
        target = f"api.example.test:{rig.provider.port}"
        writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        assert (await read_answer(reader, head_only=True)).status == 200
        await writer.start_tls(rig.trust(), server_hostname="api.example.test")
        writer.write(f"GET /x HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        assert (await read_answer(reader)).status == 200
        writer.close()


async def test_the_first_listener_may_be_a_unix_socket(tmp_path):
    async with running_rig(tmp_path, settings=settings(proxy=f"unix:{tmp_path}/p.sock")) as rig:
        assert rig.sidecar.endpoints == (f"unix:{tmp_path}/p.sock",)
        reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/p.sock")
        writer.write(f"CONNECT api.example.test:1 HTTP/1.1\r\n{rig.credentials()}\r\n".encode())
        assert (await read_answer(reader)).problem == "destination_not_allowed"
        writer.close()


def test_a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not(tmp_path):
    path = tmp_path / "x.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    (opened,) = open_sockets(f"unix:{path}", uids=(), activated={})
    opened.socket.listen()
    with pytest.raises(BriefcaseError, match="another process listens"):
        open_sockets(f"unix:{path}", uids=(), activated={})
    opened.close()
    path.write_text("data")
    with pytest.raises(BriefcaseError, match="not a socket"):
        open_sockets(f"unix:{path}", uids=(), activated={})
    assert path.read_text() == "data"


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("unix:/nonexistent/x.sock", "No such file"),
        ("fd:987", "not an open socket"),
        ("systemd:web", "passed no socket of this name"),
        ("203.0.113.1:9", "assign"),
    ],
)
def test_what_cannot_be_opened_says_why(at, message):
    with pytest.raises(BriefcaseError, match=f"^{at}: .*{message}"):
        open_sockets(at, uids=(), activated={})


def test_a_connection_and_a_datagram_socket_are_no_listeners():
    one, other = socket.socketpair()
    with one, other, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        for wrong in (one, datagrams):
            with pytest.raises(BriefcaseError, match="not a"):
                open_sockets(f"fd:{wrong.fileno()}", uids=(), activated={})
            assert wrong.fileno() >= 0
            os.fstat(wrong.fileno())


async def test_an_inherited_descriptor_is_served(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as ours:
        number = os.dup(ours.fileno())
        async with running_rig(tmp_path, settings=settings(based(f"fd:{number}"))) as rig:
            host, port = ours.getsockname()
            async with httpx.AsyncClient(trust_env=False) as http:
                assert (await http.get(f"http://{host}:{port}/example/x")).status_code == 200
            assert rig.provider.requests
            assert ours.getsockname() in rig.sidecar.listeners()  # never dialled
