"""Which limits a call comes under; K-05 and K-11: in whole amounts, and how much several calls in one take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from proxy.budget.limits import Charge, Subject, planned, together
from proxy.budget_settings import Budget, Rate

NOW_MS = 1_764_115_200_000
CALL = Subject(
    tenant="acme", agent="coder", account="github/work", provider="github", profile="github",
    operation="github:issues.create", action="write", groups=("builders", "night"), user="alice", task="tsk_1",
)  # fmt: skip


def budget(**fields: Any) -> Budget:
    return Budget.model_validate_json(orjson.dumps({"name": "b", "unit": "requests", "limit": 10, **fields}))


def rate(**fields: Any) -> Rate:
    return Rate.model_validate_json(orjson.dumps({"name": "r", "calls": 6, **fields}))


@pytest.mark.parametrize(
    ("match", "counted"),
    [
        ({}, True),
        ({"tenant": "acme"}, True),
        ({"tenant": "other"}, False),
        ({"agent": "coder", "provider": "github"}, True),
        ({"agent": "coder", "provider": "stripe"}, False),
        ({"group": "night"}, True),
        ({"group": "day"}, False),
        ({"user": "alice"}, True),
        ({"user": "bob"}, False),
        ({"account": "github/work"}, True),
        ({"operation": "github:issues.create"}, True),
        ({"action": "read"}, False),
        ({"task": "tsk_1"}, True),
    ],
)
def test_all_that_is_given_must_hold(match: dict[str, str], counted: bool) -> None:
    assert bool(planned([budget(match=match)], [], CALL, {}, now_ms=NOW_MS).charges) is counted


def test_who_acts_for_nobody_is_not_in_a_budget_of_users() -> None:
    alone = replace(CALL, user=None, task=None)
    assert not planned([budget(each=["user"])], [], alone, {}, now_ms=NOW_MS)
    assert planned([budget(each=["user"])], [], CALL, {}, now_ms=NOW_MS)


def test_each_value_has_an_amount_of_its_own() -> None:
    def keys(subject: Subject, each: list[str]) -> set[str]:
        return {charge.key for charge in planned([budget(each=each)], [], subject, {}, now_ms=NOW_MS).charges}

    other = replace(CALL, agent="other")
    assert keys(CALL, ["agent"]).isdisjoint(keys(other, ["agent"]))
    assert keys(CALL, ["tenant"]) == keys(other, ["tenant"])
    assert len(keys(CALL, ["group"])) == 2
    assert keys(CALL, ["agent", "provider"]) == {'["budget","b",{"agent":"coder","provider":"github"}]'}


def test_p6_values_cannot_be_taken_for_other_values() -> None:
    one = planned(
        [budget(each=["agent", "task"])], [], replace(CALL, agent='a","task":"b', task="c"), {}, now_ms=NOW_MS
    )
    two = planned(
        [budget(each=["agent", "task"])], [], replace(CALL, agent="a", task='b","task":"c'), {}, now_ms=NOW_MS
    )
    assert one.charges[0].key != two.charges[0].key


def test_what_a_call_takes() -> None:
    money = budget(name="money", unit="usd", limit="1.50")
    plan = planned([budget(), money, budget(name="mail", unit="mails")], [], CALL, {"usd": 20_000}, now_ms=NOW_MS)
    assert {(c.budget, c.amount, c.limit) for c in plan.charges} == {("b", 1, 10), ("money", 20_000, 1_500_000)}


def test_rates() -> None:
    (toll,) = planned([], [rate(per_s=60, burst=3)], CALL, {}, now_ms=NOW_MS).tolls
    assert (toll.interval_us, toll.burst) == (10_000_000, 3)


def test_a_rate_is_never_faster_than_it_says() -> None:
    (toll,) = planned([], [rate(calls=7, per_s=1)], CALL, {}, now_ms=NOW_MS).tolls
    assert 6 * toll.interval_us < 1_000_000 <= 7 * toll.interval_us


@pytest.mark.parametrize(
    "fields",
    [
        {"unit": "usd", "limit": 5},
        {"unit": "usd", "limit": "-1"},
        {"unit": "usd", "limit": "1e9"},
        {"unit": "usd", "limit": "1.0000001"},
        {"unit": "usd", "limit": "NaN"},
        {"unit": "usd", "limit": "9999999999"},
        {"limit": -1},
        {"limit": 2**53},
        {"limit": "5"},
        {"limit": 1.5},
        {"window": 0},
        {"window": 32 * 86_400},
        {"each": ["planet"]},
        {"match": {"planet": "x"}},
        {"soft": [{"at": 1.5, "then": "warn"}]},
    ],
)
def test_k_05_amounts_are_whole_and_never_negative(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        budget(**fields)


@pytest.mark.parametrize(
    ("text", "amount"), [("0", 0), ("25.00", 25_000_000), ("0.000001", 1), ("999999999", 999_999_999_000_000)]
)
def test_money_is_exact(text: str, amount: int) -> None:
    assert budget(unit="usd", limit=text).amount == amount


def test_k_11_what_several_calls_take_adds_up_but_for_the_bytes_of_the_one_request() -> None:
    """K-11: a limit of one operation takes its own calls alone; whatever covers all takes them all."""
    other = replace(CALL, operation="github:issues.list", action="read")
    limits = [
        budget(name="all"),
        budget(name="one", match={"operation": "github:issues.create"}),
        budget(name="mails", unit="mails"),
        budget(name="bytes", unit="bytes"),
        budget(name="written", unit="bytes", match={"action": "write"}),
    ]
    plans = [
        planned(limits, [rate()], subject, {"mails": mails, "bytes": size}, now_ms=NOW_MS, calls=calls)
        for subject, mails, size, calls in ((CALL, 2, 70, 1), (other, 0, 90, 1), (CALL, 5, 70, 3))
    ]
    whole = together(plans)
    assert {charge.budget: charge.amount for charge in whole.charges} == {
        "all": 5, "one": 4, "mails": 7, "bytes": 90, "written": 90,
    }  # fmt: skip
    assert [toll.calls for toll in whole.tolls] == [5]
    assert all(isinstance(charge, Charge) and charge.limit == 10 for charge in whole.charges)
    assert together(plans[:1]) == plans[0]
