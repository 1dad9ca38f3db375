"""Fingerprints of mitmproxy's seams; the contract tests in `tests/engine/` have passed with them (12.2.3).

Printed by `scripts/prove_engine.py`. docs/engine.md says how to move to another version.
"""

from __future__ import annotations

from typing import Final

PROVED: Final = {
    "HttpStream.state_wait_for_request_headers": "3706d5d5ce01dcd4",
    "HttpStream.start_request_stream": "46f03368a2a54362",
    "HttpStream.state_stream_request_body": "c98f7f715cef7cfa",
    "HttpStream.state_consume_request_body": "45459c1bbd8bdb1a",
    "HttpStream.state_wait_for_response_headers": "10e32e91b2948164",
    "HttpStream.start_response_stream": "b0de9e9a5ee27276",
    "HttpStream.state_stream_response_body": "3fb6320300d3ddd5",
    "HttpStream.send_response": "d581bc106152e369",
    "HttpStream.flow_done": "ad9969744785c572",
    "HttpStream.check_invalid": "ef0a126eef45d903",
    "HttpStream.check_killed": "368cad352d1e82b6",
    "HttpStream.handle_protocol_error": "59fc3b2eeeabf63a",
    "HttpStream.make_server_connection": "ddc7bc72f4d2fbc7",
    "HttpLayer._handle_event": "6ba31883cc7a06b3",
    "HttpLayer.event_to_child": "1095f6e1581d1780",
    "Http2Connection.handle_h2_event": "f6b6a52b12548102",
    "Http2Connection.protocol_error": "461f5e7de9c9b687",
    "Http2Server.handle_h2_event": "d24a023c678de6ce",
    "HttpLayer.get_connection": "1aa1c63e3175766c",
    "HttpLayer.make_stream": "654959c6e74548e1",
    "Http1Server.read_headers": "3fe0945216bcf7bc",
    "Http1Server.send": "cc218a1337c0f5cf",
    "Http1Connection.read_body": "aece271029af36e4",
    "Http1Connection.mark_done": "dc5ed395ce4f0763",
    "Http1Connection.wait": "c99d0494a840a2b6",
    "Http1Server.mark_done": "94fd7ea388c88671",
    "Http1Client.send": "35d961e20d481204",
    "Http1Client.read_headers": "415454c5fa8b5981",
    "HttpClient._handle_event": "bc1cae775a49a4fe",
    "Request.__init__": "a049b5aa3267ed2c",
    "Response.__init__": "c6aa2ee439b59206",
    "_read_request_line": "f212df4b4badf61b",
    "_read_response_line": "00582e2a37199fad",
    "_read_headers": "66807318a8b7a7b7",
    "HttpStream.passthrough": "a6df32aba1ae251a",
    "ClientTLSLayer.receive_handshake_data": "a0ee021f92f6d0ff",
    "TLSLayer.start_tls": "3878cd7c942a58ba",
    "TLSLayer.receive_handshake_data": "721fe6313c0979fe",
    "ConnectionHandler.handle_connection": "95c3f93e9824e527",
    "ConnectionHandler.close_connection": "c0d10cc05dd65b80",
    "ConnectionHandler.wakeup": "6e42e075ee5fa3df",
    "LiveConnectionHandler.__init__": "2cb1077a21556ca9",
    "AddonManager.register": "01ddcca314eebbd3",
    "AddonManager.invoke_addon": "13180532440359de",
    "Master.__init__": "8e2a46cc1aca56ca",
}
