"""A sidecar whose one profile has one credential, for the tests of a credential kind; and what its agent can see."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from tests.promises.test_canary import encodings
from tests.rig.sidecar import HOSTS, Answer, Rig, running_rig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

PROFILE = """\
schema: 1
name: signed
title: Signed
docs: https://signed.test/
checked: "2026-11-25"
hosts: [{{{{host: api.example.test, port: {{port}}}}}}]
secrets: {secrets}
credentials: {{{{it: {credential}}}}}
operations:
  - {{{{id: read, methods: [GET, HEAD], path: "/**", action: read}}}}
  - {{{{id: write, methods: [POST, PUT], path: "/**", action: write, limits: {{{{max_held_bytes: 65536}}}}}}}}
"""


def profile(credential: Mapping[str, Any], secrets: Mapping[str, str]) -> str:
    """Its text, with braces doubled, as `running_rig` takes it."""
    slots = {name: {"env": [f"SIGNED_{name.upper()}"], "stand_in": {"template": "si-{base62:24}"}} for name in secrets}
    double = [json.dumps(part).replace("{", "{{").replace("}", "}}") for part in (slots, credential)]
    return PROFILE.format(secrets=double[0], credential=double[1])


@contextlib.asynccontextmanager
async def running_kind(
    folder: Path,
    credential: Mapping[str, Any],
    secrets: Mapping[str, str],
    *,
    account: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Rig]:
    """`secrets` are values by slot name; `account` more fields of the account `signed/main`."""
    refs = {name: f"env:SIGNED_{name.upper()}" for name in secrets}
    described = {"secrets": refs, **(account or {})}
    async with running_rig(
        folder,
        profiles={"signed": profile(credential, secrets)},
        settings={"providers": {"signed": {"accounts": {"main": described}}}, **(settings or {})},
        environment={f"SIGNED_{name.upper()}": value for name, value in secrets.items()},
        hosts=HOSTS[:1],
        **options,
    ) as rig:
        yield rig


async def assert_never_shown(rig: Rig, answers: list[Answer], *secrets: str) -> None:
    """P1: none of `secrets` is in an answer, a log line or a receipt, in any encoding."""
    seen = [part for a in answers for part in (a.body, *(f"{n}: {v}".encode() for n, v in a.headers.multi_items()))]
    seen += [json.dumps([c.decision, c.outcome]).encode() for c in await rig.receipts()]
    for secret in secrets:
        assert not [form for form in encodings(secret) if any(form in part for part in seen)]
