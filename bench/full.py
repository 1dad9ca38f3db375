"""briefcased with all its parts: profile match, injection, scanner with a vocabulary, durable receipts.

    python bench/full.py FOLDER UPSTREAM_PORT KEY     prints where it listens, ends with its standard input
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from upstream import HOST

from proxy import logs
from proxy.catalog.configuration import Configuration
from proxy.catalog.loader import load_profile
from proxy.cli.ephemeral import ephemeral
from proxy.identity.tokens import basic_header
from proxy.settings import Account, Egress, Limits, Listeners, PrivateTarget, Provider, Settings

LOOPBACK: Final = "127.0.0.1"
CONNECTIONS: Final = 4096
PROFILE: Final = """\
schema: 1
name: bench
title: The provider of the measurements
docs: https://localhost/
checked: "2026-11-24"
hosts:
  - {{host: {host}, port: {port}}}
secrets:
  api_key:
    env: [BENCH_API_KEY]
    stand_in: {{template: "sk-bench-{{base62:32}}"}}
credentials:
  bearer: {{kind: header, header: Authorization, prefix: "Bearer ", secret: api_key}}
operations:
  - {{id: echo, methods: [POST], path: /v1/echo, action: write}}
  - {{id: stream, methods: [GET], path: /v1/stream, action: read}}
  - {{id: items.get, methods: [GET], path: "/v1/items/{{item}}", action: read}}
  - {{id: items.delete, methods: [DELETE], path: "/v1/items/{{item}}", action: admin}}
"""
