"""The running sidecar: control listener, reload, drain."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from proxy.catalog.configuration import Configuration
from proxy.errors import BriefcaseError
from tests.rig import running_rig
from tests.rig.raw import read_answer
from tests.rig.sidecar import KEY


async def control(rig, path: str) -> httpx.Response:
    host, port = rig.sidecar.control
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://{host}:{port}{path}")


async def test_the_control_listener_tells_health_readiness_and_numbers(rig):
    assert (await control(rig, "/healthz")).json() == {"status": "ok"}
    ready = await control(rig, "/readyz")
    assert ready.status_code == 200
    assert ready.json()["checks"] == dict.fromkeys(
        ("listening", "receipts_writable", "self_test", "not_draining"), True
    )
    await rig.call("GET", "/x")
    await rig.call("DELETE", "/x")
    await rig.settled(2)
    metrics = (await control(rig, "/metrics")).text
    assert 'briefcased_decisions_total{result="allow"} 1.0' in metrics
    assert 'briefcased_decisions_total{result="policy_denied"} 1.0' in metrics
    assert 'briefcased_outcomes_total{outcome="completed"} 1.0' in metrics
    assert 'briefcased_ready{check="self_test"} 1.0' in metrics
    assert KEY not in metrics


async def test_a_reload_swaps_the_configuration_whole(rig):
    old = rig.configuration
    providers = {**old.settings.providers}
    del providers["other"]
    await rig.sidecar.reload(Configuration(old.settings.model_copy(update={"providers": providers}), old.profiles))
    assert rig.sidecar.generation == 2
    assert (await rig.call("GET", "/x")).status == 200
    async with rig.client() as client:
        with pytest.raises(httpx.ProxyError):
            await client.get(f"https://other.example.test:{rig.provider.port}/x")
    calls = await rig.settled(2)
    assert {call.decision["generation"] for call in calls if call.decision["decision"] == "allow"} == {2}


async def test_p5_a_reload_that_cannot_be_done_changes_nothing(rig):
    old = rig.configuration
    limits = old.settings.limits.model_copy(update={"max_headers": 8})
    with pytest.raises(BriefcaseError):
        await rig.sidecar.reload(Configuration(old.settings.model_copy(update={"limits": limits}), old.profiles))
    assert rig.sidecar.generation == 1
    assert (await rig.call("GET", "/x")).status == 200


async def test_a_drain_finishes_what_is_under_way_and_takes_nothing_new(rig):
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_seen, _reader, writer):
        arrived.set()
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    rig.provider.on("/slow-one", wait)
    idle_reader, idle_writer = await rig.tls()
    async with asyncio.TaskGroup() as group:
        call = group.create_task(rig.call("GET", "/slow-one"))
        await arrived.wait()
        drain = group.create_task(rig.sidecar.drain())
        while (await control(rig, "/readyz")).status_code == 200:
            await asyncio.sleep(0.01)
        with pytest.raises(OSError):
            await asyncio.open_connection(*rig.sidecar.proxy)
        assert await idle_reader.read() == b""
        go_on.set()
        assert (await call).body == b"done"
        await drain
    idle_writer.close()
    (only,) = await rig.settled(1)
    assert only.outcome["outcome"] == "completed"


async def test_a_drain_does_not_wait_for_ever(tmp_path):
    async with running_rig(tmp_path, settings={"limits": {"drain_s": 0.3}}) as rig:
        arrived = asyncio.Event()

        async def never(_seen, reader, _writer):
            arrived.set()
            await reader.read()

        rig.provider.on("/never", never)
        reader, writer = await rig.tls()
        writer.write(f"GET /never HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode())
        await arrived.wait()
        await rig.sidecar.drain()
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await read_answer(reader)
        (only,) = await rig.settled(1)
        assert only.outcome is not None
        writer.close()


async def test_p7_connections_have_a_ceiling(tmp_path):
    async with running_rig(tmp_path, settings={"limits": {"max_connections_per_agent": 2}}) as rig:
        first, second = await rig.tls(), await rig.tls()
        reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
        writer.write(f"CONNECT api.example.test:{rig.provider.port} HTTP/1.1\r\n{rig.credentials()}\r\n".encode())
        answer = await read_answer(reader)
        assert answer.problem == "overloaded"
        assert answer.headers["retry-after"] == "1"
        for _, open_ in (first, second):
            open_.close()
        writer.close()


async def test_a_rotated_secret_is_used_at_once_and_the_old_one_is_still_scrubbed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("first-secret-value-0001\n")
    settings = {"providers": {"example": {"accounts": {"main": {"secrets": {"api_key": f"file:{secret}"}}}}}}
    async with running_rig(tmp_path, settings=settings) as rig:
        await rig.call("GET", "/x")
        assert rig.provider.last.one("authorization") == "Bearer first-secret-value-0001"
        secret.write_text("second-secret-value-0002\n")
        body = "first-secret-value-0001 second-secret-value-0002"
        rig.provider.answers("/both", f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        answer = await rig.call("GET", "/both")
        assert rig.provider.last.one("authorization") == "Bearer second-secret-value-0002"
        assert answer.body.decode() == f"{rig.stand_in()} {rig.stand_in()}"
        secret.unlink()
        gone = await rig.call("GET", "/x")
    assert (gone.status, gone.problem) == (502, "credential_unavailable")
