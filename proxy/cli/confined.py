"""`briefcased run --confine`: a further listener for the program's forwarder, and the start of both."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from proxy.catalog.configuration import Configuration
from proxy.cli.child import run_child
from proxy.cli.socket_folder import socket_folder
from proxy.cli.variables import without_proxies
from proxy.cli.zero import AGENT
from proxy.confine.plan import Plan
from proxy.errors import BriefcaseError
from proxy.handover import NEEDED_AT_START
from proxy.settings import Listener, home

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

SOCKET: Final = "confined.sock"
START: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from proxy.confine.__main__ import main; sys.exit(main())"
)
"""A fresh interpreter, as a fork would hold the sidecar's secrets; with our path, as it may not find us by itself."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a confined run needs.

    Attributes:
        configuration: that of the run, with the listener at `socket`.
        files: that hold secrets; the program would otherwise read there what we keep from it.
        socket: where the forwarder reaches the sidecar.
    """

    configuration: Configuration
    files: frozenset[str]
    socket: Path

    async def run(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Run `command` confined to its end; returns what `run_child` does.

        `environment` is clean already; the proxy variables in it are taken out.
        """
        plan = Plan(
            command=list(command),
            environment=without_proxies(environment),
            sidecar=str(self.socket),
            # Links are followed before what they stand in is emptied.
            hidden=[*sorted(self.files), *_of_secrets_only(self.files), str(home()), str(self.socket.parent)],
            parent=os.getpid(),
        )
        with starter(plan) as (starting, kept, descriptor):
            return await run_child(starting, kept, descriptors=(descriptor,))


@contextlib.contextmanager
def starter(plan: Plan) -> Iterator[tuple[list[str], dict[str, str], int]]:
    """What starts the program of `plan`: a command, its environment, and the descriptor that it must inherit."""
    kept = {name: os.environ[name] for name in NEEDED_AT_START if name in os.environ}
    descriptor = plan.offered()
    try:
        yield [sys.executable, "-P", "-c", START, orjson.dumps(sys.path).decode(), str(descriptor)], kept, descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def confinement(configuration: Configuration, files: frozenset[str]) -> Iterator[Confinement]:
    """A socket of its own for one run, from which `files` are hidden.

    Raises:
        BriefcaseError: there are no namespaces.
    """
    if sys.platform != "linux":
        raise BriefcaseError("--confine needs Linux")
    # Below the state directory, which no confined program sees: none finds the socket of another run.
    with socket_folder(home(), SOCKET) as folder:
        socket = folder / SOCKET
        listener = Listener(at=f"unix:{socket}", kind="transparent", agent=AGENT, proxy_protocol=True)
        settings = configuration.settings
        listeners = settings.listeners.model_copy(update={"more": (*settings.listeners.more, listener)})
        changed = settings.model_copy(update={"listeners": listeners})
        yield Confinement(Configuration(changed, configuration.profiles), files, socket)


def _of_secrets_only(files: Collection[str]) -> list[str]:
    """Directories in which nothing but `files` stands: one that is replaced comes into sight, but not within these.

    Names with two dots are Kubernetes' own: what a mounted secret's files are links to.
    """
    found = []
    for folder in sorted({Path(file).parent for file in files}):
        with contextlib.suppress(OSError):
            if all(str(entry) in files or entry.name.startswith("..") for entry in folder.iterdir()):
                found.append(str(folder))
    return found
