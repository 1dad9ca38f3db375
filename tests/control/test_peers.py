"""H-05, H-11: what is bound to a process is worth nothing elsewhere, nor once the process has ended."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from proxy.identity import processes
from proxy.identity.task_limits import TaskLimits
from proxy.identity.task_tokens import narrowed
from tests.control.tenancy import task_token, tenancy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.rig import Rig

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(sys.platform != "linux", reason="other kernels tell no process"),
]
CUT_S = 5.0
LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
ASKING = """
import os, socket, subprocess, sys
CODE = open("/proc/self/cmdline").read().split("\\0")[4]

def ask(path, token):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        head = "GET http://briefcased.internal/ HTTP/1.1\\r\\nHost: briefcased.internal\\r\\n"
        s.sendall(f"{head}Proxy-Authorization: Bearer {token}\\r\\n\\r\\n".encode())
        print(s.recv(12).decode()[-3:], flush=True)
        if sys.argv[3:] == ["hold"]:
            while s.recv(65536):
                pass
            print("ended", flush=True)

if len(sys.argv) > 2:
    ask(sys.argv[1], sys.argv[2])
    sys.exit()
print(os.getpid(), flush=True)
for line in sys.stdin:
    how, token = line.split()
    if how == "self":
        ask(sys.argv[1], token)
    else:  # a child, which goes on when we have ended
        subprocess.Popen([sys.executable, "-I", "-S", "-c", CODE, sys.argv[1], token, how])
"""
KEEPING = """
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"GET /example/x HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
print(s.recv(65536).decode().split(" ")[1], flush=True)
if os.fork():
    sys.stdin.readline()
    os._exit(0)  # the child keeps the connection
while s.recv(65536):
    pass
print("ended", flush=True)
"""


@dataclass
class Program:
    """A process that we started."""

    process: asyncio.subprocess.Process

    async def said(self) -> str:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), 10)).decode().strip()

    async def told(self, line: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        return await self.said()


@asynccontextmanager
async def program(code: str, *arguments: str) -> AsyncIterator[Program]:
    command = [sys.executable, "-I", "-S", "-c", code, *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdin=-1, stdout=-1)
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@dataclass
class Sockets:
    """The rig's unix sockets: one asks for tokens, one is the agent's."""

    rig: Rig
    asking: str
    own: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sockets(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sockets]:
    folder = tmp_path_factory.mktemp("peers")
    asking, own = f"{folder}/asking.sock", f"{folder}/own.sock"
    more = [{"at": f"unix:{asking}"}, {"at": f"unix:{own}", "kind": "base_url", "agent": "coder"}]
    listeners = {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0", "more": more}
    async with tenancy(folder, listeners=listeners) as rig:
        yield Sockets(rig, asking, own)


def bound_to(sockets: Sockets, pid: int) -> str:
    name = processes.name_of(pid)
    assert name is not None
    return narrowed(task_token(sockets.rig), TaskLimits(peers=(name,)))


async def test_h_05_a_token_of_a_process_is_worth_nothing_to_another(sockets: Sockets) -> None:
    """H-05: the same user, the same socket, another process: 407. What the process starts is it as well."""
    async with program(ASKING, sockets.asking) as owner, program(ASKING, sockets.asking) as thief:
        pid = int(await owner.said())
        await thief.said()
        text = bound_to(sockets, pid)
        assert await owner.told(f"self {text}") == "200"
        assert await owner.told(f"child {text}") == "200"
        assert await thief.told(f"self {text}") == "407"
        assert await thief.told(f"self {task_token(sockets.rig, peers=[f'uid:{os.getuid()}'])}") == "200"
    sockets.rig.tokens["bound"] = text
    reader, writer = await asyncio.open_connection(*sockets.rig.sidecar.proxy)  # nor by TCP
    writer.write(f"CONNECT api.example.test:1 HTTP/1.1\r\n{sockets.rig.credentials('bound')}\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 407 ")
    writer.close()


async def test_h_05_a_token_of_an_address_is_worth_nothing_from_another(sockets: Sockets) -> None:
    """H-05: by TCP the source address is the peer."""
    text = task_token(sockets.rig, peers=["ip:127.0.0.2"])
    for address, status in (("127.0.0.2", b"200"), ("127.0.0.1", b"407"), ("127.0.0.3", b"407")):
        reader, writer = await asyncio.open_connection(*sockets.rig.sidecar.proxy, local_addr=(address, 0))
        target = f"api.example.test:{sockets.rig.provider.port}"
        writer.write(f"CONNECT {target} HTTP/1.1\r\nProxy-Authorization: Bearer {text}\r\n\r\n".encode())
        assert (await reader.readline())[9:12] == status
        writer.transport.abort()


async def test_h_11_a_token_ends_with_its_process(sockets: Sockets) -> None:
    """H-11: a child that outlives the process, and a connection that it has open, are nobody's any more."""
    async with program(ASKING, sockets.asking) as owner:
        text = bound_to(sockets, int(await owner.said()))
        assert await owner.told(f"hold {text}") == "200"
        owner.process.kill()
        async with asyncio.timeout(CUT_S):
            assert await owner.said() == "ended"
    async with program(ASKING, sockets.asking) as later:
        await later.said()
        assert await later.told(f"self {text}") == "407"


@pytest.mark.skipif(os.geteuid() != 0 or not LAST_PID.exists(), reason="only root can have a number used again")
async def test_h_11_a_process_number_that_is_used_again_is_another_process(sockets: Sockets) -> None:
    """H-11: the kernel gives the number of a process that has ended to the next one, really; the token stays dead."""
    async with program(ASKING, sockets.asking) as owner:
        pid = int(await owner.said())
        text = bound_to(sockets, pid)
        assert await owner.told(f"self {text}") == "200"
    for _ in range(100):
        LAST_PID.write_text(str(pid - 1))
        async with program(ASKING, sockets.asking) as heir:
            if int(await heir.said()) == pid:
                assert await heir.told(f"self {text}") == "407"
                assert await heir.told(f"self {bound_to(sockets, pid)}") == "200"
                return
    pytest.skip("others were faster to take the number")


async def test_h_11_a_connection_ends_with_the_process_that_made_it(sockets: Sockets) -> None:
    """H-11: on an agent's own socket, also where a child has inherited the connection."""
    async with program(KEEPING, sockets.own) as agent:
        assert await agent.said() == "200"
        assert agent.process.stdin is not None
        agent.process.stdin.write(b"\n")
        async with asyncio.timeout(CUT_S):
            assert await agent.said() == "ended"
