"""`/healthz`, `/readyz`, `/metrics`, and the key directory of Web Bot Auth."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, override

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from proxy.api.server import Answer, HttpServer
from proxy.credentials.http_signature import WELL_KNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client.metrics_core import Metric

    from proxy.api.server import Handler
    from proxy.tally import Tally

type Checks = Callable[[], Mapping[str, bool]]
type Details = Callable[[], Mapping[str, str]]
type Gauges = Callable[[], Mapping[str, int]]

GAUGES: Final = {
    "connections": "Agent connections open now.",
    "generation": "Number of the configuration in force.",
    "policies_waiting": "1 while a set of policies waits for a confirmation.",
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
        self._server: Final = HttpServer(
            {
                "/healthz": self._healthz,
                "/readyz": self._readyz,
                "/metrics": self._metrics,
                WELL_KNOWN: directory,
            }
        )

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError when the address is taken."""
        return await self._server.start(host, port)

    async def close(self) -> None:
        """Stop listening."""
        await self._server.close()

    @staticmethod
    async def _healthz(_host: str) -> Answer:
        return _json({"status": "ok"})

    async def _readyz(self, _host: str) -> Answer:
        checks = dict(self._checks())
        ready = all(checks.values())
        details = dict(await asyncio.to_thread(self._details))
        return _json({"ready": ready, "checks": checks, "details": details}, status=200 if ready else 503)

    async def _metrics(self, _host: str) -> Answer:
        return Answer(generate_latest(self._registry), "text/plain; version=0.0.4; charset=utf-8")


def _json(content: Mapping[str, object], *, status: int = 200) -> Answer:
    return Answer(orjson.dumps(content), "application/json", status)
