"""K-05: amounts are whole, bounded and never negative, whatever files, requests and answers say. Property tests."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.budget.limits import Subject, planned
from proxy.budget.meters.estimate import Estimate, estimate
from proxy.budget.meters.meter import Meter
from proxy.budget.meters.spec import Usage
from proxy.budget.meters.tap import Tap
from proxy.budget_settings import LARGEST, Budget, Price

USAGE = Usage.model_validate_json(
    orjson.dumps(
        {
            "model": "/model",
            "most": {
                "input_tokens": {"per_body_byte": 1, "cap": 10**12},
                "output_tokens": {"field": ["/max"], "default": 4000, "cap": 10**12, "times": ["/n"], "max_times": 10},
                "mails": {"entries": ["/to"], "cap": 50},
            },
            "read": {"input_tokens": ["/usage/in"], "output_tokens": ["/usage/out"]},
            "includes_cached": True,
        }
    )
)
PRICES = [Price(model="m*", per_million={"input_tokens": 10**15, "output_tokens": 1})]
CALL = Subject("acme", "coder", "a/b", "a", "a", "a:x", "write")
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([-1, -(2**63), 2**53, 2**63, 2**64, 10**400, -0.0, 0.1 + 0.2, 1e308, float("nan"), float("inf"), True, None]),
    st.text(alphabet="0123456789-+.eE", max_size=12),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(NUMBERS, NUMBERS, NUMBERS, st.sampled_from(["m1", "x", 7, None]))
def test_what_is_reserved_is_whole_and_between_nothing_and_the_most(most: Any, n: Any, to: Any, model: Any) -> None:
    body = json.dumps({"model": model, "max": most, "n": n, "to": to}).encode()
    found = estimate(USAGE, PRICES, body, {}, today="2026-11-26").most
    assert found.keys() == {"input_tokens", "output_tokens", "mails", "usd"}
    assert all(type(amount) is int and amount >= 0 for amount in found.values())
    assert found["output_tokens"] <= 10 * 10**12
    assert found["mails"] <= 50
    exact = -(-(found["input_tokens"] * 10**15 + found["output_tokens"]) // 10**6)
    assert found["usd"] == exact  # no rounding but up


@settings(max_examples=30, deadline=None)
@given(NUMBERS, NUMBERS, st.integers(0, 10**6), st.booleans())
def test_what_is_charged_is_never_more_than_was_reserved_nor_less_than_nothing(
    given_in: Any, given_out: Any, reserved: int, whole: bool
) -> None:
    tap = Tap(USAGE)
    tap.head((("content-type", "application/json"),))
    kept = {"input_tokens": reserved, "output_tokens": reserved, "usd": reserved, "requests": 1, "bytes": reserved}
    meter = Meter("1", kept, Estimate(kept, PRICES[0], "m*"), USAGE, tap, status=200)
    text = json.dumps({"usage": {"in": given_in, "out": given_out}}).encode()
    meter.came(len(text), text, request_bytes=0)
    used = meter.used(0, len(text), whole_answer=whole)
    assert all(type(amount) is int and 0 <= amount <= kept[unit] for unit, amount in used.items())
    for unit, value in (("input_tokens", given_in), ("output_tokens", given_out)):
        if unit in used:  # it was believed: then it was a whole number that is not huge
            assert type(value) is int
            assert 0 <= value <= LARGEST
            assert used[unit] == min(value, reserved)


@settings(max_examples=30, deadline=None)
@given(NUMBERS, st.sampled_from(["usd", "requests"]))
def test_a_limit_is_a_whole_amount_or_no_limit(limit: Any, unit: str) -> None:
    try:
        budget = Budget(name="b", unit=unit, limit=limit)
    except ValidationError:
        return
    assert type(budget.amount) is int
    assert 0 <= budget.amount <= LARGEST
    try:
        assert budget.amount == Decimal(str(limit)) * (1_000_000 if unit == "usd" else 1)
    except InvalidOperation:
        raise AssertionError(limit) from None
    (charge,) = planned([budget], [], CALL, {"usd": 5}, now_ms=0).charges
    assert type(charge.amount) is int
