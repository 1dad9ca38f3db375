"""TLS on both legs: cached OpenSSL contexts, strict verification upstream, our leaf towards the agent."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final

import certifi
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

if TYPE_CHECKING:
    from pathlib import Path

    from certs.authority import CertificateAuthority
    from certs.leaf import Leaf
    from proxy.exchange import ClientCertificate, Dial

H2: Final = b"h2"
HTTP11: Final = b"http/1.1"
MAX_CONTEXTS: Final = 1024
HOST_FLAGS: Final = 0x4 | 0x20
"""No partial wildcards, never the subject (x509v3.h of OpenSSL: X509_CHECK_FLAG_*)."""
_C: Final = SSL.__dict__["_lib"]
"""pyOpenSSL has no call for host flags."""


class QuietConnection(SSL.Connection):
    """mitmproxy parses the peer's whole chain after each handshake; nobody here reads it."""

    def get_peer_cert_chain(self, **_: Any) -> Any:
        """Nothing."""
        return []

    def get_peer_certificate(self, **_: Any) -> Any:
        """Nothing."""


class AgentSide:
    """Server contexts for the leg to the agent, one per host, as long as its leaf is the current one."""

    def __init__(self, authority: CertificateAuthority) -> None:
        self.authority = authority
        self._contexts: dict[str, tuple[Leaf, SSL.Context]] = {}

    def connection(self, host: str) -> SSL.Connection:
        """A handshake for `host`. Raises what `CertificateAuthority.leaf` raises for a host that is not managed."""
        leaf = self.authority.leaf(host)
        cached = self._contexts.get(host)
        if cached is None or cached[0] is not leaf:
            if len(self._contexts) >= MAX_CONTEXTS:
                self._contexts.pop(next(iter(self._contexts)))
            cached = (leaf, _server_context(leaf))
            self._contexts[host] = cached
        connection = QuietConnection(cached[1])
        connection.set_accept_state()
        return connection


def _server_context(leaf: Leaf) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    context.use_certificate(leaf.cert)
    context.use_privatekey(leaf.key)
    for issuer in leaf.chain:
        context.add_extra_chain_cert(issuer)
    context.set_session_id(b"briefcased")
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_alpn_select_callback(_choose_alpn)
    return context


def _choose_alpn(_connection: SSL.Connection, offers: list[bytes]) -> Any:
    for protocol in (H2, HTTP11):
        if protocol in offers:
            return protocol
    return SSL.NO_OVERLAPPING_PROTOCOLS


class UpstreamSide:
    """Client contexts for the leg to the provider, one per trust bundle, ALPN offer and certificate of ours."""

    def __init__(self) -> None:
        self._contexts: dict[tuple[Path | None, int, tuple[bytes, ...], ClientCertificate | None], SSL.Context] = {}

    def connection(self, dial: Dial, alpn: tuple[bytes, ...]) -> SSL.Connection:
        """A handshake that verifies the chain and the name or address of `dial`. Raises OSError, SSL.Error."""
        host = dial.authority.host
        connection = QuietConnection(self._context(dial.trust, alpn, dial.certificate))
        parameters = _C.SSL_get0_param(connection._ssl)  # noqa: SLF001
        _C.X509_VERIFY_PARAM_set_hostflags(parameters, HOST_FLAGS)
        try:
            packed = ipaddress.ip_address(host).packed
        except ValueError:
            name = host.encode("ascii")
            connection.set_tlsext_host_name(name)
            bound = _C.X509_VERIFY_PARAM_set1_host(parameters, name, len(name))
        else:
            bound = _C.X509_VERIFY_PARAM_set1_ip(parameters, packed, len(packed))
        if bound != 1:
            raise OSError("the certificate check could not be bound to the host")
        connection.set_connect_state()
        return connection

    def _context(
        self, bundle: Path | None, alpn: tuple[bytes, ...], certificate: ClientCertificate | None
    ) -> SSL.Context:
        # A bundle that is replaced under the same name counts as another one.
        key = (bundle, 0 if bundle is None else bundle.stat().st_mtime_ns, alpn, certificate)
        context = self._contexts.get(key)
        if context is None:
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            context.set_min_proto_version(SSL.TLS1_2_VERSION)
            context.set_options(SSL.OP_NO_RENEGOTIATION)
            context.set_verify(SSL.VERIFY_PEER, None)
            context.load_verify_locations(str(bundle) if bundle is not None else certifi.where())
            context.set_alpn_protos(list(alpn))
            context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
            if certificate is not None:
                _identify(context, certificate)
            if len(self._contexts) >= MAX_CONTEXTS:
                self._contexts.pop(next(iter(self._contexts)))
            self._contexts[key] = context
        return context


def _identify(context: SSL.Context, certificate: ClientCertificate) -> None:
    leaf, *issuers = x509.load_pem_x509_certificates(certificate.pem)
    context.use_certificate(leaf)
    key = load_pem_private_key(certificate.pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey)
    context.use_privatekey(key)
    for issuer in issuers:
        context.add_extra_chain_cert(issuer)
