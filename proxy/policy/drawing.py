"""What docs/policy.md draws, from the tables that decide: the questions of a call, and which entities are in which."""

from __future__ import annotations

import re
from typing import Final

from proxy.model import Strength
from proxy.policy.engine import RESERVATIONS
from proxy.policy.vocabulary import CALL, Vocabulary

NEEDS: Final = {
    Strength.NONE: "goes[needs no approval]",
    Strength.APPROVAL: "asks[needs an approval]",
    Strength.STRONG: "signs[needs a strong approval]",
}


def questions() -> str:
    """The questions, in their order, as a Mermaid flowchart."""
    lines = ["call -->|an error| policy_unavailable", "call -->|no| policy_denied"]
    before, answer, needed = CALL, "yes", Strength.NONE
    for (action, *_), strength in RESERVATIONS:
        lines += [f"{before} -->|{answer}| {action}", f"{action} -->|yes| {NEEDS[needed]}"]
        before, answer, needed = action, "no", strength
    lines.append(f"{before} -->|no| {NEEDS[needed]}")
    return _flowchart("TD", lines)


def entities() -> str:
    """The entities of the schema, each with an arrow to what it is in, as a Mermaid flowchart."""
    declared = re.findall(r"^entity (\w+)(?: in \[([\w, ]+)\])?", Vocabulary().schema(), re.MULTILINE)
    lines = [f"{name} --> {parent}" for name, parents in declared for parent in filter(None, parents.split(", "))]
    return _flowchart("LR", lines)


def _flowchart(direction: str, lines: list[str]) -> str:
    return "".join((f"flowchart {direction}\n", *(f"    {line}\n" for line in lines)))
