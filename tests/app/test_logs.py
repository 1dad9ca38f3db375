"""Log lines: one a record, readable or JSON, and without what libraries have to say."""

from __future__ import annotations

import json
import logging
import re

import pytest

from proxy.logs import Lines, NoTracebackValues, WithheldText


def record(message: str, *values: object, error: BaseException | None = None) -> logging.LogRecord:
    info = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("proxy.app", logging.WARNING, "here.py", 7, message, values, info)


def test_a_line_has_its_time_level_message_and_logger():
    line = Lines("text").format(record("configuration %d is in force", 3))
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \[warning  \] configuration 3 is in force    \[proxy\.app\]", line
    )


@pytest.mark.parametrize("text", ["a\nb [proxy.app]", "\x1b[31mred", "\u2028", "\r", "é\ud800", "\x00"])
@pytest.mark.parametrize("style", ["text", "json"])
def test_a_record_is_one_line_of_printable_text(style, text):
    line = Lines(style).format(record("%s", text))
    assert line.isprintable()
    line.encode()
    if style == "json":
        found = json.loads(line)
        assert found.pop("timestamp").endswith("Z")
        assert found == {"event": text, "level": "warning", "logger": "proxy.app"}


@pytest.mark.parametrize("style", ["text", "json"])
def test_p1_of_an_exception_its_type_and_place_are_printed_and_no_value(style):
    try:
        raise ValueError("sk-REAL")
    except ValueError as error:
        told = record("it failed", error=error)
    assert NoTracebackValues().filter(told)
    line = Lines(style).format(told)
    assert "it failed [ValueError at " in line
    assert "test_logs.py:" in line
    assert "sk-REAL" not in line


def test_p1_a_library_says_where_and_not_what():
    told = record("request with %s", "sk-REAL", error=ValueError("sk-REAL"))
    assert WithheldText().filter(told)
    line = Lines("text").format(told)
    assert "here:7 reported a problem (ValueError)" in line
    assert "sk-REAL" not in line
