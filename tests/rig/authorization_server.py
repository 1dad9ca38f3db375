"""A certified authorization server (npm `oidc-provider`) and an independent resource server (npm `oauth4webapi`).

Both are one Node process with TLS on loopback, started once per test module:

    @pytest.fixture(scope="module")
    def server(tmp_path_factory):
        with authorization_server(tmp_path_factory.mktemp("as")) as server:
            yield server

Clients are in `clients`; `register` makes more. Every client may ask for the resource `server.resource`, whose tokens are
JWTs; `server.resource + "/short"` gives tokens that live for `short_ttl_s`. DPoP proofs need nonces, refresh tokens rotate.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import ssl
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from joserfc import jwk

from certs.authority import CertificateAuthority
from proxy.clock import SystemClock
from tests.rig.node import installed
from tests.rig.provider import server_context

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NODE = Path(__file__).parent / "oauth"
START_S = 60
SECRET = "rig-client-secret-REAL-0123456789abcdef"
REDIRECT = "http://127.0.0.1/callback"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
PRE_AUTHORIZED = "urn:ietf:params:oauth:grant-type:pre-authorized_code"
PERSON = ["authorization_code", "refresh_token", DEVICE]
MTLS_NAME = "machine.client.test"


def clients(signing_key: jwk.ECKey) -> list[dict[str, Any]]:
    """`machine*` ask for themselves (client_credentials), `app*` for a person; all secrets are `SECRET`."""
    machine = {"grant_types": ["client_credentials"], "response_types": [], "redirect_uris": []}
    person = {
        "grant_types": PERSON,
        "response_types": ["code"],
        "redirect_uris": [REDIRECT],
        "application_type": "native",
    }
    secret = {"client_secret": SECRET, "authorization_details_types": ["payment", "files"]}
    signed = {
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256",
        "jwks": {"keys": [signing_key.as_dict(private=False)]},
    }
    certified = {"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": MTLS_NAME}
    open_ = {"token_endpoint_auth_method": "none"}
    return [
        {"client_id": "machine", **machine, **secret},
        {"client_id": "machine:needs encoding", **machine, **secret},
        {"client_id": "machine-post", **machine, **secret, "token_endpoint_auth_method": "client_secret_post"},
        {"client_id": "machine-jwt", **machine, **signed},
        {"client_id": "machine-secret-jwt", **machine, **secret, "token_endpoint_auth_method": "client_secret_jwt"},
        {"client_id": "machine-mtls", **machine, **certified, "tls_client_certificate_bound_access_tokens": True},
        {"client_id": "machine-dpop", **machine, **secret, "dpop_bound_access_tokens": True},
        {"client_id": "app", **person, **secret},
        {"client_id": "app-post", **person, **secret, "token_endpoint_auth_method": "client_secret_post"},
        {"client_id": "app-jwt", **person, **signed},
        {"client_id": "app-mtls", **person, **certified, "tls_client_certificate_bound_access_tokens": True},
        {"client_id": "app-public", **person, **open_},
        {"client_id": "app-dpop", **person, **open_, "dpop_bound_access_tokens": True},
        {"client_id": "app-par", **person, **secret, "require_pushed_authorization_requests": True},
        {"client_id": "operators", **person, **open_},
        {"client_id": "wallet", **person, **open_, "grant_types": [*PERSON, PRE_AUTHORIZED]},
    ]


@dataclass(frozen=True)
class Keys:
    """What the clients are known by, as PEM files: `signing` an ES256 key, `certificate` a key with its chain."""

    signing: Path
    certificate: Path
    client_ca: Path
    public: jwk.ECKey = field(repr=False)


@dataclass
class AuthorizationServer:
    """`root` is the CA of both servers; `short_ttl_s` is how long tokens for `resource + "/short"` live."""

    issuer: str
    resource: str
    root: Path
    keys: Keys
    folder: Path
    authority: CertificateAuthority
    short_ttl_s: int = 2

    @property
    def port(self) -> int:
        return int(self.issuer.rpartition(":")[2])

    @property
    def resource_port(self) -> int:
        return int(self.resource.rpartition(":")[2])

    @property
    def host(self) -> str:
        return self.issuer.removeprefix("https://").rpartition(":")[0]

    def egress(self, *others: Path) -> dict[str, Any]:
        """The setting `egress` of a sidecar that may reach both; `others` are further roots that it trusts."""
        bundle = self.folder / f"bundle-{len(others)}.pem"
        bundle.write_bytes(b"".join(path.read_bytes() for path in (self.root, *others)))
        return {"allow_private": [{"host": self.host, "addresses": ["127.0.0.1/32"]}], "ca_bundle": str(bundle)}

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.root))

    def client(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(verify=self.trust(), trust_env=False, timeout=20, base_url=self.issuer, **options)

    async def control(self, path: str, value: object = None, *, at: str | None = None) -> Any:
        """`/rig/...` of the authorization server, or of the resource server (`at=server.resource`)."""
        async with self.client() as client:
            answer = await client.post((at or self.issuer) + path, json={} if value is None else value)
            return answer.raise_for_status().json()

    async def requests(self, path: str | None = None, *, at: str | None = None) -> list[dict[str, Any]]:
        """What has come since the last time that this was asked, oldest first: method, path, url, headers, body."""
        seen = await self.control("/rig/requests", {"forget": True}, at=at)
        return [request for request in seen if path in (None, request["path"])]

    async def faults(self, *faults: Mapping[str, Any], at: str | None = None) -> None:
        """What the next requests get instead of an answer; each is as `tests/rig/oauth/control.mjs` says."""
        await self.control("/rig/faults", list(faults), at=at)

    async def register(self, **metadata: Any) -> dict[str, Any]:
        """A further client (RFC 7591), with its `client_id` and, unless it is public, its `client_secret`."""
        async with self.client() as client:
            answer = await client.post("/reg", json=metadata)
            assert answer.status_code == 201, answer.text
            return dict(answer.json())


@contextlib.contextmanager
def authorization_server(
    folder: Path, *, host: str = "127.0.0.1", short_ttl_s: int = 2, **settings: Any
) -> Iterator[AuthorizationServer]:
    """Both servers, ended at the end. Skips the test where Node is missing and cannot be had.

    Args:
        folder: for certificates and keys.
        host: an address, or a name that the sidecar has pinned to 127.0.0.1.
        short_ttl_s: see `AuthorizationServer`.
        settings: `resources` ({identifier: {scope, ttl, format}}), `require_dpop_nonce`, `rotate_refresh_tokens`,
            `device_code_ttl_s`, `device_interval_s`, `clients` (more of them), `people` ({account: claims} for ID tokens).
    """
    import pytest

    if (why := installed(NODE)) is not None:
        pytest.skip(why)
    authority = CertificateAuthority.ephemeral(patterns=(host,), clock=SystemClock())
    server_context(authority, host, folder)
    root = folder / "authorization-server-root.pem"
    root.write_bytes(authority.bundle_pem())
    keys = new_keys(folder)
    told = {
        "host": host, "tls": str(folder / f"{host}.pem"), "client_ca": str(keys.client_ca), "short_ttl_s": short_ttl_s,
        "resources": {}, "require_dpop_nonce": True, "rotate_refresh_tokens": True, "device_code_ttl_s": 600, "device_interval_s": 1, "people": {},
        **settings, "clients": [*clients(keys.public), *settings.get("clients", [])],
    }  # fmt: skip
    process = subprocess.Popen(
        ["node", str(NODE / "authorization_server.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=(folder / "node.log").open("wb"), env={"PATH": os.environ["PATH"], "NODE_EXTRA_CA_CERTS": str(root)},
    )  # fmt: skip
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(told).encode() + b"\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], START_S)
        line = process.stdout.readline() if ready else b""
        assert line, (folder / "node.log").read_text()
        at = json.loads(line)
        yield AuthorizationServer(at["issuer"], at["resource"], root, keys, folder, authority, short_ttl_s)
    finally:
        process.kill()
        process.communicate()


def new_keys(folder: Path) -> Keys:
    """A signing key; and a CA with one client certificate, whose only name is `MTLS_NAME`."""
    signing = ec.generate_private_key(ec.SECP256R1())
    pem = signing.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    paths = [folder / name for name in ("signing.pem", "certificate.pem", "client-ca.pem")]
    paths[0].write_bytes(pem)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("Rig client CA", ca_key, "Rig client CA", ca_key, x509.BasicConstraints(ca=True, path_length=0))
    leaf = _certificate("machine", key, "Rig client CA", ca_key, x509.SubjectAlternativeName([x509.DNSName(MTLS_NAME)]))
    private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    paths[1].write_bytes(private + leaf.public_bytes(_PEM))
    paths[2].write_bytes(ca.public_bytes(_PEM))
    public = jwk.ECKey.import_key(pem, {"kid": "rig-signing", "use": "sig", "alg": "ES256"})
    return Keys(*paths, public)


_PEM = serialization.Encoding.PEM


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, extension: Any
) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        .sign(issuer_key, hashes.SHA256())
    )
