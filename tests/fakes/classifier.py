"""A risk classifier: answers what a test says, rudely where it says so."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fakes.signed_api import reply

if TYPE_CHECKING:
    from tests.rig.provider import Seen


@dataclass
class ClassifierServer:
    """The handler of `/score`. `rude` replaces the answer; `slow_s` comes before it."""

    score: int = 0
    reasons: list[str] = field(default_factory=list)
    text: str | None = None
    status: str = "200 OK"
    slow_s: float = 0.0
    rude: bytes | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    authorization: str | None = None

    async def __call__(self, seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(json.loads(seen.body))
        self.raw.append(seen.head + seen.body)
        self.authorization = seen.one("authorization")
        await asyncio.sleep(self.slow_s)
        if self.rude is not None:
            writer.write(self.rude)
        else:
            said = {"score": self.score, "reasons": self.reasons}
            reply(writer, self.status, self.text if self.text is not None else json.dumps(said))
