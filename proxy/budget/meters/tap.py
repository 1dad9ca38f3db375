"""`Tap`: reads what a call has used off its answer as it passes. It changes nothing, and keeps a bounded part. Pure.

The answer is read as the agent gets it, decoded. What cannot be found is not guessed: it counts as reserved (K-08).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.budget.meters.json_values import Json, at, is_missing, read, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.budget.meters.spec import Usage
    from proxy.model import Headers

MAX_DOCUMENT_BYTES: Final = 4 * 1024 * 1024
MAX_LINE_BYTES: Final = 1024 * 1024
_EVENTS: Final = ("text/event-stream", "application/x-ndjson", "application/jsonl", "application/stream+json")
_DATA: Final = b"data:"
_NUMBER: Final = re.compile(r"[0-9]{1,15}")


class Tap:
    """For one answer."""

    def __init__(self, usage: Usage) -> None:
        self._usage: Final = usage
        self._found: Final[dict[str, int]] = {}
        self._bad: Final[set[str]] = set()
        self._words: Final = tuple(
            {p.rpartition("/")[2].encode() for pointers in usage.read.values() for p in pointers}
        )
        self._buffer = bytearray()
        self._streams = False
        self._skipping = False
        self._too_large = False

    def head(self, headers: Headers) -> None:
        """The head of the answer."""
        for unit, name in self._usage.headers.items():
            for value in [value for key, value in headers if key == name.lower()]:
                self._note(unit, int(value) if _NUMBER.fullmatch(value) else None)
        media = next((value for key, value in headers if key == "content-type"), "")
        self._streams = media.partition(";")[0].strip().lower() in _EVENTS

    def feed(self, data: bytes) -> None:
        """A piece of the body, as the agent gets it."""
        if not self._words or self._too_large:
            return
        if self._streams:
            self._lines(data)
        elif len(self._buffer) + len(data) > MAX_DOCUMENT_BYTES:
            self._too_large = True
            self._buffer.clear()
        else:
            self._buffer += data

    def used(self, *, whole_answer: bool) -> dict[str, int]:
        """What the answer told, by unit; `whole_answer`: it came to its proper end.

        Only nothing but zeros is not believed: a call that was answered has used something.
        """
        if self._streams and self._buffer and not self._skipping:
            self._line(bytes(self._buffer))
        elif not self._streams and self._buffer and whole_answer:
            for value in _documents(read(bytes(self._buffer))):
                self._take(value)
        self._buffer.clear()
        left_out = self._bad | (set() if whole_answer else set(self._usage.grows))
        found = {unit: amount for unit, amount in self._found.items() if unit not in left_out}
        return found if any(found.values()) else {}

    def _lines(self, data: bytes) -> None:
        *ended, rest = data.split(b"\n")
        for line in ended:
            if not self._skipping and len(self._buffer) + len(line) <= MAX_LINE_BYTES:
                self._line(bytes(self._buffer) + line)
            self._buffer.clear()
            self._skipping = False
        if len(self._buffer) + len(rest) > MAX_LINE_BYTES:
            self._buffer.clear()
            self._skipping = True
        elif not self._skipping:
            self._buffer += rest

    def _line(self, line: bytes) -> None:
        content = line.removeprefix(_DATA).strip()
        if content.startswith(b"{") and any(word in content for word in self._words):  # most events tell nothing
            self._take(read(content))

    def _take(self, value: Json) -> None:
        for unit, pointers in self._usage.read.items():
            for pointer in pointers:
                found = at(value, pointer)
                if not is_missing(found):
                    self._note(unit, self._sum(unit, whole(found), value))

    def _sum(self, unit: str, amount: int | None, document: Json) -> int | None:
        beside = [at(document, pointer) for pointer in self._usage.add.get(unit, ())]
        more = [whole(found) for found in beside if not is_missing(found)]
        return None if amount is None or None in more else amount + sum(one for one in more if one is not None)

    def _note(self, unit: str, amount: int | None) -> None:
        if amount is None:
            self._bad.add(unit)  # whatever else the answer says of it
        else:
            self._found[unit] = amount


def _documents(value: Json) -> Iterator[Json]:
    """The documents of an answer: itself, or the entries of a list (streams of Google's that are no events)."""
    yield from value if isinstance(value, list) else [value]
