"""A sidecar for the length of one command: CA in memory, own port, one agent with a token of its own."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from certs.authority import CertificateAuthority
from certs.bundle import merged_bundle, write_bundle
from proxy.app import Parts, running
from proxy.catalog.sdk_environment import uses_base_url
from proxy.cli.sdk import sdk_variables
from proxy.cli.state import local_passphrase
from proxy.cli.variables import places, proxy_variables
from proxy.cli.zero import AGENT
from proxy.clock import SystemClock
from proxy.identity.registry import StaticRegistry
from proxy.identity.tokens import new_token
from proxy.model import Agent
from proxy.settings import Listener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from proxy.app import Sidecar
    from proxy.catalog.configuration import Configuration
    from proxy.credentials.standin import StandIns


@dataclass(frozen=True, slots=True)
class Ephemeral:
    """A running sidecar and what a child needs to use it.

    Attributes:
        proxy: points clients at the sidecar, and at the bundle; and SDKs at what it answers.
        stand_ins: by the usual variable's name.
        bundle: PEM file that lives as long as the sidecar.
        scrub: text as the agent may see it: every secret that could be read is replaced.
    """

    sidecar: Sidecar
    proxy: dict[str, str]
    stand_ins: dict[str, str]
    bundle: Path
    scrub: Callable[[bytes], bytes]


@contextlib.asynccontextmanager
async def ephemeral(
    configuration: Configuration,
    *,
    home: Path,
    label: str,
    environment: Mapping[str, str],
    hosts: Mapping[str, tuple[str, ...]] | None = None,
    base_urls: bool = True,
) -> AsyncIterator[Ephemeral]:
    """Run a sidecar for one agent; everything but its receipts is gone afterwards.

    `base_urls`: the program can reach a base-URL listener, where a profile's SDKs need one.
    """
    needed = base_urls and any(uses_base_url(configuration.profiles[n]) for n in configuration.settings.providers)
    if needed:
        configuration = _with_base_urls(configuration)
    clock = SystemClock()
    token_id, token, digest = new_token()
    agent = Agent(AGENT, ("*",), token_id)
    authority = CertificateAuthority.ephemeral(patterns=(), clock=clock)
    parts = Parts(
        home=home,
        label=label,
        configuration=configuration,
        agents=lambda: (agent,),
        authenticator=StaticRegistry({digest: agent}, clock),
        authority=authority,
        stand_in_key=secrets.token_bytes(32),
        environment=environment,
        clock=clock,
        passphrase=local_passphrase(),
        hosts=hosts or {},
        asks_consent=False,
    )
    with tempfile.TemporaryDirectory(prefix="briefcased-") as folder:
        bundle = Path(folder) / "ca-bundle.pem"
        async with running(parts) as sidecar:
            write_bundle(bundle, merged_bundle(authority.bundle_pem(), environment=environment))
            url = f"http://agent:{token}@{sidecar.proxy[0]}:{sidecar.proxy[1]}"
            base_url = f"http://{sidecar.endpoints[-1]}" if needed else None
            generation = sidecar.pipeline.generation
            yield Ephemeral(
                sidecar,
                {
                    **proxy_variables(url, bundle),
                    **sdk_variables(generation, AGENT, base_url=base_url, folder=Path(folder)),
                },
                _stand_ins(configuration, generation.stand_ins),
                bundle,
                partial(sidecar.scrubbed, AGENT),
            )


def _with_base_urls(configuration: Configuration) -> Configuration:
    """With a base-URL listener as the last one; who asks there is told by a stand-in."""
    settings = configuration.settings
    more = (*settings.listeners.more, Listener(at="127.0.0.1:0", kind="base_url"))
    listeners = settings.listeners.model_copy(update={"more": more})
    return replace(configuration, settings=settings.model_copy(update={"listeners": listeners}))


def _stand_ins(configuration: Configuration, stand_ins: StandIns) -> dict[str, str]:
    """The stand-in of each variable that there is one for."""
    held = {
        name: stand_ins.lookup(AGENT, account, slot)
        for name, (account, slot) in places(configuration.settings, configuration.profiles).items()
    }
    return {name: value for name, value in held.items() if value is not None}
