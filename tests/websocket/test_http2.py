"""WebSocket over HTTP/2 (RFC 8441) is not offered, and refused where a client asks for it all the same."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
from h2.settings import SettingCodes


async def test_an_extended_connect_is_not_offered_and_is_refused(rig):
    reader, writer = await rig.tls(alpn="h2")
    # The library would hold back what the peer has not offered.
    config = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
    client = h2.connection.H2Connection(config)
    client.initiate_connection()
    authority = f"api.example.test:{rig.provider.port}"
    client.send_headers(
        1,
        [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":path", "/socket"),
            (":authority", authority),
            ("sec-websocket-version", "13"),
        ],
    )
    writer.write(client.data_to_send())
    status, ended = None, False
    while not ended and (data := await reader.read(65_536)):
        for event in client.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                status = dict(event.headers)[b":status"]
            ended = ended or isinstance(
                event, (h2.events.StreamEnded, h2.events.StreamReset, h2.events.ConnectionTerminated)
            )
    writer.close()
    assert client.remote_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL, 0) == 0
    assert status in (None, b"400", b"405")
    assert rig.provider.requests == []
    assert rig.provider.connections == 0
