"""Run in namespaces of its own: a name server that loses questions, and our resolver that asks it. Prints what came of it.

By a name's first label: `lost` loses the first question of each type, `never` all of them, others are answered; `early`
is asked for before there is a server.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from proxy.clock import SystemClock
from proxy.egress.resolver import Resolver
from proxy.errors import Refused

A = 1
ADDRESS = "93.184.216.34"
TIMEOUT_S = 2.5


def serve(server: socket.socket) -> None:
    seen: Counter[bytes] = Counter()
    while True:
        question, asker = server.recvfrom(4096)
        rest = question[12:]
        seen[rest] += 1
        label = rest[1 : 1 + rest[0]]
        if label.startswith(b"never") or (label.startswith(b"lost") and seen[rest] == 1):
            continue
        end = rest.index(b"\0") + 5
        (kind,) = struct.unpack(">H", rest[end - 4 : end - 2])
        record = b"\xc0\x0c" + struct.pack(">HHIH", A, 1, 0, 4) + socket.inet_aton(ADDRESS) if kind == A else b""
        head = question[:2] + struct.pack(">HHHHH", 0x8180, 1, 1 if record else 0, 0, 0)
        server.sendto(head + rest[:end] + record, asker)


async def resolved(resolver: Resolver, host: str, agent: str = "one") -> dict[str, object]:
    began_s = time.monotonic()
    try:
        said = [str(address) for address in await resolver.resolve(host, agent)]
    except Refused as refused:
        said = [refused.denial.slug]
    return {"said": said, "took_s": time.monotonic() - began_s}


async def threads_took_s() -> float:
    began_s = time.monotonic()
    await asyncio.to_thread(int)
    return time.monotonic() - began_s


async def main() -> dict[str, object]:
    resolver = Resolver(clock=SystemClock(), timeout_s=TIMEOUT_S)
    async with asyncio.TaskGroup() as group:
        early = group.create_task(resolved(resolver, "early.sample.test"))
        await asyncio.sleep(0.3)
        start()
        lost = group.create_task(resolved(resolver, "lost.sample.test"))
        never = [group.create_task(resolved(resolver, f"never-{number}.sample.test", "two")) for number in range(100)]
        await asyncio.sleep(0)
        threads = await threads_took_s()
        other = group.create_task(resolved(resolver, "other.sample.test", "three"))
    return {
        "early": early.result(),
        "lost": lost.result(),
        "other": other.result(),
        "never": [task.result() for task in never],
        "threads_took_s": threads,
    }


def start() -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    threading.Thread(target=serve, args=(server,), daemon=True).start()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("nameserver 127.0.0.1\n")
    print(json.dumps(asyncio.run(main())), flush=True)
