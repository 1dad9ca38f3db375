"""What every store that has to be asked keeps to, against its own server: see `tests/secretstore/benches.py`."""

from __future__ import annotations

import asyncio
import logging

import pytest

from proxy.secretstore import ASKED, SecretUnavailableError
from tests.secretstore.benches import BENCHES, SetClock, stores_for

VALUE, OTHER = "the-value-of-the-secret", "the-value-after-rotation"
PASSING = ("down", "busy", "garbage", "no HTTP", "huge", "deep")
LASTING = ("denied", "absent")
ODD = ("elsewhere", "nothing in it", "a list")


def test_every_store_that_has_to_be_asked_has_its_bench():
    assert BENCHES.keys() == ASKED.keys() - {"bw"}  # a command: test_commands.py


@pytest.fixture(params=BENCHES)
async def bench(request, tmp_path):
    bench = BENCHES[request.param](tmp_path)
    await bench.server.start()
    bench.put("one", VALUE)
    yield bench
    await bench.server.stop()


@pytest.fixture
def clock():
    return SetClock()


async def failure(stores, ref):
    with pytest.raises(SecretUnavailableError) as failed:
        await stores.get(ref)
    return failed.value


async def test_a_value_is_kept_for_its_time_and_then_asked_for_again(bench, clock):
    stores, ref = stores_for(bench, clock, ttl_s=60), bench.ref("one")
    for _ in range(3):
        assert (await stores.get(ref)).reveal() == VALUE.encode()
    assert bench.server.questions == 1
    bench.put("one", OTHER)
    clock.now_s += 59
    assert (await stores.get(ref)).reveal() == VALUE.encode()
    clock.now_s += 2
    assert (await stores.get(ref)).reveal() == OTHER.encode()
    assert bench.server.questions == 2
    await stores.close()


async def test_with_no_time_to_live_every_use_asks(bench, clock):
    stores, ref = stores_for(bench, clock, ttl_s=0), bench.ref("one")
    await stores.get(ref)
    bench.put("one", OTHER)
    assert (await stores.get(ref)).reveal() == OTHER.encode()


async def test_what_is_not_there_is_asked_for_once_and_found_when_it_is(bench, clock):
    stores, ref = stores_for(bench, clock, failed_s=5), bench.ref("new")
    for _ in range(3):
        assert not (await failure(stores, ref)).passing
    assert bench.server.questions == 1
    bench.put("new", VALUE)
    clock.now_s += 6
    assert (await stores.get(ref)).reveal() == VALUE.encode()


async def test_many_who_ask_at_once_cause_one_question(bench, clock):
    stores, ref = stores_for(bench, clock, ttl_s=0), bench.ref("one")
    found = await asyncio.gather(*(stores.get(ref) for _ in range(20)))
    assert {secret.reveal() for secret in found} == {VALUE.encode()}
    assert bench.server.questions == 1


async def test_whoever_goes_away_while_asking_takes_nobody_along(bench, clock):
    stores, ref = stores_for(bench, clock), bench.ref("one")
    first = asyncio.ensure_future(stores.get(ref))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(stores.get(ref))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).reveal() == VALUE.encode()


async def test_p5_a_store_that_misbehaves_gives_nothing_and_is_not_quoted(bench, clock, caplog):
    caplog.set_level(logging.DEBUG)
    stores, ref = stores_for(bench, clock, ttl_s=60), bench.ref("one")
    for rude in (*PASSING, *LASTING, *ODD):
        bench.server.rude = None
        assert (await stores.get(ref)).reveal() == VALUE.encode()
        bench.server.rude = rude
        clock.now_s += 61
        failed = await failure(stores, ref)
        if rude not in ODD:
            assert failed.passing == (rude in PASSING), rude
        for forbidden in (VALUE, "sealed", "html", "errors", *bench.environment().values()):
            assert forbidden not in str(failed) + failed.reason + caplog.text, rude
        clock.now_s += 61


async def test_p7_a_slow_store_is_given_up(bench, clock):
    stores = stores_for(bench, clock, timeout_s=0.3)
    bench.server.rude = "slow"
    async with asyncio.timeout(5):
        failed = await failure(stores, bench.ref("one"))
    assert failed.passing
    assert "0.3 s" in failed.reason


async def test_a_store_that_wants_to_be_left_alone_is(bench, clock):
    stores, ref = stores_for(bench, clock, ttl_s=10), bench.ref("one")
    await stores.get(ref)
    bench.server.rude = "busy"
    clock.now_s += 11
    await failure(stores, ref)
    bench.server.rude = None
    clock.now_s += 58
    await failure(stores, ref)
    clock.now_s += 3
    assert (await stores.get(ref)).reveal() == VALUE.encode()


async def test_an_old_value_serves_on_only_where_the_operator_says_so_and_only_so_long(bench, clock, caplog):
    ref = bench.ref("one")
    strict, lenient = stores_for(bench, clock, ttl_s=10), stores_for(bench, clock, ttl_s=10, stale_s=100)
    await strict.get(ref)
    await lenient.get(ref)
    bench.server.rude = "down"
    clock.now_s += 50
    await failure(strict, ref)
    assert (await lenient.get(ref)).reveal() == VALUE.encode()
    assert "serves on" in caplog.text
    clock.now_s += 61
    await failure(lenient, ref)


async def test_p5_an_old_value_does_not_outlive_a_refusal(bench, clock):
    ref = bench.ref("one")
    for rude in LASTING:
        stores = stores_for(bench, clock, ttl_s=10, stale_s=100)
        bench.server.rude = None
        await stores.get(ref)
        for now in (rude, "down"):
            bench.server.rude = now
            clock.now_s += 11
            await failure(stores, ref)


async def test_p2_a_store_whose_certificate_is_not_trusted_hears_nothing(bench, clock):
    stores = stores_for(bench, clock, trusted=False)
    failed = await failure(stores, bench.ref("one"))
    assert "not trusted" in failed.reason
    assert bench.server.provider.requests == []


@pytest.mark.parametrize("scheme", ASKED)
async def test_p5_a_store_without_settings_is_refused(scheme, tmp_path):
    from proxy.services import secret_stores
    from proxy.settings import Settings

    stores = secret_stores(Settings(version=1), home=tmp_path, environment={}, clock=SetClock(), passphrase=None)
    if scheme in stores.asked:
        return
    failed = await failure(stores, f"{scheme}:x/y#z")
    assert f"secret_stores.{scheme}" in str(failed)


async def test_p7_many_who_ask_a_store_that_is_down_cause_one_question(bench, clock):
    """Also where failures are not kept: else each of them would wait for all before it."""
    stores, ref = stores_for(bench, clock, failed_s=0), bench.ref("one")
    await stores.get(ref)  # which logs in
    bench.server.rude = "down"
    clock.now_s += 301
    before = len(bench.server.provider.requests)
    told = await asyncio.gather(*(stores.get(ref) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(each, SecretUnavailableError) for each in told)
    assert len(bench.server.provider.requests) - before <= 3
