"""`briefcased policy pending|confirm|sign`: what allows more waits for another operator, or comes signed."""

from __future__ import annotations

import sys
import time
from pathlib import Path  # typer needs it at run time
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
import typer

from proxy.catalog.configuration import load_configuration
from proxy.cli.agents import JsonOption
from proxy.cli.api_client import TokenFileOption, UrlOption, api_client
from proxy.cli.approval_card import safe
from proxy.cli.check import CONFIG, ConfigOption
from proxy.clock import SystemClock
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from proxy.cli.api_client import ApiClient

WAIT_S: Final = 15.0
LOOK_S: Final = 0.1


def pending(url: UrlOption = None, token_file: TokenFileOption = None, as_json: JsonOption = False) -> None:
    """Show the configuration that waits for a confirmation, and by what it allows more."""
    found = _pending(api_client(url, token_file))
    if as_json:
        sys.stdout.write(orjson.dumps(found).decode() + "\n")
        return
    for one in found:
        back = f" (those of {one['restores']})" if one["restores"] is not None else ""
        what = f"version {one['version']}{back}  {one['digest'][:12]}  {one['author']}  {one['reason']}"
        sys.stdout.write(safe(what) + "\n")
        sys.stdout.writelines(f"  {safe(what)}\n" for what in one["wider"])
    if not found:
        sys.stdout.write("nothing waits\n")


def confirm(
    version: Annotated[int, typer.Argument(help="The number of the version that waits.")],
    url: UrlOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Let a configuration that allows more take effect; whoever wrote it cannot."""
    client = api_client(url, token_file)
    before = client.call("GET", "/policies")["generation"]
    client.call("POST", "/policies/confirmations", {"version": version})
    until_s = time.monotonic() + WAIT_S
    while client.call("GET", "/policies")["generation"] == before:
        if time.monotonic() > until_s:
            raise BriefcaseError(f"version {version} is confirmed, and not yet in force: see the sidecar's log")
        time.sleep(LOOK_S)
    sys.stdout.write(f"version {version} is in force\n")


def sign(
    key: Annotated[Path, typer.Option("--key", help="The private key, PEM or JWK: Ed25519 or P-256.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where to, unless `policies.signature` says.")] = None,
    config: ConfigOption = CONFIG,
) -> None:
    """Sign what decides of a configuration, policies, profiles and settings, so that it needs no confirmation."""
    from proxy.approval.signing import with_key_file
    from proxy.catalog.bundle import Signature, frame_of, statement
    from proxy.keys.public import base64url
    from proxy.policy_versions import digest_of

    configuration = load_configuration(config)
    settings = configuration.settings
    path = out or settings.policies.signature
    if path is None:
        raise BriefcaseError(f"say --out, or name a file as policies.signature of {config}")
    public, signs = with_key_file(key)
    own, rollout = configuration.deciding()
    frame = frame_of(settings, configuration.profiles, rollout)
    serial = SystemClock().wall_ms()
    text = statement(digest_of(own.sources, frame), serial)
    made = Signature(key=public.thumbprint, serial=serial, signature=base64url(signs(text)))
    try:
        path.write_text(made.model_dump_json() + "\n")
    except OSError as error:
        raise BriefcaseError(f"{path}: {error.strerror}") from None
    sys.stdout.write(f"{path}: signed by {public.thumbprint}\n")


def _pending(client: ApiClient) -> list[Any]:
    found: list[Any] = client.call("GET", "/policies/pending")["pending"]
    return found
