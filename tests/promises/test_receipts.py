"""P3, P4 and P11 through the running proxy."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa

from proxy.db.engine import DATABASE, open_database, writing


def break_receipts(rig) -> sa.Engine:
    database = open_database(rig.home / DATABASE)
    with writing(database) as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER broken BEFORE INSERT ON receipts BEGIN SELECT RAISE(ROLLBACK, 'full'); END"
        )
    return database


async def test_p3_p5_without_receipts_nothing_is_sent(rig):
    assert (await rig.call("GET", "/x")).status == 200
    await rig.settled(1)
    database = break_receipts(rig)
    answer = await rig.call("GET", "/x")
    assert (answer.status, answer.problem) == (503, "receipt_unavailable")
    refused = await rig.call("DELETE", "/x")
    assert refused.problem == "receipt_unavailable"
    assert len(rig.provider.requests) == 1
    with writing(database) as connection:
        connection.exec_driver_sql("DROP TRIGGER broken")
    database.dispose()
    assert (await rig.call("GET", "/x")).status == 200
    await rig.settled(2)
    assert await rig.problems() == ()


async def test_p4_an_outcome_waits_until_it_can_be_written(rig):
    go_on = asyncio.Event()

    async def wait(_seen, _reader, writer):
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    rig.provider.on("/x", wait)
    async with asyncio.TaskGroup() as group:
        call = group.create_task(rig.call("GET", "/x"))
        while not rig.provider.requests:
            await asyncio.sleep(0.01)
        database = open_database(rig.home / DATABASE)
        lock = database.connect().execution_options(immediate=True)
        held = lock.begin()
        go_on.set()
        assert (await call).status == 200
        held.rollback()
        lock.close()
        database.dispose()
    (done,) = await rig.settled(1)
    assert done.outcome["outcome"] == "completed"


async def test_p4_every_attempt_has_one_decision_and_every_allowed_one_an_outcome(rig):
    async def one(index: int) -> None:
        method, path = [("GET", "/x"), ("DELETE", "/x"), ("GET", "//x"), ("POST", "/small"), ("GET", "/cut")][index % 5]
        try:
            await rig.call(method, path, http2=index % 2 == 0, content=b"x" * (1500 if path == "/small" else 0) or None)
        except Exception:
            return

    async def cut(_seen, _reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.transport.abort()

    rig.provider.on("/cut", cut)
    await asyncio.gather(*(one(index) for index in range(60)))
    calls = await rig.settled(60)
    assert len(calls) == 60
    assert await rig.problems() == ()


async def test_p11_a_receipt_that_is_changed_shows(rig):
    await rig.call("GET", "/x")
    await rig.settled(1)
    assert await rig.problems() == ()
    database = open_database(rig.home / DATABASE)
    with writing(database) as connection:
        connection.exec_driver_sql(
            "UPDATE receipts SET body = replace(body, '\"GET\"', '\"PUT\"') WHERE kind = 'decision'"
        )
    database.dispose()
    assert any("changed" in problem for problem in await rig.problems())
