"""One receipt as bytes: canonical JSON (RFC 8785), SHA-256, linked to the one before. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

type Value = str | int | bool | None
GENESIS: Final = "0" * 64
VERSION: Final = 1
LARGEST_INTEGER: Final = 2**53 - 1
"""Beyond it JSON readers disagree (RFC 8785, section 3.2.2.3)."""


@dataclass(frozen=True, slots=True)
class Record:
    """One link. `body` is canonical JSON and holds every other field but `hash`, which is its SHA-256."""

    chain: str
    seq: int
    id: str
    kind: str
    of: str | None
    at_ms: int
    body: str
    prev: str
    hash: str


def link(fields: Mapping[str, Value], *, kind: str, chain: str, seq: int, prev: str, at_ms: int) -> Record:
    """The next record of `chain`. `fields` has an `id`, an outcome has `of` too.

    Raises:
        ValueError: no id, a number that JSON readers would not agree on, or text that is not Unicode.
    """
    if not isinstance(fields.get("id"), str):
        raise ValueError("a receipt needs its id")
    for name, value in fields.items():
        if isinstance(value, float) or (isinstance(value, int) and abs(value) > LARGEST_INTEGER):
            raise ValueError(f"{name} is not an exact number")
    body = canonical({**fields, "v": VERSION, "kind": kind, "chain": chain, "seq": seq, "prev": prev, "at_ms": at_ms})
    of = fields.get("of")
    return Record(
        chain=chain,
        seq=seq,
        id=str(fields["id"]),
        kind=kind,
        of=of if isinstance(of, str) else None,
        at_ms=at_ms,
        body=body.decode(),
        prev=prev,
        hash=hashlib.sha256(body).hexdigest(),
    )


def canonical(fields: Mapping[str, Value]) -> bytes:
    """RFC 8785 for objects of plain values with ASCII names and exact integers, for which orjson's form is the same."""
    try:
        encoded: bytes = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise ValueError("a field cannot be written as JSON") from error
    return encoded
