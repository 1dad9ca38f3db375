"""P2 and P3 at the dial: which addresses, when, and with which certificate."""

from __future__ import annotations

import asyncio

import pytest

from tests.rig import running_rig

FORBIDDEN = (
    "169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "10.0.0.1", "172.16.0.1", "192.168.1.1",
    "100.64.0.1", "0.0.0.0", "127.0.0.2", "::1", "::", "fe80::1", "fd00:ec2::254", "fc00::1", "::ffff:127.0.0.1",
    "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "2001:0:a9fe:a9fe::1", "224.0.0.1", "255.255.255.255",
)  # fmt: skip


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_p2_a_forbidden_address_is_never_dialled(tmp_path, address):
    async with running_rig(tmp_path, resolve={"api.example.test": (address,)}) as rig:
        answer = await rig.call("GET", "/x")
        (call,) = await rig.settled(1)
    assert answer.problem == "destination_forbidden_address"
    assert call.outcome["outcome"] == "not_sent"
    assert rig.provider.connections == 0


async def test_p2_one_forbidden_answer_among_good_ones_refuses_all(tmp_path):
    async with running_rig(tmp_path, resolve={"api.example.test": ("127.0.0.1", "169.254.169.254")}) as rig:
        answer = await rig.call("GET", "/x")
    assert answer.problem == "destination_forbidden_address"
    assert rig.provider.connections == 0


async def test_a_dead_address_falls_back_to_the_next(tmp_path):
    egress = {"allow_private": [{"host": "api.example.test", "addresses": ["127.0.0.0/8"]}], "connect_timeout_s": 1.0}
    async with running_rig(tmp_path, resolve={"api.example.test": ("127.9.9.9", "127.0.0.1")}) as rig:
        assert (await rig.call("GET", "/x")).problem == "destination_forbidden_address"
    (tmp_path / "b").mkdir()
    async with running_rig(
        tmp_path / "b", resolve={"api.example.test": ("127.9.9.9", "127.0.0.1")}, settings={"egress": egress}
    ) as rig:
        rig.sidecar._configuration.settings.egress.model_copy()
        answer = await rig.call("GET", "/x")
    assert answer.problem in ("upstream_tls_untrusted", None)


async def test_p3_nothing_is_resolved_or_dialled_before_the_receipt_is_durable(rig):
    resolver = rig.sidecar._lane._dialler._resolver
    order = []
    resolve, record = resolver.resolve, rig.sidecar.receipts.record_decision

    async def watched_resolve(host, agent):
        order.append("resolve")
        return await resolve(host, agent)

    async def watched_record(fields):
        order.append("recording")
        await asyncio.sleep(0.05)
        await record(fields)
        order.append("durable")

    resolver.resolve = watched_resolve
    rig.sidecar.receipts.record_decision = watched_record
    assert (await rig.call("GET", "/x")).status == 200
    assert order == ["recording", "durable", "resolve"]
