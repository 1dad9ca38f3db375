"""P5: whatever fails in a hook, nothing is let through."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from mitmproxy.exceptions import AddonHalt

BEFORE = ("requestheaders", "tls_clienthello", "tls_start_client", "tls_start_server")
AFTER = ("responseheaders", "response")
FAILURES = {"exception": RuntimeError, "halt": AddonHalt, "cancelled": asyncio.CancelledError}


def failing(hook: str, failure: type[BaseException], *, waits: bool) -> object:
    async def waited(_self: object, _data: object) -> None:
        await asyncio.sleep(0)
        raise failure

    def direct(_self: object, _data: object) -> None:
        raise failure

    return type("Failing", (), {hook: waited if waits else direct})()


async def outcome_of(rig) -> httpx.Response | None:
    try:
        async with rig.client() as client:
            return await client.get("/v1/things")
    except (httpx.TransportError, httpx.ProxyError):
        return None


@pytest.mark.parametrize("hook", BEFORE)
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("waits", [False, True])
async def test_p5_a_failing_hook_before_the_answer_refuses(rig, hook, failure, waits):
    if waits and failure == "exception" and hook.startswith("tls_"):
        waits = False
    if failure == "cancelled" and not waits:
        waits = True
    rig.sidecar._lane.master.addons.add(failing(hook, FAILURES[failure], waits=waits))
    answer = await outcome_of(rig)
    assert answer is None or answer.status_code == 503
    assert rig.provider.requests == []
    assert await rig.problems() == ()


@pytest.mark.parametrize("hook", AFTER)
async def test_p5_a_failing_hook_after_the_answer_began_resets(rig, hook):
    rig.sidecar._lane.master.addons.add(failing(hook, RuntimeError, waits=False))
    assert await outcome_of(rig) is None
    calls = await rig.settled(1)
    assert calls[0].outcome is not None
    assert await rig.problems() == ()


@pytest.mark.parametrize("part", ["path", "host", "method", "scheme", "port"])
async def test_p5_p8_what_differs_from_the_decision_does_not_leave(rig, part):
    class Tamper:
        def requestheaders(self, flow):
            changed = {"path": "/other", "host": "wild.example.test", "method": "POST", "scheme": "http", "port": 80}
            setattr(flow.request, part, changed[part])

    rig.sidecar._lane.master.addons.add(Tamper())
    answer = await outcome_of(rig)
    assert answer is not None
    assert answer.json()["type"].endswith("policy_unavailable")
    assert rig.provider.attempts == rig.provider.connections == 0
    assert await rig.problems() == ()


async def test_p5_without_its_gate_the_engine_refuses(rig):
    addons = rig.sidecar._lane.master.addons
    addons.remove(next(addon for addon in addons.chain if type(addon).__name__ == "Gate"))
    answer = await outcome_of(rig)
    assert answer is not None
    assert answer.status_code == 503
    assert rig.provider.connections == 0
