"""`briefcased check`: every mistake at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from proxy.catalog.configuration import load_configuration
from proxy.catalog.modes import mode_warnings
from proxy.catalog.pinning import profiles_digest
from proxy.cli.words import counted
from proxy.errors import ConfigError

CONFIG = Path("briefcased.yaml")
ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")]


def check(
    config: ConfigOption = CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="Findings as a JSON list.")] = False,
) -> None:
    """Check the configuration and every profile; prints each mistake as file:line: path: message."""
    findings = []
    try:
        configuration = load_configuration(config)
    except ConfigError as error:
        if not as_json:
            raise
        findings = error.findings
    if as_json:
        listed = [{"file": f.file, "line": f.line, "path": f.path, "message": f.message} for f in findings]
        sys.stdout.write(orjson.dumps(listed).decode() + "\n")
        raise typer.Exit(2 if findings else 0)
    settings = configuration.settings
    accounts = sum(len(provider.accounts) for provider in settings.providers.values())
    for place, message in mode_warnings(settings, configuration.profiles):
        sys.stdout.write(f"{config}: warning: {'.'.join(map(str, place))}: {message}\n")
    if settings.profiles:
        sys.stdout.write(f"profiles_digest: {profiles_digest(settings.profiles)}\n")
    sys.stdout.write(
        f"{config}: good; mode {settings.mode}, {counted(len(settings.providers), 'provider')},"
        f" {counted(accounts, 'account')},"
        f" {counted(len(configuration.profiles), 'profile')} known\n"
    )
