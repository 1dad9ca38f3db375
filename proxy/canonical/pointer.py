"""JSON pointers (RFC 6901)."""

from __future__ import annotations


def steps_of(pointer: str) -> list[str]:
    """The names on the way: `["a/b", "0"]` of `/a~1b/0`. What they lead to is for whoever looks to say."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
