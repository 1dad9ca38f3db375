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

from limits import LIMITS, LOOPBACK
from upstream import HOST

from proxy import logs
from proxy.catalog.configuration import Configuration
from proxy.catalog.loader import load_profile
from proxy.cli.ephemeral import ephemeral
from proxy.settings import Account, Egress, Listeners, PrivateTarget, Provider, Settings

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


async def main(folder: Path, port: int, key: str) -> None:
    """Serve until standard input ends."""
    (folder / "bench.yaml").write_text(PROFILE.format(host=HOST, port=port))
    account = Account(secrets={"api_key": "env:BENCH_API_KEY"})
    settings = Settings(
        version=1,
        providers={"bench": Provider(accounts={"default": account}, ca_bundle=folder / "root.pem")},
        listeners=Listeners(proxy=f"{LOOPBACK}:0", control=f"{LOOPBACK}:0"),
        egress=Egress(allow_private=(PrivateTarget(host=HOST, addresses=(f"{LOOPBACK}/32",)),)),
        limits=LIMITS,
    )
    configuration = Configuration(settings, {"bench": load_profile(folder / "bench.yaml")})
    async with ephemeral(
        configuration,
        home=folder / "home",
        label="bench",
        environment={"BENCH_API_KEY": key},
        hosts={HOST: (LOOPBACK,)},
    ) as box:
        (folder / "bundle.pem").write_bytes(box.sidecar.bundle_pem())
        said = {
            "port": box.sidecar.proxy[1],
            "proxy_authorization": f"Bearer {urlsplit(box.proxy['HTTPS_PROXY']).password}",
            "authorization": f"Bearer {box.stand_ins['BENCH_API_KEY']}",
        }
        print(json.dumps(said), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    logs.configure(level="WARNING")
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
