"""K-04: the time that an amount is for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.budget.windows import SLICES, span


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("window", "zone", "now", "begin", "end"),
    [
        ("hour", "UTC", "2026-11-26T12:34:56", "2026-11-26T12:00:00", "2026-11-26T13:00:00"),
        ("day", "UTC", "2026-11-26T23:59:59", "2026-11-26T00:00:00", "2026-11-27T00:00:00"),
        ("week", "UTC", "2026-11-26T12:00:00", "2026-11-23T00:00:00", "2026-11-30T00:00:00"),
        ("month", "UTC", "2026-12-31T12:00:00", "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
        ("month", "UTC", "2024-02-29T12:00:00", "2024-02-01T00:00:00", "2024-03-01T00:00:00"),
        ("day", "Europe/Zurich", "2026-11-26T23:30:00", "2026-11-26T23:00:00", "2026-11-27T23:00:00"),
        ("day", "Europe/Zurich", "2026-03-29T12:00:00", "2026-03-28T23:00:00", "2026-03-29T22:00:00"),  # 23 hours
        ("day", "Europe/Zurich", "2026-10-25T12:00:00", "2026-10-24T22:00:00", "2026-10-25T23:00:00"),  # 25 hours
        ("day", "Asia/Kolkata", "2026-11-26T20:00:00", "2026-11-26T18:30:00", "2026-11-27T18:30:00"),
        ("hour", "Europe/Zurich", "2026-10-25T00:30:00", "2026-10-25T00:00:00", "2026-10-25T01:00:00"),
        ("hour", "Europe/Zurich", "2026-10-25T01:30:00", "2026-10-25T01:00:00", "2026-10-25T02:00:00"),
    ],
)
def test_calendar(window: str, zone: str, now: str, begin: str, end: str) -> None:
    found = span(window, zone, at(now))
    assert (found.bucket, found.since, found.resets_at_ms) == (at(begin), at(begin), at(end))


def test_a_lifetime_never_ends() -> None:
    found = span("lifetime", "UTC", at("2026-11-26T12:00:00"))
    assert (found.bucket, found.since, found.resets_at_ms) == (0, 0, None)


@given(st.integers(1, 31 * 86_400), st.integers(0, 4_000_000_000_000), st.integers(0, 31 * 86_400_000))
def test_k_04_a_sliding_window_never_forgets_too_early(window: int, then: int, later: int) -> None:
    now = then + later
    used, counting = span(window, "UTC", then).bucket, span(window, "UTC", now)
    if later <= window * 1000:
        assert used >= counting.since
    if later > window * 1000 * (SLICES + 2) // SLICES + 1:
        assert used < counting.since


@given(
    st.sampled_from(["hour", "day", "week", "month"]),
    st.sampled_from(["UTC", "Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
    st.integers(0, 4_000_000_000_000),
)
def test_every_moment_is_in_its_window_and_in_one_only(window: str, zone: str, now: int) -> None:
    found = span(window, zone, now)
    assert found.resets_at_ms is not None
    assert found.bucket <= now < found.resets_at_ms
    assert span(window, zone, found.resets_at_ms - 1).bucket == found.bucket
    assert span(window, zone, found.resets_at_ms).bucket == found.resets_at_ms
