"""Questions and policy sets that tests are written in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxy.model import Action, Agent, Authority, Mode, RequestHead, User
from proxy.policy import Policies, Question, Vocabulary
from proxy.policy.presets import preset

VOCABULARY = Vocabulary(
    params=frozenset({"owner", "repo"}),
    fields={"amount": "Long", "base": "String"},
    operations={
        "github:repos.get": "read",
        "github:pulls.merge": "write",
        "github:keys.add": "admin",
        "stripe:refunds.create": "write",
    },
)
CODER = Agent("coder", ("*",), "t1", tenant="acme", groups=("builders",))
ALICE = User("alice", ("*",), tenant="acme", groups=("staff",))
HEAD = RequestHead(
    method="GET",
    scheme="https",
    authority=Authority("api.github.test", 443),
    path="/repos/acme/site",
    segments=("repos", "acme", "site"),
    query=None,
    headers=(),
    has_body=False,
)


def question(operation: str = "repos.get", **changed: Any) -> Question:  # any field
    """A read of `CODER` at GitHub, unless `changed` says otherwise."""
    profile = changed.pop("profile", "github")
    action = Action(VOCABULARY.operations[f"{profile}:{operation}"])
    first = Question(
        agent=CODER,
        profile=profile,
        provider=profile,
        operation=operation,
        action=action,
        head=HEAD,
        account=f"{profile}/work",
        mode=Mode.GA,
        now_ms=1_764_115_200_000,  # Wednesday, 26 November 2025, 00:00 UTC
    )
    return replace(first, **changed)


def policies(text: str, *, name: str | None = None) -> Policies:
    """The Cedar `text`, after the preset `name`."""
    before = [preset(name)] if name is not None else []
    return Policies.load([*before, ("own.cedar", text)], VOCABULARY)
