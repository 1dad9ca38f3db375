"""Reading receipts: a call is a decision and, where it was allowed and has ended, its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import select, text

from proxy.db.tables import chains, receipts
from proxy.model import TENANT
from proxy.receipts.chain import Books, Head, book_problems, chain_problems
from proxy.receipts.locks import is_live
from proxy.receipts.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Engine


@dataclass(frozen=True, slots=True)
class Call:
    """`decision` and `outcome` as their canonical JSON says; `row` orders calls for `after`."""

    row: int
    decision: dict[str, Any]
    outcome: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found."""

    chains: int
    records: int
    calls: int
    problems: tuple[str, ...]


def recent(
    database: Engine,
    *,
    limit: int,
    chain: str | None = None,
    agent: str | None = None,
    refused: bool = False,
    observed: bool = False,
    candidate: bool = False,
    since_ms: int | None = None,
    tenant: str | None = None,
) -> list[Call]:
    """The newest calls, oldest first.

    `observed`: only those that policies would have refused or had approved, were they not only observed; `candidate`:
    only those that policies on their way into force would have decided otherwise.
    """
    where = ["d.kind = 'decision'"]
    named: dict[str, Any] = {"limit": limit}
    if chain is not None:
        where.append("d.chain = :chain")
        named["chain"] = chain
    if agent is not None:
        where.append("json_extract(d.body, '$.agent') = :agent")
        named["agent"] = agent
    if refused:
        where.append("json_extract(d.body, '$.decision') = 'deny'")
    if tenant is not None:
        where.append(f"coalesce(json_extract(d.body, '$.tenant'), '{TENANT}') = :tenant")
        named["tenant"] = tenant
    if observed:
        where.append("json_extract(d.body, '$.observed') IS NOT NULL")
    if candidate:
        where.append("json_extract(d.body, '$.candidate') IS NOT NULL")
    if since_ms is not None:
        where.append("d.at_ms >= :since_ms")
        named["since_ms"] = since_ms
    return list(reversed(_calls(database, f"{' AND '.join(where)} ORDER BY d.rowid DESC LIMIT :limit", named)))


def since(database: Engine, at_ms: int, *, limit: int) -> list[Call]:
    """The newest calls decided at `at_ms` or later, oldest first."""
    condition = "d.kind = 'decision' AND d.at_ms >= :at_ms ORDER BY d.rowid DESC LIMIT :limit"
    return list(reversed(_calls(database, condition, {"at_ms": at_ms, "limit": limit})))


def after(database: Engine, row: int) -> list[Call]:
    """Calls decided after `row`, oldest first."""
    return _calls(database, "d.kind = 'decision' AND d.rowid > :row ORDER BY d.rowid", {"row": row})


def one(database: Engine, receipt: str) -> Call | None:
    """The call with this receipt id, or None."""
    calls = _calls(database, "d.kind = 'decision' AND d.id = :id", {"id": receipt})
    return calls[0] if calls else None


def changes(database: Engine, *, limit: int, tenant: str | None = None) -> list[dict[str, Any]]:
    """What operators have changed, or were refused to change: the newest first."""
    query = select(receipts.c.body).where(receipts.c.kind == "change").order_by(text("rowid DESC")).limit(limit)
    if tenant is not None:
        query = query.where(text("json_extract(body, '$.tenant') = :tenant").bindparams(tenant=tenant))
    with database.connect() as connection:
        return [orjson.loads(body) for body in connection.execute(query).scalars()]


def _calls(database: Engine, condition: str, named: dict[str, Any]) -> list[Call]:
    query = text(
        "SELECT d.rowid, d.body, o.body FROM receipts d"  # noqa: S608  # the condition is ours, values are bound
        f" LEFT JOIN receipts o ON o.kind = 'outcome' AND o.\"of\" = d.id WHERE {condition}"
    )
    with database.connect() as connection:
        rows = connection.execute(query, named).all()
    return [Call(row, orjson.loads(decision), orjson.loads(end) if end else None) for row, decision, end in rows]


def verify_database(database: Engine, home: Path) -> Report:
    """Check every chain in the database, in one consistent view of it."""
    problems: list[str] = []
    books, records, live = Books(), 0, set()
    with database.connect() as connection:
        rows = connection.execute(select(chains).order_by(chains.c.opened_at_ms)).all()
        heads = [Head(r.chain, r.head_seq, r.head_hash, r.closed_at_ms is None) for r in rows]
        for head in heads:
            if head.live and is_live(home, head.chain):
                live.add(head.chain)
            problems += chain_problems(head, _records(connection, head.chain), books)
            records += head.seq + 1
        orphans = select(receipts.c.chain).where(receipts.c.chain.not_in([head.chain for head in heads])).distinct()
        problems += [
            f"{chain}: receipts of a chain that is not known" for chain in connection.execute(orphans).scalars()
        ]
    problems += book_problems(books, live)
    return Report(len(heads), records, len(books.decided), tuple(problems))


def _records(connection: Connection, chain: str) -> Iterator[Record]:
    query = select(receipts).where(receipts.c.chain == chain).order_by(receipts.c.seq)
    for r in connection.execution_options(yield_per=1000).execute(query):
        yield Record(r.chain, r.seq, r.id, r.kind, r.of, r.at_ms, r.body, r.prev, r.hash)
