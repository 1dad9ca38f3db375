"""The report of a check, as a file that the agent's side writes and the sidecar reads.

The sidecar trusts nothing about it: its size is bounded, no link is followed, its schema is strict, no text of it is
ever shown but the names of ways that we know. It says what its writer claims: see docs/confinement-check.md.
"""

from __future__ import annotations

import os
import secrets
import stat
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import Field, ValidationError, field_validator

from proxy.confine.probe.ways import WAYS, Attempt, Seen, State
from proxy.documents import Strict
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAX_REPORT_BYTES: Final = 128 * 1024
FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class AttemptEntry(Strict):
    """One attempt: its way, what was tried, what it shows, what was seen."""

    way: str
    target: Annotated[str, Field(max_length=512)]
    state: Annotated[State, Field(strict=False)]
    seen: Annotated[Seen, Field(strict=False)]

    @field_validator("way")
    @classmethod
    def _known(cls, way: str) -> str:
        if way not in WAYS:
            raise ValueError("no such way")
        return way


class ConfinementReport(Strict):
    """What one run of the check found. `made_at_ms`: milliseconds since the Unix epoch, on the writer's clock."""

    version: Literal[1] = 1
    made_at_ms: Annotated[int, Field(ge=0, lt=2**53)]
    attempts: Annotated[tuple[AttemptEntry, ...], Field(max_length=512, strict=False)]

    @classmethod
    def of(cls, attempts: Iterable[Attempt], *, made_at_ms: int) -> Self:
        """The report of these attempts."""
        entries = tuple(AttemptEntry(way=a.way, target=a.target[:512], state=a.state, seen=a.seen) for a in attempts)
        return cls(made_at_ms=made_at_ms, attempts=entries)

    def tried(self) -> tuple[Attempt, ...]:
        """The attempts as plain values."""
        return tuple(Attempt(entry.way, entry.target, entry.state, entry.seen) for entry in self.attempts)


class NoReportError(BriefcaseError):
    """There is no report that could be used; the text says why and holds nothing of the file."""


def read_report(path: Path) -> ConfinementReport:
    """The report in `path`. Neither the file nor its folder may be a link.

    Raises:
        NoReportError: missing, a link, no plain file, too large, or not a report.
    """
    try:
        folder = os.open(path.parent, FOLDER)
        try:
            descriptor = os.open(path.name, FILE, dir_fd=folder)
        finally:
            os.close(folder)
    except FileNotFoundError:
        raise NoReportError("it does not exist") from None
    except OSError as error:
        raise NoReportError(error.strerror or "it cannot be opened") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NoReportError("it is not a plain file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(MAX_REPORT_BYTES + 1)
    if len(content) > MAX_REPORT_BYTES:
        raise NoReportError(f"it is larger than {MAX_REPORT_BYTES} bytes")
    return parse_report(content)


def parse_report(content: bytes) -> ConfinementReport:
    """Bytes as a report. Raises `NoReportError`. Pure."""
    try:
        return ConfinementReport.model_validate_json(content)
    except ValidationError:
        raise NoReportError("it is not a report of this version") from None


def write_report(path: Path, report: ConfinementReport) -> None:
    """Replace the file in one step. Raises `BriefcaseError`."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o644)  # the sidecar runs as somebody else, whatever our umask is
            file.write(report.model_dump_json(indent=1).encode() + b"\n")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise BriefcaseError(f"{path}: {error.strerror}") from None
