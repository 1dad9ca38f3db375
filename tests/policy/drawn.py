"""Policies and questions that are drawn by chance, from a seed: the same ones each time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.model import Action, Agent, User
from tests.policy.questions import HEAD, VOCABULARY, question

if TYPE_CHECKING:
    import random

    from proxy.policy import Question

PRINCIPALS = (
    "principal", "principal", "principal is User", 'principal == Agent::"coder"', 'principal in AgentGroup::"builders"',
    'principal in Tenant::"acme"', 'principal is Agent in Tenant::"acme"', 'principal == User::"alice"',
    'principal in UserGroup::"staff"',
)  # fmt: skip
ACTIONS = (
    "action", 'action in Action::"call"', 'action == Action::"read"', 'action == Action::"write"',
    'action in [Action::"admin", Action::"github:repos.get"]', 'action == Action::"github:pulls.merge"',
    'action == Action::"callWithoutApproval"',
    'action in [Action::"callWithoutApproval", Action::"callWithoutStrongApproval"]',
)  # fmt: skip
RESOURCES = (
    "resource", "resource", 'resource == Operation::"github:pulls.merge"', 'resource in Profile::"github"',
    'resource in Provider::"stripe"', 'resource is Operation in Provider::"github"',
)  # fmt: skip
CONDITIONS = (
    "", "", "", 'when { resource.action == "read" }', 'unless { context.path like "/repos/*" }',
    "when { context.hour < 12 && context.weekday != 6 }", 'when { context.params has owner && context.params.owner == "acme" }',
    "when { context has body_bytes && context.body_bytes > 10 }", "unless { context has user }",
    'when { context has user && context.user in UserGroup::"staff" }',
    'when { context.now < datetime("2025-12-01T00:00:00Z") }', "when { context.fields has amount && context.fields.amount >= 500 }",
    'when { principal in Tenant::"acme" && principal.name != "mallory" }',
    'when { ["GET", "HEAD"].contains(context.method) || context.cost_microusd > 100 }',
    "when { context.cost_microusd * 9007199254740991 * 2000 > 0 }",
)  # fmt: skip
"""The last one overflows where a call costs something: an error, which refuses. Its numbers are exact in JavaScript."""


def drawn_text(chance: random.Random) -> str:
    """A set of one to twelve policies."""
    effects = ("permit", "permit", "permit", "forbid")
    return "\n".join(
        f'@id("p{number}") {chance.choice(effects)} ({chance.choice(PRINCIPALS)}, {chance.choice(ACTIONS)},'
        f" {chance.choice(RESOURCES)}) {chance.choice(CONDITIONS)};"
        for number in range(chance.randint(1, 12))
    )


def drawn_question(chance: random.Random) -> Question:
    """One question."""
    resource = chance.choice(sorted(VOCABULARY.operations))
    profile, _, operation = resource.partition(":")
    tenant = chance.choice(("acme", "other"))
    user = User("alice", ("*",), tenant, chance.choice(((), ("staff",)))) if chance.random() < 0.4 else None
    groups = chance.choice(((), ("builders",), ("builders", 'x"y')))  # fmt: skip
    agent = Agent(chance.choice(("coder", "mallory", 'a"b')), ("*",), "t", tenant, groups, user)
    path = chance.choice(("/repos/acme/site", "/other", "/a%22b"))
    return replace(
        question(),
        agent=agent,
        profile=profile,
        provider=profile,
        operation=operation,
        action=Action(VOCABULARY.operations[resource]),
        head=replace(HEAD, method=chance.choice(("GET", "POST")), path=path),
        account=f"{profile}/work",
        now_ms=1_764_115_200_000 + chance.randrange(14) * 43_200_000,
        params=chance.choice(({}, {"owner": "acme"}, {"owner": 'x"y', "repo": "z"})),
        fields=chance.choice(({}, {"amount": 499}, {"amount": 500, "base": "main"})),
        body_bytes=chance.choice((None, 5, 500)),
        cost_microusd=chance.choice((0, 0, 101)),
    )
