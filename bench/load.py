"""The load generator: one measurement per process, told as JSON in its argument, answered as JSON on standard output.

    python bench/load.py '{"measure": "rate", "target": {...}, "pid": 4711, "connections": 16, "window_s": 1.5}'

`pid` is the proxy's; its CPU time is read at the window's two ends. Everything runs in a closed loop: a connection
sends its next request when it has the answer to its last.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import probes
from client import ECHO, RECEIVE_BYTES, REQUEST_BODY, BrokenError, Target, call, complete, connect
from process import cpu_s

if TYPE_CHECKING:
    from collections.abc import Callable

OPENERS: Final = 8
WARM_S: Final = 0.3


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


def rate(target: Target, pid: int | None, *, connections: int, window_s: float) -> dict[str, float]:
    """Requests per second, latencies in ms, and the proxy's CPU time per request in µs."""
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
    return asyncio.run(_window(loops, latencies_s, pid, window_s))


async def _window(loops: list[Loop], latencies_s: list[float], pid: int | None, window_s: float) -> dict[str, float]:
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
    cpu_before_s, before_s = cpu_s(pid) if pid else 0.0, time.perf_counter()
    await asyncio.wait([broken], timeout=window_s)
    lasted_s, used_s = time.perf_counter() - before_s, (cpu_s(pid) if pid else 0.0) - cpu_before_s
    for each in loops:
        loop.remove_reader(each.connection.fileno())
    if broken.done():
        broken.result()
    count = len(latencies_s)
    return {
        "requests": count,
        "requests_per_s": count / lasted_s,
        "p50_ms": probes.percentile(latencies_s, 50) * 1000,
        "p99_ms": probes.percentile(latencies_s, 99) * 1000,
        "cpu_us": used_s * 1e6 / count,
        "busy": used_s / lasted_s,
    }


def main(order: dict[str, Any]) -> None:
    """Do what `order` says."""
    target, pid = Target(**order["target"]), order["pid"]
    match order["measure"]:
        case "rate":
            result = rate(target, pid, connections=order["connections"], window_s=order["window_s"])
        case "stream":
            result = probes.stream(target, samples=order["samples"])
        case "memory":
            result = probes.memory(target, pid, count=order["count"])
        case other:
            raise ValueError(f"no such measurement: {other}")
    print(json.dumps(result))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
