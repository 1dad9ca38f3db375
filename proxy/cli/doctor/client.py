"""How a client is found and started. Data; the clients are in `clients/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from string import Template
from typing import Final


class Mode(StrEnum):
    """How clients are brought to the sidecar."""

    VARIABLES = "variables"  # the proxy's and the trust bundle's, as `briefcased run` sets them
    BASE_URL = "base_url"  # the base of the API is a path below a listener; no proxy, no TLS
    REDIRECTED = "redirected"  # connections are handed on, as in confined mode; only the trust bundle's variables
    CONFINED = "confined"  # confined for real, as `briefcased run --confine` does it


PROGRAMS: Final = Path(__file__).parent / "programs"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to start a client.

    In `argv` and `variables`, `$url`, `$host`, `$port`, `$folder`, `$bundle`, `$key` (a stand-in), `$proxy_host`,
    `$proxy_port`, `$truststore` (the bundle for Java, password `changeit`) and `$programs` are filled in.

    Attributes:
        needs: what is set or written besides what `briefcased run` sets, for people; empty for nothing.
        proxied: with the proxy's variables; without them, only whether the sidecar's CA is accepted can be seen.
    """

    argv: tuple[str, ...]
    needs: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    proxied: bool = True


@dataclass(frozen=True, slots=True)
class Client:
    """One runtime.

    Attributes:
        command: the program on PATH; without it the client is not installed.
        version: its whole command; the first dotted number that it prints counts. Where it fails, the client counts
            as not installed (a library that is missing).
        files: written to the attempt's folder, by name, filled in like arguments.
        resolves: it asks for the address before it decides on the proxy, and spares loopback (Ruby): so it is not given
            an address for the provider's name, and going around the proxy shows as no connection.
        modes: in which of them it says something.
        patience: how many times the usual time-limit an attempt gets.
        untried: why no real call can be made here; then nothing is started.
    """

    name: str
    command: str
    ways: tuple[Way, ...]
    version: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    resolves: bool = False
    modes: frozenset[Mode] = frozenset(Mode)
    patience: float = 1.0
    untried: str = ""


VARIABLES_ALONE: Final = frozenset({Mode.VARIABLES})
"""For what shows how to use a proxy from code."""
NO_BASE_URL: Final = frozenset({Mode.VARIABLES, Mode.REDIRECTED, Mode.CONFINED})
"""For what takes no URL with a path."""


def filled(text: str, values: Mapping[str, str]) -> str:
    """`text` with its placeholders filled in."""
    return Template(text).substitute(values)
