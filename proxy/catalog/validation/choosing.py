"""Which operation a call is, where only its body tells: GraphQL and JSON-RPC have one path for everything. Pure.

A batch is taken apart: each of its entries is a call, of an operation of its own (K-11).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from proxy.catalog.validation import graphql, jsonrpc
from proxy.catalog.validation.json_text import entries_of
from proxy.catalog.validation.spec import MAX_BATCH
from proxy.catalog.validation.unclear import UnclearError, invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.catalog.schema import Operation
    from proxy.catalog.validation.received import Received
    from proxy.errors import Denial


@dataclass(frozen=True, slots=True)
class Chosen:
    """What one call is.

    Attributes:
        times: as how many calls it counts.
        body: its own part of a batch; None where it is the whole request.
    """

    operation: Operation
    times: int = 1
    body: bytes | None = None


class Told:
    """What a body tells, read when it is first needed: as GraphQL or as JSON-RPC first. Raises `UnclearError`."""

    def __init__(self, received: Received, *, is_graphql: bool) -> None:
        self.received = received
        self._is_graphql = is_graphql

    @cached_property
    def documents(self) -> tuple[graphql.Document, ...]:
        """Of GraphQL."""
        return graphql.read_graphql(self.received)

    @cached_property
    def messages(self) -> tuple[jsonrpc.Message, ...]:
        """Of JSON-RPC."""
        return jsonrpc.read_jsonrpc(self.received)

    def entries(self) -> tuple[bytes, ...] | tuple[None]:
        """The texts of the calls in a batch; None alone for a request that is one call."""
        read = self.documents if self._is_graphql else self.messages
        if self.received.head.method in ("GET", "HEAD") or not isinstance(self.received.content(), list):
            return (None,)
        texts = entries_of(self.received.body)
        assert len(texts) == len(read)
        return texts

    def fits(self, operation: Operation, at: int) -> bool:
        """Whether the call `at` that place is `operation`, which fits its head."""
        if operation.graphql is not None:
            return graphql.fits(operation.graphql, self.documents[at])
        return operation.jsonrpc is None or jsonrpc.fits(operation.jsonrpc, self.messages[at])

    def excess(self, operation: Operation, at: int, among: int) -> str | None:
        """Which limit of `operation` the call exceeds that is one of so many."""
        spec = operation.graphql or operation.jsonrpc
        if among > (spec.max_batch if spec is not None else 1):
            return "The batch holds more calls than one of their operations takes."
        return graphql.excess(operation.graphql, self.documents[at]) if operation.graphql is not None else None

    def times(self, operation: Operation, at: int) -> int:
        """As how many calls it counts."""
        return graphql.times(operation.graphql, self.documents[at]) if self._is_graphql else 1


def chosen(operations: Sequence[Operation], received: Received) -> tuple[Chosen, ...] | Denial | None:
    """For each call of the request the first of `operations` that it is; None where one is none of them.

    `operations` begin with one that only the body tells. What cannot be read is refused, and never taken for one of
    those that do not look at the body.
    """
    told = Told(received, is_graphql=operations[0].graphql is not None)
    found: list[Chosen] = []
    try:
        texts = told.entries()
        for at, text in enumerate(texts):
            operation = next((one for one in operations if told.fits(one, at)), None)
            if operation is None:
                return None
            if (excess := told.excess(operation, at, len(texts))) is not None:
                return invalid(excess)
            found.append(Chosen(operation, told.times(operation, at), text))
    except UnclearError as unclear:
        return unclear.denial()
    if sum(one.times for one in found) > MAX_BATCH:
        return invalid("The request holds more calls than may stand in one.")
    return tuple(found)
