"""A small family of policies, each as Cedar text and, beside it, what it means, said once more in Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CALL, FREE, WEAK = "call", "without approval", "without strong approval"
"""The three questions."""
ANYBODY = "principal, action, resource"
WORDS = ("allow", "approval", "strong")


@dataclass(frozen=True)
class Request:
    """What is asked: an agent with its groups, an operation's action, a path, and the hour of the day."""

    agent: str
    groups: frozenset[str]
    action: str
    path: str
    hour: int


@dataclass(frozen=True)
class Unit:
    """One policy.

    Attributes:
        scope, conditions, strength: what its text says, as far as texts are compared.
        questions: those that it has a say in.
        holds: for which requests.
    """

    id: str
    permits: bool
    scope: str
    conditions: frozenset[str]
    questions: frozenset[str]
    holds: Callable[[Request], bool]
    strength: int = 0

    @property
    def text(self) -> str:
        wants = ("", '@approval("approval") ', '@approval("strong") ')[self.strength]
        when = "".join(f" when {{ {one} }}" for one in sorted(self.conditions))
        return f'@id("{self.id}") {wants}{"permit" if self.permits else "forbid"} ({self.scope}){when};\n'


def unit(id_: str, effect: str, scope: str, *conditions: str, says: Callable[[Request], bool], **more: int) -> Unit:
    asked = {CALL, FREE, WEAK} if scope == ANYBODY else {CALL}
    asked = {FREE} if "callWithoutApproval" in scope else {WEAK} if "callWithoutStrong" in scope else asked
    return Unit(id_, effect == "permit", scope, frozenset(conditions), frozenset(asked), says, **more)


READ, WRITE, ADMIN = (f'principal, action == Action::"{one}", resource' for one in ("read", "write", "admin"))
FAMILY = {
    one.id: one
    for one in (
        unit("reads", "permit", READ, says=lambda r: r.action == "read"),
        unit("writes", "permit", WRITE, says=lambda r: r.action == "write"),
        unit(
            "asks", "permit", READ, 'context.path == "/ask"', strength=1,
            says=lambda r: r.action == "read" and r.path == "/ask",
        ),
        unit(
            "signs", "permit", WRITE, 'context.path == "/ask"', strength=2,
            says=lambda r: r.action == "write" and r.path == "/ask",
        ),
        unit(
            "crew", "permit", 'principal in AgentGroup::"crew", action == Action::"admin", resource',
            says=lambda r: r.action == "admin" and "crew" in r.groups,
        ),
        unit("closed", "forbid", ANYBODY, 'context.path == "/closed"', says=lambda r: r.path == "/closed"),
        unit("night", "forbid", WRITE, "context.hour < 6", says=lambda r: r.action == "write" and r.hour < 6),
        unit(
            "free-reads", "permit", 'principal, action == Action::"callWithoutApproval", resource',
            'resource.action == "read"', says=lambda r: r.action == "read",
        ),
        unit("free", "permit", 'principal, action == Action::"callWithoutApproval", resource', says=lambda _: True),
        unit(
            "not-strong", "permit", 'principal, action == Action::"callWithoutStrongApproval", resource',
            says=lambda _: True,
        ),
    )
}  # fmt: skip

type Chosen = frozenset[str]
"""A set of policies, by their ids."""


def text_of(chosen: Chosen) -> str:
    return "".join(FAMILY[one].text for one in sorted(chosen)) or "// nothing\n"


def judged(chosen: Chosen, request: Request) -> tuple[str, frozenset[str]]:
    """`allow`, `approval`, `strong` or `policy_denied`, and the ids of those that say so."""
    yes, decided = _asked(chosen, request, CALL)
    if not yes:
        return "policy_denied", decided
    strength = max(FAMILY[one].strength for one in decided)
    for question, wanted in ((FREE, 1), (WEAK, 2)):
        if strength < wanted:
            yes, more = _asked(chosen, request, question)
            decided |= more
            if yes:
                break
            strength = wanted
    return WORDS[strength], decided


def asks_time(chosen: Chosen, request: Request) -> bool:
    """Whether a policy that is about such calls looks at the clock."""
    return "night" in chosen and request.action == "write"


def _asked(chosen: Chosen, request: Request, question: str) -> tuple[bool, frozenset[str]]:
    """A forbid wins, without a permit the answer is no; and by whose saying."""
    fitting = [FAMILY[one] for one in chosen if question in FAMILY[one].questions and FAMILY[one].holds(request)]
    forbid = frozenset(one.id for one in fitting if not one.permits)
    permit = frozenset(one.id for one in fitting if one.permits)
    return (False, forbid) if forbid or not permit else (True, permit)


def narrower(before: Chosen, after: Chosen) -> bool:
    """By their texts: nothing is permitted that was not, and all that restricts still does."""
    old, new = [FAMILY[one] for one in before], [FAMILY[one] for one in after]
    return all(
        any(o.permits and o.scope == n.scope and o.conditions <= n.conditions and o.strength <= n.strength for o in old)
        for n in new
        if n.permits
    ) and all(
        any(
            n.permits == o.permits and n.scope == o.scope and n.conditions <= o.conditions and n.strength >= o.strength
            for n in new
        )
        for o in old
        if not o.permits or o.strength
    )


def strictness(word: str) -> int:
    return [*WORDS, "policy_denied"].index(word)


def everything(agents: Iterable[tuple[str, frozenset[str]]]) -> list[Request]:
    """Every request that may be asked, by day and by night."""
    return [
        Request(agent, groups, action, path, hour)
        for agent, groups in agents
        for action in ("read", "write", "admin")
        for path in ("/ask", "/closed", "/x")
        for hour in (3, 12)
    ]
