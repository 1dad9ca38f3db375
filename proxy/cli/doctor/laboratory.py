"""The temporary sidecar, its provider, and the witnesses of each attempt; all on loopback, all gone afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore

from proxy.catalog.configuration import Configuration
from proxy.catalog.loader import load_profile
from proxy.cli.doctor.client import PROGRAMS, Mode
from proxy.cli.doctor.judge import Seen
from proxy.cli.doctor.provider import DOMAIN, PROFILE, Provider
from proxy.cli.doctor.tap import Tap
from proxy.cli.doctor.trap import Door, Trap
from proxy.cli.ephemeral import ephemeral
from proxy.cli.socket_folder import socket_folder
from proxy.cli.variables import PROXY, proxy_variables
from proxy.cli.zero import AGENT
from proxy.db.engine import DATABASE, open_database
from proxy.receipts.queries import recent
from proxy.settings import Account, Egress, Listener, Listeners, PrivateTarget, Settings, environment
from proxy.settings import Provider as Enabled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from sqlalchemy import Engine

    from proxy.cli.ephemeral import Ephemeral

LOOPBACK: Final = "127.0.0.1"
TRAPS: Final = "127.77.{}.{}"
TRUSTSTORE_PASSWORD: Final = b"changeit"
TRANSPARENT: Final = "redirected.sock"
MOST_CALLS: Final = 1000
LAUNCHER: Final = PROGRAMS / "private_hosts.py"


@dataclass(frozen=True, slots=True)
class Site:
    """One attempt's own name at the provider, its way to the proxy, and its witnesses.

    Attributes:
        folder: its home; exists, empty.
        launcher: put before a command, so that the name leads to the trap.
        variables: those of `briefcased run`, through the tap.
        values: what `client.filled` fills in.
        door: where the forwarder of a confined program comes; None where nothing is confined.
    """

    host: str
    folder: Path
    launcher: tuple[str, ...]
    variables: Mapping[str, str]
    values: Mapping[str, str]
    reached: asyncio.Event
    tap: Tap
    trap: Trap
    provider: Provider
    database: Engine
    door: Path | None

    def seen(self) -> Seen:
        """What the witnesses have seen so far."""
        calls = [call.decision for call in recent(self.database, limit=MOST_CALLS)]
        return Seen(
            with_key=self.provider.with_key[self.host],
            captures=frozenset(
                call["capture"] for call in calls if call.get("host") == self.host and call["decision"] == "allow"
            ),
            asked=self.tap.asked,
            statuses=tuple(self.tap.statuses),
            around=self.trap.connections,
        )

    def trust_alone(self) -> dict[str, str]:
        """The variables without those that name a proxy."""
        names = {form for name in (*PROXY, "NO_PROXY", "NODE_USE_ENV_PROXY") for form in (name, name.lower())}
        return {name: value for name, value in self.variables.items() if name not in names}


class Laboratory:
    """Opens a `Site` per attempt; at most as many as it was made for."""

    def __init__(
        self, folder: Path, redirected: Path, provider: Provider, box: Ephemeral, database: Engine, *, traps: bool
    ) -> None:
        self._folder: Final = folder
        self._redirected: Final = redirected
        self._provider: Final = provider
        self._box: Final = box
        self._traps: Final = traps
        self._database: Final = database
        self._opened = 0
        self._machines_hosts: Final = Path("/etc/hosts").read_text("utf-8") if traps else ""
        self._truststore: Final = folder / "truststore.p12"
        self._truststore.write_bytes(java_truststore(box.bundle.read_bytes()))
        self._token: Final = urlsplit(box.proxy["HTTPS_PROXY"]).password or ""

    def scrub(self, text: bytes) -> str:
        """What a program said, without the key and the agent's token."""
        clean = self._box.scrub(text).decode("utf-8", "replace")
        return clean.replace(self._token, "TOKEN").replace(self._provider.key, "KEY")

    @contextlib.asynccontextmanager
    async def site(self, mode: Mode) -> AsyncIterator[Site]:
        """A fresh name with fresh witnesses."""
        number = self._opened
        self._opened += 1
        host, folder = host_of(number), self._folder / f"attempt-{number}"
        folder.mkdir(mode=0o700)
        tap = Tap(*self._listener(mode))
        confined = mode is Mode.CONFINED
        trap = (Door if confined else Trap)(host, self._redirected)
        await tap.listen(LOOPBACK)
        launcher: tuple[str, ...] = ()
        door = self._redirected.parent / f"{number}.sock" if confined else None
        if door is not None:
            await trap.listen_at(door)
        elif self._traps:
            address = TRAPS.format(number // 250, number % 250 + 1)
            await trap.listen(address, self._provider.port)
            hosts = self._folder / f"hosts-{number}"
            hosts.write_text(f"{self._machines_hosts}\n{address} {host}\n")
            launcher = (sys.executable, "-I", "-S", str(LAUNCHER), str(hosts))
        try:
            yield Site(
                host=host,
                folder=folder,
                launcher=launcher,
                variables=proxy_variables(f"http://agent:{self._token}@{LOOPBACK}:{tap.port}", self._box.bundle),
                values=self._values(host, folder, tap, mode),
                reached=self._provider.reached[host],
                tap=tap,
                trap=trap,
                provider=self._provider,
                database=self._database,
                door=door,
            )
        finally:
            await tap.stop()
            await trap.stop()

    def _listener(self, mode: Mode) -> tuple[str, int]:
        """Where clients are sent: the base URL's listener is the first of the further ones."""
        if mode is not Mode.BASE_URL:
            return self._box.sidecar.proxy
        host, _, port = self._box.sidecar.endpoints[1].rpartition(":")
        return host, int(port)

    def _values(self, host: str, folder: Path, tap: Tap, mode: Mode) -> dict[str, str]:
        authority = f"{host}:{self._provider.port}"
        return {
            "url": f"http://{LOOPBACK}:{tap.port}/{authority}" if mode is Mode.BASE_URL else f"https://{authority}",
            "host": host,
            "port": str(self._provider.port),
            "folder": str(folder),
            "bundle": str(self._box.bundle),
            "key": self._box.stand_ins["SAMPLE_API_KEY"],
            "proxy_host": LOOPBACK,
            "proxy_port": str(tap.port),
            "truststore": str(self._truststore),
            "programs": str(PROGRAMS),
        }


@contextlib.asynccontextmanager
async def laboratory(folder: Path, *, attempts: int) -> AsyncIterator[Laboratory]:
    """Start everything in `folder`, for at most so many attempts. Raises `BriefcaseError`."""
    provider = Provider(f"sk-sample-{secrets.token_hex(16)}")
    root = await provider.start(folder)
    try:
        (folder / "sample.yaml").write_text(PROFILE.format(port=provider.port))
        profiles = {"sample": load_profile(folder / "sample.yaml")}
        names = {host_of(number): (LOOPBACK,) for number in range(attempts)}
        operators = {**environment(), "SAMPLE_API_KEY": provider.key}
        async with contextlib.AsyncExitStack() as stack:
            redirected = stack.enter_context(socket_folder(folder, TRANSPARENT)) / TRANSPARENT
            configuration = Configuration(_settings(redirected, root, attempts), profiles)
            box = await stack.enter_async_context(
                ephemeral(configuration, home=folder, label="doctor", environment=operators, hosts=names)
            )
            database = open_database(folder / DATABASE)
            stack.callback(database.dispose)
            yield Laboratory(folder, redirected, provider, box, database, traps=await private_hosts_work())
    finally:
        await provider.stop()


def host_of(number: int) -> str:
    """The name of an attempt."""
    return f"attempt-{number}.{DOMAIN}"


def _settings(redirected: Path, root: Path, attempts: int) -> Settings:
    targets = tuple(PrivateTarget(host=host_of(n), addresses=(f"{LOOPBACK}/32",)) for n in range(attempts))
    base_url = Listener(at=f"{LOOPBACK}:0", kind="base_url", agent=AGENT)
    transparent = Listener(at=f"unix:{redirected}", kind="transparent", agent=AGENT, proxy_protocol=True)
    account = Account(secrets={"api_key": "env:SAMPLE_API_KEY"})
    return Settings(
        version=1,
        providers={"sample": Enabled(accounts={"default": account}, ca_bundle=root)},
        listeners=Listeners(proxy=f"{LOOPBACK}:0", control=f"{LOOPBACK}:0", more=(base_url, transparent)),
        egress=Egress(allow_private=targets),
    )


async def confinement_works() -> bool:
    """Whether a program can be confined here."""
    if not sys.platform.startswith("linux"):
        return False
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy.cli.doctor.programs.namespaces", stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait() == 0


async def private_hosts_work() -> bool:
    """Whether a program can be given an /etc/hosts of its own, and loopback has more than one address."""
    if not sys.platform.startswith("linux"):
        return False
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", str(LAUNCHER), "--probe", "/etc/hosts", stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait() == 0


def java_truststore(bundle: bytes) -> bytes:
    """The certificates of a PEM bundle as a PKCS #12 trust store whose password is `changeit`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a public root has a serial number that RFC 5280 does not allow
        certs = x509.load_pem_x509_certificates(bundle)
    entries = [PKCS12Certificate(cert, str(number).encode()) for number, cert in enumerate(certs)]
    return serialize_java_truststore(entries, BestAvailableEncryption(TRUSTSTORE_PASSWORD))
