"""A sidecar that takes X.509-SVIDs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.rig import Provider, running_rig
from tests.rig.sidecar import HOSTS
from tests.rig.spiffe import UNREAD, stage_of, staged
from tests.rig.svids import TrustDomain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.rig.spiffe import Stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("spiffe")
    domain, other = TrustDomain("example.org"), TrustDomain("other.test")
    provider = Provider(folder, HOSTS)
    await provider.start()
    settings = await staged(folder, domain, other, passthrough_hosts=[f"{UNREAD}:{provider.port}"])
    async with running_rig(folder, settings=settings, provider=provider) as rig:
        yield stage_of(rig, folder, domain, other)
    await provider.stop()
