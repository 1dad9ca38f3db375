"""TLS hooks: our leaf towards the agent, verified TLS towards the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

from addons.flows import handler_of

if TYPE_CHECKING:
    from mitmproxy import tls
    from OpenSSL import SSL

    from proxy.exchange import Dial


class AgentSide(Protocol):
    """Makes the handshake towards the agent."""

    def connection(self, host: str) -> SSL.Connection:
        """A handshake for `host`; raises for a host that is not managed."""
        ...


class UpstreamSide(Protocol):
    """Makes the handshake towards the provider."""

    def connection(self, dial: Dial, alpn: tuple[bytes, ...]) -> SSL.Connection:
        """A handshake that verifies the dial's host."""
        ...


class _Bound(Protocol):
    dial: Dial


class Tunnel:
    """An exception here makes the strict addon manager reset the agent's connection."""

    name = "tunnel"

    def __init__(self, agent_side: AgentSide, upstream_side: UpstreamSide) -> None:
        self._agent_side: Final = agent_side
        self._upstream_side: Final = upstream_side

    def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        """mitmproxy's hook: never look at the provider before deciding."""
        data.establish_server_tls_first = False
        data.ignore_connection = False

    def tls_start_client(self, data: tls.TlsData) -> None:
        """mitmproxy's hook: the leaf is always for the CONNECT host, whatever the ClientHello names."""
        authority = handler_of(data.context.client).tunnel.authority
        assert authority is not None
        data.ssl_conn = self._agent_side.connection(authority.host)

    def tls_start_server(self, data: tls.TlsData) -> None:
        """mitmproxy's hook."""
        dial = cast("_Bound", data.conn).dial
        agent_speaks_h2 = data.context.client.alpn == b"h2"
        alpn = (b"h2", b"http/1.1") if agent_speaks_h2 else (b"http/1.1",)
        data.conn.sni = dial.authority.host
        data.ssl_conn = self._upstream_side.connection(dial, alpn)
