"""What the last report says about the confinement now, and whether the mode is content with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.confine.probe.report import NoReportError, read_report
from proxy.confine.probe.ways import THROUGH_THE_SIDECAR, WAYS, State, state_of
from proxy.errors import BriefcaseError
from proxy.model import Mode

if TYPE_CHECKING:
    from collections.abc import Collection

    from proxy.confine.probe.report import ConfinementReport
    from proxy.settings import Settings

MOST_AHEAD_MS: Final = 60_000
NOT_CHECKED: Final = "not checked"


@dataclass(frozen=True, slots=True)
class Standing:
    """`word`: `closed`, `open`, `unknown`, `stale`, `missing` or `not checked`. `ways`: what is open, or unknown."""

    word: str
    ways: tuple[str, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.word}: {', '.join(self.ways)}" if self.ways else self.word


def stands(report: ConfinementReport, *, accept: Collection[str], max_age_s: float, now_ms: int) -> Standing:
    """What `report` says now. Old before open: what is no longer known is not known. Pure.

    A way that the report leaves out is unknown. What only the sidecar can refuse may be unknown: it need not run yet.
    """
    age_ms = now_ms - report.made_at_ms
    if age_ms > max_age_s * 1000 or age_ms < -MOST_AHEAD_MS:
        return Standing("stale", reason=f"it is {age_ms // 1000} seconds old")
    attempts = report.tried()
    states = {way: state_of(way, attempts) for way in WAYS if way not in accept}
    if found := tuple(way for way, state in states.items() if state is State.OPEN):
        return Standing("open", found)
    unsure = tuple(w for w, state in states.items() if state is State.UNKNOWN and w not in THROUGH_THE_SIDECAR)
    return Standing("unknown", unsure) if unsure else Standing("closed")


def standing(settings: Settings, *, now_ms: int) -> Standing:
    """What the configured report says now. A report that cannot be used is `missing`, with the reason."""
    ours = settings.confinement
    if ours.report is None:
        return Standing(NOT_CHECKED)
    try:
        report = read_report(ours.report)
    except NoReportError as error:
        return Standing("missing", reason=str(error))
    return stands(report, accept=ours.accept, max_age_s=ours.max_age_s, now_ms=now_ms)


def require_confined(settings: Settings, *, now_ms: int) -> None:
    """In mode `ga` the agent must be shown to be confined, unless `confinement.required` is false.

    Raises:
        BriefcaseError: it is not; the text says which ways are open, or what is wrong with the report.
    """
    if settings.mode is not Mode.GA or not settings.confinement.required:
        return
    now = standing(settings, now_ms=now_ms)
    if now.word != "closed":
        reason = f" ({now.reason})" if now.reason else ""
        raise BriefcaseError(
            f"mode ga needs a confined agent; the report {settings.confinement.report} says {now}{reason};"
            " make one from the agent's side: briefcased doctor --confinement --from-here --write FILE"
        )
