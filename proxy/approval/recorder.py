"""Makes it durable who is about to decide what, or was refused to, before anything is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.model import Operator

type Said = str | int | bool | None
type Write = Callable[[Mapping[str, Said]], Awaitable[None]]
"""Returns when a receipt of the kind `change` is durable; raises `Refused` where it cannot be."""


class Recorder:
    """One instance per process."""

    def __init__(self, write: Write) -> None:
        self._write: Final = write

    async def __call__(self, by: Operator, change: str, target: str, *, tenant: str | None, **more: Said) -> None:
        """`target` is the id of what is changed, `tenant` whose it is. Raises `Refused`: nothing may be done then."""
        who = {"by": by.name, "via": by.via, "change": change, "target": target, "tenant": tenant}
        await self._write({**more, **who})
