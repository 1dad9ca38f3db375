"""Logging: structured lines on stderr, and nothing in them that could be a secret.

mitmproxy logs raw request bytes in places, so nothing below `mitmproxy` is printed as it is; libraries may say that
something happened, not what was in it.
"""

from __future__ import annotations

import logging
import sys
from typing import Final, Literal, override

import structlog

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


def configure(*, level: str = "INFO", style: Literal["text", "json"] = "text") -> None:
    """Send every log line to stderr, ours readable, those of libraries without their text."""
    renderer: structlog.typing.Processor
    renderer = structlog.processors.JSONRenderer() if style == "json" else structlog.dev.ConsoleRenderer(colors=False)
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
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
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
