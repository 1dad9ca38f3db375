"""From what was seen to a verdict."""

from __future__ import annotations

import pytest

from proxy.cli.doctor.judge import Reading, Seen, judged, reading
from proxy.cli.doctor.report import Verdict


@pytest.mark.parametrize(
    ("seen", "read"),
    [
        (Seen(), Reading.SILENT),
        (Seen(1, frozenset({"connect"}), 1, (200,)), Reading.REACHED),
        (Seen(2, frozenset({"connect", "transparent"}), 1, (200,), 3), Reading.REACHED),
        (Seen(asked=1, statuses=(407,)), Reading.UNAUTHENTICATED),
        (Seen(asked=2, statuses=(407, 200)), Reading.DISTRUSTS),
        (Seen(asked=1, statuses=(403,)), Reading.REFUSED),
        (Seen(asked=1), Reading.REFUSED),
        (Seen(1, frozenset({"base_url"}), 1, (200,)), Reading.REACHED),
        (Seen(captures=frozenset({"connect"}), asked=1, statuses=(200,)), Reading.DISTRUSTS),
        (Seen(around=1), Reading.AROUND_DISTRUSTS),
        (Seen(1, frozenset({"transparent"}), around=2), Reading.AROUND),
        (Seen(1, frozenset({"transparent"}), 1, (407,), 1), Reading.AROUND),
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
