"""A change that a command makes by itself, beside a sidecar or without one: its receipt, in a chain of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from proxy.errors import BriefcaseError
from proxy.receipts.ids import ReceiptIds
from proxy.receipts.recovery import end_chain, open_chain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sqlalchemy import Engine

    from proxy.clock import Clock
    from proxy.receipts.record import Value

LABEL: Final = "commands"


def record_change(database: Engine, home: Path, clock: Clock, fields: Mapping[str, Value]) -> None:
    """Return when it is durable that something is about to be changed.

    Raises:
        BriefcaseError: it could not be written; nothing may be changed then.
    """
    ids = ReceiptIds(clock)
    try:
        appender, lock = open_chain(database, home, LABEL, clock, ids, resume=True)
        try:
            appender.append([("change", {"id": ids.new(), **fields})])
            end_chain(database, appender, ids, "closed")
        finally:
            lock.release()
    except (SQLAlchemyError, OSError) as error:
        raise BriefcaseError(f"the change cannot be recorded ({type(error).__name__}); nothing was changed") from None
