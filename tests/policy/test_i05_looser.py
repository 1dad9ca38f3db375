"""I-05: by which policies a set may allow more is told from the texts, and nothing that allows more is missed."""

from __future__ import annotations

import random

import pytest

from proxy.policy.looser import looser
from tests.policy.drawn import drawn_question, drawn_text
from tests.policy.questions import policies

ANY = "principal, action, resource"
IN_CALL = 'principal, action == Action::"read", resource'


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (f"permit({ANY});", f"permit({ANY});", ()),
        (f'@id("a") permit({ANY});', f'// moved\n@id("b") @advice("x") permit  ( {ANY} );', ()),
        (f"permit({ANY});", f"permit({ANY}) when {{ context.hour < 5 }};", ()),
        (f"permit({ANY});", f'@approval("strong") permit({ANY});', ()),
        (f"permit({ANY});", f'@limit("10/h") permit({ANY});', ()),
        (f"permit({ANY});", f"permit({ANY}); forbid({ANY}) when {{ context.hour < 5 }};", ()),
        (f"forbid({ANY}) when {{ context.hour < 5 }};", f"forbid({ANY});", ()),
        (f"permit({ANY});", "forbid(principal, action, resource);", ()),
        (f"permit({IN_CALL});", f'@id("new") permit({ANY});', ("new",)),
        (f"permit({ANY}) when {{ context.hour < 5 }};", f'@id("new") permit({ANY});', ("new",)),
        (f'@approval("strong") permit({ANY});', f'@id("new") @approval("approval") permit({ANY});', ("new", "own.cedar#1")),
        (f'@id("few") @limit("10/h") permit({ANY});', f'@id("new") permit({ANY});', ("few", "new")),
        (f'permit({ANY}); @id("careful") @approval("strong") permit({IN_CALL});', f"permit({ANY});", ("careful",)),
        (f'@id("shut") forbid({ANY});', "", ("shut",)),
        (f'@id("shut") forbid({ANY});', f'@id("shut") forbid({ANY}) unless {{ context.hour < 5 }};', ("shut",)),
        (f'@id("shut") forbid({ANY});', f'@id("shut") forbid({IN_CALL});', ("shut",)),
    ],
)  # fmt: skip
def test_what_may_allow_more_is_named(before: str, after: str, named: tuple[str, ...]) -> None:
    assert looser(policies(before).policies.values(), policies(after).policies.values()) == named


@pytest.mark.parametrize("seed", [pytest.param(7, id="few"), pytest.param(8, id="many", marks=pytest.mark.slow)])
def test_nothing_that_allows_more_goes_unnamed(seed: int) -> None:
    chance = random.Random(seed)
    rounds, silent, wider = (12 if seed == 7 else 400), 0, 0
    for _ in range(rounds):
        text = drawn_text(chance).splitlines()
        other = [line.replace('@id("p', '@id("q') for line in drawn_text(chance).splitlines()]
        kept = [line for line in text if chance.random() < 0.7] + other[: chance.choice((0, 0, 1))]
        before, after = policies("\n".join(text)), policies("\n".join(kept))
        named = looser(before.policies.values(), after.policies.values())
        silent += not named
        for _ in range(10):
            question = drawn_question(chance)
            was, now = before.judge(question), after.judge(question)
            if was.failed:  # what cannot be evaluated is refused; the matrix sees where that ends
                continue
            widened = (now.allowed, -now.strength) > (was.allowed, -was.strength) and now.allowed
            wider += widened
            assert not (widened and not named), (text, kept)
    assert silent > rounds // 8  # or nothing would be shown
    assert wider > 0
