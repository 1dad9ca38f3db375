"""`briefcased demo`: the main job with real parts: TLS provider, sidecar, and a client that knows no secret."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from proxy import logs


def demo() -> None:
    """Show the main job: a key that the agent never has, an echo that is scrubbed, a refusal, a stream, receipts."""
    from proxy.cli.demo.play import play, show

    logs.configure(level="WARNING")
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="briefcased-demo-") as folder:
        said, provider, report, key = asyncio.run(play(Path(folder)))
    show(said, provider, report, key)
    sys.stdout.write(f"done in {time.monotonic() - started_s:.1f} s; nothing is left behind\n")
