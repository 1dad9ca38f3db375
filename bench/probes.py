"""The measurements beside throughput: time to the first event of a stream, memory, new connections."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from client import ECHO, RECEIVE_BYTES, REQUEST_BODY, STREAM, BrokenError, Target, call, connect
from process import cpu_s, rss_kib

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

AT_ONCE: Final = 16
SETTLE_S: Final = 1.0


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that `percent` of the values do not exceed (nearest rank). Raises `BrokenError` without values."""
    if not values:
        raise BrokenError("nothing was answered")
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def stream(target: Target, *, samples: int) -> dict[str, float]:
    """From sending the request to reading the first event of the answer, in ms, on one kept connection."""
    connection = connect(target, target.context())
    request = target.request(STREAM)
    _first_event_s(connection, request)
    taken_s = [_first_event_s(connection, request) for _ in range(samples)]
    connection.close()
    return {"p50_ms": percentile(taken_s, 50) * 1000, "max_ms": max(taken_s) * 1000}


def _first_event_s(connection: ssl.SSLSocket, request: bytes) -> float:
    sent_s, first_s, received = time.perf_counter(), 0.0, b""
    connection.sendall(request)
    while not received.endswith(b"\r\n0\r\n\r\n"):
        if not (data := connection.recv(RECEIVE_BYTES)):
            raise BrokenError("the stream was cut")
        received += data
        if not first_s and b"data: first\n\n" in received:
            first_s = time.perf_counter()
    return first_s - sent_s


def memory(target: Target, pid: int, *, count: int) -> dict[str, float]:
    """Resident memory of the proxy in KiB: fresh, after `count` connections, with `count` open ones, and after them.

    Each connection carries one request, so that both legs have been up; the open ones stay up and idle.
    """
    request, key, context = target.request(ECHO, REQUEST_BODY), target.key.encode(), target.context()

    def opened(_: int) -> ssl.SSLSocket:
        connection = connect(target, context)
        call(connection, request, key)
        return connection

    def opened_and_closed(number: int) -> None:
        opened(number).close()

    result: dict[str, float] = {"count": count, "start_kib": rss_kib(pid)}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        cpu_before_s, before_s = cpu_s(pid), time.perf_counter()
        list(pool.map(opened_and_closed, range(count)))
        result["connections_per_s"] = count / (time.perf_counter() - before_s)
        time.sleep(SETTLE_S)
        result["connection_cpu_us"] = (cpu_s(pid) - cpu_before_s) * 1e6 / count
        result["closed_kib"] = rss_kib(pid)
        kept = list(pool.map(opened, range(count)))
        time.sleep(SETTLE_S)
        result["idle_kib"] = rss_kib(pid)
        for connection in kept[:: max(1, count // 10)]:
            call(connection, request, key)  # they still work
        list(pool.map(lambda connection: connection.close(), kept))
    time.sleep(SETTLE_S)
    result["after_idle_kib"] = rss_kib(pid)
    return result
