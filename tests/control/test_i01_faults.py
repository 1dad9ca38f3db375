"""I-01: whatever fails while a call is identified, matched, judged or weighed, it is refused and nothing is sent."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio

from proxy.catalog.matcher import Catalog
from proxy.catalog.policies import vocabulary
from proxy.policy import Policies
from tests.control.conftest import POLICIES, controlled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
FAILURES = (RuntimeError, TimeoutError, MemoryError, RecursionError, KeyError)
OVERFLOWS = """
@id("all") permit (principal, action, resource);
@id("much") forbid (principal, action, resource) when { context.port * 9223372036854775807 > 0 };
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with controlled(tmp_path_factory.mktemp("faults"), text=OVERFLOWS.split("\n", 2)[1]) as rig:
        yield rig


async def refused(rig: Rig, **changed: Any) -> None:
    """One call with a generation of which a part is another; its receipt says that nothing was decided."""
    pipeline = rig.sidecar.pipeline
    whole, before = pipeline.generation, (rig.provider.connections, len(rig.provider.requests))
    assert (await rig.call("GET", "/x")).status == 200
    before = (rig.provider.connections, len(rig.provider.requests))
    pipeline.generation = replace(whole, **changed)
    try:
        answer = await rig.call("GET", "/x")
        assert (answer.status, answer.problem) == (503, "policy_unavailable")
    except httpx.ProxyError as error:  # its tunnel was refused
        assert str(error).startswith("503")  # noqa: PT017  # both ways are a refusal
    finally:
        pipeline.generation = whole
    assert (rig.provider.connections, len(rig.provider.requests)) == before
    assert (await rig.receipts())[-1].decision["slug"] == "policy_unavailable"
    assert await rig.problems() == ()


def failing(kind: type[Any], part: Any, name: str, failure: type[Exception]) -> Any:
    """A copy of `part` of which the method `name` fails."""

    def fail(*_: object, **__: object) -> None:
        raise failure

    made = copy.copy(part)
    made.__class__ = type(f"Failing{kind.__name__}", (kind,), {name: fail, "__slots__": ()})
    return made


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", ["judge", "_judge", "_ask", "_entities", "_action"])
async def test_the_engine_of_policies(rig: Rig, name: str, failure: type[Exception]) -> None:
    policies = rig.sidecar.pipeline.generation.policies
    if name == "_entities":  # what the scopes alone decide needs none
        policies = policies_of(rig, 'permit (principal, action, resource) when { context.path like "/*" };')
    await refused(rig, policies=failing(Policies, policies, name, failure))


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", ["match"])
async def test_the_catalogue(rig: Rig, name: str, failure: type[Exception]) -> None:
    await refused(rig, catalog=failing(Catalog, rig.sidecar.pipeline.generation.catalog, name, failure))


@pytest.mark.parametrize("part", ["policies", "catalog", "accounts", "settings"])
async def test_a_part_that_is_missing(rig: Rig, part: str) -> None:
    await refused(rig, **{part: None})


async def test_a_policy_that_cannot_be_evaluated(rig: Rig) -> None:
    """A permit decides for it, and one more policy fails: that is no."""
    await refused(rig, policies=policies_of(rig, OVERFLOWS))


async def test_an_agent_whose_entities_are_malformed(tmp_path: Path) -> None:
    async with controlled(tmp_path, text=POLICIES) as rig:
        known = rig.sidecar._parts.authenticator._known  # type: ignore[attr-defined]
        for token, one in list(known.items()):
            known[token] = replace(one, agent=replace(one.agent, groups=("\ud800",)))
        answer = await rig.call("GET", "/x")
        assert (answer.status, answer.problem) == (503, "policy_unavailable")
        assert rig.provider.connections == 0


@pytest.mark.parametrize("name", ["prepare", "authenticate"])
async def test_identity(rig: Rig, name: str) -> None:
    authenticator = rig.sidecar._front.services.authenticator
    kind = type(authenticator)
    before = rig.provider.connections
    for failure in FAILURES:
        authenticator.__class__ = failing(kind, authenticator, name, failure).__class__
        try:
            reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
            host = f"api.example.test:{rig.provider.port}"
            writer.write(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n{rig.credentials()}\r\n".encode())
            answer = await reader.read()
            writer.close()
        finally:
            authenticator.__class__ = kind
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"policy_unavailable" in answer
    assert rig.provider.connections == before
    assert (await rig.receipts())[-1].decision["slug"] == "policy_unavailable"


def policies_of(rig: Rig, text: str) -> Policies:
    words = vocabulary(rig.sidecar.pipeline.generation.catalog.profiles.values())
    return Policies.load([("own.cedar", text)], words)
