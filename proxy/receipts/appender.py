"""Appends records to one chain: a batch is one transaction, and one synchronisation of the disk."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from sqlalchemy import insert, select, update

from proxy.db.engine import writing
from proxy.db.tables import chains
from proxy.receipts.record import GENESIS, link

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from proxy.clock import Clock
    from proxy.receipts.record import Record, Value

type Entry = tuple[str, Mapping[str, Value]]
"""A record's kind and its fields."""
_INSERT: Final = (
    'INSERT INTO receipts (chain, seq, id, kind, "of", at_ms, body, prev, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)'
)


class Appender:
    """The end of one chain. One thread at a time uses it."""

    def __init__(self, database: Engine, chain: str, clock: Clock, *, seq: int, hash_: str) -> None:
        self.chain: Final = chain
        self._database: Final = database
        self._clock: Final = clock
        self._seq = seq
        self._hash = hash_

    @classmethod
    def create(cls, database: Engine, chain: str, label: str, clock: Clock) -> Appender:
        """A new chain. Raises `SQLAlchemyError`."""
        with writing(database) as connection:
            connection.execute(
                insert(chains).values(
                    chain=chain, label=label, opened_at_ms=clock.wall_ms(), head_seq=-1, head_hash=GENESIS
                )
            )
        return cls(database, chain, clock, seq=-1, hash_=GENESIS)

    @classmethod
    def at_end_of(cls, database: Engine, chain: str, clock: Clock) -> Appender:
        """An existing chain, opened again. Raises `SQLAlchemyError`."""
        with writing(database) as connection:
            row = connection.execute(select(chains).where(chains.c.chain == chain)).one()
            connection.execute(update(chains).where(chains.c.chain == chain).values(closed_at_ms=None))
        return cls(database, chain, clock, seq=row.head_seq, hash_=row.head_hash)

    def resynchronise(self, connection: Connection) -> None:
        """Go on from what the database says; a commit may have landed although its answer was an error."""
        row = connection.execute(select(chains).where(chains.c.chain == self.chain)).one()
        connection.rollback()
        self._seq, self._hash = row.head_seq, row.head_hash

    def append(self, entries: Sequence[Entry], connection: Connection | None = None) -> None:
        """Write `entries` durably, all or none.

        Raises:
            SQLAlchemyError, sqlite3.Error, ValueError: nothing has changed then.
        """
        seq, prev, rows = self._seq, self._hash, []
        for kind, fields in entries:
            seq += 1
            record = link(fields, kind=kind, chain=self.chain, seq=seq, prev=prev, at_ms=self._clock.wall_ms())
            rows.append(_row(record))
            prev = record.hash
        if connection is None:
            with writing(self._database) as own:
                own.exec_driver_sql(_INSERT, rows)
        else:
            _insert(connection, rows)
        self._seq, self._hash = seq, prev

    def close(self) -> None:
        """Mark the chain as ended. Raises `SQLAlchemyError`."""
        with writing(self._database) as connection:
            ended = update(chains).where(chains.c.chain == self.chain).values(closed_at_ms=self._clock.wall_ms())
            connection.execute(ended)


def _insert(connection: Connection, rows: list[tuple[object, ...]]) -> None:
    """One transaction on the driver itself: at every request, where the layers above would cost more than it."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.execute("BEGIN IMMEDIATE")
    try:
        driver.executemany(_INSERT, rows)
        driver.execute("COMMIT")
    except sqlite3.Error:
        if driver.in_transaction:
            driver.execute("ROLLBACK")
        raise


def _row(record: Record) -> tuple[object, ...]:
    return (
        record.chain, record.seq, record.id, record.kind, record.of, record.at_ms, record.body, record.prev,
        record.hash,
    )  # fmt: skip
