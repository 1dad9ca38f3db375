"""docs/confinement-check.md has every way and everything that can be seen, and no other."""

from __future__ import annotations

from proxy.confine.probe.ways import WAYS, Seen
from tests.docs import pages


def named(first):
    rows = pages.table(pages.text("confinement-check.md"), first)
    return [span for row in rows for span in pages.SPAN.findall(row[0])]


def test_every_way_has_its_row():
    assert sorted(named("way")) == sorted(WAYS)


def test_everything_that_is_seen_has_its_row():
    assert sorted(named("seen")) == sorted(seen.value for seen in Seen)
