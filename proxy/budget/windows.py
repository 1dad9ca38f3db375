"""The time that an amount is for. Pure.

Usage is kept in buckets. A calendar window is one bucket; a sliding one is sixty, of which the oldest counts whole
until it has left the window altogether, so that more is never allowed than the limit says.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

SLICES: Final = 60
_LIFETIME_END: Final = None


@dataclass(frozen=True, slots=True)
class Span:
    """Where an amount counts at one moment; milliseconds since the epoch.

    Attributes:
        bucket: what is used now is counted here.
        since: the first bucket that counts.
        resets_at_ms: when the amount is whole again; None for never.
    """

    bucket: int
    since: int
    resets_at_ms: int | None


def span(window: str | int, zone: str, now_ms: int) -> Span:
    """The span of `window` that contains `now_ms`: a number of seconds, `lifetime`, or a unit of the calendar."""
    if isinstance(window, int):
        length = max(1, window * 1000 // SLICES)
        bucket = now_ms // length * length
        return Span(bucket, bucket - window * 1000, bucket + length + window * 1000)
    if window == "lifetime":
        return Span(0, 0, _LIFETIME_END)
    begin = _begin(window, datetime.fromtimestamp(now_ms / 1000, ZoneInfo(zone)))
    start = _ms(begin)
    return Span(start, start, _ms(_next(window, begin)))


def _begin(window: str, moment: datetime) -> datetime:
    hour = moment.replace(minute=0, second=0, microsecond=0)
    if window == "hour":
        return hour
    day = hour.replace(hour=0, fold=0)
    match window:
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case _:
            return day.replace(day=1)


def _next(window: str, begin: datetime) -> datetime:
    match window:
        case "hour":  # of the clock on the wall: the hour that daylight saving repeats is two
            return (begin.astimezone(UTC) + timedelta(hours=1)).astimezone(begin.tzinfo)
        case "day":
            return begin + timedelta(days=1)
        case "week":
            return begin + timedelta(days=7)
        case _:
            return begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
