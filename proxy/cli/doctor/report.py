"""What the doctor says: findings about the machine, and a verdict per client. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is. A problem makes the exit code 1."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Verdict(StrEnum):
    """What a client is worth behind the sidecar, as measured."""

    WORKS = "works"
    WORKS_WITH = "works with"
    CONFINED = "needs confined mode"
    CANNOT = "cannot"
    ABSENT = "not installed"
    UNTRIED = "cannot be tried here"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about the machine. `remedy` is one sentence, empty where nothing is to be done."""

    check: str
    level: Level
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt: what was set for it, what was seen of it, and what the program said (scrubbed)."""

    needs: str
    proxied: bool
    seen: str
    exit_code: int | None
    said: str


@dataclass(frozen=True, slots=True)
class Row:
    """One client. `needs` is what must be set or written besides what `briefcased run` sets."""

    client: str
    version: str
    verdict: Verdict
    needs: str
    why: str
    tried: tuple[Tried, ...] = ()
