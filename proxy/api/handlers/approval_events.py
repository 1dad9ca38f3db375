"""GET /approval-events: what becomes of approvals, as it happens (server-sent events).

The table is looked at, not the process's own notices: another sidecar of the same database may have decided.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from proxy.api.approval_views import view
from proxy.api.call import Event
from proxy.approval.states import State
from proxy.db.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.api.call import Call
    from proxy.approval.states import Approval

LOOK_S: Final = 0.5
OVERLAP_MS: Final = 10_000
"""Rows that another process commits a little late, or with a clock that is a little behind, are seen all the same."""
MOST: Final = 1000
type _Seen = dict[str, tuple[str, int]]


async def follow(call: Call) -> AsyncIterator[Event | None]:
    """First everything that is pending, or has changed since the last event of an earlier connection; then news."""
    store, tenant = call.services.approvals.store, call.operator.tenant
    seen: _Seen = {}
    since_ms = _number(call.since)
    if since_ms is None:
        first = await in_thread(store.listed, tenant=tenant, state=State.PENDING, limit=MOST)
        since_ms = store.now().wall_ms
    else:
        first = await in_thread(store.changed, tenant=tenant, since_ms=since_ms - OVERLAP_MS, limit=MOST)
    for one in _news(first, seen):
        yield Event(str(since_ms), "approval", view(one, store.now()))
    while True:
        await asyncio.sleep(LOOK_S)
        now = store.now()
        found = await in_thread(store.changed, tenant=tenant, since_ms=since_ms - OVERLAP_MS, limit=MOST)
        since_ms = now.wall_ms
        news = _news(found, seen)
        for one in news:
            yield Event(str(since_ms), "approval", view(one, now))
        if not news:
            yield None


def _number(since: str | None) -> int | None:
    return (
        int(since)
        if since is not None and since.isascii() and since.isdigit() and len(since) <= len("9" * 15)
        else None
    )


def _news(found: tuple[Approval, ...], seen: _Seen) -> list[Approval]:
    """Those that are not as they were seen, oldest first; `seen` then says what is known."""
    news = [one for one in reversed(found) if seen.get(one.id) != _mark(one)]
    seen.update((one.id, _mark(one)) for one in news)
    while len(seen) > 2 * MOST:
        del seen[next(iter(seen))]
    return news


def _mark(approval: Approval) -> tuple[str, int]:
    return approval.state.value, len(approval.votes)
