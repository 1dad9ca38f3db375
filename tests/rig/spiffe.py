"""A sidecar that takes X.509-SVIDs of two trust domains, and who connects to it with one."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.rig.raw import read_answer
from tests.rig.svids import TrustDomain

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig import Rig
    from tests.rig.svids import Certified

CODER, RIVAL = "spiffe://example.org/agents/coder", "spiffe://other.test/rival"
CUT_S = 5.0
UNREAD = "unmanaged.example.test"
SECOND = dt.timedelta(seconds=1)


@dataclass
class Stage:
    """`port` is the listener's; `roots` vouch for it."""

    rig: Rig
    folder: Path
    domain: TrustDomain
    other: TrustDomain
    port: int

    @property
    def target(self) -> str:
        return f"api.example.test:{self.rig.provider.port}"

    def context(self, svid: Certified | None) -> ssl.SSLContext:
        if svid is None:
            return ssl.create_default_context(cadata=self.domain.pem.decode())
        return svid.client(self.folder / "client.pem", self.domain.pem)

    async def open(self, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context)

    async def asked(self, svid: Certified | None, head: str = "", **changed: Any) -> int | None:
        """The status that a CONNECT gets; None where the connection ends without an answer."""
        context = self.context(svid)
        for name, value in changed.items():
            setattr(context, name, value)
        try:
            reader, writer = await self.open(context)
            writer.write(f"CONNECT {self.target} HTTP/1.1\r\nHost: {self.target}\r\n{head}\r\n".encode())
            status = (await read_answer(reader, head_only=True)).status
        except (OSError, asyncio.IncompleteReadError):
            return None
        writer.transport.abort()
        return status

    async def tunnel(self, svid: Certified, head: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """TLS to the provider, within TLS to the listener."""
        reader, writer = await self.open(self.context(svid))
        writer.write(f"CONNECT {self.target} HTTP/1.1\r\nHost: {self.target}\r\n{head}\r\n".encode())
        assert (await read_answer(reader, head_only=True)).status == 200
        await writer.start_tls(self.rig.trust(), server_hostname="api.example.test")
        return reader, writer

    async def get(self, opened: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> int | None:
        reader, writer = opened
        try:
            writer.write(f"GET /x HTTP/1.1\r\nHost: {self.target}\r\n\r\n".encode())
            return (await read_answer(reader)).status
        except (OSError, asyncio.IncompleteReadError):
            return None

    async def ended(self, reader: asyncio.StreamReader) -> None:
        """Wait until a connection on which nothing moves is ended by the sidecar."""
        async with asyncio.timeout(CUT_S):
            try:
                while await reader.read(65536):
                    pass
            except OSError:
                pass


async def staged(folder: Path, domain: TrustDomain, other: TrustDomain, **more: Any) -> dict[str, Any]:
    (folder / "example.org.pem").write_bytes(domain.pem)
    (folder / "other.test.pem").write_bytes(other.pem)
    bundles = {name: str(folder / f"{name}.pem") for name in ("example.org", "other.test")}
    server = domain.server(folder)
    return {
        "listeners": {
            "proxy": "127.0.0.1:0",
            "control": "127.0.0.1:0",
            "more": [
                {"at": "127.0.0.1:0", "tls": {**server, "trust_bundles": bundles}},
                {"at": "127.0.0.1:0", "tls": server},
            ],
        },
        "agents": {
            "coder": {"accounts": ["*"], "spiffe": CODER},
            "rival": {"accounts": ["other/*"], "spiffe": RIVAL},
        },
        **more,
    }


def stage_of(rig: Rig, folder: Path, domain: TrustDomain, other: TrustDomain) -> Stage:
    return Stage(rig, folder, domain, other, int(rig.sidecar.endpoints[1].rpartition(":")[2]))
