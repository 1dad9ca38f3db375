"""Variables left over from somewhere else: proxies and bundles that are gone, spellings that disagree."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from proxy.cli.doctor.checks.bypass import bypassed
from proxy.cli.doctor.report import Finding, Level
from proxy.cli.variables import CA_FILES, PROXY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from proxy.cli.doctor.checks.situation import Situation

CHECK: Final = "variables"
WAIT_S: Final = 1.0
DIRECTORIES: Final = ("SSL_CERT_DIR",)
PLAIN: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080, "socks4": 1080, "socks4a": 1080}


def variables(situation: Situation) -> Iterator[Finding]:
    """Every leftover; values are named by their host and port only, because a proxy's URL may hold a password."""
    environment = situation.environment
    found = [*_proxies(environment), *_files(environment), *_spellings(environment), *_bypasses(situation)]
    yield from found
    if not found:
        names = (*PROXY, *CA_FILES)
        held = sum(bool(environment.get(name) or environment.get(name.lower())) for name in names)
        yield Finding(CHECK, Level.OK, f"{held} variables for proxies and trust are set, none of them is stale")


def _proxies(environment: Mapping[str, str]) -> Iterator[Finding]:
    places: dict[tuple[str, int] | None, list[str]] = {}
    for name in (*PROXY, *map(str.lower, PROXY)):
        if value := environment.get(name):
            places.setdefault(proxy_place(value), []).append(name)
    for place, names in places.items():
        told = ", ".join(names)
        if place is None:
            yield Finding(CHECK, Level.WARNING, f"{told}: not the URL of a proxy", f"Unset {told}.")
        elif not _answers(*place):
            text = f"{told}: nothing listens at {place[0]}:{place[1]}"
            yield Finding(CHECK, Level.WARNING, text, f"Unset {told}, or start that proxy.")


def proxy_place(value: str) -> tuple[str, int] | None:
    """Host and port of a proxy's URL; None for what is none. Pure."""
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        port = parts.port or PLAIN.get(parts.scheme.lower())
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None


def _answers(host: str, port: int) -> bool:
    """Whether someone listens; asked only where that sends nothing beyond this machine, else believed."""
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0] if host == "localhost" else host
        if not str(address).startswith("127.") and address != "::1":
            return True
        with socket.create_connection((str(address), port), timeout=WAIT_S):
            return True
    except OSError:
        return False


def _files(environment: Mapping[str, str]) -> Iterator[Finding]:
    for name in (*CA_FILES, *DIRECTORIES):
        value = environment.get(name)
        if value and not (Path(value).is_dir() if name in DIRECTORIES else Path(value).is_file()):
            yield Finding(CHECK, Level.PROBLEM, f"{name} points at {value}, which does not exist", f"Unset {name}.")


def _spellings(environment: Mapping[str, str]) -> Iterator[Finding]:
    for name in (*PROXY, "NO_PROXY"):
        upper, lower = environment.get(name), environment.get(name.lower())
        if upper is not None and lower is not None and upper != lower:
            text = f"{name} and {name.lower()} disagree: some programs heed the one, some the other"
            yield Finding(CHECK, Level.WARNING, text, f"Unset one of them, or make {name} and {name.lower()} equal.")


def _bypasses(situation: Situation) -> Iterator[Finding]:
    loaded = situation.configuration
    if loaded is None:
        return
    enabled = [loaded.profiles[name] for name in loaded.settings.providers if name in loaded.profiles]
    hosts = sorted({rule.host for profile in enabled for rule in profile.hosts})
    for name in ("NO_PROXY", "no_proxy"):
        around = bypassed(situation.environment.get(name, ""), hosts)
        if around:
            text = f"{name} keeps {', '.join(around[:3])} from the sidecar, so these calls get no credential"
            yield Finding(CHECK, Level.PROBLEM, text, f"Take that entry out of {name}.")
