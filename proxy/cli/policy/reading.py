"""`briefcased policy check|show|presets`: the policies of a configuration, and those that come with the sidecar."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from proxy.catalog.configuration import load_configuration
from proxy.cli.agents import JsonOption
from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.words import counted
from proxy.errors import BriefcaseError, ConfigError

if TYPE_CHECKING:
    from proxy.errors import Finding
    from proxy.policy.statement import Policy


def check(config: ConfigOption = CONFIG, as_json: JsonOption = False) -> None:
    """Check the policies of a configuration strictly; prints each mistake as file:line: policy: message."""
    try:
        configuration = load_configuration(config)
    except ConfigError as error:
        if not as_json:
            raise
        findings = [_shown(finding) for finding in error.findings]
        sys.stdout.write(orjson.dumps({"ok": False, "mistakes": findings}).decode() + "\n")
        raise typer.Exit(2) from None
    from proxy.policy.claims import claims

    settings, (policies, stage) = configuration.settings, configuration.deciding()
    doubtful = list(claims(policies.policies.values()))
    preset, files = settings.policies.chosen(settings.mode), len(settings.policies.files)
    if as_json:
        value = {"ok": True, "mistakes": [], "warnings": list(map(_shown, doubtful)),
                 "policies": len(policies.policies), "preset": preset, "files": files,
                 "observe": settings.policies.observe, "version": policies.version,
                 "candidate": stage.candidate.version if stage is not None else None}  # fmt: skip
        sys.stdout.write(orjson.dumps(value).decode() + "\n")
        return
    sys.stdout.writelines(f"{one.file}:{one.line}: warning: {one.path}: {one.message}\n" for one in doubtful)
    sources = " and ".join([*([f"preset {preset}"] if preset else []), *([counted(files, "file")] if files else [])])
    observed = "; they are only observed" if settings.policies.observe else ""
    sys.stdout.write(
        f"{config}: good; {counted(len(policies.policies), 'policy', 'policies')} from {sources}{observed}\n"
        f"version {policies.version}\n"
    )
    if stage is not None:
        sys.stdout.write(f"candidate: {counted(len(stage.candidate.policies), 'policy', 'policies')}\n")
        sys.stdout.write(f"version {stage.candidate.version}\n")


def show(
    config: ConfigOption = CONFIG,
    schema: Annotated[bool, typer.Option("--schema", help="Print the Cedar schema instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the policies of a configuration, each with its id and where it stands."""
    policies, _ = load_configuration(config).deciding()
    if as_json:
        value = {
            "version": policies.version,
            "schema": policies.schema_text,
            "policies": [described(policy) | {"text": policy.text} for policy in policies.policies.values()],
        }
        sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")
    elif schema:
        sys.stdout.write(policies.schema_text)
    else:
        for policy in policies.policies.values():
            sys.stdout.write(f"// {policy.id}  {policy.file}:{policy.line}\n{policy.text}\n\n")


def presets(
    name: Annotated[str | None, typer.Argument(help="Print only this one.")] = None, as_json: JsonOption = False
) -> None:
    """Print the policies that come with the sidecar."""
    from proxy.policy.presets import PRESETS, preset

    if name is not None and name not in PRESETS:
        raise BriefcaseError(f"there is no preset {name}; there are {', '.join(PRESETS)}")
    texts = {one: preset(one)[1] for one in ((name,) if name is not None else PRESETS)}
    if as_json:
        sys.stdout.write(orjson.dumps(texts).decode() + "\n")
        return
    for one, text in texts.items():
        sys.stdout.write(text if name is not None else f"# {one}\n\n{text}\n")


def described(policy: Policy) -> dict[str, object]:
    """A policy for `--json`."""
    effect = "permit" if policy.permits else "forbid"
    annotations = {name: value for name, value in policy.annotations.items() if name != "id"}
    return {"id": policy.id, "file": policy.file, "line": policy.line, "effect": effect, "annotations": annotations}


def _shown(finding: Finding) -> dict[str, str | int]:
    return {"file": finding.file, "line": finding.line, "path": finding.path, "message": finding.message}
