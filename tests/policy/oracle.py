"""Which set of policies decides for whom now, and which must wait: the rules of docs/policy.md once more, by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tests.policy.family import Request, asks_time, everything, judged, narrower, strictness

if TYPE_CHECKING:
    from tests.policy.family import Chosen

AGENTS = {"ci": frozenset({"crew"}), "early": frozenset(), "late": frozenset()}
JUMP_S = 2


@dataclass(frozen=True)
class Stage:
    """A candidate, and for whom it decides."""

    chosen: Chosen
    agents: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    everybody: bool = False

    @property
    def decides(self) -> bool:
        return bool(self.agents or self.groups or self.everybody)

    def is_for(self, agent: str) -> bool:
        return self.everybody or agent in self.agents or bool(AGENTS[agent] & self.groups)

    @property
    def whom(self) -> tuple[frozenset[str], frozenset[str], bool]:
        return self.agents, self.groups, self.everybody


@dataclass(frozen=True)
class Said:
    """What files say, or what is in force: the set, what is on its way, and how."""

    chosen: Chosen
    stage: Stage | None = None
    observe: bool = False
    confirm: bool = False

    @property
    def deciding(self) -> Said:
        """Without a candidate that is only asked."""
        return self if self.stage is None or self.stage.decides else replace(self, stage=None)

    def set_for(self, agent: str) -> Chosen:
        return self.stage.chosen if self.stage is not None and self.stage.is_for(agent) else self.chosen

    def beside(self, agent: str) -> Chosen | None:
        return None if self.stage is None or self.stage.is_for(agent) else self.stage.chosen


@dataclass
class Kept:
    """A version. `files`: what the files said when it was wanted; `said`: what it puts in force."""

    number: int
    files: Said
    said: Said
    author: str
    restores: int | None = None
    waited: bool = False
    confirmed: bool = False
    was_in_force: bool = False

    @property
    def waits(self) -> bool:
        return self.waited and not self.confirmed and not self.was_in_force


@dataclass
class Oracle:
    """What must be true now. `off_s`: how far the wall clock is from where it was when it was right."""

    kept: list[Kept] = field(default_factory=list)
    now: Said | None = None
    off_s: float = 0
    locked: set[str] = field(default_factory=set)
    pending: int = 0

    def wanted(self, files: Said, author: str) -> tuple[Kept, bool]:
        """The version that is to be in force with these files, and whether it is new: not kept before."""
        newest = self.kept[-1] if self.kept else None
        if newest is not None and newest.files == files.deciding:
            return newest, False
        return Kept(len(self.kept) + 1, files.deciding, files.deciding, author), True

    def put(self, files: Said, before: Said | None, author: str, *, recorded: bool) -> str:
        """A start or a reload: `in force`, `waits`, or `unrecorded`, where receipts cannot be written."""
        one, new = self.wanted(files, author)
        now = one.said if one.restores is not None else replace(one.said, stage=files.stage)
        if one.was_in_force:
            self.now = now
            return "in force"
        if new:
            self.kept.append(one)
        if before is not None and before.confirm and not one.confirmed and wider(before, now):
            if not one.waited and not recorded:
                return "unrecorded"
            self.pending += not one.waited
            one.waited = True
            return "waits"
        if not recorded:
            return "unrecorded"
        if before is not None and before.confirm and not one.confirmed:
            self.is_no_wider(before, now)
        one.was_in_force, self.now = True, now
        return "in force"

    def looks(self) -> None:
        """Somebody looks at the clock: what is less than a jump is right from now on."""
        if abs(self.off_s) < JUMP_S:
            self.off_s = 0

    def last(self) -> Kept | None:
        return next((one for one in reversed(self.kept) if one.was_in_force), None)

    def is_no_wider(self, before: Said, now: Said) -> None:
        """P12 of sets: what nobody confirmed asks for no less, whoever asks for what, at whatever hour."""
        for request in everything(AGENTS.items()):
            was, then = (judged(one.set_for(request.agent), request)[0] for one in (before, now))
            assert before.observe or strictness(then) >= strictness(was), (request, was, then)

    def answer(self, request: Request) -> tuple[str, frozenset[str], str | None, str | None]:
        """What a call gets, whose saying that is, what it would have got, and what the candidate would have said."""
        assert self.now is not None
        if request.agent in self.locked:
            return "locked_down", frozenset(), None, None
        chosen, beside = self.now.set_for(request.agent), self.now.beside(request.agent)
        word, decided = judged(chosen, request)
        other = None if beside is None else judged(beside, request)[0]
        said = None if other == word else other
        if abs(self.off_s) >= JUMP_S and asks_time(chosen, request):
            word = "policy_unavailable"
            decided = decided if self.now.observe else frozenset()
        if not self.now.observe:
            return word, decided, None, said
        would = {"allow": None, "approval": "approval_required", "strong": "approval_required"}.get(word, word)
        return "allow", decided, would, said


def wider(before: Said, now: Said) -> bool:
    """Whether somebody else must confirm it first."""
    if (now.observe and not before.observe) or (before.confirm and not now.confirm):
        return True
    if not narrower(before.chosen, now.chosen):
        return True
    old, new = (one.stage if one.stage is not None and one.stage.decides else None for one in (before, now))
    if old is not None and new is not None and old.whom == new.whom:
        return not narrower(old.chosen, new.chosen)
    was = [before.chosen, *([] if old is None else [old.chosen])]
    then = [now.chosen, *([] if new is None else [new.chosen])]
    return not all(narrower(one, other) for one in was for other in then)
