"""Logging: structured lines on stderr, and nothing in them that could be a secret.

mitmproxy logs raw request bytes in places, so nothing below `mitmproxy` is printed as it is; libraries may say that
something happened, not what was in it.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final, Literal, override

type Style = Literal["text", "json"]

QUIET: Final = ("mitmproxy", "asyncio", "hpack", "h2", "wsproto", "aiohttp", "alembic", "sqlalchemy")


class WithheldText(logging.Filter):
    """Replaces a library's message and exception by their place: they may hold request bytes."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record, without its text."""
        kind = "" if not record.exc_info or record.exc_info[0] is None else f" ({record.exc_info[0].__name__})"
        record.msg = f"{record.module}:{record.lineno} reported a problem{kind}"
        record.args = ()
        record.exc_info = None
        record.exc_text = None
        record.stack_info = None
        return True


class NoTracebackValues(logging.Filter):
    """Our own records: an exception is named with its place, its text and its locals are not printed."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record, with the exception reduced to its type and line."""
        if record.exc_info and record.exc_info[1] is not None:
            trace = record.exc_info[2]
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            where = "" if trace is None else f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
            record.msg = f"{record.getMessage()} [{type(record.exc_info[1]).__name__}{where}]"
            record.args = ()
            record.exc_info = None
            record.exc_text = None
        return True


class Lines(logging.Formatter):
    """One line a record, whatever its message holds: `TIME [level] message [logger]`, or a JSON object with these."""

    def __init__(self, style: Style) -> None:
        super().__init__()
        self._as_json: Final = style == "json"

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Time is in UTC, to the microsecond. Nothing is printed of an exception: the filters have named it."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        level, text = record.levelname.lower(), record.getMessage()
        if self._as_json:
            return json.dumps({"event": text, "level": level, "logger": record.name, "timestamp": at})
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
        return f"{at} [{level:<9}] {shown:<30} [{record.name}]"


def configure(*, level: str = "INFO", style: Style = "text") -> None:
    """Send every log line to stderr, ours readable, those of libraries without their text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(style))
    handler.addFilter(NoTracebackValues())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET:
        library = logging.getLogger(name)
        library.setLevel(logging.WARNING)
        library.propagate = False
        quiet = logging.StreamHandler(sys.stderr)
        quiet.setFormatter(handler.formatter)
        quiet.addFilter(WithheldText())
        library.handlers[:] = [quiet]
