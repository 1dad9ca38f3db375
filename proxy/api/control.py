"""`/healthz`, `/readyz`, `/metrics`, and the key directory of Web Bot Auth."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, override

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from proxy.credentials.http_signature import WELL_KNOWN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from prometheus_client.metrics_core import Metric

    from proxy.tally import Tally

type Checks = Callable[[], Mapping[str, bool]]
type Details = Callable[[], Mapping[str, str]]
type Gauges = Callable[[], Mapping[str, int]]
type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

GAUGES: Final = {
    "connections": "Agent connections open now.",
    "generation": "Number of the configuration in force.",
}


class _Numbers(Collector):
    """Reads the tally when scraped."""

    def __init__(self, tally: Tally, checks: Checks, gauges: Gauges) -> None:
        self._tally, self._checks, self._gauges = tally, checks, gauges

    @override
    def collect(self) -> Iterable[Metric]:
        decisions = CounterMetricFamily("briefcased_decisions", "Decisions by result.", labels=["result"])
        for slug, count in self._tally.decisions.items():
            decisions.add_metric([slug], count)
        yield decisions
        outcomes = CounterMetricFamily("briefcased_outcomes", "Ends of allowed exchanges.", labels=["outcome"])
        for outcome, count in self._tally.outcomes.items():
            outcomes.add_metric([outcome], count)
        yield outcomes
        yield CounterMetricFamily("briefcased_redactions", "Secrets replaced in answers.", value=self._tally.redactions)
        carried = CounterMetricFamily("briefcased_body_bytes", "Body bytes carried.", labels=["direction"])
        carried.add_metric(["request"], self._tally.request_bytes)
        carried.add_metric(["response"], self._tally.response_bytes)
        yield carried
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(f"briefcased_{name}", GAUGES.get(name, name), value=value)
        ready = GaugeMetricFamily("briefcased_ready", "Readiness checks, 1 is good.", labels=["check"])
        for name, good in self._checks().items():
            ready.add_metric([name], int(good))
        yield ready


class Control:
    """The listener. `checks` says what readiness depends on; every one must hold."""

    def __init__(self, *, tally: Tally, checks: Checks, gauges: Gauges, details: Details, directory: Handler) -> None:
        self._checks: Final = checks
        self._details: Final = details
        self._registry: Final = CollectorRegistry()
        self._registry.register(_Numbers(tally, checks, gauges))
        app = web.Application(client_max_size=16 * 1024)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get(WELL_KNOWN, directory)
        self._runner: Final = web.AppRunner(app, access_log=None, handle_signals=False)

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError when the address is taken."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        addresses = self._runner.addresses
        bound: int = addresses[0][1]
        return bound

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    @staticmethod
    async def _healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        checks = dict(self._checks())
        ready = all(checks.values())
        details = dict(await asyncio.to_thread(self._details))
        return web.json_response({"ready": ready, "checks": checks, "details": details}, status=200 if ready else 503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})
