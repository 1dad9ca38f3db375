"""What the demonstration plays, and how it is shown."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

from proxy.catalog.configuration import Configuration
from proxy.catalog.loader import load_profile
from proxy.cli.demo.provider import HOST, PROFILE, SampleProvider
from proxy.cli.ephemeral import ephemeral
from proxy.cli.variables import without_secrets
from proxy.db.engine import DATABASE, open_database
from proxy.errors import BriefcaseError
from proxy.receipts.queries import verify_database
from proxy.settings import Account, Egress, Listeners, PrivateTarget, Provider, Settings, environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.receipts.queries import Report

LABEL: Final = "demo"
LOOPBACK: Final = "127.0.0.1"
LIMIT_S: Final = 30.0


async def play(folder: Path) -> tuple[list[dict[str, Any]], SampleProvider, Report, str]:
    """Play it in `folder`: what the agent said, the provider that saw it, the receipts' report, and the key."""
    key = f"sk-sample-{secrets.token_hex(16)}"
    provider = SampleProvider(key)
    root = await provider.start(folder)
    try:
        (folder / "sample.yaml").write_text(PROFILE.format(port=provider.port))
        profile = load_profile(folder / "sample.yaml")
        settings = Settings(
            version=1,
            providers={
                "sample": Provider(
                    accounts={"default": Account(secrets={"api_key": "env:SAMPLE_API_KEY"})}, ca_bundle=root
                )
            },
            listeners=Listeners(proxy="127.0.0.1:0", control="127.0.0.1:0"),
            egress=Egress(allow_private=(PrivateTarget(host=HOST, addresses=(f"{LOOPBACK}/32",)),)),
        )
        configuration = Configuration(settings, {"sample": profile})
        operators = {**environment(), "SAMPLE_API_KEY": key}
        async with ephemeral(
            configuration, home=folder, label=LABEL, environment=operators, hosts={HOST: (LOOPBACK,)}
        ) as box:
            clean, _ = without_secrets(operators, configuration.profiles, box.stand_ins)
            said = await _agent(f"https://{HOST}:{provider.port}", {**clean, **box.proxy})
    finally:
        await provider.stop()
    database = open_database(folder / DATABASE)
    report = verify_database(database, folder)
    database.dispose()
    return said, provider, report, key


async def _agent(base: str, variables: Mapping[str, str]) -> list[dict[str, Any]]:
    """Run the agent as a process of its own; what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy.cli.demo.agent", base,
        env=dict(variables), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(LIMIT_S):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        raise BriefcaseError("the demonstration's agent did not end in time") from None
    if process.returncode != 0:
        raise BriefcaseError(f"the demonstration's agent failed: {err.decode().strip().splitlines()[-1:]}")
    return [json.loads(line) for line in out.splitlines()]


def show(said: list[dict[str, Any]], provider: SampleProvider, report: Report, key: str) -> None:
    """Print what happened, side by side. Raises `BriefcaseError` where the product did not keep its word."""
    call, stream, refused = said
    if key in json.dumps(said) or provider.requests[0].credential.endswith("not the key"):
        raise BriefcaseError("the demonstration failed: the key was not injected, or was seen by the agent")
    console = Console(width=120, highlight=False)
    table = Table(title="One call, three points of view", show_lines=True)
    for title in ("the agent sent", "the provider received", "the agent got back"):
        table.add_column(title, ratio=1, overflow="fold")
    seen, echoed = provider.requests[0], json.loads(call["body"])
    table.add_row(call["sent"]["line"], seen.line, f"{call['status']}")
    table.add_row(
        f"Authorization: {call['sent']['headers']['Authorization']}\n(a stand-in)",
        seen.credential,
        f"it echoed its headers:\nAuthorization: {echoed['headers']['Authorization']}\n(scrubbed: the stand-in)",
    )
    table.add_row(call["sent"]["body"], seen.body, echoed["you_sent"])
    console.print(table)
    console.print("\nA call that the account does not allow:")
    console.print(f"  {refused['sent']['line']} -> {refused['status']}")
    console.print_json(refused["body"], indent=2)
    console.print("\nA stream of server-sent events, from the provider's write to the agent's read:")
    delays = [came - sent for came, sent in zip(stream["came"], provider.event_times, strict=True)]
    console.print("  " + "  ".join(f"event {i + 1}: {delay * 1000:.1f} ms" for i, delay in enumerate(delays)))
    if report.problems:
        raise BriefcaseError(f"receipts verify: {report.problems[0]}")
    console.print(f"\nreceipts verify: ok ({report.calls} calls, {report.records} records)")
