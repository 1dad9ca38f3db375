"""From what was seen to a verdict."""

from __future__ import annotations

import pytest

from proxy.cli.doctor.judge import Reading, Seen, judged, reading
from proxy.cli.doctor.report import Verdict


@pytest.mark.parametrize(
    ("seen", "read"),
    [
        (Seen(), Reading.SILENT),
        (Seen(with_key=1, asked=1, statuses=(200,)), Reading.REACHED),
        (Seen(with_key=1, around=3, trusted=1), Reading.REACHED),
        (Seen(asked=1, statuses=(407,)), Reading.UNAUTHENTICATED),
        (Seen(asked=2, statuses=(407, 200)), Reading.DISTRUSTS),
        (Seen(asked=1, statuses=(403,)), Reading.REFUSED),
        (Seen(asked=1), Reading.REFUSED),
        (Seen(around=1), Reading.AROUND_DISTRUSTS),
        (Seen(around=2, trusted=1), Reading.AROUND),
        (Seen(asked=1, statuses=(407,), around=1, trusted=1), Reading.AROUND),
    ],
)
def test_an_attempt_is_read(seen, read):
    assert reading(seen) is read


@pytest.mark.parametrize(
    ("attempts", "verdict", "needs"),
    [
        ([("", Reading.REACHED)], Verdict.WORKS, ""),
        ([("", Reading.DISTRUSTS), ("X=1", Reading.REACHED)], Verdict.WORKS_WITH, "X=1"),
        ([("", Reading.AROUND)], Verdict.CONFINED, ""),
        ([("", Reading.UNAUTHENTICATED), ("a store", Reading.AROUND)], Verdict.CONFINED, "a store"),
        ([("", Reading.AROUND), ("X=1", Reading.REACHED)], Verdict.WORKS_WITH, "X=1"),
        ([("", Reading.DISTRUSTS)], Verdict.CANNOT, ""),
        ([("", Reading.AROUND_DISTRUSTS), ("X=1", Reading.UNAUTHENTICATED)], Verdict.CANNOT, ""),
        ([("", Reading.SILENT)], Verdict.UNTRIED, ""),
        ([], Verdict.UNTRIED, ""),
    ],
)
def test_attempts_become_a_verdict(attempts, verdict, needs):
    found = judged(attempts)
    assert (found.verdict, found.needs) == (verdict, needs)
    assert found.why


def test_a_client_that_needs_something_says_what_happened_without_it():
    assert "did not accept the sidecar's certificate" in judged([("", Reading.DISTRUSTS), ("X", Reading.REACHED)]).why
