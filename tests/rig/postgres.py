"""A PostgreSQL server of a test's own: TLS, passwords, on loopback; it does not run as root."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization

from certs.authority import CertificateAuthority
from proxy.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "briefcased"
PASSWORD = "database-password-0123456789"
ACCOUNT = "nobody"


@dataclass(frozen=True)
class Postgres:
    """A running server; `ca` is the root of its certificate, for `localhost`."""

    port: int
    ca: Path
    folder: Path

    def settings(self, **changes: Any) -> dict[str, Any]:
        """What `state.shared` says to reach it."""
        return {"host": "localhost", "port": self.port, "ca_bundle": str(self.ca), "password": "env:PG", **changes}

    def stop(self) -> None:
        """At once, as if the machine were gone."""
        tool("pg_ctl", "stop", "-D", str(self.folder / "data"), "-m", "immediate", "-w")


def found(name: str) -> str | None:
    """The path of one of PostgreSQL's programs, the newest."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[-3]))
    return str(installed[-1]) if installed else shutil.which(name)


def tool(name: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs, as somebody else where we are root."""
    program = found(name)
    assert program is not None
    other = {"user": ACCOUNT, "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    subprocess.run([program, *arguments], check=True, capture_output=True, cwd="/", timeout=60, **other)


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A fresh cluster with the database `briefcased`."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    try:
        yield from _served(folder)
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            tool("pg_ctl", "stop", "-D", str(folder / "data"), "-m", "immediate")
        shutil.rmtree(folder, ignore_errors=True)


def certified(folder: Path) -> Path:
    """A key and a certificate for `localhost` in `folder`; the file with its root."""
    authority = CertificateAuthority.ephemeral(patterns=("localhost",), clock=SystemClock())
    leaf, pem = authority.leaf("localhost"), serialization.Encoding.PEM
    key = leaf.key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(b"".join(cert.public_bytes(pem) for cert in (leaf.cert, *leaf.chain)))
    (folder / "server.key").touch(mode=0o600)
    (folder / "server.key").write_bytes(key)
    (folder / "root.pem").write_bytes(authority.bundle_pem())
    return folder / "root.pem"


def _served(folder: Path) -> Iterator[Postgres]:
    ca = certified(folder)
    (folder / "password").write_text(PASSWORD)
    if os.geteuid() == 0:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, ACCOUNT, "nogroup")
    data = folder / "data"
    tool("initdb", "-D", str(data), "-U", USER, "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "-N")
    files = {"ssl_cert_file": "server.pem", "ssl_key_file": "server.key"}
    options = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(folder),
        "ssl": "on",
        "fsync": "off",  # of the test's server only
        **{name: str(folder / file) for name, file in files.items()},
    }
    with (data / "postgresql.auto.conf").open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in options.items())
    port = _started(data)
    import psycopg

    where = {"host": "localhost", "port": port, "user": USER, "password": PASSWORD, "dbname": "postgres"}
    with psycopg.connect(**where, autocommit=True) as connection:
        connection.execute("CREATE DATABASE briefcased")
    yield Postgres(port, ca, folder)


def _started(data: Path, attempts: int = 3) -> int:
    """Its port: a free one, and another one where somebody else takes it meanwhile."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with (data / "postgresql.auto.conf").open("a") as file:  # of two entries the later one counts
        file.write(f"port = '{port}'\n")
    try:
        tool("pg_ctl", "start", "-D", str(data), "-w", "-l", str(data.parent / "log"))
    except subprocess.CalledProcessError:
        if attempts == 1:
            raise
        return _started(data, attempts - 1)
    return port
