"""P9: an approval binds one exact request; J-02: 10,000 mutations of it, none accepted; J-16: what neighbours share."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from proxy.approval.fingerprint import VOLATILE, family, fingerprint
from proxy.model import Agent, Authority, Reason, Strength, User
from tests.approval.hands import KEY
from tests.approval.requests import AGENT, BODY, HEAD, asked

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.approval.fingerprint import Asked

MUTATIONS = 10_000
SEED = 20261126


def head(**changed: Any) -> Callable[[Asked], Asked]:  # any field
    return lambda one: replace(one, head=replace(one.head, **changed))


def agent(**changed: Any) -> Callable[[Asked], Asked]:  # any field
    return lambda one: replace(one, agent=replace(one.agent, **changed))


FIELDS: dict[str, Callable[[Asked], Asked]] = {
    "agent": agent(name="coder2"),
    "life of the agent": agent(life=1),
    "tenant": agent(tenant="other"),
    "user": agent(user=User("bob", ("*",), "acme")),
    "no user": agent(user=None),
    "task": agent(task="tsk_2"),
    "no task": agent(task=None),
    "account": lambda one: replace(one, account="github/home"),
    "profile": lambda one: replace(one, profile="gitlab"),
    "profile version": lambda one: replace(one, profile_version="p2"),
    "operation": lambda one: replace(one, operation="issues.update"),
    "action": lambda one: replace(one, action="admin"),
    "policy version": lambda one: replace(one, policy_version="c2"),
    "mode": lambda one: replace(one, mode="staging"),
    "cost": lambda one: replace(one, cost_microusd=1001),
    "strength": lambda one: replace(one, strength=Strength.STRONG),
    "reasons": lambda one: replace(
        one, reasons=(*one.reasons, Reason("credential_in_doubt", "In doubt.", "credentials"))
    ),
    "approvers": lambda one: replace(one, needs=2),
    "no body": lambda one: replace(one, body=None),
    "empty body": lambda one: replace(one, body=b""),
    "method": head(method="PUT"),
    "scheme": head(scheme="http"),
    "host": head(authority=Authority("api.github.tes", 443)),
    "port": head(authority=Authority("api.github.test", 8443)),
    "path": head(path="/repos/acme/site/issue"),
    "query": head(query="draft=0&x=%20"),
    "query order": head(query="x=%20&draft=1"),
    "no query": head(query=None),
    "empty query": head(query=""),
    "websocket": head(websocket=True),
    "header order": head(headers=tuple(reversed(HEAD.headers))),
    "header gone": head(headers=HEAD.headers[1:]),
    "header more": head(headers=(*HEAD.headers, ("x-more", "1"))),
    "header name": head(headers=(("accept-language", HEAD.headers[0][1]), *HEAD.headers[1:])),
    "header value": head(headers=((HEAD.headers[0][0], "text/html"), *HEAD.headers[1:])),
    "headers joined": head(headers=(*HEAD.headers[:3], ("x-twice", "a, b"))),
}


@pytest.mark.parametrize("name", FIELDS)
def test_p9_every_field_counts(name: str) -> None:
    assert fingerprint(FIELDS[name](asked()), key=KEY) != fingerprint(asked(), key=KEY)


def test_p9_the_same_request_has_the_same_fingerprint() -> None:
    later = asked(agent=replace(AGENT, token_id="t2"))  # a renewed token is no other agent
    assert fingerprint(later, key=KEY) == fingerprint(asked(), key=KEY)


def test_p9_j_02_no_mutation_of_an_approved_request_is_the_approved_one() -> None:
    chance = random.Random(SEED)
    approved = fingerprint(asked(), key=KEY)
    accepted = 0
    for _ in range(MUTATIONS):
        mutated = asked()
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            mutated = _mutated(mutated, chance)
        if mutated != asked():
            accepted += fingerprint(mutated, key=KEY) == approved
    assert accepted == 0


def _mutated(one: Asked, chance: random.Random) -> Asked:
    kind = chance.choice(("field", "body", "body", "header", "query", "path"))
    if kind == "field":
        return FIELDS[chance.choice(tuple(FIELDS))](one)
    if kind == "body":
        data = bytearray(one.body or b"{}")
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        return replace(one, body=bytes(data))
    if kind == "header":
        index = chance.randrange(len(one.head.headers) or 1)
        headers = list(one.head.headers) or [("a", "b")]
        name, value = headers[index]
        headers[index] = (name, _altered(value, chance)) if chance.random() < 0.5 else (_altered(name, chance), value)
        return head(headers=tuple(headers))(one)
    if kind == "query":
        return head(query=_altered(one.head.query or "a", chance))(one)
    return head(path=_altered(one.head.path, chance))(one)


def _altered(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice("abcdefghij-_.0123456789") + text[at + chance.randrange(2) :]


@pytest.mark.parametrize("name", sorted(VOLATILE))
def test_headers_that_change_with_every_attempt_may_differ(name: str) -> None:
    retried = head(headers=(*HEAD.headers, (name, "1")))(asked())
    assert fingerprint(retried, key=KEY) == fingerprint(asked(), key=KEY)


def test_another_installation_has_other_fingerprints() -> None:
    assert fingerprint(asked(), key=b"x" * 32) != fingerprint(asked(), key=KEY)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda one: replace(one, body=BODY + b" "), True),
        (head(query="other"), True),
        (head(path="/other"), False),
        (head(method="DELETE"), False),
        (agent(name="other"), False),
        (lambda one: replace(one, account="github/home"), False),
    ],
)
def test_j_16_near_identical_requests_are_one_family(change: Callable[[Asked], Asked], same: bool) -> None:
    assert (family(change(asked()), key=KEY) == family(asked(), key=KEY)) is same


def test_values_cannot_move_from_one_field_to_the_next() -> None:
    one = asked(agent=Agent("a", (), "t", tenant="bc"))
    other = asked(agent=Agent("ab", (), "t", tenant="c"))
    assert fingerprint(one, key=KEY) != fingerprint(other, key=KEY)
