"""Two sets of policies side by side: what of their texts differs, and what they allow. Pure, but takes turns."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.policy import Policies
from proxy.policy_standing import vocabulary_of
from proxy.trial.widening import difference_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from proxy.catalog.configuration import Configuration
    from proxy.model import Agent
    from proxy.policy_versions import Frame, Sources
    from proxy.trial.widening import Difference

MAX_LINES: Final = 10_000
"""Of both texts; longer ones are not compared line by line, and that is told instead."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One set against another.

    Attributes:
        same: whether the texts are, and nothing around them lets more through.
        lines: the unified difference of their texts; None where they are too long for one.
    """

    same: bool
    lines: tuple[str, ...] | None
    difference: Difference


async def comparison_of(
    before: Sources,
    after: Sources,
    configuration: Configuration,
    agents: Sequence[Agent],
    *,
    now_ms: int,
    frames: tuple[Frame | None, Frame] | None = None,
) -> Comparison:
    """`before` and `after`, as the profiles of `configuration` let them be read; with `frames` what stood around them.

    Raises:
        ConfigError: one of them does not fit these.
    """
    words = vocabulary_of(configuration)
    old, new = Policies.load(before, words), Policies.load(after, words)
    difference = await difference_of(old, new, configuration, agents, now_ms=now_ms, frames=frames)
    pairs = list(_pairs(before, after))
    long = sum(len(ours) + len(theirs) for _, ours, theirs in pairs) > MAX_LINES
    lines = None if long else tuple(line for name, *texts in pairs for line in _changed(name, *texts))
    same = not difference.around and all(ours == theirs for _, ours, theirs in pairs)
    return Comparison(same, lines, difference)


def _pairs(before: Sources, after: Sources) -> Iterator[tuple[str, list[str], list[str]]]:
    """The lines of each file; a file that one side does not have is empty there."""
    old, new = dict(before), dict(after)
    for name in dict.fromkeys((*old, *new)):
        yield name, old.get(name, "").splitlines(), new.get(name, "").splitlines()


def _changed(name: str, ours: list[str], theirs: list[str]) -> Iterator[str]:
    yield from difflib.unified_diff(ours, theirs, name, name, lineterm="")
