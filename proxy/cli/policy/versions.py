"""`briefcased policy history|diff|rollback`: the sets of policies that were in force, and back to one of them.

By the control API of the sidecar where there is one, else from the state directory.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode

import orjson
import typer

from proxy.catalog.configuration import load_configuration
from proxy.cli.agents import JsonOption, database
from proxy.cli.api_client import ApiError, TokenFileOption, UrlOption
from proxy.cli.approval_card import safe
from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.policy.served import runs, served
from proxy.cli.reload import reloaded
from proxy.cli.words import counted
from proxy.clock import SystemClock
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from proxy.catalog.configuration import Configuration
    from proxy.cli.api_client import ApiClient
    from proxy.policy_versions import Frame, PolicyVersions, Sources, Version

FILES: Final = "files"
PAGE: Final = 200
_PRINTED: Final = ("version", "digest", "restores", "author", "reason", "at_ms", "receipt", "files", "in_force")


def history(url: UrlOption = None, token_file: TokenFileOption = None, as_json: JsonOption = False) -> None:
    """List every set of policies that was put in force, the newest last."""
    client = served(url, token_file)
    versions = _kept() if client is None else list(_listed(client))
    versions.reverse()
    if as_json:
        value = [{name: version[name] for name in _PRINTED} for version in versions]
        sys.stdout.write(orjson.dumps(value).decode() + "\n")
        return
    for version in versions:
        when = datetime.fromtimestamp(version["at_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        mark = "*" if version["in_force"] else " " if version["receipt"] is not None else "?"
        back = f" (those of {version['restores']})" if version["restores"] is not None else ""
        who, why = safe(version["author"]), safe(version["reason"])
        sys.stdout.write(f"{mark} {version['version']:>4}  {when}  {version['digest'][:12]}  {who:<12} {why}{back}\n")


def _listed(client: ApiClient) -> Iterator[dict[str, Any]]:
    """The newest first."""
    asked: dict[str, int] = {"limit": PAGE}
    while found := client.call("GET", f"/policies/versions?{urlencode(asked)}")["versions"]:
        yield from found
        asked["before"] = found[-1]["version"]
        if asked["before"] <= 1:
            return


def _kept() -> list[dict[str, Any]]:
    from proxy.api.version_views import version_view
    from proxy.policy_versions import PolicyVersions

    with database() as engine:
        versions = PolicyVersions(engine, SystemClock())
        every, ends = versions.every(), (versions.newest(in_force=True), versions.waiting())
    return [version_view(one, *ends).model_dump() for one in reversed(every)]


def diff(
    old: Annotated[str | None, typer.Argument(help="A version; the one in force unless said.")] = None,
    new: Annotated[str, typer.Argument(help="A version, or `files` for what the configuration says.")] = FILES,
    config: ConfigOption = CONFIG,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two sets of policies, as text and by what they allow; exit code 1 where they differ.

    With `files` also by what profiles and settings may let more through.
    """
    if old is not None and old.isdecimal() and new.isdecimal() and (client := served(url, token_file)) is not None:
        value = _asked(client, "GET", f"/policies/versions/{int(old)}/difference?to={int(new)}", old, new)
    elif url is not None:
        raise BriefcaseError("files are compared at the machine; name two versions")
    else:
        value = _compared(config, old, new)
    if as_json:
        sys.stdout.write(orjson.dumps(value).decode() + "\n")
    else:
        sys.stdout.writelines("\t".join(map(safe, line.split("\t"))) + "\n" for line in value["text"] or ())
        sys.stdout.writelines(_told(value))
    raise typer.Exit(0 if value["same"] else 1)


def _compared(config: Path, old: str | None, new: str) -> dict[str, Any]:
    from proxy.api.version_views import difference_view
    from proxy.identity.directory import Directory
    from proxy.identity.registry import AgentRegistry
    from proxy.policy_comparison import comparison_of
    from proxy.policy_versions import PolicyVersions

    configuration, clock = load_configuration(config), SystemClock()
    directory = Directory.of(configuration.settings)
    with database() as engine:
        versions = PolicyVersions(engine, clock)
        before, after = _sources(versions, old, configuration), _sources(versions, new, configuration)
        frames = _frames(versions, old, configuration) if new == FILES else None
        agents = AgentRegistry(engine, clock=clock, directory=directory).agents()
    work = comparison_of(before, after, configuration, agents, now_ms=clock.wall_ms(), frames=frames)
    return difference_view(asyncio.run(work)).model_dump()


def rollback(
    version: Annotated[int, typer.Argument(help="The number of the version to bring back.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the version and in the receipt.")],
    config: ConfigOption = CONFIG,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Put an earlier set of policies in force until the files change; the running sidecar takes it at once."""
    client = served(url, token_file)
    number, running = _wanted(client, version, reason) if client is not None else _back(config, version, reason)
    ended = "is in force" if running else "will be in force from the next start of `briefcased up`"
    sys.stdout.write(f"version {number}, the policies of version {version}, {ended}, until the files change\n")


def _wanted(client: ApiClient, version: int, reason: str) -> tuple[int, bool]:
    """The number of the set that is in force now, and that it is. Raises `BriefcaseError`: it is not."""
    from proxy.policy_change import waiting_text

    found = _asked(client, "POST", "/policies/rollback", str(version), body={"version": version, "reason": reason})
    if found["state"] == "waiting":
        raise BriefcaseError(waiting_text(found["version"], [safe(one) for one in found["wider"]]))
    return found["version"], True


def _back(config: Path, version: int, reason: str) -> tuple[int, bool]:
    """Its number, and whether it is in force now: a sidecar that runs here without a socket reads its files again."""
    from proxy.catalog.bundle import frame_of
    from proxy.catalog.pinning import owners
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
            authors=(f"uid:{os.getuid()}", *owners(configuration.file, configuration.settings)),
            reason=reason,
            restores=version,
        )
        try:
            running = runs()
            if running:
                reloaded()
                if (kept := versions.one(number)) is None or kept.receipt is None:
                    raise BriefcaseError(f"the sidecar that runs has other files than {config} names")
        except BriefcaseError:
            if (kept := versions.one(number)) is None or not kept.is_waiting:
                versions.withdraw(number)
            raise
    return number, running


def _asked(client: ApiClient, method: str, path: str, *versions: str, body: object = None) -> Any:
    """What the API answers about `versions`."""
    try:
        return client.call(method, path, body)
    except ApiError as error:
        if error.slug != "not_found":
            raise
        there = {str(one["version"]) for one in _listed(client)}
        raise BriefcaseError(_absent(next((one for one in versions if one not in there), versions[-1]))) from None


def _one(versions: PolicyVersions, number: int) -> Version:
    found = versions.one(number)
    if found is None:
        raise BriefcaseError(_absent(str(number)))
    return found


def _absent(version: str) -> str:
    return f"there is no version {version}; see briefcased policy history"


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


def _told(value: Mapping[str, Any]) -> Iterator[str]:
    if value["text"] is None:
        yield "too many lines to compare the texts\n"
    if not value["compared"]:
        yield "too many agents and operations to compare what is allowed\n"
    for title, widened in (("allowed, or with less", True), ("refused, or with more", False)):
        cells = [one for one in value["decisions"] if one["widened"] is widened]
        if cells:
            yield f"{title}: {counted(len(cells), 'call')}\n"
            yield from (safe("  {agent} {operation} ({account}): {was} -> {now}".format(**one)) + "\n" for one in cells)
    if value["around"]:
        yield "more may be let through\n"
        yield from (f"  {safe(one)}\n" for one in value["around"])
