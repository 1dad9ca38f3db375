"""What another set of policies would allow that this one does not, over agents and operations (I-05). Pure.

One sample of each operation is asked: its first method, its first host, its path with every parameter `any`, no body,
no risk, no cost. What depends on other values shows in the policies that were added, changed and removed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.catalog.matcher import Match
from proxy.catalog.template import REST, name_of, parse_template
from proxy.judging import plain_question
from proxy.model import Authority, RequestHead
from proxy.trial.explain import ASKED, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from proxy.catalog.binding import BoundAccount
    from proxy.catalog.schema import HostRule, Operation, Profile
    from proxy.model import Agent, Mode
    from proxy.policy import Policies, Question

SAMPLE: Final = "any"
ORDER: Final = (Outcome.ALLOW, Outcome.APPROVAL, Outcome.STRONG, Outcome.DENY)
"""From the least strict to the most."""

_TOLD: Final = re.compile(r"(\S+) \S+ \(\S+\): \w+ -> \w+")


@dataclass(frozen=True, slots=True)
class Cell:
    """One agent's call of one operation with one account, before and after."""

    agent: str
    operation: str
    account: str
    was: Outcome
    now: Outcome

    @property
    def widened(self) -> bool:
        """Whether less is asked for than before."""
        return ORDER.index(self.now) < ORDER.index(self.was)

    def __str__(self) -> str:
        return f"{self.agent} {self.operation} ({self.account}): {self.was} -> {self.now}"


def agent_of(told: str) -> str | None:
    """Whose call a cell is about that was written down as text; None where it is none."""
    found = _TOLD.fullmatch(told)
    return found[1] if found is not None else None


@dataclass(frozen=True, slots=True)
class Edits:
    """Ids of policies that differ between two sets, each sorted."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


def questions(
    accounts: Mapping[str, tuple[BoundAccount, ...]], agents: Iterable[Agent], *, mode: Mode, now_ms: int
) -> Iterator[Question]:
    """One question for each agent, operation and account that the configuration lets come together."""
    for agent in agents:
        for group in accounts.values():
            for account in group:
                if not agent.may_use(account.id, account.tenant):
                    continue
                for operation in account.profile.operations:
                    rule = next((one for one in account.profile.hosts if operation.applies_to(one)), None)
                    if rule is not None and operation.action in account.account.actions:
                        match, head = _sample(account.profile, operation, rule)
                        yield plain_question(agent, match, str(account.id), head, mode=mode, now_ms=now_ms)


def compared(before: Policies, after: Policies, asked: Iterable[Question]) -> Iterator[Cell]:
    """Each question that the two sets answer differently."""
    for question in asked:
        was, now = _outcome(before, question), _outcome(after, question)
        if was is not now:
            yield Cell(question.agent.name, question.resource, question.account, was, now)


def edits(before: Policies, after: Policies) -> Edits:
    """Which policies differ."""
    old, new = before.policies, after.policies
    changed = (name for name in old.keys() & new.keys() if old[name].text != new[name].text)
    return Edits(tuple(sorted(new.keys() - old)), tuple(sorted(old.keys() - new)), tuple(sorted(changed)))


def _outcome(policies: Policies, question: Question) -> Outcome:
    verdict = policies.judge(question)
    return ASKED[verdict.strength] if verdict.allowed else Outcome.DENY


def _sample(profile: Profile, operation: Operation, rule: HostRule) -> tuple[Match, RequestHead]:
    pieces = parse_template(operation.path)
    params = {name: SAMPLE for piece in pieces if (name := name_of(piece)) is not None}
    segments = tuple(SAMPLE if piece == REST or name_of(piece) is not None else piece for piece in pieces)
    head = RequestHead(
        method=operation.methods[0],
        scheme=rule.scheme,
        authority=Authority(rule.host.replace("*", SAMPLE), rule.port),
        path="/" + "/".join(segments),
        segments=segments,
        query=None,
        headers=(),
        has_body=False,
        websocket=operation.websocket,
    )
    return Match(profile, rule, operation, params), head
