"""A world for one attack, run as root of a user and network namespace: addresses that must not be reached, with listeners
that count, sockets of a control plane, and a sidecar's socket. Prints one JSON object.

Arguments: a folder; `confined` or `free`, which is the control: the same attack without confinement must succeed.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from proxy.canonical import proxy_protocol
from proxy.confine.plan import Plan

ADDRESSES = (
    "8.8.8.8/32",
    "169.254.169.254/32",
    "192.0.2.7/32",
    "127.0.0.53/32",
    "2001:db8::7/128",
    "fd00:ec2::254/128",
)
HERE = Path(__file__).parent
hits: dict[str, int] = {}
origins: list[list[str]] = []


def hit(name: str) -> None:
    hits[name] = hits.get(name, 0) + 1


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, name: str) -> None:
        self.name = name

    def datagram_received(self, data: bytes, addr: tuple) -> None:
        hit(self.name)


def counted(name: str):
    async def accepted(reader, writer) -> None:
        hit(name)
        writer.close()

    return accepted


async def sidecar(reader, writer) -> None:
    prefix = await reader.readexactly(16)
    origin = proxy_protocol.decode(prefix + await reader.readexactly(proxy_protocol.following(prefix)))
    origins.append([origin.destination[0], str(origin.destination[1]), str(origin.name)])
    writer.close()


async def listeners(folder: Path) -> None:
    loop = asyncio.get_running_loop()
    for port in (22, 80, 443, 8443):
        for host in ("0.0.0.0", "::"):
            await asyncio.start_server(counted(f"tcp {host} {port}"), host, port)
    for port in (53, 123, 443):
        for host in ("0.0.0.0", "::"):
            made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
            if ":" in host:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind((host, port))
            made.setblocking(False)
            await loop.create_datagram_endpoint(lambda name=f"udp {host} {port}": Datagrams(name), sock=made)
    for name in ("state/control.sock", "elsewhere/docker.sock", "agent.sock"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        await asyncio.start_unix_server(counted(f"unix {name}"), path)
    await asyncio.start_unix_server(counted("unix abstract"), "\0control")
    (folder / "state" / "receipts.sqlite").write_text("receipts")
    (folder / "secret").write_text("secret-of-a-file-ref")


async def main(folder: Path, how: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in ADDRESSES:
        subprocess.run(["ip", "address", "add", address, "dev", "lo"], check=True)
    await listeners(folder)
    forwarded = folder / "state" / "confined.sock"
    await asyncio.start_unix_server(sidecar, forwarded)
    environment = {**os.environ, "SSH_AUTH_SOCK": str(folder / "agent.sock"), "NO_PROXY": "*", "no_proxy": "*"}
    command = [sys.executable, str(HERE / "attack.py"), str(folder), str(os.getpid())]
    secret = {"SECRET_OF_THE_SIDECAR": "in-its-environment"}
    holder = await asyncio.create_subprocess_exec("sleep", "60", env={**os.environ, **secret})
    command.append(str(holder.pid))
    descriptors: tuple[int, ...] = ()
    if how == "confined":
        hidden = [str(folder / "state"), str(folder / "secret")]
        descriptors = (Plan(command, environment, str(forwarded), hidden, os.getpid()).offered(),)
        command = [sys.executable, "-P", "-m", "proxy.confine", str(descriptors[0])]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, pass_fds=descriptors, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    holder.kill()
    print(json.dumps({"hits": hits, "origins": origins, "code": process.returncode, "ways": json.loads(out)}))


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
