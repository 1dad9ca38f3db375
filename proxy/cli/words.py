"""Words for people."""

from __future__ import annotations


def counted(count: int, thing: str) -> str:
    """`1 call`, `2 calls`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"
