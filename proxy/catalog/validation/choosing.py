"""Which operation a call is, where only its body tells: GraphQL and JSON-RPC have one path for everything. Pure."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from proxy.catalog.validation import graphql, jsonrpc
from proxy.catalog.validation.unclear import UnclearError, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.catalog.schema import Operation
    from proxy.catalog.validation.received import Received
    from proxy.errors import Denial


class Told:
    """What a body tells, read when it is first needed. Raises `UnclearError`."""

    def __init__(self, received: Received) -> None:
        self.received = received

    @cached_property
    def documents(self) -> tuple[graphql.Document, ...]:
        """Of GraphQL."""
        return graphql.read_graphql(self.received)

    @cached_property
    def messages(self) -> tuple[jsonrpc.Message, ...]:
        """Of JSON-RPC."""
        return jsonrpc.read_jsonrpc(self.received)

    def fits(self, operation: Operation) -> bool:
        """Whether the call is `operation`, which fits its head."""
        if operation.graphql is not None:
            return graphql.fits(operation.graphql, self.documents)
        return operation.jsonrpc is None or jsonrpc.fits(operation.jsonrpc, self.messages)

    def excess(self, operation: Operation) -> str | None:
        """Which limit of `operation` the call exceeds."""
        if operation.graphql is not None:
            return graphql.excess(operation.graphql, self.documents)
        return None if operation.jsonrpc is None else jsonrpc.excess(operation.jsonrpc, self.messages)


def chosen(operations: Iterable[Operation], received: Received) -> Operation | Denial | None:
    """The first of `operations` that the call is; None where it is none of them.

    What cannot be read is refused, and never taken for one of those that do not look at the body.
    """
    told = Told(received)
    try:
        found = next((one for one in operations if told.fits(one)), None)
        excess = None if found is None else told.excess(found)
    except UnclearError as unclear:
        return unclear.denial()
    return found if excess is None else invalid(excess)
