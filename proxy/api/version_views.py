"""Versions of the policies as the control API answers them; the command line prints the same. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.version_models import DecisionChange, DifferenceView, RollbackView, StageView, VersionView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.model import Agent
    from proxy.policy import Rollout
    from proxy.policy_comparison import Comparison
    from proxy.policy_versions import Version


def version_view(version: Version, in_force: Version | None, waiting: Version | None) -> VersionView:
    """A version beside the one that is in force and the one that waits."""
    return VersionView(
        version=version.number,
        digest=version.digest,
        restores=version.restores,
        author=version.author,
        reason=version.reason,
        at_ms=version.at_ms,
        receipt=version.receipt,
        files=[name for name, _ in version.sources],
        in_force=in_force is not None and version.number == in_force.number,
        waits=waiting is not None and version.number == waiting.number,
        confirmed_by=version.confirmed_by,
    )


def difference_view(comparison: Comparison) -> DifferenceView:
    """One set against another."""
    difference, lines = comparison.difference, comparison.lines
    return DifferenceView(
        same=comparison.same,
        added=list(difference.edits.added),
        removed=list(difference.edits.removed),
        changed=list(difference.edits.changed),
        compared=difference.compared,
        text=None if lines is None else list(lines),
        decisions=[
            DecisionChange(
                agent=one.agent,
                operation=one.operation,
                account=one.account,
                was=one.was.value,
                now=one.now.value,
                widened=one.widened,
            )
            for one in difference.cells
        ],
        around=list(difference.around),
    )


def rolled_back(version: Version, restores: int) -> RollbackView:
    """What became of the wish to have version `restores` back."""
    return RollbackView(
        version=version.number,
        restores=restores,
        state="waiting" if version.is_waiting else "in_force",
        wider=list(version.waits) if version.is_waiting else [],
    )


def stage_view(candidate: Rollout, agents: Sequence[Agent], *, whole: bool) -> StageView:
    """Not `whole`: of names only those of `agents` and of their groups."""
    names, groups, percent = candidate.stage
    if not whole:
        names &= {agent.name for agent in agents}
        groups &= {group for agent in agents for group in agent.groups}
    return StageView(agents=sorted(names), groups=sorted(groups), percent=percent)
