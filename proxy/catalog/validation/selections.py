"""A GraphQL document, parsed, and its selections with their fragments resolved. Pure.

A fragment is counted once, however often it is spread: what it adds is added up, not walked through again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from graphql import GraphQLError, parse
from graphql.language import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
)

from proxy.catalog.validation.unclear import UnclearError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphql import DocumentNode
    from graphql.language import SelectionNode, SelectionSetNode

MAX_TEXT: Final = 200_000


@dataclass(frozen=True, slots=True)
class Count:
    """Of a selection, or a whole document.

    Attributes:
        fields: names at its top.
        depth, aliases: how deep it goes; aliases at all depths.
        calls: how often each name stands at its top; of a document, at the top of the operation that is meant.
        kinds: those of a document's operations: `query`, `mutation`, `subscription`.
        changes: the operation of a document that is meant is a mutation.
    """

    depth: int = 0
    aliases: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    fields: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    changes: bool = False


class Fragments:
    """The fragments of one document."""

    def __init__(self, definitions: Sequence[FragmentDefinitionNode]) -> None:
        """Raises `UnclearError` where two have one name."""
        self._sets = {one.name.value: one.selection_set for one in definitions}
        self._counts: dict[str, Count | None] = {}
        if len(self._sets) != len(definitions):
            raise UnclearError("Two fragments of one GraphQL document have the same name.")

    def count(self, selections: SelectionSetNode) -> Count:
        """Raises `UnclearError` for a fragment that is not there, or that leads to itself."""
        found = [self._one(selection) for selection in selections.selections]
        calls: Counter[str] = Counter()
        for one in found:
            calls.update(one.calls)
        return Count(
            depth=max((one.depth for one in found), default=0), aliases=sum(one.aliases for one in found), calls=calls
        )

    def _one(self, selection: SelectionNode) -> Count:
        match selection:
            case FieldNode():
                below = self.count(selection.selection_set) if selection.selection_set is not None else Count()
                calls = Counter({selection.name.value: 1})
                return Count(below.depth + 1, below.aliases + (selection.alias is not None), calls)
            case InlineFragmentNode():
                return self.count(selection.selection_set)
            case FragmentSpreadNode():
                return self._spread(selection.name.value)
            case _:
                raise UnclearError("A GraphQL selection of an unknown kind.")

    def _spread(self, name: str) -> Count:
        if name not in self._sets:
            raise UnclearError("A GraphQL fragment is not in its document.")
        if name not in self._counts:
            self._counts[name] = None  # under way
            self._counts[name] = self.count(self._sets[name])
        if (count := self._counts[name]) is None:
            raise UnclearError("A GraphQL fragment leads to itself.")
        return count


def counted(text: str, chosen: str | None, *, max_tokens: int) -> Count:
    """What the document `text` does. `chosen` is the operation that the request names.

    Every operation counts, also one that is not chosen. Raises `UnclearError`.
    """
    try:
        document = parse(
            text, no_location=True, max_tokens=max_tokens, max_source_length=MAX_TEXT, allow_empty_selection_sets=False
        )
        return _whole(document, chosen)
    except (GraphQLError, RecursionError):
        raise UnclearError("The GraphQL document cannot be read, or is too large.") from None


def _whole(document: DocumentNode, chosen: str | None) -> Count:
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    named = [one for one in document.definitions if isinstance(one, FragmentDefinitionNode)]
    if not operations or len(operations) + len(named) != len(document.definitions):
        raise UnclearError("A GraphQL document holds operations and fragments, and nothing else.")
    names = [one.name.value if one.name is not None else None for one in operations]
    if len(set(names)) != len(names) or (None in names and len(names) > 1):
        raise UnclearError("Two GraphQL operations of one document have the same name, or one has none.")
    if chosen not in names and (chosen is not None or len(names) > 1):
        raise UnclearError("The GraphQL request does not say which operation of its document is meant.")
    fragments = Fragments(named)
    counts = [fragments.count(one.selection_set) for one in operations]
    meant = names.index(chosen) if chosen in names else 0  # one alone need not be named
    return Count(
        kinds=frozenset(one.operation.value for one in operations),
        fields=frozenset().union(*(count.calls for count in counts)),
        depth=max(count.depth for count in counts),
        aliases=sum(count.aliases for count in counts),
        calls=counts[meant].calls,
        changes=operations[meant].operation.value == "mutation",
    )
