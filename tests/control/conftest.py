"""A sidecar whose policies want approvals for writes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.rig import running_rig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.rig import Rig

POLICIES = """
@id("reads") permit (principal, action == Action::"read", resource);
@id("reads-free") permit (principal, action in [Action::"callWithoutApproval", Action::"callWithoutStrongApproval"], resource)
when { resource.action == "read" };
@id("writes") permit (principal, action == Action::"write", resource);
@id("not-strong") permit (principal, action == Action::"callWithoutStrongApproval", resource);
@id("closed") @advice("Nobody reads /closed.") forbid (principal, action, resource) when { context.path == "/closed" };
"""


@asynccontextmanager
async def controlled(
    folder: Path,
    *,
    hold_s: float = 0.0,
    text: str = POLICIES,
    agents: Mapping[str, tuple[str, ...]] | None = None,
    profiles: Mapping[str, str] | None = None,
    described: Mapping[str, Any] | None = None,
    author: str | None = None,
    **settings: Any,
) -> AsyncIterator[Rig]:
    """A rig with the policies `text`; `agents` have tokens, and `described` is the block of the configuration."""
    file = folder / "own.cedar"
    file.write_text(text)
    blocks = {"policies": {"files": [str(file)]}, "approvals": {"hold_s": hold_s}, **settings}
    blocks |= {"agents": described} if described is not None else {}
    async with running_rig(folder, settings=blocks, agents=agents, profiles=profiles, author=author) as rig:
        yield rig


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with controlled(tmp_path_factory.mktemp("control")) as rig:
        yield rig
