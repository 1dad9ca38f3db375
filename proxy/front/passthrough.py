"""A tunnel that the operator lets through unread: vetted, counted, receipted, never decrypted."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from proxy.errors import Refused
from proxy.exchange import Outcome
from proxy.front.answer import TUNNEL_OPEN, alert, answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.exchange import Tunnel
    from proxy.front.entrance import Services
    from proxy.model import Agent

    type Admitted = Callable[[], Agent | None]
    """Who the agent is now; None where its token was revoked or has expired."""

_log: Final = logging.getLogger("proxy.front")
CHUNK_BYTES: Final = 64 * 1024
LOOK_S: Final = 0.5


@dataclass(slots=True, eq=False)
class _End:
    """One end of a tunnel.

    Attributes:
        gone: the tunnel's outcome where this end breaks off.
        delivered: bytes handed to it.
        owed: something waits to be handed to it.
        done: it has said that nothing more comes from it.
        broken: its connection failed.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    gone: Outcome
    delivered: int = 0
    owed: bool = False
    done: bool = False
    broken: bool = False


async def pass_through(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    tunnel: Tunnel,
    services: Services,
    *,
    prefix: bytes = b"",
    announced: bool = False,
) -> None:
    """Dial the tunnel's authority and copy both ways until both ends are done or nothing moves for the idle time.

    It ends with the agent's token too: whether that holds is asked for every piece. `prefix` was read from the agent
    already. With `announced` a CONNECT still waits for its answer.
    """
    started_s, unread = time.monotonic(), tunnel.unread
    assert unread is not None
    agent, upstream = _End(reader, writer, Outcome.CLIENT_ABORTED), None
    outcome, error = Outcome.NOT_SENT, None
    try:
        upstream_reader, upstream_writer, _ = await services.dialler.connect(unread.dial)
        upstream = _End(upstream_reader, upstream_writer, Outcome.UPSTREAM_ABORTED)
        outcome = Outcome.CLIENT_ABORTED  # what a cancellation leaves it at
        if announced:
            writer.write(TUNNEL_OPEN)
        admitted = partial(services.pipeline.rights.passing, tunnel)
        outcome = await _carry(agent, upstream, services.limits.idle_timeout_s, prefix, admitted)
        if outcome is not Outcome.COMPLETED and admitted() is None:
            outcome, error = Outcome.RESPONSE_ABORTED, services.pipeline.rights.fault(tunnel, None)
    except Refused as refused:
        error = refused.denial.slug
        if announced:
            await answer(reader, writer, replace(refused.denial, extra={"receipt": unread.receipt}))
        else:
            await alert(reader, writer)
    finally:
        services.pipeline.end_pass_through(
            unread.receipt,
            started_s,
            outcome=outcome,
            sent=upstream.delivered if upstream is not None else 0,
            received=agent.delivered,
            error=error,
        )


async def _carry(agent: _End, upstream: _End, idle_s: float, prefix: bytes, admitted: Admitted) -> Outcome:
    """Copy both ways. Both connections are closed afterwards, at once unless all that was read has left."""
    clean = False
    try:
        # One clock for both ways: a long download is not idle because its agent is silent.
        async with asyncio.timeout(idle_s) as clock, asyncio.TaskGroup() as group:
            watch = group.create_task(_watch(agent, admitted))
            ways = (
                group.create_task(_copy(agent, upstream, clock, idle_s, admitted, prefix)),
                group.create_task(_copy(upstream, agent, clock, idle_s, admitted)),
            )
            await asyncio.wait(ways)
            watch.cancel()
        async with asyncio.timeout(idle_s):
            await _close(agent)
            await _close(upstream)
        clean = True
    except* OSError:  # a connection failed, or the clock ran out: TimeoutError is one
        _log.debug("an unread tunnel broke off")
    finally:
        if not clean:
            agent.writer.transport.abort()
            upstream.writer.transport.abort()
    return _outcome(agent, upstream)


async def _copy(
    source: _End, target: _End, clock: asyncio.Timeout, idle_s: float, admitted: Admitted, prefix: bytes = b""
) -> None:
    """Copy `prefix`, then until the end of `source`; every piece that is read or delivered sets `clock` anew.

    Raises:
        OSError: one of the two failed, or nothing more may pass; the end is marked.
    """
    at = source
    try:
        while data := prefix or await source.reader.read(CHUNK_BYTES):
            prefix = b""
            if admitted() is None:
                raise ConnectionAbortedError
            _restart(clock, idle_s)
            at, target.owed = target, True
            target.writer.write(data)
            await target.writer.drain()
            target.delivered += len(data)
            _restart(clock, idle_s)
            at, target.owed = source, False
        source.done = True
        if target.writer.can_write_eof():
            target.writer.write_eof()
    except OSError:
        at.broken = True
        raise


async def _watch(agent: _End, admitted: Admitted) -> None:
    """Raises `ConnectionAbortedError` when nothing more may pass, also where nothing moves; `agent` is marked."""
    while True:
        if admitted() is None:
            agent.broken = True
            raise ConnectionAbortedError
        await asyncio.sleep(LOOK_S)


def _restart(clock: asyncio.Timeout, idle_s: float) -> None:
    if not clock.expired():  # between its end and our cancellation it cannot be set
        clock.reschedule(asyncio.get_running_loop().time() + idle_s)


async def _close(end: _End) -> None:
    """Close `end` and wait until what is buffered for it has left."""
    end.owed = end.writer.transport.get_write_buffer_size() > 0
    end.writer.close()
    await end.writer.wait_closed()
    end.owed = False


def _outcome(agent: _End, upstream: _End) -> Outcome:
    """How the tunnel ended. A provider that has said all it had to say may go away as it likes."""
    if upstream.done:
        return Outcome.CLIENT_ABORTED if agent.owed else Outcome.COMPLETED
    for end in (agent, upstream):
        if end.broken:
            return end.gone
    for end in (agent, upstream):
        if end.owed:
            return end.gone
    return Outcome.COMPLETED
