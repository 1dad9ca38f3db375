"""P5, I-15: a revoked agent is refused on connections that it has open, too."""

from __future__ import annotations

from tests.rig.raw import read_answer


async def test_p5_a_revoked_token_stops_on_an_open_connection(rig):
    reader, writer = await rig.tls()
    request = f"GET /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode()
    writer.write(request)
    assert (await read_answer(reader)).status == 200
    rig.sidecar._parts.authenticator._known.clear()
    writer.write(request)
    answer = await read_answer(reader)
    assert answer.problem == "proxy_auth_required"
    assert len(rig.provider.requests) == 1
    writer.close()
