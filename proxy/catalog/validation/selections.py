"""GraphQL selections with their fragments resolved: each fragment is counted once, however often it is spread. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphql.language import FieldNode, FragmentSpreadNode, InlineFragmentNode

from proxy.catalog.validation.unclear import UnclearError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphql.language import FragmentDefinitionNode, SelectionNode, SelectionSetNode


@dataclass(frozen=True, slots=True)
class Count:
    """Of a selection: names of the fields at its top, how deep it goes, aliases at all depths."""

    fields: frozenset[str] = frozenset()
    depth: int = 0
    aliases: int = 0


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
        return Count(
            fields=frozenset().union(*(one.fields for one in found)),
            depth=max((one.depth for one in found), default=0),
            aliases=sum(one.aliases for one in found),
        )

    def _one(self, selection: SelectionNode) -> Count:
        match selection:
            case FieldNode():
                below = self.count(selection.selection_set) if selection.selection_set is not None else Count()
                fields = frozenset({selection.name.value})
                return Count(fields, below.depth + 1, below.aliases + (selection.alias is not None))
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
