"""What a set of policies, and what stands around it, allows beyond the set before it (I-05). Pure, but takes turns.

Two looks. The matrix says which call of which agent is allowed now and was not. The texts say by which policies,
profiles and settings more may be allowed, also to agents and in circumstances that the matrix has no sample of.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from proxy.catalog import setting_changes
from proxy.catalog.binding import bind
from proxy.catalog.loader import Shelf
from proxy.catalog.schema import Profile
from proxy.policy.looser import looser
from proxy.trial.matrix import compared, edits, questions
from proxy.trial.profile_changes import wider

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from proxy.catalog.configuration import Configuration
    from proxy.catalog.setting_changes import Tree
    from proxy.model import Agent
    from proxy.policy import Policies, Rollout
    from proxy.policy_versions import Frame
    from proxy.trial.matrix import Cell, Edits

MAX_QUESTIONS: Final = 20_000
"""A larger matrix is not compared, and that is told instead."""
POLICY: Final = re.compile(r"policy \S+ may allow more")
"""What is said of a policy in `Difference.wider`."""
_AT_A_TIME: Final = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """A set against the one before it.

    Attributes:
        cells: calls that are decided otherwise.
        compared: false where the matrix was too large.
        looser: ids of policies by which more may be allowed.
        around: what of profiles and settings may let more through, in words.
    """

    edits: Edits
    cells: tuple[Cell, ...]
    compared: bool
    looser: tuple[str, ...] = ()
    around: tuple[str, ...] = ()

    @property
    def widened(self) -> tuple[Cell, ...]:
        """What is allowed now, or with less, and was not before."""
        return tuple(cell for cell in self.cells if cell.widened)

    @property
    def wider(self) -> tuple[str, ...]:
        """Everything by which more is allowed, or may be; empty only where nothing is."""
        policies = (f"policy {id_} may allow more" for id_ in self.looser)
        return (*map(str, self.widened), *policies, *self.around)


async def difference_of(
    before: Policies,
    after: Policies,
    configuration: Configuration,
    agents: Sequence[Agent],
    *,
    now_ms: int,
    frames: tuple[Frame | None, Frame] | None = None,
    rollouts: tuple[Rollout | None, Rollout | None] = (None, None),
) -> Difference:
    """What changes with `after`; others have their turn while it is worked out.

    `frames`: what stood around `before` and stands around `after`; None where nothing is known of the former.
    `rollouts`: what decided, and will decide, in their place for some agents.
    """
    settings, profiles = configuration.settings, configuration.profiles
    around: tuple[str, ...] = ()
    if frames is not None and frames[0] is not None:
        enabled, passed = enabled_in(configuration), settings.unmatched == "pass"
        around = (
            *_around(frames[0], frames[1], enabled),
            *left(frames[0], frames[1].profiles, enabled, passed=passed),
            *_settled(frames[0], frames[1], agents),
            *turned(frames[0].settings, frames[1].settings, after, rollouts[1]),
        )
    accounts = bind(settings, profiles)
    asked = list(questions(accounts, agents, mode=settings.mode, now_ms=now_ms))
    cells: list[Cell] = []
    if len(asked) <= MAX_QUESTIONS:
        for start in range(0, len(asked), _AT_A_TIME):
            cells += compared(before, after, asked[start : start + _AT_A_TIME])
            await asyncio.sleep(0)
    return Difference(
        edits=edits(before, after),
        cells=tuple(cells),
        compared=len(asked) <= MAX_QUESTIONS,
        looser=looser(before.policies.values(), after.policies.values()),
        around=(*around, *_staged(before, after, *rollouts)),
    )


def enabled_in(configuration: Configuration) -> Mapping[str, Profile]:
    """The profiles of the providers that it names."""
    settings, profiles = configuration.settings, configuration.profiles
    return {name: profiles[name] for name in settings.providers if name in profiles}


def _staged(before: Policies, after: Policies, old: Rollout | None, new: Rollout | None) -> Iterator[str]:
    """By which policies more may be allowed to agents for whom a candidate decides, or has decided.

    Whoever changes sides is decided for by another set; who that is, or will be, is not looked at.
    """
    was = [before, *([old.candidate] if old is not None and old.decides else [])]
    now = [after, *([new.candidate] if new is not None and new.decides else [])]
    if old is not None and new is not None and old.stage == new.stage:
        pairs = list(zip(was, now, strict=False))[1:]
    else:
        pairs = [(one, other) for one in was for other in now if (one, other) != (before, after)]
    found = {id_ for one, other in pairs for id_ in looser(one.policies.values(), other.policies.values())}
    yield from (f"policies.candidate: policy {id_} may allow more to some" for id_ in sorted(found))


def _around(before: Frame, after: Frame, enabled: Mapping[str, Profile]) -> Iterator[str]:
    """What beside the texts may let more through."""
    if after.observe and not before.observe:
        yield "policies.observe: policies would only be observed"
    if before.confirm and not after.confirm:
        yield "policies.widening: what widens would only be told"
    if new := set(after.signers) - set(before.signers):
        yield f"policies.signers: {len(new)} new"
    for name in sorted((before.profiles.keys() | after.profiles.keys()) & enabled.keys()):
        if before.profiles.get(name) != after.profiles.get(name):
            try:
                yield from wider(profile_before(before, name), enabled[name])
            except ValidationError:
                yield f"{name}: its earlier form cannot be read any more"


def _settled(before: Frame, after: Frame, agents: Iterable[Agent]) -> Iterator[str]:
    """By which settings more may be let through; `agents` are as the later ones say they are."""
    if before.settings is not None and after.settings is not None:
        yield from setting_changes.wider(before.settings, after.settings)
        for said in setting_changes.unnamed(before.settings, after.settings, agents).values():
            yield from said


def turned(before: Tree | None, after: Tree | None, policies: Policies, rollout: Rollout | None) -> Iterator[str]:
    """Settings that by themselves only restrict, but that policies ask about: these may ask for less by them."""
    if before is None or after is None:
        return
    sets = [policies, *([rollout.candidate] if rollout is not None and rollout.decides else [])]
    if before.get("mode") != after.get("mode") and any(one.speaks_of("mode") for one in sets):
        yield "mode: is another one, which policies ask for"
    if any(one.speaks_of("budget_left_microusd") for one in sets):
        new = sorted(after.get("budgets", {}).keys() - before.get("budgets", {}))
        yield from (f"budgets[{name}] is new, and policies ask what is left" for name in new)


def left(before: Frame, own: Mapping[str, str], enabled: Mapping[str, Profile], *, passed: bool) -> Iterator[str]:
    """Hosts of which a profile has less now, where others take its calls, or (`passed`) nobody and they pass.

    `own`: the operator's own of now, as a frame has them; of others it is the one that comes with the sidecar.
    """
    then = set() if before.settings is None else before.settings.get("providers", {}).keys()
    for name in sorted(before.profiles.keys() | then):
        if name in enabled and before.profiles.get(name) == own.get(name):
            continue
        try:
            old = profile_before(before, name)
        except ValidationError:
            continue  # `_around` says so
        kept = enabled[name].hosts if name in enabled else ()
        for rule in old.hosts if old is not None else ():
            other = (o.host for p in enabled.values() for o in p.hosts if (p.name, o.host) != (name, rule.host))
            if rule not in kept and (passed or not {rule.host, _parent(rule.host)}.isdisjoint(other)):
                yield f"{name}: has less of host {rule.host}, so calls there may be taken for others"


def _parent(host: str) -> str:
    """The pattern that covers it."""
    return f"*.{host.partition('.')[2]}"


def profile_before(before: Frame, name: str) -> Profile | None:
    """The profile as it was: the operator's own, else the one that comes with the sidecar. Raises `ValidationError`."""
    if name in before.profiles:
        return Profile.model_validate_json(before.profiles[name])
    return Shelf().get(name)
