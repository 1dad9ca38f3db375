"""`briefcased ca`: the interception CA that agents are told to trust."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path  # typer reads it
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from certs.authority import CertificateAuthority
from certs.bundle import merged_bundle, write_bundle
from certs.storage import ca_directory, ca_passphrase
from proxy.clock import SystemClock
from proxy.settings import environment, home

if TYPE_CHECKING:
    from certs.roots import RootFacts

app = typer.Typer(help="The interception CA: show, hand out and rotate its roots.", no_args_is_help=True)
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON value.")]
DAY_S = 86_400


def authority() -> CertificateAuthority:
    """The CA below the state directory, made there on first use. Raises `BriefcaseError`."""
    directory = ca_directory(home())
    passphrase = ca_passphrase(directory, environment=environment())
    return CertificateAuthority.load_or_create(directory, patterns=(), passphrase=passphrase, clock=SystemClock())


@app.command("show")
def show(as_json: JsonOption = False) -> None:
    """Show the roots that agents must trust: fingerprint, state and times. Makes the first one if there is none."""
    _write_roots(authority().roots(), as_json=as_json)


@app.command("bundle")
def bundle(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file, as a whole.")] = None,
    merged: Annotated[
        bool, typer.Option("--merged", help="With the public roots and those that the environment points at.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the roots as PEM: what an agent's machine or image must trust."""
    ca = authority()
    pem = merged_bundle(ca.bundle_pem(), environment=environment()) if merged else ca.bundle_pem()
    if output is not None:
        write_bundle(output, pem)
    if as_json:
        fingerprints = [root.fingerprint for root in ca.roots()]
        written = None if output is None else str(output)
        _write_json({"fingerprints": fingerprints, "pem": pem.decode(), "written_to": written})
    elif output is None:
        sys.stdout.write(pem.decode())


@app.command("rotate")
def rotate(
    overlap_days: Annotated[
        float,
        typer.Option(min=0, max=365, help="How long both roots are trusted; 0 drops the old one at once."),
    ] = 7.0,
    as_json: JsonOption = False,
) -> None:
    """Make a new root. It signs after half of the overlap; until the end the bundle holds both."""
    ca = authority()
    ca.rotate(overlap_s=round(overlap_days * DAY_S))
    _write_roots(ca.roots(), as_json=as_json)
    sys.stderr.write(
        "Run `briefcased reload` now, so that a running sidecar rewrites its bundle, and hand the bundle to agents.\n"
    )


def _write_roots(roots: tuple[RootFacts, ...], *, as_json: bool) -> None:
    if as_json:
        _write_json([asdict(root) for root in roots])
        return
    for root in roots:
        sys.stdout.write(
            f"{root.subject}  {root.state}\n"
            f"  SHA-256        {root.fingerprint}\n"
            f"  valid          {_day(root.not_before_ms)} to {_day(root.not_after_ms)}\n"
        )
        if root.state == "next":
            sys.stdout.write(f"  signs from     {_minute(root.signs_from_ms)}\n")
        if root.trusted_until_ms is not None:
            sys.stdout.write(f"  trusted until  {_minute(root.trusted_until_ms)}\n")


def _write_json(value: object) -> None:
    sys.stdout.write(orjson.dumps(value).decode() + "\n")


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def _minute(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
