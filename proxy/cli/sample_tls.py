"""HTTPS servers of the demonstration and the doctor: certificates of a CA in memory, on loopback."""

from __future__ import annotations

import secrets
import ssl
from typing import TYPE_CHECKING, Final

from aiohttp import web
from cryptography.hazmat.primitives import serialization

if TYPE_CHECKING:
    from pathlib import Path

    from certs.authority import CertificateAuthority

LOOPBACK: Final = "127.0.0.1"


class HttpsServer:
    """Serves `app`; `port` is set by `start`."""

    def __init__(self, app: web.Application) -> None:
        self._runner: Final = web.AppRunner(app, access_log=None)
        self.port = 0

    async def start(self, authority: CertificateAuthority, context: ssl.SSLContext, folder: Path) -> Path:
        """Listen on a free port of loopback; returns the PEM file, in `folder`, of the roots to trust."""
        root = folder / "provider-root.pem"
        root.write_bytes(authority.bundle_pem())
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, 0, ssl_context=context).start()
        self.port = self._runner.addresses[0][1]
        return root

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()


def server_context(authority: CertificateAuthority, host: str, folder: Path) -> ssl.SSLContext:
    """A server's context with a leaf for `host`. The key is in `folder` for the moment that OpenSSL needs to read it.

    Raises:
        BriefcaseError: the authority does not manage `host`.
    """
    leaf = authority.leaf(host)
    pem = serialization.Encoding.PEM
    key = leaf.key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain = b"".join(cert.public_bytes(pem) for cert in (leaf.cert, *leaf.chain))
    file = folder / f"{secrets.token_hex(8)}.pem"
    file.touch(mode=0o600)
    try:
        file.write_bytes(key + chain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
    finally:
        file.unlink()
    return context
