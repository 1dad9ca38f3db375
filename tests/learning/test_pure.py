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


def slugs(calls: list[Seen], proposal: Proposal) -> list[str | None]:
    policies = Policies.load([("learnt.cedar", proposal.policies)], vocabulary(proposal.profiles.values()))
    agents = {name: Agent(name, ("*",), "-") for name in ("coder", "other")}
    judged = {
        one.call: one.slug
        for one in refused_by(calls, profiles=proposal.profiles, policies=policies, agents=agents, mode=Mode.STAGING)
    }
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


def test_budgets_are_the_most_of_one_day(shop: Profile) -> None:
    calls = [order("blue", n, at_ms=day * DAY_MS) for day, count in ((0, 2), (1, 5)) for n in range(count)]
    budgets = [Budget.model_validate(one) for one in propose(calls, {"shop": shop}).budgets]
    assert [(one.unit, one.limit, one.match.agent) for one in budgets] == [
        ("requests", 5, "coder"),
        ("bytes", 500, "coder"),
    ]


def test_the_profile_that_is_written_loads_again(shop: Profile, tmp_path: Path) -> None:
    narrowed = propose(SEEN, {"shop": shop}).profiles["shop"]
    (tmp_path / "shop.yaml").write_text(profile_text(narrowed))
    assert load_profile(tmp_path / "shop.yaml") == narrowed


@pytest.mark.parametrize("missing", ["profile", "operation", "account", "method", "host", "path"])
def test_refusals_and_what_has_no_operation_teach_nothing(missing: str) -> None:
    decision = {"decision": "allow", "at_ms": 1, "agent": "a", "profile": "p", "operation": "o", "account": "p/a",
                "method": "GET", "scheme": "https", "host": "h", "port": 443, "path": "/"}  # fmt: skip
    assert seen_of(decision, None) is not None
    assert seen_of({**decision, missing: None}, None) is None
    assert seen_of({**decision, "decision": "deny"}, None) is None
    assert seen_of({**decision, "observed": "approval_required"}, None).waited  # type: ignore[union-attr]
