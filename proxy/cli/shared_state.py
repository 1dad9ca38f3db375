"""What commands about agents and locks work with: the configuration, and the databases of the sidecar."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.catalog.configuration import load_configuration
from proxy.cli.state import local_passphrase
from proxy.clock import SystemClock
from proxy.errors import BriefcaseError
from proxy.settings import Settings, environment, home

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import Engine

    from proxy.clock import Clock
    from proxy.db.sealing import Seal
    from proxy.model import Agent


@dataclass(frozen=True)
class SharedState:
    """Open while a command runs.

    Attributes:
        own: of this sidecar: its agents.
        shared: what sidecars share; the same where they share nothing.
        seal: what seals it.
    """

    settings: Settings
    own: Engine
    shared: Engine
    seal: Seal
    clock: Clock

    def agents(self) -> dict[str, Agent]:
        """Every agent that is not revoked, by name."""
        from proxy.identity.directory import Directory
        from proxy.identity.registry import AgentRegistry

        registry = AgentRegistry(self.own, clock=self.clock, directory=Directory.of(self.settings))
        return {agent.name: agent for agent in registry.agents()}

    def agent(self, name: str) -> Agent:
        """The agent of this name. Raises `BriefcaseError` where there is none."""
        found = self.agents().get(name)
        if found is None:
            raise BriefcaseError(f"there is no agent named {name} that is not revoked")
        return found


@contextlib.asynccontextmanager
async def shared_state(config: Path) -> AsyncIterator[SharedState]:
    """Everything, as the sidecar of this configuration has it; where there is no file, as one without settings.

    Raises:
        BriefcaseError: the configuration or a database cannot be read.
    """
    from proxy.db.engine import DATABASE, open_database
    from proxy.services import seal_of, secret_stores, shared_database

    settings, clock, state = _settings(config), SystemClock(), home()
    stores = secret_stores(settings, home=state, environment=environment(), clock=clock, passphrase=local_passphrase())
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(stores.close)
        own = open_database(state / DATABASE)
        stack.callback(own.dispose)
        shared = await shared_database(settings.state, own, stores)
        stack.callback(shared.dispose)
        yield SharedState(settings, own, shared, await seal_of(settings.state, home=state, stores=stores), clock)


def _settings(config: Path) -> Settings:
    return load_configuration(config).settings if config.exists() else Settings(version=1)
