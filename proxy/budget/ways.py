"""The ways of a hold: from its reservation to its one end. Pure; docs/budgets.md draws them."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Where a hold is; only `HELD` has a row."""

    WANTED = "wanted"
    REFUSED = "refused"
    HELD = "held"
    SETTLED = "settled"
    RELEASED = "released"


class Way(Enum):
    """From one state to the next, and when."""

    EXCEEDED = (State.WANTED, State.REFUSED, "a limit stands in the way")
    RESERVED = (State.WANTED, State.HELD, "everything fits, in one transaction")
    NOT_SENT = (State.HELD, State.RELEASED, "no connection to the provider was made")
    ANSWERED = (State.HELD, State.SETTLED, "the answer came to its end: what it told, else the reserve")
    CUT_SHORT = (State.HELD, State.SETTLED, "it may have been sent: what is sure, else the reserve")
    ORPHANED = (State.HELD, State.SETTLED, "its process died: the reserve")

    @property
    def begin(self) -> State:
        """Where it starts."""
        return self.value[0]

    @property
    def end(self) -> State:
        """Where it leads."""
        return self.value[1]

    @property
    def when(self) -> str:
        """What has happened."""
        return self.value[2]


def ending(*, dialled: bool, whole_answer: bool) -> Way:
    """How the hold of a call ends whose process lives. Only what provably never left is given back (K-06)."""
    if not dialled:
        return Way.NOT_SENT
    return Way.ANSWERED if whole_answer else Way.CUT_SHORT


def drawing() -> str:
    """All ways, as a Mermaid state diagram."""
    lines = [f"    {way.begin.value} --> {way.end.value}: {way.when.replace(':', ',')}" for way in Way]
    return "\n".join(["stateDiagram-v2", "    [*] --> wanted", *lines]) + "\n"
