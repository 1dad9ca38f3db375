"""What our two contenders share."""

from __future__ import annotations

from typing import Final

from proxy.settings import Limits

LOOPBACK: Final = "127.0.0.1"
LIMITS: Final = Limits(max_connections=4096, max_connections_per_agent=4096, max_upstreams_per_host=1024)
"""The defaults are lower than the 1,000 tunnels of one agent that are opened here."""
