"""Every example of every shipped profile, through the real proxy to a sample server that echoes what it saw."""

from __future__ import annotations

import base64
import contextlib
import itertools
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import pytest
import pytest_asyncio

from proxy.db.engine import DATABASE, open_database
from proxy.keys.software import generate
from proxy.receipts import queries
from tests.profiles.conftest import PROFILES, host_of
from tests.rig import running_rig
from tests.rig.shipped import shipped_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from proxy.catalog.schema import Example, Profile
    from tests.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
EXAMPLES = [(profile, example) for profile in PROFILES.values() for example in profile.examples]
NAMED = re.compile(r"\{(stand_in|secret):([a-z0-9_]+)\}")
BASE64 = re.compile(r"\{base64:([^{}]*)\}")


def slots(profile: Profile, example: Example) -> tuple[str, ...]:
    """The secrets that the account of this example has."""
    given = (name for name, slot in profile.secrets.items() if not slot.minted)
    return example.account_secrets or tuple(itertools.islice(given, 1))


def holder(profile: Profile, example: Example) -> str:
    """Account and agent, one for each set of secrets."""
    return "-".join(("with", *slots(profile, example)))


def agent_of(profile: Profile, example: Example) -> str:
    return f"{profile.name}-{holder(profile, example)}"


def real(profile: Profile, slot: str) -> str:
    """A value that no other place has; as long as a real one, in nobody's shape."""
    return f"REAL-{profile.name}-{slot}-0123456789abcdef"


def variable(profile: Profile, slot: str) -> str:
    return f"LIVE_{profile.name}_{slot}".upper()


def filled(text: str, profile: Profile, example: Example, rig: Rig) -> str:
    """`{stand_in:NAME}` and `{secret:NAME}` first, then `{base64:…}` around them."""
    agent, account = agent_of(profile, example), holder(profile, example)

    def value(found: re.Match[str]) -> str:
        if found[1] == "secret":
            return real(profile, found[2])
        return rig.stand_in(profile.name, found[2], account, agent)

    named = NAMED.sub(value, text)
    return BASE64.sub(lambda found: base64.b64encode(found[1].encode()).decode(), named)


def at_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    if parts.scheme == "http":  # a metadata service: it is answered where it is
        return url
    return urlunsplit(parts._replace(netloc=f"{parts.hostname}:{port}"))


ALONE = frozenset({"claudecode"})
"""Profiles with the host of another one: they run in a sidecar of their own."""


@contextlib.asynccontextmanager
async def rig_of(folder: Path, names: frozenset[str]) -> AsyncIterator[Rig]:
    """A sidecar with these profiles; an account and an agent for every set of secrets."""
    providers: dict[str, dict[str, dict[str, object]]] = {name: {"accounts": {}} for name in names}
    agents: dict[str, tuple[str, ...]] = {}
    environment = {"LIVE_KEY": generate("ES256").pem().decode()}
    for profile, example in EXAMPLES:
        if profile.name not in names:
            continue
        refs = {slot: f"env:{variable(profile, slot)}" for slot in slots(profile, example)}
        variables = {name: given.example for name, given in profile.variables.items() if given.example}
        keys = {
            slot: "env:LIVE_KEY" for kind in profile.credentials.values() for slot in kind.foreign_keys() if not refs
        }
        account = {"secrets": refs, "variables": variables, "keys": keys}
        providers[profile.name]["accounts"][holder(profile, example)] = account
        agents[agent_of(profile, example)] = (f"{profile.name}/{holder(profile, example)}",)
        environment |= {variable(profile, slot): real(profile, slot) for slot in refs}
    every = (host_of(rule, PROFILES[name]) for name in names for rule in PROFILES[name].hosts)
    hosts = tuple(dict.fromkeys(host for host in every if not host.startswith("*.")))
    async with running_rig(
        folder,
        profiles={name: shipped_text(name) for name in sorted(names)},
        settings={"providers": providers},
        environment=environment,
        agents=agents,
        hosts=hosts,
    ) as rig:
        yield rig


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shipped_rigs(tmp_path_factory: pytest.TempPathFactory):
    """By the name of the profile."""
    async with (
        rig_of(tmp_path_factory.mktemp("shipped"), frozenset(PROFILES) - ALONE) as others,
        rig_of(tmp_path_factory.mktemp("alone"), ALONE) as alone,
    ):
        yield {name: alone if name in ALONE else others for name in PROFILES}


async def decision_of(rig: Rig, receipt: str) -> dict[str, object]:
    await rig.sidecar.receipts.flush()
    database = open_database(rig.home / DATABASE)
    try:
        call = queries.one(database, receipt)
    finally:
        database.dispose()
    assert call is not None
    return dict(call.decision)


@pytest.mark.parametrize(("profile", "example"), EXAMPLES, ids=lambda value: getattr(value, "name", None))
async def test_p1_p2_an_example_does_what_it_says(shipped_rigs, profile, example):
    rig, request, expect = shipped_rigs[profile.name], example.request, example.expect
    fill = {"profile": profile, "example": example, "rig": rig}
    before = len(rig.provider.requests)
    answer = await rig.call(
        request.method,
        at_port(filled(request.url, **fill), rig.provider.port),
        agent=agent_of(profile, example),
        headers={name: filled(value, **fill) for name, value in request.headers.items()},
        content=None if request.body is None else filled(request.body, **fill).encode(),
    )
    decision = await decision_of(rig, answer.headers["briefcased-receipt"])
    for slot in slots(profile, example):
        assert real(profile, slot) not in f"{answer.headers} {answer.body.decode()}"
    if expect.denied is not None:
        assert (answer.problem, decision["slug"]) == (expect.denied, expect.denied)
        assert decision["operation"] == expect.operation
        assert len(rig.provider.requests) == before
        return
    assert answer.status == 200, answer.body
    assert decision["operation"] == expect.operation
    assert decision["answered"] == expect.answered
    if expect.answered is not None:
        assert len(rig.provider.requests) == before
        return
    assert len(rig.provider.requests) == before + 1
    seen = rig.provider.last
    for name, value in expect.upstream_headers.items():
        assert seen.all(name) == [filled(value, **fill)], name
    for name in expect.upstream_absent_headers:
        assert seen.all(name) == [], name
    if expect.upstream_path is not None:
        assert seen.target == filled(expect.upstream_path, **fill)
    if expect.upstream_body is not None:
        assert seen.body.decode() == filled(expect.upstream_body, **fill)
