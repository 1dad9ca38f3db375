"""Starts what is compared, each in a process of its own, and the provider that all of them talk to."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from client import BrokenError, Target
from upstream import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

BENCH: Final = Path(__file__).parent
WAIT_S: Final = 30.0
DIRECT, MITMDUMP, FULL, INJECTION = "direct", "mitmdump", "briefcased", "injection alone"


@dataclass(frozen=True, slots=True)
class Contender:
    """One way from the client to the provider. `pid` is the proxy's, if there is one; `upstream` the provider's."""

    name: str
    target: Target
    pid: int | None
    upstream: int

    def order(self, measure: str, **how: float) -> str:
        """What the load generator is told."""
        return json.dumps(
            {"measure": measure, "target": asdict(self.target), "pid": self.pid, "upstream": self.upstream, **how}
        )


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores the proxy under test has, and which the client and the provider share; None leaves it open."""

    proxy: frozenset[int] | None
    others: frozenset[int] | None

    @classmethod
    def of_machine(cls) -> Cores:
        """The first core for the proxies, the rest for the others, where there are two."""
        first, *rest = sorted(os.sched_getaffinity(0))
        return cls(frozenset({first}), frozenset(rest)) if rest else cls(None, None)


@contextlib.contextmanager
def child(command: list[str], cores: frozenset[int] | None) -> Iterator[subprocess.Popen[str]]:
    """A process that ends, at the latest, when this context does."""
    variables = {**os.environ, "PYTHONPATH": str(BENCH.parent)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables) as started:
        if cores is not None:
            os.sched_setaffinity(started.pid, cores)
        try:
            yield started
        finally:
            started.terminate()
            try:
                started.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                started.kill()


def first_line(started: subprocess.Popen[str]) -> dict[str, Any]:
    """What a process of ours says when it listens. Raises `BrokenError` when it ended instead."""
    assert started.stdout is not None
    line = started.stdout.readline()
    if not line:
        raise BrokenError("a process ended before it said anything; its error stands above")
    said: dict[str, Any] = json.loads(line)
    return said


def measured(order: str, cores: frozenset[int] | None) -> dict[str, float]:
    """Run the load generator once."""
    with child([sys.executable, str(BENCH / "load.py"), order], cores) as started:
        return first_line(started)


@dataclass(frozen=True, slots=True)
class Provider:
    """The upstream: where it listens, and the real key that only the proxies of ours know."""

    folder: Path
    port: int
    pid: int
    key: str

    @property
    def root(self) -> Path:
        """PEM file of the root that its certificate stands below."""
        return self.folder / "root.pem"

    def target(self, proxy_port: int | None, bundle: Path, **how: str) -> Target:
        """This provider, reached through the proxy at `proxy_port` by a client that trusts `bundle`."""
        unasked = {"proxy_authorization": "", "authorization": "Bearer none", "key": "other"}
        return Target(host=HOST, port=self.port, proxy_port=proxy_port, bundle=str(bundle), **{**unasked, **how})


@contextlib.contextmanager
def contenders(folder: Path, cores: Cores) -> Iterator[list[Contender]]:
    """The provider and everything that is compared, fresh. The order is the order of the tables."""
    key = f"sk-bench-{secrets.token_hex(16)}"
    command = [sys.executable, str(BENCH / "upstream.py"), str(folder), key]
    with contextlib.ExitStack() as stack:
        started = stack.enter_context(child(command, cores.others))
        provider = Provider(folder, first_line(started)["port"], started.pid, key)
        yield [
            Contender(DIRECT, provider.target(None, provider.root), None, provider.pid),
            stack.enter_context(mitmdump(provider, cores)),
            stack.enter_context(ours(INJECTION, "injection.py", provider, cores)),
            stack.enter_context(ours(FULL, "full.py", provider, cores)),
        ]


@contextlib.contextmanager
def ours(name: str, script: str, provider: Provider, cores: Cores) -> Iterator[Contender]:
    """One of our own proxies, in a folder of its own."""
    own = provider.folder / script.removesuffix(".py")
    own.mkdir()
    (own / "root.pem").write_bytes(provider.root.read_bytes())
    command = [sys.executable, str(BENCH / script), str(own), str(provider.port), provider.key]
    with child(command, cores.proxy) as started:
        said = first_line(started)
        target = provider.target(said.pop("port"), own / "bundle.pem", key="right", **said)
        yield Contender(name, target, started.pid, provider.pid)


@contextlib.contextmanager
def mitmdump(provider: Provider, cores: Cores) -> Iterator[Contender]:
    """mitmdump as it ships: default addons, quiet, and the provider's root to verify with."""
    own = provider.folder / "mitmdump"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "mitmdump"), "--quiet", "--listen-host", "127.0.0.1"]
    command += ["--listen-port", str(port), "--set", f"confdir={own}"]
    command += ["--set", f"ssl_verify_upstream_trusted_ca={provider.root}"]
    bundle = own / "mitmproxy-ca-cert.pem"
    with child(command, cores.proxy) as started:
        _wait_for(port, bundle)
        yield Contender(MITMDUMP, provider.target(port, bundle), started.pid, provider.pid)


def _wait_for(port: int, file: Path) -> None:
    end_s = time.monotonic() + WAIT_S
    while time.monotonic() < end_s:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            if file.exists():
                return
        time.sleep(0.05)
    raise BrokenError("mitmdump did not start")
