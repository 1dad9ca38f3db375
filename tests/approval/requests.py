"""Requests that need an approval."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxy.approval.fingerprint import Asked
from proxy.model import Agent, Authority, Reason, RequestHead, Strength, User

AGENT = Agent("coder", ("*",), "t1", tenant="acme", user=User("alice", ("*",), "acme"), task="tsk_1")
HEAD = RequestHead(
    method="POST",
    scheme="https",
    authority=Authority("api.github.test", 443),
    path="/repos/acme/site/issues",
    segments=("repos", "acme", "site", "issues"),
    query="draft=1&x=%20",
    headers=(
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("x-github-api-version", "2022-11-28"),
        ("x-twice", "a"),
        ("x-twice", "b"),
    ),
    has_body=True,
)
BODY = b'{"title":"Release 1.2","labels":["a","b"],"amount":100}'


def asked(**changed: Any) -> Asked:  # any field
    """An issue that `AGENT` wants to open, unless `changed` says otherwise."""
    first = Asked(
        agent=AGENT,
        account="github/work",
        profile="github",
        profile_version="p1",
        operation="issues.create",
        action="write",
        policy_version="c1",
        mode="ga",
        head=HEAD,
        body=BODY,
        strength=Strength.APPROVAL,
        reasons=(Reason("policy", "Writes need an approval.", "policy"),),
        cost_microusd=1000,
    )
    return replace(first, **changed)
