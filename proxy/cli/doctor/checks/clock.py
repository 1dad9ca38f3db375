"""The clock: certificates are judged by it, on both sides of the sidecar."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import certifi
from cryptography import x509

from proxy.cli.doctor.report import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proxy.cli.doctor.checks.situation import Situation

CHECK: Final = "clock"
REMEDY: Final = "Set the clock, and let a time service keep it (timedatectl set-ntp true)."
OURS: Final = "ca/roots.json"
SLACK: Final = timedelta(minutes=5)
WATCH_S: Final = 0.05
MOST_DRIFT_S: Final = 0.5


def clock(situation: Situation) -> Iterator[Finding]:
    """Whether the clock could be right: against this installation's files, and against itself."""
    now = datetime.now(UTC)
    if (mistake := implausible(now, newest(situation.home))) is not None:
        yield Finding(CHECK, Level.PROBLEM, mistake, REMEDY)
        return
    wall, steady = time.time(), time.monotonic()
    time.sleep(WATCH_S)
    drift_s = abs((time.time() - wall) - (time.monotonic() - steady))
    if drift_s > MOST_DRIFT_S:
        yield Finding(CHECK, Level.WARNING, f"the clock jumped by {drift_s:.1f} s while it was watched", REMEDY)
        return
    yield Finding(CHECK, Level.OK, f"{now:%Y-%m-%d %H:%M} UTC, later than every file it is compared with")


def newest(home: Path) -> dict[str, datetime]:
    """Times that are surely past: by what they are."""
    found = {"this Python's list of public roots was published": _published()}
    for path in (home / OURS, home / "briefcased.db", home / "ca-bundle.pem"):
        if path.exists():
            found[f"{path} was written"] = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return found


def implausible(now: datetime, past: dict[str, datetime]) -> str | None:
    """A sentence where `now` comes before something that has happened. Pure."""
    what, when = max(past.items(), key=lambda pair: pair[1])
    if now + SLACK >= when:
        return None
    return f"the clock says {now:%Y-%m-%d %H:%M} UTC, but {what} on {when:%Y-%m-%d %H:%M}"


def _published() -> datetime:
    """certifi's version is the day of its publication; the newest root it holds began before that."""
    numbers = [int(piece) for piece in certifi.__version__.split(".")[:3]]
    try:
        return datetime(*numbers, tzinfo=UTC)  # type: ignore[misc,arg-type]
    except (TypeError, ValueError):
        certs = x509.load_pem_x509_certificates(certifi.contents().encode())
        return max(cert.not_valid_before_utc for cert in certs)
