"""After a crash: chains whose process is gone get their missing outcomes, and are closed or gone on with."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from proxy.db.tables import chains, receipts
from proxy.exchange import Outcome
from proxy.receipts.appender import Appender
from proxy.receipts.locks import ChainLock, try_lock

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from proxy.clock import Clock
    from proxy.receipts.appender import Entry
    from proxy.receipts.ids import ReceiptIds

ALLOWED: Final = '%"decision":"allow"%'
"""In canonical JSON a quote inside a text is escaped, so this can only be the member."""


def open_chain(
    database: Engine, home: Path, label: str, clock: Clock, ids: ReceiptIds, *, resume: bool
) -> tuple[Appender, ChainLock]:
    """Recover every dead chain, then open ours: the last of this label with `resume`, else a new one.

    Raises:
        SQLAlchemyError, OSError: the state cannot be written.
    """
    _recover(database, home, clock, ids)
    if resume:
        for chain in _ended(database, label):
            lock = try_lock(home, chain)
            if lock is not None and not _is_open(database, chain):
                appender = Appender.at_end_of(database, chain, clock)
                appender.append([("note", {"id": ids.new(), "note": "resumed"})])
                return appender, lock
            if lock is not None:
                lock.release(remove=False)
    chain = f"{label}-{secrets.token_hex(6)}"
    lock = try_lock(home, chain)
    assert lock is not None
    appender = Appender.create(database, chain, label, clock)
    appender.append([("note", {"id": ids.new(), "note": "opened"})])
    return appender, lock


def _recover(database: Engine, home: Path, clock: Clock, ids: ReceiptIds) -> None:
    with database.connect() as connection:
        open_chains = connection.execute(select(chains.c.chain).where(chains.c.closed_at_ms.is_(None))).scalars().all()
    for chain in open_chains:
        lock = try_lock(home, chain)
        if lock is None:
            continue
        try:
            if _is_open(database, chain):  # another process may have recovered it just now
                end_chain(database, Appender.at_end_of(database, chain, clock), ids, "closed after a crash")
        finally:
            lock.release()


def end_chain(database: Engine, appender: Appender, ids: ReceiptIds, note: str) -> None:
    """Close a chain; allowed decisions that have no outcome get one. Raises `SQLAlchemyError`."""
    entries: list[Entry] = [
        ("outcome", {"id": ids.new(), "of": decision, "outcome": Outcome.UNKNOWN_AFTER_CRASH.value})
        for decision in _without_outcome(database, appender.chain)
    ]
    appender.append([*entries, ("note", {"id": ids.new(), "note": note})])
    appender.close()


def has_ended(database: Engine, chain: str) -> bool:
    """Whether this chain is known here and closed."""
    with database.connect() as connection:
        row = connection.execute(select(chains.c.closed_at_ms).where(chains.c.chain == chain)).one_or_none()
    return row is not None and row.closed_at_ms is not None


def _is_open(database: Engine, chain: str) -> bool:
    with database.connect() as connection:
        row = connection.execute(select(chains.c.closed_at_ms).where(chains.c.chain == chain)).one()
    return row.closed_at_ms is None


def _without_outcome(database: Engine, chain: str) -> list[str]:
    outcome = receipts.alias()
    ended = select(outcome.c.id).where(outcome.c.kind == "outcome", outcome.c.of == receipts.c.id).exists()
    query = (
        select(receipts.c.id)
        .where(receipts.c.chain == chain, receipts.c.kind == "decision", receipts.c.body.like(ALLOWED), ~ended)
        .order_by(receipts.c.seq)
    )
    with database.connect() as connection:
        return list(connection.execute(query).scalars())


def _ended(database: Engine, label: str) -> list[str]:
    query = (
        select(chains.c.chain)
        .where(chains.c.label == label, chains.c.closed_at_ms.is_not(None))
        .order_by(chains.c.opened_at_ms.desc())
        .limit(1)
    )
    with database.connect() as connection:
        return list(connection.execute(query).scalars())
