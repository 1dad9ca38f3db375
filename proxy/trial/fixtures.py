"""Requests with what is expected of them, as people write them. Pure, but for reading the file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from proxy.documents import Strict, read_document
from proxy.errors import KINDS, ConfigError
from proxy.model import TENANT, Agent, User
from proxy.trial.explain import Outcome, Trial, explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from proxy.decision import Generation
    from proxy.documents import Document
    from proxy.trial.explain import Explanation


class RequestFixture(Strict):
    """As the agent would send it."""

    method: str
    url: str
    headers: dict[str, str] = {}
    body: str | None = None


class UserFixture(Strict):
    """On whose behalf an agent acts."""

    name: str
    tenant: str = TENANT
    groups: tuple[str, ...] = Field(default=(), strict=False)

    def user(self) -> User:
        """The user, whose accounts are no matter here."""
        return User(self.name, ("*",), self.tenant, self.groups)


class AgentFixture(Strict):
    """An agent that need not exist."""

    name: str
    accounts: tuple[str, ...] = Field(default=("*",), strict=False)
    tenant: str = TENANT
    groups: tuple[str, ...] = Field(default=(), strict=False)
    user: UserFixture | None = None
    task: str | None = None

    def agent(self) -> Agent:
        """The agent, as if it had authenticated."""
        user = self.user.user() if self.user is not None else None
        return Agent(self.name, self.accounts, "-", self.tenant, self.groups, user, self.task)


class Fixture(Strict):
    """One request and what is expected."""

    name: str
    request: RequestFixture
    agent: str | AgentFixture
    account: str | None = None
    at: datetime | None = Field(default=None, strict=False)
    expect: Literal["allow", "deny", "approval", "strong"]
    policies: tuple[str, ...] | None = Field(
        default=None, strict=False, description="Ids of exactly those that decide; absent: any."
    )
    slug: str | None = None


class Fixtures(Strict):
    """A file of them."""

    version: Literal[1]
    tests: tuple[Fixture, ...] = Field(min_length=1, strict=False)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one. `differences`: (what, expected, found) each; empty where it is as expected."""

    name: str
    line: int
    differences: tuple[tuple[str, str, str], ...]
    explanation: Explanation


def read_fixtures(path: Path, agents: Callable[[str], Agent | None]) -> tuple[Document, list[tuple[Fixture, Agent]]]:
    """The fixtures of a file, each with its agent. Raises `ConfigError` with every mistake."""
    document = read_document(path)
    tests = document.validated(Fixtures).tests
    findings, found = [], []
    for number, test in enumerate(tests):
        agent = test.agent.agent() if isinstance(test.agent, AgentFixture) else agents(test.agent)
        if agent is None:
            message = "there is no agent of this name; describe one: {name: …, accounts: …, groups: …}"
            findings.append(document.finding(("tests", number, "agent"), message))
        else:
            found.append((test, agent))
        if test.slug is not None and test.slug not in KINDS:
            findings.append(document.finding(("tests", number, "slug"), "no refusal has this slug"))
        if test.name in [one.name for one in tests[:number]]:
            findings.append(document.finding(("tests", number, "name"), "another test has this name"))
    if findings:
        raise ConfigError(findings)
    return document, found


def results(
    generation: Generation, document: Document, tests: list[tuple[Fixture, Agent]], *, now_ms: int
) -> Iterator[Result]:
    """What became of each; one without a moment is tried at `now_ms`."""
    for number, (test, agent) in enumerate(tests):
        request = test.request
        trial = Trial(
            method=request.method,
            url=request.url,
            agent=agent,
            now_ms=now_ms if test.at is None else _milliseconds(test.at),
            account=test.account,
            headers=tuple(request.headers.items()),
            body=None if request.body is None else request.body.encode(),
        )
        explanation = explained(generation, trial)
        line = document.finding(("tests", number), "").line
        yield Result(test.name, line, tuple(_differences(test, explanation)), explanation)


def _milliseconds(moment: datetime) -> int:
    return int((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _differences(test: Fixture, found: Explanation) -> Iterator[tuple[str, str, str]]:
    if found.outcome is not Outcome(test.expect):
        yield "outcome", test.expect, found.outcome.value + (f" ({found.slug})" if found.slug else "")
    if test.slug is not None and test.slug != found.slug:
        yield "slug", test.slug, found.slug or "none"
    decided = sorted(policy.id for policy in found.policies)
    if test.policies is not None and sorted(test.policies) != decided:
        yield "policies", " ".join(sorted(test.policies)) or "none", " ".join(decided) or "none"
