"""One sidecar for a module: a provider of one kind with many accounts, one agent for each account."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.fakes.tokens import CANARY
from tests.rig import running_rig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.rig import Rig


def new_rsa() -> tuple[bytes, bytes]:
    """A private and a public key, PEM."""
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@contextlib.asynccontextmanager
async def rig_of(
    folder: Path,
    provider: str,
    profile: str,
    accounts: Mapping[str, Mapping[str, Any]],
    hosts: tuple[str, ...],
    environment: Mapping[str, str] | None = None,
    **settings: Any,
) -> AsyncIterator[Rig]:
    """Agents are named as their accounts."""
    async with running_rig(
        folder,
        profiles={provider: profile},
        settings={"providers": {provider: {"accounts": dict(accounts)}}, **settings},
        agents={name: (f"{provider}/{name}",) for name in accounts},
        hosts=hosts,
        environment=environment,
    ) as rig:
        yield rig


async def told(rig: Rig) -> str:
    """Everything that receipts and logs on disk say, for canary searches."""
    return repr([(call.decision, call.outcome) for call in await rig.receipts()])


def clean(text: bytes | str, *secret: str) -> None:
    """Neither a secret nor a rude server's words stand in `text`."""
    shown = text.decode("latin-1") if isinstance(text, bytes) else text
    for value in (CANARY, *secret):
        assert value not in shown


async def refused_politely(rig: Rig, server: Any, path: str, agent: str, mood: str) -> None:
    """A rude token endpoint gives a refusal, once, and none of its words."""
    server.mood = mood
    before = len(server.asked)
    answers = [await rig.call("GET", path, agent=agent) for _ in range(2)]
    server.mood = ""
    assert {answer.problem for answer in answers} <= {"token_endpoint_error", "credential_unavailable"}
    assert len(server.asked) == before + 1  # the second one waits its turn
    for answer in answers:
        clean(answer.body)
    clean(await told(rig))


async def used(rig: Rig, server: Any, path: str, agent: str, kind: str) -> list[str]:
    """A credential is minted once, presented, scrubbed from the echo, and named in the receipt; what was presented."""
    before = len(rig.provider.requests)
    answers = [await rig.call("GET", path, agent=agent) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200], answers[0].body
    sent = [seen.one("authorization") for seen in rig.provider.requests[before:] if seen.path == path]
    tokens = [value.removeprefix("Bearer ") for value in sent]
    for answer in answers:
        clean(answer.body, *tokens, *server.live)
    call = (await rig.settled(1))[-1].decision
    clean(await told(rig), *tokens)
    assert (call["account"].partition("/")[2], call["credential_kind"]) == (agent, kind)
    return tokens
