"""Blocking work beside the loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def in_thread[**P, T](function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`function` where it does not hold up the loop; it goes on to its end where the caller is cancelled."""
    return await asyncio.shield(asyncio.to_thread(function, *args, **kwargs))
