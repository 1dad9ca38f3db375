"""`briefcased run -- CMD…`: zero configuration."""

from __future__ import annotations

import asyncio
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import orjson
import typer

from proxy import logs
from proxy.catalog.configuration import Configuration, load_configuration
from proxy.catalog.loader import Shelf
from proxy.cli.child import run_child
from proxy.cli.confined import confinement
from proxy.cli.inherited import inherited, through
from proxy.cli.shells import Shell, ShellOption
from proxy.cli.variables import CA_FILES, files_in, named_in, places, without_secrets
from proxy.cli.words import counted
from proxy.cli.zero import zero_configuration
from proxy.errors import BriefcaseError
from proxy.handover import HandoverError, hand_over
from proxy.settings import Listeners, environment, home

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from proxy.app import Sidecar
    from proxy.cli.confined import Confinement
    from proxy.settings import Settings

LABEL: Final = "run"
MOST_REASONS: Final = 4


def run(
    command: Annotated[list[str] | None, typer.Argument(help="The program and its arguments, after --.")] = None,
    allow: Annotated[
        str | None, typer.Option(help="Only these providers, as in github,openai.", metavar="NAMES")
    ] = None,
    pass_unmatched: Annotated[
        bool, typer.Option("--pass-unmatched", help="Let hosts without a profile through, unread, without credentials.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(help="Use the providers of this configuration.", dir_okay=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    env: Annotated[
        bool, typer.Option("--env", help="Start in the background and print the variables for a shell.")
    ] = False,
    confine: Annotated[
        bool,
        typer.Option("--confine", help="Give it a network in which nothing but the sidecar can be reached (Linux)."),
    ] = False,
    shell: ShellOption = Shell.SH,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run or as the summary: one JSON object.")] = False,
) -> None:
    """Run a program that holds no secret: its calls get their credentials on the way."""
    logs.configure(level="WARNING")
    if not dry_run:
        _hand_over()
    operators = environment()
    configuration, whole = _configuration(config, operators, allow=allow, pass_unmatched=pass_unmatched)
    named = named_in(whole)
    proxy = inherited(operators if config is None else {})
    if config is None:
        configuration, named = through(configuration, proxy.entry), named | proxy.secrets.keys()
    if dry_run:
        _explain(configuration, operators, named, command or [], confine=confine, as_json=as_json)
        return
    operators |= proxy.secrets
    if env:
        if command or confine:
            raise typer.BadParameter("--env takes no command" if command else "--env cannot be confined")
        from proxy.cli.background import leave_running

        leave_running(configuration, operators, named=named, reader=shell)
        return
    if not command:
        raise typer.BadParameter("give a command after --")
    with confinement(configuration, files_in(whole)) if confine else nullcontext() as confined:
        running = _run(configuration, operators, named, command, confined=confined, as_json=as_json)
        raise typer.Exit(asyncio.run(running))


def _hand_over() -> None:
    """Done already where `python -m proxy` was called; a console script arrives here first."""
    try:
        hand_over()
    except HandoverError as error:
        raise BriefcaseError(str(error)) from None


def _configuration(
    path: Path | None, operators: Mapping[str, str], *, allow: str | None, pass_unmatched: bool
) -> tuple[Configuration, Settings]:
    """What is enabled, and the whole file's settings, which also name the secrets of what is not."""
    names = None if allow is None else tuple(name.strip() for name in allow.split(",") if name.strip())
    if path is None:
        profiles = Shelf()
        settings = zero_configuration(profiles, operators, allow=names, pass_unmatched=pass_unmatched)
        return Configuration(settings, profiles), settings
    configuration = load_configuration(path)
    providers = configuration.settings.providers
    if names is not None:
        if unknown := sorted(set(names) - providers.keys()):
            raise BriefcaseError(f"--allow {unknown[0]}: {path} has no such provider")
        providers = {name: providers[name] for name in names}
    changed: dict[str, object] = {
        "providers": providers,
        "listeners": Listeners(proxy="127.0.0.1:0", control="127.0.0.1:0"),
    }
    if pass_unmatched:
        changed["unmatched"] = "pass"
    narrowed = Configuration(configuration.settings.model_copy(update=changed), configuration.profiles)
    return narrowed, configuration.settings


async def _run(
    configuration: Configuration,
    operators: Mapping[str, str],
    named: Collection[str],
    command: list[str],
    *,
    confined: Confinement | None,
    as_json: bool,
) -> int:
    from proxy.cli.ephemeral import ephemeral

    if confined is not None:
        configuration = confined.configuration
    async with ephemeral(
        configuration, home=home(), label=LABEL, environment=operators, base_urls=confined is None
    ) as box:
        clean, _ = without_secrets(operators, configuration.profiles, box.stand_ins, named=named, scrub=box.scrub)
        try:
            if confined is not None:
                return await confined.run(command, {**clean, **box.proxy})
            return await run_child(command, {**clean, **box.proxy})
        finally:
            await box.sidecar.drain()
            _summary(box.sidecar, configuration, as_json=as_json)


def _summary(sidecar: Sidecar, configuration: Configuration, *, as_json: bool) -> None:
    """Three lines on standard error: calls, refused, receipts and where to look."""
    tally = sidecar.pipeline.tally
    refused = {slug: count for slug, count in tally.decisions.items() if slug != "allow"}
    chain = sidecar.receipts.chain
    if as_json:
        summary = {
            "allowed": tally.allowed,
            "refused": refused,
            "redactions": tally.redactions,
            "chain": chain,
            "providers": sorted(configuration.settings.providers),
        }
        sys.stderr.write(orjson.dumps(summary).decode() + "\n")
        return
    common = sorted(refused.items(), key=lambda pair: -pair[1])[:MOST_REASONS]
    reasons = f" ({', '.join(f'{slug} {count}' for slug, count in common)})" if refused else ""
    scrubbed = f", {counted(tally.redactions, 'secret')} scrubbed from answers" if tally.redactions else ""
    sys.stderr.write(
        f"briefcased: {counted(tally.allowed, 'call')} allowed{scrubbed}\n"
        f"briefcased: {tally.refused} refused{reasons}\n"
        f"briefcased: receipts in chain {chain}; see: briefcased receipts list --chain {chain}\n"
    )


def _explain(
    configuration: Configuration,
    operators: Mapping[str, str],
    named: Collection[str],
    command: list[str],
    *,
    confine: bool,
    as_json: bool,
) -> None:
    """What a run would do, without values. No secret store is asked."""
    settings = configuration.settings
    enabled = {name: configuration.profiles[name] for name in settings.providers}
    replaced = {
        name: f"stand-in for {account}"
        for name, (account, _) in places(settings, configuration.profiles).items()
        if operators.get(name)
    }
    clean, taken = without_secrets(operators, configuration.profiles, replaced, named=named)
    removed = [name for name in taken if name not in replaced and name not in clean]
    replaced |= {name: "a secret inside is replaced" for name in taken if name not in replaced and name in clean}
    if as_json:
        plan = {
            "command": command,
            "providers": {n: sorted({rule.host for rule in p.hosts}) for n, p in enabled.items()},
            "replaced": replaced,
            "removed": removed,
            "unmatched": settings.unmatched,
            "upstream_proxy": settings.egress.upstream_proxy and settings.egress.upstream_proxy.url,
            "confined": confine,
        }
        sys.stdout.write(orjson.dumps(plan, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    lines = ["would run: " + (" ".join(command) or "(no command given)")]
    for name, profile in enabled.items():
        hosts = sorted({rule.host for rule in profile.hosts})
        more = f" and {len(hosts) - 2} more" if len(hosts) > 2 else ""  # noqa: PLR2004  # two fit on a line
        lines.append(f"  provider  {name:<14} {', '.join(hosts[:2])}{more}")
    lines += [f"  variable  {name:<28} {what}" for name, what in replaced.items()]
    lines += [f"  variable  {name:<28} taken away" for name in removed]
    if settings.egress.upstream_proxy is not None:
        lines.append(f"  providers are reached through {settings.egress.upstream_proxy.url}")
    proxies = "its network reaches the sidecar only;" if confine else "variables for the proxy and"
    lines.append(f"  {proxies} {len(CA_FILES)} trust bundles are set")
    lines.append(f"  hosts without a profile: {'passed through unread' if settings.unmatched == 'pass' else 'refused'}")
    sys.stdout.write("\n".join(lines) + "\n")
