"""Words for people."""

from __future__ import annotations

import re
from typing import Final

DURATION: Final = re.compile(r"(\d{1,6})(s|m|h|d)")
SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def counted(count: int, thing: str, things: str | None = None) -> str:
    """`1 call`, `2 calls`; `things` where the plural has no plain `s`."""
    return f"{count} {thing if count == 1 else things or f'{thing}s'}"


def duration_s(text: str) -> int | None:
    """The seconds of `90s`, `15m`, `1h` or `2d`; None for anything else."""
    found = DURATION.fullmatch(text)
    return int(found[1]) * SECONDS[found[2]] if found else None
