"""Real clients against real leaves: what they accept, and that they hold a stolen intermediate to its constraints."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

from certs.authority import CertificateAuthority
from certs.bundle import merged_bundle
from certs.issue import Issuer, Span, intermediate_certificate, leaf_certificate, new_key
from certs.leaf import Leaf
from tests.certs.conftest import handshake, tls_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NODE_CLIENT = """
const [port, host] = process.argv.slice(1);
const net = require("net");
const name = net.isIP(host) ? undefined : host;
const socket = require("tls").connect(
  {port: Number(port), host: "127.0.0.1", servername: name,
   checkServerIdentity: (_, cert) => require("tls").checkServerIdentity(host, cert)},
  () => { socket.write("GET / HTTP/1.1\\r\\n\\r\\n"); });
socket.on("data", (data) => { process.stdout.write(data); socket.destroy(); });
socket.on("error", (error) => { console.error(error.code, error.message); process.exit(3); });
"""

type Client = Callable[[Leaf, Path, str], str]


class RefusedError(Exception):
    """The client did not accept the certificate."""


def python(leaf: Leaf, bundle: Path, host: str) -> str:
    try:
        handshake(leaf, bundle.read_bytes(), host)
    except ssl.SSLCertVerificationError as error:
        raise RefusedError(error.verify_message) from error
    return "ok"


def curl(leaf: Leaf, bundle: Path, host: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    with tls_server(leaf) as port:
        command = ["curl", "-sS", "--noproxy", "*", "--max-time", "5", "--cacert", str(bundle)]
        command += ["--connect-to", f"{shown}:443:127.0.0.1:{port}", f"https://{shown}/"]
        return run(command, 60)


def node(leaf: Leaf, bundle: Path, host: str) -> str:
    with tls_server(leaf) as port:
        command = ["node", "-e", NODE_CLIENT, "--", str(port), host]
        return run(command, 3, {"NODE_EXTRA_CA_CERTS": str(bundle)})


def run(command: list[str], refusal: int, environment: dict[str, str] | None = None) -> str:
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", **(environment or {})}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode == refusal:
        raise RefusedError(done.stderr)
    assert done.returncode == 0, done.stderr
    return done.stdout[-2:]


CLIENTS = [python] + [client for client in (curl, node) if shutil.which(client.__name__)]
WRONG_NAME = r"(?i)mismatch|ALTNAME|no alternative certificate|not valid for"
UNKNOWN_ROOT = r"(?i)unable to get (local )?issuer|UNABLE_TO_(GET|VERIFY)|self.signed"
CONSTRAINED = r"(?i)(permitted|excluded).(subtree.)?violation"
each_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)


@pytest.fixture
def ca(clock):
    return CertificateAuthority.ephemeral(patterns=["api.example.test", "*.wild.test", "127.0.0.1", "::1"], clock=clock)


@pytest.fixture
def bundle(ca, tmp_path):
    path = tmp_path / "bundle.pem"
    path.write_bytes(ca.bundle_pem())
    return path


@each_client
@pytest.mark.parametrize("host", ["api.example.test", "a.wild.test", "127.0.0.1", "::1"])
def test_clients_accept_a_leaf_with_the_root_alone(ca, bundle, client: Client, host):
    assert client(ca.leaf(host), bundle, host) == "ok"


@each_client
def test_clients_accept_the_merged_bundle(ca, bundle, client: Client):
    bundle.write_bytes(merged_bundle(ca.bundle_pem(), environment={}))
    assert client(ca.leaf("api.example.test"), bundle, "api.example.test") == "ok"


@each_client
def test_clients_refuse_another_host(ca, bundle, client: Client):
    with pytest.raises(RefusedError, match=WRONG_NAME):
        client(ca.leaf("api.example.test"), bundle, "other.example.test")


@each_client
def test_clients_refuse_another_root(ca, bundle, client: Client, clock):
    other = CertificateAuthority.ephemeral(patterns=["api.example.test"], clock=clock)
    with pytest.raises(RefusedError, match=UNKNOWN_ROOT):
        client(other.leaf("api.example.test"), bundle, "api.example.test")


def forged(ca: CertificateAuthority, clock, host: str) -> Leaf:
    """What a thief of the intermediate's key can make."""
    issuer = ca._source.issuer(ca._hosts)
    key = new_key()
    span = Span.starting(clock.now_ms, 3600, ends_ms=issuer.not_after_ms)
    return Leaf(leaf_certificate(key, issuer, host, span), key, issuer.chain, span.not_after_ms)


@each_client
@pytest.mark.parametrize("host", ["www.bank.test", "example.test", "127.0.0.2", "::2"])
def test_clients_refuse_a_leaf_outside_the_constraints(ca, bundle, client: Client, clock, host):
    with pytest.raises(RefusedError, match=CONSTRAINED):
        client(forged(ca, clock, host), bundle, host)


@pytest.mark.parametrize(
    ("patterns", "inside", "outside"),
    [
        (["192.0.2.7"], "192.0.2.7", ["www.bank.test", "192.0.2.8", "::1"]),
        (["::1"], "::1", ["www.bank.test", "192.0.2.8", "::2"]),
        (["api.example.test"], "api.example.test", ["www.bank.test", "192.0.2.8", "::1"]),
    ],
)
def test_kinds_of_names_without_a_pattern_are_refused_by_a_client(clock, patterns, inside, outside):
    ca = CertificateAuthority.ephemeral(patterns=patterns, clock=clock)
    handshake(forged(ca, clock, inside), ca.bundle_pem(), inside)
    for host in outside:
        with pytest.raises(ssl.SSLCertVerificationError, match="subtree"):
            handshake(forged(ca, clock, host), ca.bundle_pem(), host)


def test_the_intermediate_cannot_make_another_ca(ca, bundle, clock):
    issuer = ca._source.issuer(ca._hosts)
    key, span = new_key(), Span.starting(clock.now_ms, 3600, ends_ms=issuer.not_after_ms)
    second = intermediate_certificate(key, issuer, ca._hosts, span)
    below = Issuer(second, key, (second, *issuer.chain))
    leaf_key = new_key()
    leaf = Leaf(leaf_certificate(leaf_key, below, "api.example.test", span), leaf_key, below.chain, span.not_after_ms)
    with pytest.raises(ssl.SSLCertVerificationError, match="path length"):
        handshake(leaf, bundle.read_bytes(), "api.example.test")


def test_the_engines_own_context_takes_a_leaf(ca, bundle):
    """`proxy/engine/tls.py` hands cryptography's objects to pyOpenSSL; this version takes them."""
    from proxy.engine.tls import AgentSide

    side = AgentSide(ca)
    first = side.connection("api.example.test")
    context = ssl.create_default_context(cafile=str(bundle))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    pump(first, context, "api.example.test")
    assert side.connection("api.example.test").get_context() is first.get_context()


def pump(server, context: ssl.SSLContext, host: str) -> None:
    """A handshake between pyOpenSSL's server and Python's client, in memory."""
    from OpenSSL import SSL

    server = SSL.Connection(server.get_context(), None)
    server.set_accept_state()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=host)
    for step in (client.do_handshake, server.do_handshake) * 3:
        with contextlib.suppress(ssl.SSLWantReadError, SSL.WantReadError):
            step()
        if data := outgoing.read():
            server.bio_write(data)
        with contextlib.suppress(SSL.WantReadError):
            incoming.write(server.bio_read(65_536))
    assert client.version() == "TLSv1.3"
    assert client.getpeercert()["subjectAltName"] == (("DNS", host),)
