"""`briefcased init`: a commented configuration to start from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxy.catalog.loader import Shelf
from proxy.cli.check import CONFIG
from proxy.cli.variables import SHORTEST_SECRET
from proxy.errors import BriefcaseError
from proxy.settings import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from proxy.catalog.schema import Profile

TEMPLATE = """\
# Credential Briefcase. Check with `briefcased check`, start with `briefcased up`, change with `briefcased reload`.
# Secret values never stand here, only where they rest:
#   env:NAME          a variable of the sidecar's own environment
#   file:/path        a file; a new content is noticed at once
#   exec:["cmd","a"]  what a command prints, kept for secret_stores.exec_ttl_s
#   local:name        the encrypted store: briefcased secrets set name
#   vault: gcpsm: azurekv: awssm: awsssm: op: bw: infisical: keyring: sops: k8s:  see docs/stores.md
version: 1

# reference: everything is possible; staging; ga: every relaxed knob is refused (docs/modes.md).
mode: reference

listeners:
  proxy: 127.0.0.1:8080      # agents: HTTPS_PROXY=http://agent:TOKEN@127.0.0.1:8080
  control: 127.0.0.1:8081    # /healthz /readyz /metrics; never reachable through the proxy

# Which providers may be called, and with which accounts. Every profile there is: {names}
providers:
{providers}
# Who may call, and with which accounts: provider/account, provider/* or *.
# Each agent gets its token by: briefcased agents add coder
agents:
  coder:
    accounts: ["*"]

# Hosts without a profile: refuse, or pass (through, unread, without a credential).
unmatched: refuse

# egress:
#   allow_private:           # private addresses that a named host may resolve to
#     - {{host: gitlab.corp.example, addresses: [10.1.2.0/24]}}
#   ca_bundle: corp-roots.pem

# logs: {{level: info, style: text}}
"""


def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = CONFIG,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Write a commented configuration with the providers whose usual variables are set."""
    if path.exists() and not force:
        raise BriefcaseError(f"{path} exists; --force replaces it")
    profiles = Shelf()
    path.write_text(configuration_text(profiles, environment()))
    sys.stdout.write(f"wrote {path}; next: briefcased check --config {path}\n")


def configuration_text(profiles: Mapping[str, Profile], variables: Mapping[str, str]) -> str:
    """The file's text, with the providers found in `variables`, else an example that is commented out."""
    found = [p for p in profiles.values() if _accounts(p, variables)]
    text = "".join(_provider(profile, _accounts(profile, variables)) for profile in found)
    if not found:
        text = "  {}\n  # github:\n  #   accounts:\n  #     default:\n  #       secrets: {token: env:GITHUB_TOKEN}\n"
    return TEMPLATE.format(names=", ".join(sorted(profiles)), providers=text)


def _accounts(profile: Profile, variables: Mapping[str, str]) -> list[tuple[str, str]]:
    return [
        (slot, next(name for name in described.env if len(variables.get(name, "")) >= SHORTEST_SECRET))
        for slot, described in profile.secrets.items()
        if any(len(variables.get(name, "")) >= SHORTEST_SECRET for name in described.env)
    ]


def _provider(profile: Profile, refs: Iterable[tuple[str, str]]) -> str:
    secrets = "".join(f"          {slot}: env:{name}\n" for slot, name in refs)
    return (
        f"  {profile.name}:  # {profile.title}\n    accounts:\n      default:\n        secrets:\n{secrets}"
        "        actions: [read, write]   # admin must be named\n"
    )
