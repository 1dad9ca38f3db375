"""Reads the documentation: sections, tables, code spans, links, code blocks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN: Final = re.compile(r"`([^`\n]+)`")
LINK: Final = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
EXTERNAL: Final = re.compile(r"[a-z][a-z+.-]*:")


def pages() -> list[Path]:
    """Every page under docs/, and the top-level ones that exist."""
    top = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "SECURITY.md", "CHANGELOG.md")]
    return sorted(DOCS.rglob("*.md")) + [path for path in top if path.exists()]


def text(name: str) -> str:
    """A page under docs/."""
    return (DOCS / name).read_text("utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return [code for tag, code in FENCE.findall(page) if tag == language]


def without_blocks(page: str) -> str:
    """The page without fenced and indented code."""
    return re.sub(r"^    .*$", "", FENCE.sub("", page), flags=re.MULTILINE)


def spans(page: str) -> set[str]:
    """Everything in backticks."""
    return set(SPAN.findall(without_blocks(page)))


def sections(page: str) -> dict[str, str]:
    """By `## heading`."""
    pieces = re.split(r"^## (.+)$", page, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def table(page: str, first: str) -> list[list[str]]:
    """The rows of the table whose first column is headed `first`."""
    found = re.search(rf"^\| {re.escape(first)} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", page, flags=re.MULTILINE)
    assert found is not None, f"there is no table headed {first}"
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in found[1].splitlines()]


def anchors(page: str) -> set[str]:
    """The names of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path: Path) -> list[str]:
    """Relative links of a page whose file or anchor does not exist."""
    bad = []
    for target in LINK.findall(without_blocks(path.read_text("utf-8"))):
        if EXTERNAL.match(target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name) if name else path
        if not file.exists() or (anchor and anchor not in anchors(file.read_text("utf-8"))):
            bad.append(target)
    return bad
