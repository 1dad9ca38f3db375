"""A machine of its own with providers at their own names and on port 443, run as root of a user and network namespace.

Runs `briefcased run --confine` with the shipped profiles there, and prints what it and the providers saw as JSON.
Arguments: a folder; the confined command.
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from tests.rig.provider import Provider

NAMES = ("api.openai.com", "api.stripe.com")
SECRETS = {"openai": ("api_key", "OPENAI_API_KEY"), "stripe": ("api_key", "STRIPE_API_KEY")}
MODELS = b'{"object":"list","data":[{"id":"gpt-of-the-test","object":"model","created":1,"owned_by":"us"}]}'
BALANCE = b'{"object":"balance","available":[{"amount":4711,"currency":"eur"}],"livemode":false,"pending":[]}'


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def configuration(provider: Provider) -> dict:
    accounts = {name: {"main": {"secrets": {slot: f"env:{variable}"}}} for name, (slot, variable) in SECRETS.items()}
    return {
        "version": 1,
        "providers": {name: {"accounts": entry} for name, entry in accounts.items()},
        "egress": {
            "ca_bundle": str(provider.root),
            "allow_private": [{"host": name, "addresses": ["127.0.0.1/32"]} for name in NAMES],
        },
    }


async def main(folder: Path, command: list[str]) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"127.0.0.1 {name}.\n" for name in NAMES))  # absolute
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)
    provider = Provider(folder, NAMES, port=443)
    await provider.start()
    provider.answers("/v1/models", answer(MODELS))
    provider.answers("/v1/balance", answer(BALANCE))
    config = folder / "briefcased.yaml"
    config.write_text(yaml.safe_dump(configuration(provider)))
    run = [sys.executable, "-m", "proxy", "run", "--confine", "--json", "--config", str(config), "--", *command]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*run, env=os.environ, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    requests = [[seen.host, seen.target, *seen.all("authorization")] for seen in provider.requests]
    said = {"code": process.returncode, "out": out.decode(), "err": err.decode(), "requests": requests}
    print(json.dumps(said))
    await provider.stop()


asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
