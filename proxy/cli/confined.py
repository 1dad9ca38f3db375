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
    from collections.abc import Iterator, Mapping, Sequence

    from proxy.settings import Settings

FILE_REF: Final = "file:"
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
        socket: where the forwarder reaches the sidecar.
    """

    configuration: Configuration
    socket: Path

    async def run(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Run `command` confined to its end; returns what `run_child` does.

        `environment` is clean already; the proxy variables in it are taken out.
        """
        plan = Plan(
            command=list(command),
            environment=without_proxies(environment),
            sidecar=str(self.socket),
            hidden=[str(home()), str(self.socket.parent), *_secret_files(self.configuration.settings)],
            parent=os.getpid(),
        )
        kept = {name: os.environ[name] for name in NEEDED_AT_START if name in os.environ}
        descriptor = plan.offered()
        try:
            starter = [sys.executable, "-P", "-c", START, orjson.dumps(sys.path).decode(), str(descriptor)]
            return await run_child(starter, kept, descriptors=(descriptor,))
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def confinement(configuration: Configuration) -> Iterator[Confinement]:
    """A socket of its own for one run. Raises `BriefcaseError` where there are no namespaces."""
    if sys.platform != "linux":
        raise BriefcaseError("--confine needs Linux")
    # Below the state directory, which no confined program sees: none finds the socket of another run.
    with socket_folder(home(), SOCKET) as folder:
        socket = folder / SOCKET
        listener = Listener(at=f"unix:{socket}", kind="transparent", agent=AGENT, proxy_protocol=True)
        settings = configuration.settings
        listeners = settings.listeners.model_copy(update={"more": (*settings.listeners.more, listener)})
        changed = settings.model_copy(update={"listeners": listeners})
        yield Confinement(Configuration(changed, configuration.profiles), socket)


def _secret_files(settings: Settings) -> list[str]:
    """What `file:` refs name: the program would otherwise read there what we keep from it."""
    accounts = [account for provider in settings.providers.values() for account in provider.accounts.values()]
    refs = [ref for account in accounts for ref in account.secrets.values()]
    return [
        ref.removeprefix(FILE_REF)
        for ref in (*refs, settings.certificates.issuer_key or "")
        if ref.startswith(FILE_REF)
    ]
