"""An approval for the terminal: nothing in it is markup, nothing moves the cursor, escapes stand out (J-04, O-15)."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.text import Text

ESCAPED: Final = re.compile(r"\\u\{[0-9a-f]+\}|\\x[0-9a-f]{2}")
QUOTE: Final = "  │ "
GOES_ON: Final = "  ┆ "
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def safe(text: object) -> str:
    """`text` on one line, with every character spelt out that a terminal could act on or would not show.

    The API has escaped it already; a terminal does not have to trust the API.
    """
    return "".join(_shown(char) for char in str(text))


def _shown(char: str) -> str:
    return f"\\u{{{ord(char):x}}}" if unicodedata.category(char) in _UNSEEN else char


def line(approval: dict[str, Any]) -> str:
    """One approval on one line."""
    who = approval["agent"] + (f" for {approval['user']}" if approval["user"] else "")
    operation = f"{approval['profile']}:{approval['operation']}"
    votes = f"{len(approval['approvers'])}/{approval['needs']}"
    parts = (approval["id"], f"{approval['state']:<9}", _time(approval["until_ms"]), votes, who, approval["account"])
    return "  ".join(safe(part) for part in (*parts, operation))


def card(detail: dict[str, Any], *, width: int | None = None) -> Text:
    """The whole request: facts of ours first, then what the agent wrote, marked as such, whole.

    On a terminal of `width` columns also where a line goes on: no part of it begins where our own lines do.
    """
    from rich.text import Text

    text = Text()
    for name, value in _facts(detail["approval"], detail["card"]):
        text.append(f"{name:<11}", style="bold")
        text.append_text(_marked(safe(value)))
        text.append("\n")
    if detail["card"]["escaped"]:
        count = detail["card"]["escaped"]
        text.append(
            f"look twice: {count} characters of this request would not be seen as what they are\n", style="bold red"
        )
    text.append("\nsent by the agent, whole:\n", style="bold")
    for written in _written(detail["card"]):
        for mark, piece in _quoted(safe(written), width):
            text.append(mark, style="dim")
            text.append_text(piece)
            text.append("\n")
    return text


def _facts(approval: dict[str, Any], shown: dict[str, Any]) -> Iterator[tuple[str, object]]:
    yield "approval", f"{approval['id']} ({approval['state']}, decide by {_time(approval['until_ms'])})"
    yield "operation", f"{shown['title']} ({shown['profile']}:{shown['operation']}, {shown['action']})"
    yield "agent", shown["agent"] + (f", for {shown['user']}" if shown["user"] else "")
    yield "tenant", shown["tenant"]
    yield "account", shown["account"]
    yield "host", f"{shown['host']} (of {shown['domain']})"
    if shown["cost_microusd"]:
        yield "costs", f"at most {shown['cost_microusd'] / 1_000_000:.2f} US dollars"
    yield "needs", f"{approval['needs']} approver(s), {shown['strength']}"
    for reason in shown["reasons"]:
        yield "because", f"{reason['text']} ({reason['by']})"


def _written(shown: dict[str, Any]) -> Iterator[str]:
    yield f"{shown['method']} {shown['url']}"
    for name, value in shown["headers"]:
        yield f"{name}: {value}"
    if shown["body"] is not None:
        yield ""
        yield from str(shown["body"]).split("\n")
        yield ""
        yield f"({shown['body_bytes']} bytes, {shown['body_kind']}, SHA-256 {shown['body_sha256']})"


def _quoted(text: str, width: int | None) -> Iterator[tuple[str, Text]]:
    """A line of the agent's in pieces that fit, each behind the mark that says whose it is."""
    from rich.cells import chop_cells

    marked, done = _marked(text), 0
    for piece in (chop_cells(text, max(width - len(QUOTE), 1)) if width is not None else None) or [text]:
        yield QUOTE if done == 0 else GOES_ON, marked[done : done + len(piece)]
        done += len(piece)


def _marked(text: str) -> Text:
    from rich.text import Text

    marked = Text(text)
    for found in ESCAPED.finditer(text):
        marked.stylize("bold reverse", *found.span())
    return marked


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%H:%M:%SZ")
