"""Header injection alone: the mitmproxy lane with one small addon; no authentication, policy, scanner or receipts.

What this costs is the engine; what `bench/full.py` costs beyond it is the pipeline. Not a product: nothing is decided.

    python bench/injection.py FOLDER UPSTREAM_PORT KEY     prints where it listens, ends with its standard input
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from limits import LIMITS, LOOPBACK
from upstream import END_OF_HEAD, HOST

from addons.flows import handler_of
from addons.tunnel import Tunnel as TlsSides
from certs.authority import CertificateAuthority
from proxy import logs
from proxy.clock import SystemClock
from proxy.egress.dial import Dialler
from proxy.egress.resolver import Resolver
from proxy.engine.lane import MitmproxyLane
from proxy.engine.tls import AgentSide, UpstreamSide
from proxy.exchange import BODYLESS_KEY, EXCHANGE_KEY, Dial, Exchange, Forward, Tunnel
from proxy.model import Agent, Authority, RequestHead

if TYPE_CHECKING:
    from mitmproxy.http import HTTPFlow

BACKLOG: Final = 1024
MAX_BODY_BYTES: Final = 1 << 40
RESPONSE_TIMEOUT_S: Final = 600


class Inject:
    """Puts the key on every request and lets it go."""

    def __init__(self, bearer: str, dial: Dial) -> None:
        self._bearer: Final = bearer
        self._dial: Final = dial

    def requestheaders(self, flow: HTTPFlow) -> None:
        """mitmproxy's hook."""
        request = flow.request
        has_body = not flow.metadata.get(BODYLESS_KEY, False)
        request.headers["authorization"] = self._bearer
        request.stream = has_body
        head = RequestHead(
            method=request.method,
            scheme=request.scheme,
            authority=Authority(request.host, request.port),
            path=request.path,
            segments=(),
            query=None,
            headers=(),
            has_body=has_body,
        )
        exchange = Exchange("-", handler_of(flow.client_conn).tunnel, 1, 0.0)
        exchange.forward = Forward(
            head, self._dial, None, MAX_BODY_BYTES, RESPONSE_TIMEOUT_S, MAX_BODY_BYTES, MAX_BODY_BYTES
        )
        exchange.decided = True
        flow.metadata[EXCHANGE_KEY] = exchange


class Acceptor:
    """Answers CONNECT and hands the connection to the lane."""

    def __init__(self, lane: MitmproxyLane, tunnel: Tunnel) -> None:
        self._lane: Final = lane
        self._tunnel: Final = tunnel

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of an agent."""
        try:
            await reader.readuntil(END_OF_HEAD)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await self._lane.serve(reader, writer, self._tunnel, b"")
        except (OSError, asyncio.IncompleteReadError):
            return  # the client went away
        finally:
            writer.close()


async def main(folder: Path, port: int, key: str) -> None:
    """Serve until standard input ends."""
    clock, authority = SystemClock(), Authority(HOST, port)
    root = folder / "root.pem"
    dial = Dial(authority, tls=True, agent="bench", account="-", trust=root, allow_private=(f"{LOOPBACK}/32",))
    issuer = CertificateAuthority.ephemeral(patterns=[HOST], clock=clock)
    (folder / "bundle.pem").write_bytes(issuer.bundle_pem())
    dialler = Dialler(
        resolver=Resolver(clock=clock, timeout_s=5.0, hosts={HOST: (LOOPBACK,)}),
        connect_timeout_s=5.0,
        own_listeners=frozenset,
    )
    sides = TlsSides(AgentSide(issuer), UpstreamSide())
    lane = MitmproxyLane(addons=(Inject(f"Bearer {key}", dial), sides), dialler=dialler, limits=LIMITS)
    await lane.start()
    acceptor = Acceptor(lane, Tunnel(Agent("bench", (), "-"), authority))
    server = await asyncio.start_server(acceptor.serve, LOOPBACK, 0, backlog=BACKLOG)
    said = {"port": server.sockets[0].getsockname()[1], "proxy_authorization": "", "authorization": "Bearer none"}
    print(json.dumps(said), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    logs.configure(level="WARNING")
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
