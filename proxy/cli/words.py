"""Words for people."""

from __future__ import annotations


def counted(count: int, thing: str, things: str | None = None) -> str:
    """`1 call`, `2 calls`; `things` where the plural has no plain `s`."""
    return f"{count} {thing if count == 1 else things or f'{thing}s'}"
