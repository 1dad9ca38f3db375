"""From what was seen of a client to its verdict. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from proxy.cli.doctor.report import Verdict
from proxy.exchange import Capture

if TYPE_CHECKING:
    from collections.abc import Sequence

PROXY_AUTH_REQUIRED: Final = 407


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one attempt, by four witnesses: the provider, the receipts, a tap and a trap.

    Attributes:
        with_key: requests that reached the provider with the real key. Only the sidecar has it.
        captures: how allowed calls came to the sidecar, by its receipts (`proxy.exchange.Capture`).
        asked: connections on which the client spoke to the listener that it was sent to.
        statuses: that listener's first answer on each of these.
        around: connections to the provider's name that did not come that way.
    """

    with_key: int = 0
    captures: frozenset[str] = frozenset()
    asked: int = 0
    statuses: tuple[int, ...] = ()
    around: int = 0


class Reading(StrEnum):
    """What it means; the text is shown."""

    REACHED = "reached the provider with the key, through the sidecar"
    UNAUTHENTICATED = "was asked for the agent's token (407), and did not give it"
    REFUSED = "was refused by the sidecar"
    DISTRUSTS = "asked the proxy, then did not accept the sidecar's certificate"
    AROUND = "connects directly; redirected to the sidecar, the call got its key"
    AROUND_DISTRUSTS = "connects directly; redirected to the sidecar, it did not accept its certificate"
    SILENT = "made no connection"


def reading(seen: Seen) -> Reading:
    """One word for an attempt: the best that happened in it."""
    if seen.with_key and seen.captures - {Capture.TRANSPARENT}:
        return Reading.REACHED
    if seen.with_key and seen.captures:
        return Reading.AROUND
    if seen.asked:
        return _at_the_listener(seen)
    return Reading.AROUND_DISTRUSTS if seen.around else Reading.SILENT


def _at_the_listener(seen: Seen) -> Reading:
    if any(status // 100 == 2 for status in seen.statuses):  # noqa: PLR2004  # the class of success
        return Reading.DISTRUSTS
    return Reading.UNAUTHENTICATED if PROXY_AUTH_REQUIRED in seen.statuses else Reading.REFUSED


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict, what it needs, and why."""

    verdict: Verdict
    needs: str
    why: str


def judged(attempts: Sequence[tuple[str, Reading]]) -> Judged:
    """The verdict on a client from its attempts in order, each with what was set for it ("" for nothing)."""
    for needs, read in attempts:
        if read is Reading.REACHED:
            first = attempts[0][1]
            why = read if not needs else f"without it: {first}"
            return Judged(Verdict.WORKS_WITH if needs else Verdict.WORKS, needs, why)
    for needs, read in attempts:
        if read is Reading.AROUND:
            proxied = next((r for _, r in attempts if r is not Reading.AROUND), None)
            why = read if proxied is None else f"it {proxied}. Without a proxy it {read}"
            return Judged(Verdict.CONFINED, needs, why)
    if not attempts:
        return Judged(Verdict.UNTRIED, "", "nothing was tried")
    telling = [read for _, read in attempts if read is not Reading.SILENT]
    if not telling:
        return Judged(Verdict.UNTRIED, "", f"it {Reading.SILENT}; see --verbose")
    return Judged(Verdict.CANNOT, "", "; then ".join(dict.fromkeys(telling)))
