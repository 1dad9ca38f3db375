"""`briefcased policy history|diff|rollback`: the sets of policies that were in force, and back to one of them."""

from __future__ import annotations

import asyncio
import difflib
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from proxy.catalog.configuration import load_configuration
from proxy.cli.agents import JsonOption, database
from proxy.cli.approval_card import safe
from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.reload import reloaded
from proxy.cli.state import read_state
from proxy.cli.words import counted
from proxy.clock import SystemClock
from proxy.errors import BriefcaseError
from proxy.settings import home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.catalog.configuration import Configuration
    from proxy.model import Agent
    from proxy.policy_versions import Frame, PolicyVersions, Sources, Version
    from proxy.trial.widening import Difference

FILES = "files"


def history(as_json: JsonOption = False) -> None:
    """List every set of policies that was put in force, the newest last."""
    from proxy.policy_versions import PolicyVersions

    with database() as engine:
        versions = PolicyVersions(engine, SystemClock()).every()
    now = max((version.number for version in versions if version.receipt is not None), default=None)
    if as_json:
        value = [_value(version) | {"in_force": version.number == now} for version in versions]
        sys.stdout.write(orjson.dumps(value).decode() + "\n")
        return
    for version in versions:
        when = datetime.fromtimestamp(version.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        mark = "*" if version.number == now else " " if version.receipt is not None else "?"
        back = f" (those of {version.restores})" if version.restores is not None else ""
        sys.stdout.write(
            f"{mark} {version.number:>4}  {when}  {version.digest[:12]}  {version.author:<12} {version.reason}{back}\n"
        )


def diff(
    old: Annotated[str | None, typer.Argument(help="A version; the one in force unless said.")] = None,
    new: Annotated[str, typer.Argument(help="A version, or `files` for what the configuration says.")] = FILES,
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Compare two sets of policies, as text and by what they allow; exit code 1 where they differ.

    With `files` also by what profiles and settings may let more through.
    """
    from proxy.identity.directory import Directory
    from proxy.identity.registry import AgentRegistry
    from proxy.policy_versions import PolicyVersions

    configuration, clock = load_configuration(config), SystemClock()
    directory = Directory.of(configuration.settings)
    with database() as engine:
        versions = PolicyVersions(engine, clock)
        before, after = _sources(versions, old, configuration), _sources(versions, new, configuration)
        frames = _frames(versions, old, configuration) if new == FILES else None
        agents = AgentRegistry(engine, clock=clock, directory=directory).agents()
    difference = asyncio.run(_difference(configuration, before, after, frames, agents, clock.wall_ms()))
    lines = list(_lines(before, after))
    same = not lines and not difference.around
    if as_json:
        edits = difference.edits
        value = {"same": same, "added": edits.added, "removed": edits.removed, "changed": edits.changed,
                 "compared": difference.compared, "text": lines, "around": difference.around,
                 "decisions": [{"agent": c.agent, "operation": c.operation, "account": c.account, "was": c.was,
                                "now": c.now, "widened": c.widened} for c in difference.cells]}  # fmt: skip
        sys.stdout.write(orjson.dumps(value).decode() + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in lines)
        sys.stdout.writelines(_told(difference))
    raise typer.Exit(0 if same else 1)


def rollback(
    version: Annotated[int, typer.Argument(help="The number of the version to bring back.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the version and in the receipt.")],
    config: ConfigOption = CONFIG,
) -> None:
    """Put an earlier set of policies in force until the files change; the running sidecar takes it at once."""
    from proxy.catalog.bundle import frame_of
    from proxy.cli.up import operating_user
    from proxy.policy import Policies
    from proxy.policy_standing import vocabulary_of
    from proxy.policy_versions import PolicyVersions, digest_of

    configuration = load_configuration(config)
    own, rollout = configuration.deciding()
    frame = frame_of(configuration.settings, configuration.profiles, rollout)
    with database() as engine:
        versions = PolicyVersions(engine, SystemClock())
        earlier = _one(versions, version)
        policies = Policies.load(earlier.sources, vocabulary_of(configuration))
        number = versions.add(
            digest=policies.version,
            sources=earlier.sources,
            files_digest=digest_of(own.sources, frame),
            frame=frame.without_candidate(),
            author=operating_user(),
            authors=(f"uid:{os.getuid()}",),
            reason=reason,
            restores=version,
        )
        try:
            running = _runs()
            if running:
                reloaded()
                if (kept := versions.one(number)) is None or kept.receipt is None:
                    raise BriefcaseError(f"the sidecar that runs has other files than {config} names")
        except BriefcaseError:
            if (kept := versions.one(number)) is None or not kept.is_waiting:
                versions.withdraw(number)
            raise
    ended = "is in force" if running else "will be in force from the next start of `briefcased up`"
    sys.stdout.write(f"version {number}, the policies of version {version}, {ended}, until the files change\n")


def _runs() -> bool:
    try:
        read_state(home())
    except BriefcaseError:
        return False
    return True


def _one(versions: PolicyVersions, number: int) -> Version:
    found = versions.one(number)
    if found is None:
        raise BriefcaseError(f"there is no version {number}; see briefcased policy history")
    return found


def _sources(versions: PolicyVersions, which: str | None, configuration: Configuration) -> Sources:
    if which == FILES:
        return configuration.deciding()[0].sources
    if which is None:
        newest = versions.newest(in_force=True)
        if newest is None:
            raise BriefcaseError("no set of policies was put in force yet; `briefcased up` does")
        return newest.sources
    if not which.isdecimal():
        raise BriefcaseError(f"{which} is neither the number of a version nor `files`")
    return _one(versions, int(which)).sources


def _frames(
    versions: PolicyVersions, which: str | None, configuration: Configuration
) -> tuple[Frame | None, Frame] | None:
    """What stands around the texts of version `which`, and around those of the files; None: it is the files."""
    from proxy.catalog.bundle import frame_of

    if which == FILES:
        return None
    found = versions.newest(in_force=True) if which is None else _one(versions, int(which))
    after = frame_of(configuration.settings, configuration.profiles, configuration.deciding()[1])
    return (found.frame if found is not None else None), after


async def _difference(
    configuration: Configuration,
    before: Sources,
    after: Sources,
    frames: tuple[Frame | None, Frame] | None,
    agents: tuple[Agent, ...],
    now_ms: int,
) -> Difference:
    from proxy.policy import Policies
    from proxy.policy_standing import vocabulary_of
    from proxy.trial.widening import difference_of

    words = vocabulary_of(configuration)
    old, new = Policies.load(before, words), Policies.load(after, words)
    return await difference_of(old, new, configuration, agents, now_ms=now_ms, frames=frames)


def _lines(before: Sources, after: Sources) -> Iterator[str]:
    """The unified difference of each file; a file that one side does not have is empty there."""
    old, new = dict(before), dict(after)
    for name in dict.fromkeys((*old, *new)):
        texts = old.get(name, "").splitlines(), new.get(name, "").splitlines()
        yield from difflib.unified_diff(*texts, name, name, lineterm="")


def _told(difference: Difference) -> Iterator[str]:
    if not difference.compared:
        yield "too many agents and operations to compare what is allowed\n"
    for title, widened in (("allowed, or with less", True), ("refused, or with more", False)):
        cells = [cell for cell in difference.cells if cell.widened is widened]
        if cells:
            yield f"{title}: {counted(len(cells), 'call')}\n"
            yield from (f"  {cell}\n" for cell in cells)
    if difference.around:
        yield "more may be let through\n"
        yield from (f"  {safe(one)}\n" for one in difference.around)


def _value(version: Version) -> dict[str, object]:
    return {
        "version": version.number,
        "digest": version.digest,
        "restores": version.restores,
        "author": version.author,
        "reason": version.reason,
        "at_ms": version.at_ms,
        "receipt": version.receipt,
        "files": [name for name, _ in version.sources],
    }
