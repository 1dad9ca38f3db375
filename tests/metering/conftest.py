"""A sidecar with budgets, before a provider of models that says what calls used."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.rig import running_rig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.rig import Rig
    from tests.rig.provider import Provider

MODELS = """\
schema: 1
name: example
title: Example
docs: https://example.test/
checked: "2026-11-24"
hosts: [{{host: api.example.test, port: {port}}}]
secrets:
  api_key: {{env: [EXAMPLE_API_KEY], stand_in: {{template: "sk-example-{{base62:24}}"}}}}
credentials:
  bearer: {{kind: header, header: Authorization, prefix: "Bearer ", secret: api_key}}
usage:
  chat:
    model: /model
    most:
      input_tokens: {{per_body_byte: 1, cap: 100000}}
      output_tokens: {{field: [/max_tokens], default: 4000, cap: 8000, times: [/n], max_times: 10}}
    read:
      input_tokens: [/usage/input, /message/usage/input]
      output_tokens: [/usage/output]
    grows: [output_tokens]
    unbilled: [400, 401, 429]
  mail:
    most: {{mails: {{entries: [/to], cap: 50}}}}
prices:
  - {{model: small, per_million: {{input_tokens: 1000000, output_tokens: 2000000}}}}
  - {{model: "large*", per_million: {{input_tokens: 10000000, output_tokens: 20000000}}}}
prices_checked: "2026-11-24"
prices_docs: https://example.test/prices
operations:
  - {{id: read, methods: [GET], path: "/**", action: read}}
  - {{id: write, methods: [POST], path: "/**", action: write}}
  - {{id: chat, methods: [POST], path: /chat, action: write, usage: chat}}
  - {{id: mail, methods: [POST], path: /mail, action: write, usage: mail}}
  - {{id: socket, methods: [GET], path: /socket, action: write, websocket: true}}
"""


@asynccontextmanager
async def metered(
    folder: Path,
    *budgets: dict[str, Any],
    agents: dict[str, tuple[str, ...]] | None = None,
    environment: dict[str, str] | None = None,
    provider: Provider | None = None,
    **settings: Any,
) -> AsyncIterator[Rig]:
    """A rig whose provider `example` is called under `budgets`."""
    blocks = {
        "providers": {"example": {"accounts": {"main": {"secrets": {"api_key": "env:EXAMPLE_API_KEY"}}}}},
        "budgets": list(budgets),
        "approvals": {"hold_s": 0},
        **settings,
    }
    async with running_rig(
        folder, profiles={"example": MODELS}, settings=blocks, agents=agents, environment=environment, provider=provider
    ) as rig:
        yield rig
