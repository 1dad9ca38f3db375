"""The load generator: one measurement per process, told as JSON in its argument, answered as JSON on standard output.

    python bench/load.py '{"measure": "rate", "target": {...}, "pid": 4711, "connections": 16, ...}'

`pid` is the proxy's, `upstream` the provider's; CPU times are read at the window's two ends. Everything runs in a
closed loop: a connection sends its next request when it has the answer to its last.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import probes
from client import ECHO, RECEIVE_BYTES, REQUEST_BODY, BrokenError, Target, call, complete, connect
from process import cpu_s, machine_cpu_s

if TYPE_CHECKING:
    from collections.abc import Callable

OPENERS: Final = 8
WARM_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class Used:
    """Seconds of CPU so far: of the proxy, of everything that takes part, and of the whole machine."""

    proxy_s: float
    parts_s: float
    machine_s: float

    @classmethod
    def now(cls, pid: int | None, upstream: int) -> Self:
        """Read the kernel's counters."""
        proxy_s = 0.0 if pid is None else cpu_s(pid)
        return cls(proxy_s, proxy_s + cpu_s(upstream) + cpu_s(os.getpid()), machine_cpu_s())


class Loop:
    """One connection in a closed loop. Latencies in seconds are appended to `latencies_s`."""

    def __init__(self, connection: ssl.SSLSocket, request: bytes, key: bytes, latencies_s: list[float]) -> None:
        self.connection: Final = connection
        self._request: Final = request
        self._key: Final = key
        self._latencies_s: Final = latencies_s
        self._received = b""
        self._sent_s = 0.0

    def send(self) -> None:
        """The next request."""
        self._received = b""
        self._sent_s = time.perf_counter()
        if self.connection.send(self._request) != len(self._request):
            raise BrokenError("a small request did not fit into the socket")

    def readable(self) -> None:
        """The event loop's call; an answer that is whole brings the next request."""
        try:
            data = self.connection.recv(RECEIVE_BYTES)
        except ssl.SSLWantReadError:  # a session ticket
            return
        if not data:
            raise BrokenError("the connection ended under load")
        self._received += data
        if complete(self._received, self._key):
            self._latencies_s.append(time.perf_counter() - self._sent_s)
            self.send()


def rate(target: Target, pid: int | None, *, upstream: int, connections: int, window_s: float) -> dict[str, float]:
    """Requests per second, latencies in ms, the proxy's CPU time per request in µs.

    `foreign` is how much of a core everything used that has no part in the measurement.
    """
    request = target.request(ECHO, REQUEST_BODY)
    context = target.context()

    def opened(_: int) -> ssl.SSLSocket:
        connection = connect(target, context)
        call(connection, request, target.key.encode())
        connection.setblocking(False)
        return connection

    with ThreadPoolExecutor(OPENERS) as pool:
        sockets = list(pool.map(opened, range(connections)))
    latencies_s: list[float] = []
    loops = [Loop(connection, request, target.key.encode(), latencies_s) for connection in sockets]
    return asyncio.run(_window(loops, latencies_s, lambda: Used.now(pid, upstream), window_s))


async def _window(
    loops: list[Loop], latencies_s: list[float], used: Callable[[], Used], window_s: float
) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    broken: asyncio.Future[None] = loop.create_future()

    def guarded(step: Callable[[], None]) -> None:
        try:
            step()
        except (OSError, BrokenError) as error:
            if not broken.done():
                broken.set_exception(error)

    for each in loops:
        loop.add_reader(each.connection.fileno(), guarded, each.readable)
        each.send()
    await asyncio.wait([broken], timeout=WARM_S)
    latencies_s.clear()
    before, before_s = used(), time.perf_counter()
    await asyncio.wait([broken], timeout=window_s)
    lasted_s, after = time.perf_counter() - before_s, used()
    for each in loops:
        loop.remove_reader(each.connection.fileno())
    if broken.done():
        broken.result()
    count, used_s = len(latencies_s), after.proxy_s - before.proxy_s
    foreign_s = after.machine_s - before.machine_s - (after.parts_s - before.parts_s)
    return {
        "requests": count,
        "requests_per_s": count / lasted_s,
        "p50_ms": probes.percentile(latencies_s, 50) * 1000,
        "p99_ms": probes.percentile(latencies_s, 99) * 1000,
        "cpu_us": used_s * 1e6 / count,
        "busy": used_s / lasted_s,
        "foreign": max(0.0, foreign_s / lasted_s),
    }


def main(order: dict[str, Any]) -> None:
    """Do what `order` says."""
    target, pid = Target(**order["target"]), order["pid"]
    match order["measure"]:
        case "rate":
            how = {name: order[name] for name in ("upstream", "connections", "window_s")}
            result = rate(target, pid, **how)
        case "stream":
            result = probes.stream(target, samples=order["samples"])
        case "memory":
            result = probes.memory(target, pid, count=order["count"])
        case other:
            raise ValueError(f"no such measurement: {other}")
    print(json.dumps(result))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
