"""Whether a chain is whole: nothing changed, dropped, reordered or cut off; every allowed call has its end. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import rfc8785

from proxy.receipts.record import GENESIS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from proxy.receipts.record import Record


@dataclass(frozen=True, slots=True)
class Head:
    """What the database says the last record of a chain is."""

    chain: str
    seq: int
    hash: str
    live: bool


@dataclass(slots=True)
class Books:
    """Decisions and outcomes over all chains."""

    allowed: dict[str, str] = field(default_factory=dict)
    decided: set[str] = field(default_factory=set)
    outcomes: set[str] = field(default_factory=set)


def chain_problems(head: Head, records: Iterable[Record], books: Books) -> Iterator[str]:
    """Every problem of one chain, its records in order of `seq`; decisions and outcomes are noted in `books`."""
    expected, prev = 0, GENESIS
    for record in records:
        place = f"{head.chain} #{record.seq}"
        if record.seq != expected:
            yield f"{place}: {record.seq - expected} records are missing before this one"
            prev = record.prev
        if record.prev != prev:
            yield f"{place}: does not follow the record before it"
        yield from _body_problems(place, record)
        _note(record, books)
        expected, prev = record.seq + 1, record.hash
    if (expected - 1, prev) != (head.seq, head.hash) and not (expected == 0 and head.seq == -1):
        yield f"{head.chain}: ends at #{expected - 1}, but should end at #{head.seq}"


def book_problems(books: Books, live_chains: set[str]) -> Iterator[str]:
    """Every allowed decision has one outcome, unless its sidecar still runs; every outcome has its decision."""
    for decision, chain in books.allowed.items():
        if decision not in books.outcomes and chain not in live_chains:
            yield f"{decision}: allowed, but there is no outcome"
    for decision in sorted(books.outcomes - books.allowed.keys()):
        yield f"{decision}: an outcome without an allowed decision"


def _body_problems(place: str, record: Record) -> Iterator[str]:
    if hashlib.sha256(record.body.encode()).hexdigest() != record.hash:
        yield f"{place}: the record was changed"
        return
    body = _fields(record)
    columns = {
        "chain": record.chain, "seq": record.seq, "id": record.id, "kind": record.kind, "prev": record.prev,
        "at_ms": record.at_ms,
    }  # fmt: skip
    if rfc8785.dumps(body) != record.body.encode():
        yield f"{place}: the record is not in canonical form"
    if any(body.get(name) != value for name, value in columns.items()) or body.get("of") != record.of:
        yield f"{place}: the columns differ from the record"


def _fields(record: Record) -> dict[str, Any]:
    """What the body says; nothing when it is not an object any more."""
    try:
        fields = orjson.loads(record.body)
    except orjson.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _note(record: Record, books: Books) -> None:
    if record.kind == "decision":
        books.decided.add(record.id)
        if _fields(record).get("decision") == "allow":
            books.allowed[record.id] = record.chain
    elif record.kind == "outcome" and record.of is not None:
        books.outcomes.add(record.of)
