"""H-08, F-14: what came with an X.509-SVID ends with it, with its CA, and with whose it is."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from proxy.catalog.configuration import Configuration
from tests.rig.raw import read_answer
from tests.rig.spiffe import CODER, RIVAL, SECOND
from tests.rig.svids import TrustDomain

if TYPE_CHECKING:
    from tests.rig.spiffe import Stage

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_h_08_a_connection_ends_with_its_svid(stage: Stage) -> None:
    """H-08, F-14: what lasts past the SVID's end is cut within five seconds, and its receipt says so."""
    reader, writer = await stage.tunnel(stage.domain.svid(CODER, life=3 * SECOND))
    assert await stage.get((reader, writer)) == 200
    stage.rig.provider.on("/stream", _stream)
    writer.write(f"GET /stream HTTP/1.1\r\nHost: {stage.target}\r\n\r\n".encode())
    assert (await read_answer(reader, head_only=True)).status == 200
    await asyncio.sleep(2)
    await stage.ended(reader)
    ended = next(c for c in await stage.rig.settled(1) if c.decision["path"] == "/stream")
    assert ended.outcome is not None
    assert (ended.outcome["outcome"], ended.outcome["error"]) == ("response_aborted", "revoked")
    writer.transport.abort()


async def _stream(_seen: object, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata: \r\n")
    await writer.drain()
    await asyncio.sleep(30)


async def test_h_08_a_reload_that_takes_the_spiffe_id_away_ends_its_connections(stage: Stage) -> None:
    """H-08: whose SPIFFE ID it is is looked up again at each call."""
    opened = await stage.tunnel(stage.domain.svid(CODER))
    assert await stage.get(opened) == 200
    old = stage.rig.configuration
    agents = {**old.settings.agents, "coder": old.settings.agents["coder"].model_copy(update={"spiffe": None})}
    settings = old.settings.model_copy(update={"agents": agents})
    await stage.rig.sidecar.reload(Configuration(settings, old.profiles))
    try:
        await stage.ended(opened[0])
        assert await stage.asked(stage.domain.svid(CODER)) == 407
    finally:
        await stage.rig.sidecar.reload(old)
    assert await stage.asked(stage.domain.svid(CODER)) == 200
    opened[1].transport.abort()


async def test_files_are_read_again_when_they_change(stage: Stage) -> None:
    """A CA that leaves its bundle ends the connections that came with it; no restart, and garbage changes nothing."""
    bundle = stage.folder / "example.org.pem"
    kept, gone = await stage.tunnel(stage.other.svid(RIVAL)), await stage.tunnel(stage.domain.svid(CODER))
    new = TrustDomain("example.org", TrustDomain("example.org"))  # an intermediate CA may be what is trusted
    server = {name: (stage.folder / f"listener.{name}").read_bytes() for name in ("pem", "key")}
    bundle.write_bytes(b"no certificate")
    await asyncio.sleep(1.3)
    assert await stage.asked(stage.domain.svid(CODER)) == 200  # the old bundle is still in use
    bundle.write_bytes(new.pem)
    new.server(stage.folder)
    renewed = replace(stage, domain=new)
    try:
        await stage.ended(gone[0])
        assert await renewed.asked(new.svid(CODER)) == 200  # it trusts the new CA: the listener shows its certificate
        with pytest.raises(ssl.SSLCertVerificationError):
            await stage.open(stage.context(stage.domain.svid(CODER)))
        assert await renewed.asked(stage.domain.svid(CODER)) is None
        kept[1].write(b"GET /x HTTP/1.1\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(kept[0].read(1), 0.2)
    finally:
        bundle.write_bytes(stage.domain.pem)
        for name, data in server.items():
            (stage.folder / f"listener.{name}").write_bytes(data)
    async with asyncio.timeout(10):
        while await stage.asked(stage.domain.svid(CODER)) != 200:
            await asyncio.sleep(0.1)
    kept[1].transport.abort()
