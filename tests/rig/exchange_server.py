"""An authorization server that is not ours (PyPI `authgent-server`): token exchange (RFC 8693) and JWT grants (RFC 7523).

It is a process of its own with TLS on loopback, started once per test module:

    with exchange_server(folder, trusted=[issuer], roots=[root]) as server:
        client = server.register("agent", TOKEN_EXCHANGE)

In what it issues, `act` is the client that asked, around the `act` of the subject's token.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import jwt

from certs.authority import CertificateAuthority
from proxy.clock import SystemClock
from tests.rig.provider import server_context

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOST = "127.0.0.1"
START_S = 30
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


@dataclass(frozen=True)
class Client:
    id: str
    secret: str


@dataclass
class ExchangeServer:
    """`root` is its CA; exchanged tokens live for `ttl_s`."""

    issuer: str
    root: Path
    ttl_s: int
    log: Path

    @functools.cached_property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.root))

    @functools.cached_property
    def keys(self) -> jwt.PyJWKSet:
        """What its tokens are verified with."""
        with self.client() as client:
            return jwt.PyJWKSet.from_dict(client.get("/.well-known/jwks.json").json())

    def client(self) -> httpx.Client:
        return httpx.Client(verify=self.trust, trust_env=False, base_url=self.issuer, timeout=20)

    def register(self, name: str, *grants: str, resources: Sequence[str] = ()) -> Client:
        """A client (RFC 7591) with the scopes `read write`."""
        asked = {
            "client_name": name,
            "grant_types": list(grants),
            "scope": "read write",
            "allowed_resources": [*resources],
        }
        with self.client() as client:
            made = client.post("/register", json=asked)
        assert made.status_code == 201, made.text
        return Client(made.json()["client_id"], made.json()["client_secret"])

    def token(self, client: Client, **form: str) -> dict[str, Any]:
        """What the token endpoint gives to somebody else than the sidecar; this server asks nobody for a secret."""
        with self.client() as http:
            answer = http.post("/token", data={"client_id": client.id, **form})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def revoke(self, client: Client, token: str) -> None:
        with self.client() as http:
            form = {"client_id": client.id, "client_secret": client.secret, "token": token}
            assert http.post("/revoke", data=form).status_code == httpx.codes.OK

    def verified(self, token: str, audience: str) -> dict[str, Any]:
        """The claims of `token` for a resource server `audience`. Raises `jwt.PyJWTError`."""
        key = self.keys[jwt.get_unverified_header(token)["kid"]]
        required = {"require": ["exp", "iat", "sub", "jti", "client_id"]}
        return dict(
            jwt.decode(token, key, algorithms=["ES256"], audience=audience, issuer=self.issuer, options=required)
        )


@contextlib.contextmanager
def exchange_server(
    folder: Path, *, trusted: Sequence[str] = (), roots: Sequence[Path] = (), ttl_s: int = 300
) -> Iterator[ExchangeServer]:
    """The server, ended at the end.

    Args:
        folder: for its certificate and its database.
        trusted: issuers whose assertions it takes; their keys are at `/.well-known/jwks.json`, below `roots`.
        ttl_s: how long an exchanged token lives.
    """
    authority = CertificateAuthority.ephemeral(patterns=(HOST,), clock=SystemClock())
    server_context(authority, HOST, folder)
    root, log = folder / "exchange-server-root.pem", folder / "exchange-server.log"
    root.write_bytes(authority.bundle_pem())
    (folder / "exchange-trust.pem").write_bytes(b"".join(path.read_bytes() for path in (root, *roots)))
    listener = socket.create_server((HOST, 0))
    issuer = f"https://{HOST}:{listener.getsockname()[1]}"
    told = {
        "SERVER_URL": issuer, "SECRET_KEY": os.urandom(32).hex(), "EXCHANGE_TOKEN_TTL": str(ttl_s), "TOKEN_RATE_LIMIT": "100000",
        "REGISTER_RATE_LIMIT": "100000", "DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'exchange.db'}",
        "TRUSTED_CHAINING_ISSUERS": json.dumps(list(trusted)),
    }  # fmt: skip
    pem = str(folder / f"{HOST}.pem")
    command = [sys.executable, "-m", "uvicorn", "authgent_server.app:create_app", "--factory", "--no-access-log"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--fd", str(listener.fileno()), "--ssl-keyfile", pem, "--ssl-certfile", pem],
            pass_fds=[listener.fileno()], stdout=output, stderr=output, cwd=folder,
            env={"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(folder / "exchange-trust.pem"),
                 **{f"AUTHGENT_{name}": value for name, value in told.items()}},
        )  # fmt: skip
    server = ExchangeServer(issuer, root, ttl_s, log)
    try:
        _wait(server, process)
        yield server
    finally:
        listener.close()
        process.kill()
        process.wait()


def _wait(server: ExchangeServer, process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and process.poll() is None:
        with contextlib.suppress(httpx.TransportError), server.client() as client:
            if client.get("/health").status_code == httpx.codes.OK:
                return
    raise AssertionError(server.log.read_text())
