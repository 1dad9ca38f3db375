"""A sample provider in a container: HTTPS with a root of its own, demands its key, and echoes what it was sent.

It stands where a service on the internet would. Usage: provider.py --key FILE --root FILE [--host NAME] [--port N]
"""

from __future__ import annotations

import argparse
import hmac
import ssl
import tempfile
from pathlib import Path

from aiohttp import web
from cryptography.hazmat.primitives import serialization

from certs.authority import CertificateAuthority
from proxy.clock import SystemClock


def served(key: str) -> web.Application:
    """A careless debug endpoint: it sends back the very headers that it was sent, the key among them."""

    async def echo(request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
            return web.json_response({"error": "invalid api key"}, status=401)
        print(f"{request.method} {request.path}: the real key, from {request.remote}", flush=True)
        return web.json_response({"you_sent": await request.text(), "headers": dict(request.headers)})

    app = web.Application()
    app.router.add_post("/v1/echo", echo)
    return app


def certified(host: str, root: Path) -> ssl.SSLContext:
    """A certificate for `host` from a new root, which is written to `root` for the sidecar to trust."""
    authority = CertificateAuthority.ephemeral(patterns=[host], clock=SystemClock())
    leaf, pem = authority.leaf(host), serialization.Encoding.PEM
    key = leaf.key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # Beside the root: the one place of a read-only container that can be written.
    with tempfile.NamedTemporaryFile(dir=root.parent) as file:
        file.write(key + b"".join(cert.public_bytes(pem) for cert in (leaf.cert, *leaf.chain)))
        file.flush()
        context.load_cert_chain(file.name)
    root.write_bytes(authority.bundle_pem())
    root.chmod(0o644)
    return context


def main() -> None:
    """Serve until TERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--host", default="api.sample.test")
    parser.add_argument("--port", type=int, default=8443)
    given = parser.parse_args()
    key = given.key.read_text("utf-8").strip()
    web.run_app(
        served(key), port=given.port, ssl_context=certified(given.host, given.root), access_log=None, print=None
    )


if __name__ == "__main__":
    main()
