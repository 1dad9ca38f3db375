"""Rigs for the clients: the example provider, and providers with their shipped profiles."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.clients.client import Client
from tests.rig import running_rig
from tests.rig.shipped import shipped_text
from tests.rig.sidecar import KEY, OTHER_KEY, accounts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.rig import Rig

REAL = "REAL-secret-of-the-account-0123456789"


@pytest.fixture
def client(rig: Rig, tmp_path: Path) -> Client:
    """Programs behind the sidecar with the example profile."""
    return at_home(rig, tmp_path, (KEY, OTHER_KEY))


@pytest.fixture
def shipped_client(tmp_path: Path) -> Callable[[str, str, str], AbstractAsyncContextManager[Client]]:
    """Programs behind a sidecar with one shipped profile, whose account has one secret, `REAL`."""

    @contextlib.asynccontextmanager
    async def opened(profile: str, slot: str, host: str) -> AsyncIterator[Client]:
        async with running_rig(
            tmp_path,
            profiles={profile: shipped_text(profile)},
            settings={"providers": {profile: accounts(**{slot: "env:THE_SECRET"})}},
            environment={"THE_SECRET": REAL},
            hosts=(host,),
        ) as rig:
            yield at_home(rig, tmp_path, (REAL,))

    return opened


def at_home(rig: Rig, folder: Path, secrets: tuple[str, ...]) -> Client:
    home = folder / "agent"
    home.mkdir()
    return Client(rig, home, secrets)
