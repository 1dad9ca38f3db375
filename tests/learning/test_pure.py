"""Everything seen is allowed by what is proposed, and neighbours are not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from proxy.budget_settings import Budget
from proxy.catalog.loader import load_profile
from proxy.catalog.policies import vocabulary
from proxy.cli.learn import profile_text
from proxy.learning import Seen, propose, refused_by, seen_of
from proxy.model import Agent, Authority, Mode
from proxy.policy import Policies

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.catalog.schema import Profile
    from proxy.learning import Proposal

DAY_MS = 86_400_000
PROFILE = """\
schema: 1
name: shop
title: Shop
docs: https://shop.test/
checked: "2026-11-24"
hosts: [{host: api.shop.test}, {host: eu.shop.test}]
secrets: {key: {env: [SHOP_KEY]}}
credentials: {bearer: {kind: header, header: Authorization, prefix: "Bearer ", secret: key}}
operations:
  - {id: files, methods: [GET, PUT], path: "/files/**", action: write}
  - {id: purge, methods: [PUT], path: /files/purge, action: admin}
  - {id: order, methods: [GET], path: "/shops/{shop}/orders/{order}", action: read}
  - {id: pay, methods: [POST], path: /pay, action: write}
"""
CALL = Seen(0, "coder", "shop", "order", "shop/main", "GET", "https", Authority("api.shop.test", 443), "/", False, 100)


@pytest.fixture
def shop(tmp_path: Path) -> Profile:
    file = tmp_path / "shop.yaml"
    file.write_text(PROFILE)
    return load_profile(file)


def order(shop: str, number: int, **more: object) -> Seen:
    return replace(CALL, path=f"/shops/{shop}/orders/{number}", **more)  # type: ignore[arg-type]


def file(path: str, method: str = "GET", **more: object) -> Seen:
    return replace(CALL, operation="files", method=method, path=path, **more)  # type: ignore[arg-type]


PAID = replace(CALL, operation="pay", method="POST", path="/pay", waited=True)
SEEN = (*(order("blue", number) for number in range(20)), file("/files/a"), file("/files/b", "PUT"), PAID)


def budgets_of(proposal: Proposal) -> list[Budget]:
    return [Budget.model_validate(one) for one in proposal.budgets]


def slugs(calls: list[Seen], proposal: Proposal) -> list[str | None]:
    policies = Policies.load([("learnt.cedar", proposal.policies)], vocabulary(proposal.profiles.values()))
    agents = {name: Agent(name, ("*",), "-") for name in ("coder", "other")}
    refused = refused_by(
        calls, profiles=proposal.profiles, policies=policies, budgets=budgets_of(proposal), agents=agents,
        mode=Mode.STAGING,
    )  # fmt: skip
    judged = {one.call: one.slug for one in refused}
    return [judged.get(call) for call in calls]


def test_everything_seen_is_allowed(shop: Profile) -> None:
    assert slugs(list(SEEN), propose(SEEN, {"shop": shop})) == [None] * len(SEEN)


@pytest.mark.parametrize(
    ("neighbour", "slug"),
    [
        (order("blue", 99), None),  # the number varied: any
        (order("red", 1), "policy_denied"),  # the shop did not
        (order("blue", 1, agent="other"), "policy_denied"),
        (order("blue", 1, account="shop/second"), "policy_denied"),
        (order("blue", 1, authority=Authority("eu.shop.test", 443)), "policy_denied"),
        (order("blue", 1, authority=Authority("no.shop.test", 443)), "operation_not_allowed"),
        (file("/files/a/b"), "policy_denied"),
        (file("/files/c"), "policy_denied"),
        (replace(file("/files/purge", "PUT"), operation="purge"), "policy_denied"),
        (replace(CALL, path="/shops/blue"), "operation_not_allowed"),
        (replace(PAID, waited=False), "approval_required"),
    ],
)
def test_neighbours_are_not(shop: Profile, neighbour: Seen, slug: str | None) -> None:
    assert slugs([neighbour], propose(SEEN, {"shop": shop})) == [slug]


def test_an_unused_operation_goes_but_for_one_whose_calls_another_would_take(shop: Profile) -> None:
    kept = propose([order("blue", 1)], {"shop": shop}).profiles["shop"]
    assert [one.id for one in kept.operations] == ["order"]
    kept = propose([file("/files/a", "PUT")], {"shop": shop}).profiles["shop"]
    assert [one.id for one in kept.operations] == ["files", "purge"]


def test_many_paths_become_what_they_begin_with(shop: Profile) -> None:
    many = [file(f"/files/{part}/{number}") for part in ("in", "out") for number in range(10)]
    proposal = propose(many, {"shop": shop})
    assert slugs(many, proposal) == [None] * 20
    assert slugs([file("/files/in/99"), file("/files/inner/1"), file("/files/x")], proposal) == [
        None,
        "policy_denied",
        "policy_denied",
    ]


@pytest.mark.parametrize("path", ["/files/a*b", "/files/a%22b", "/files/{key}/x", "/files/it's"])
def test_i10_a_path_is_never_code(shop: Profile, path: str) -> None:
    proposal = propose([file(path)], {"shop": shop})
    assert slugs([file(path)], proposal) == [None]
    assert slugs([file("/files/other")], proposal) == ["policy_denied"]


def test_what_is_masked_may_be_anything_and_nothing_else(shop: Profile) -> None:
    proposal = propose([file("/files/{key}/x")], {"shop": shop})
    assert slugs([file("/files/sk-1/x"), file("/files/sk-1/y")], proposal) == [None, "policy_denied"]


def test_i10_a_star_in_a_path_stands_for_itself(shop: Profile) -> None:
    proposal = propose([file("/files/{key}/a*b")], {"shop": shop})
    assert slugs([file("/files/sk-1/a*b"), file("/files/sk-1/axb")], proposal) == [None, "policy_denied"]


def test_the_same_calls_in_any_order_give_the_same_text(shop: Profile) -> None:
    assert propose(SEEN, {"shop": shop}) == propose(SEEN[::-1], {"shop": shop})


def paid(at_s: float, *, lasts_s: float = 1, reserved: int = 500, used: int = 100, **more: object) -> Seen:
    amounts = {"reserved": {"usd": reserved, "bytes": 1000}, "used": {"usd": used}}
    at_ms = int(at_s * 1000)
    return order("blue", 1, at_ms=at_ms, ended_at_ms=at_ms + int(lasts_s * 1000), **amounts, **more)


@pytest.mark.parametrize(
    ("calls", "window", "wanted"),
    [
        ([paid(n) for n in range(3)], "day", (3, 1200, "0.000700")),  # 100 + 100 used, 500 reserved
        ([paid(n, lasts_s=60) for n in range(3)], "day", (3, 3000, "0.001500")),  # at a time
        ([paid(0, lasts_s=90_000), paid(86_400)], "day", (1, 1000, "0.000500")),
        ([paid(n * 60) for n in range(123)], "day", (130, 14_000, "0.013000")),
        ([paid(n * 60) for n in range(123)], "hour", (60, 6900, "0.006400")),
        ([paid(0, calls=7)], "day", (7, 1000, "0.000500")),
        ([paid(0), paid(0, repeated=True, calls=3)], "day", (4, 1000, "0.000500")),
        ([replace(paid(0), reserved={}, used={})], "day", (1, 34_000_000)),  # nothing is known: bodies of any length
    ],
)
def test_budgets_are_the_most_that_one_window_took(
    shop: Profile, calls: list[Seen], window: str, wanted: object
) -> None:
    proposal = propose(calls, {"shop": shop}, window=window)
    found = budgets_of(proposal)
    assert tuple(one.limit for one in found) == wanted
    assert [(one.unit, one.match.agent) for one in found] == [
        (unit, "coder") for unit in ("requests", "bytes", "usd")[: len(found)]
    ]
    assert slugs(calls, proposal) == [None] * len(calls)


def test_what_the_budgets_would_have_refused_is_shown(shop: Profile) -> None:
    calls = [paid(n, lasts_s=0.1) for n in range(5)]
    proposal = propose(calls[:2], {"shop": shop})
    busy = [*calls, replace(calls[0], at_ms=DAY_MS, ended_at_ms=DAY_MS)]
    assert slugs(busy, proposal) == [None, None, *["budget_exceeded"] * 3, None]


def test_names_of_budgets_are_good_names_and_their_own(shop: Profile) -> None:
    calls = [paid(0, agent=f"{'a' * 60}{n}") for n in range(3)]
    found = budgets_of(propose(calls, {"shop": shop}))
    assert len({one.name for one in found}) == len(found) == 9
    named = budgets_of(propose([paid(0, used=10**18, reserved=10**18), paid(0, agent="Über.coder")], {"shop": shop}))
    assert {one.name for one in named} == {
        *(f"learnt-coder-{unit}" for unit in ("requests", "bytes", "usd")),
        *(f"learnt-2-{unit}" for unit in ("requests", "bytes", "usd")),
    }


def test_the_profile_that_is_written_loads_again(shop: Profile, tmp_path: Path) -> None:
    narrowed = propose(SEEN, {"shop": shop}).profiles["shop"]
    (tmp_path / "shop.yaml").write_text(profile_text(narrowed))
    assert load_profile(tmp_path / "shop.yaml") == narrowed


@pytest.mark.parametrize("missing", ["profile", "operation", "account", "method", "host", "path"])
def test_refusals_and_what_has_no_operation_teach_nothing(missing: str) -> None:
    decision = {"decision": "allow", "at_ms": 1, "agent": "a", "profile": "p", "operation": "o", "account": "p/a",
                "method": "GET", "scheme": "https", "host": "h", "port": 443, "path": "/"}  # fmt: skip
    assert seen_of(decision, None)
    assert not seen_of({**decision, missing: None}, None)
    assert not seen_of({**decision, "decision": "deny"}, None)
    assert seen_of({**decision, "observed": "approval_required"}, None)[0].waited
    first, second = seen_of({**decision, "calls": "n=2 o=3"}, {"request_bytes": 5, "response_bytes": 6})
    assert [(one.operation, one.calls, one.use("bytes")) for one in (first, second)] == [("o", 3, 11), ("n", 2, 0)]
