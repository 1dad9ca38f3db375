"""A change that a command makes on the state directory is receipted before it is made, with the user who makes it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from proxy.clock import SystemClock
from proxy.settings import home

if TYPE_CHECKING:
    from sqlalchemy import Engine


def record(engine: Engine, change: str, target: str, **more: str | None) -> None:
    """Return when it is durable. Raises `BriefcaseError`: it could not be written, and nothing may be changed."""
    from proxy.receipts.changes import record_change

    who = {"by": "local", "via": f"uid:{os.getuid()}", "change": change, "target": target}
    record_change(engine, home(), SystemClock(), {"tenant": None, **more, **who})
