"""docs/budgets.md draws the ways of a hold as the code has them."""

from __future__ import annotations

from proxy.budget.ways import State, Way, drawing, ending
from tests.docs import pages


def test_the_page_draws_every_way_of_a_hold() -> None:
    assert pages.blocks(pages.text("budgets.md"), "mermaid") == [drawing()]


def test_k_06_only_what_never_left_is_given_back() -> None:
    given_back = {
        (d, w) for d in (True, False) for w in (True, False) if ending(dialled=d, whole_answer=w).end is State.RELEASED
    }
    assert given_back == {(False, False), (False, True)}
    assert {way.begin for way in Way} == {State.WANTED, State.HELD}
