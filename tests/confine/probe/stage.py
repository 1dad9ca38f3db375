"""Two network namespaces with a cable between them: inside, where an agent would be, and the outside world.

User, mount and PID namespaces are of the stage's own too: the check sees no process, no socket under /run and no file
of the machine that the tests run on, and no packet leaves for it. No privilege is needed.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.confine.probe import world

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[3]
TOOLS = ("unshare", "nsenter", "ip", "nft", "setpriv", "mount")
TIMEOUT_S = "0.3"
WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
GATEWAY, AGENT, GATEWAY_6, AGENT_6 = "10.77.0.1", "10.77.0.2", "fd77::1", "fd77::2"

PROBE = """
import dataclasses, json, os, pathlib, sys
from proxy.confine.probe.check import probe
from proxy.confine.probe.plan import Plan
home = pathlib.Path(os.environ["BRIEFCASED_HOME"])
found = probe(Plan(environment=dict(os.environ), state=(home,), timeout_s=float(sys.argv[1])))
print(json.dumps({"attempts": [dataclasses.asdict(attempt) for attempt in found]}))
"""


@dataclass
class Checked:
    """One run of the check."""

    code: int
    report: dict
    err: str

    @classmethod
    def of(cls, done: subprocess.CompletedProcess[str]) -> Checked:
        assert done.stdout, done.stderr
        return cls(done.returncode, json.loads(done.stdout), done.stderr)

    def states(self) -> dict[str, str]:
        """By way: open before closed before unknown."""
        found: dict[str, str] = {}
        for rank in ("unknown", "closed", "open"):
            found |= {entry["way"]: rank for entry in self.report["attempts"] if entry["state"] == rank}
        return found

    def open(self) -> set[str]:
        return {way for way, state in self.states().items() if state == "open"}

    def seen(self, way: str) -> set[str]:
        return {entry["seen"] for entry in self.report["attempts"] if entry["way"] == way}


@dataclass
class Stage:
    """`inside` and `outside` are process ids in the namespaces."""

    folder: Path
    outside: int
    inside: int
    world: subprocess.Popen[str]
    extra: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def inside_as_seen_outside(self) -> str:
        return _as_seen_from(self.outside, self.inside)

    def command(self, *command: str, rights: bool = True) -> list[str]:
        """`command` as it runs inside; without `rights` it has no capability."""
        return [*entering(self.inside), *(() if rights else WITHOUT_RIGHTS), *command]

    def run(self, *command: str, rights: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*command, rights=rights), env=self.environment(**variables), capture_output=True, text=True,
            timeout=180, check=False, cwd=ROOT,
        )  # fmt: skip

    def start(self, program: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """A Python program inside that has printed its first line."""
        process = subprocess.Popen(
            self.command(sys.executable, "-c", program, *arguments), env=self.environment(**variables),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        self.extra.append(process)
        assert process.stdout is not None
        assert process.stdout.readline(), "it ended before it was ready"
        return process

    def environment(self, **variables: str) -> dict[str, str]:
        own = {"BRIEFCASED_HOME": str(self.folder / "home"), "PYTHONPATH": str(ROOT), "PATH": "/usr/sbin:/usr/bin:/bin"}
        return {**own, "HOME": str(self.folder), **variables}

    def check(self, *options: str, rights: bool = False, **variables: str) -> Checked:
        """The command of the product, inside."""
        command = [sys.executable, "-m", "proxy", "doctor", "--confinement", "--from-here", "--json"]
        done = self.run(*command, "--timeout", TIMEOUT_S, *options, rights=rights, **variables)
        return Checked.of(done)

    def probe(self, *, rights: bool = False, **variables: str) -> Checked:
        """The same check without the command line, which takes longer to load than the check to run."""
        done = self.run(sys.executable, "-c", PROBE, TIMEOUT_S, rights=rights, **variables)
        return Checked.of(done)

    def rules(self, text: str) -> None:
        """nftables rules of the inside."""
        loaded = self.run("nft", text)
        assert loaded.returncode == 0, loaded.stderr

    def outside_rules(self, text: str) -> None:
        """nftables rules of the world outside."""
        self.outside_commands(f"nft '{text}'")

    def outside_commands(self, *lines: str) -> None:
        """Lines of shell for the world outside."""
        _all(self.outside, *lines)

    def counts(self) -> dict[str, dict[str, int]]:
        """What reached the outside world: `packets` by protocol and place, `accepted` connections by place."""
        time.sleep(0.05)  # the sniffer reads what has already arrived
        assert self.world.stdin is not None
        assert self.world.stdout is not None
        self.world.stdin.write("\n")
        self.world.stdin.flush()
        return json.loads(self.world.stdout.readline())


def entering(pid: int) -> list[str]:
    return ["nsenter", "-t", str(pid), "-U", "-m", "-n", "-p", "--preserve-credentials"]


def _holder(*command: str) -> tuple[subprocess.Popen[bytes], int]:
    """A process that keeps namespaces; the id of its only child, which is in all of them."""
    process = subprocess.Popen([*command, "sleep", "infinity"])
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        for child in children.read_text().split():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "sleep":
                    return process, int(child)
                inner = Path(f"/proc/{child}/task/{child}/children").read_text().split()
                if inner and Path(f"/proc/{inner[0]}/comm").read_text().strip() == "sleep":
                    return process, int(inner[0])
        time.sleep(0.01)
    process.kill()
    pytest.skip("this kernel gives no user, network and PID namespaces")


def _all(pid: int, *lines: str) -> None:
    done = subprocess.run([*entering(pid), "sh", "-euc", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def standing(folder: Path) -> Iterator[Stage]:
    """A stage on which every way out is open, until rules close them."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")
    isolated = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
    outer, outside = _holder(*isolated, "--user", "--map-root-user")
    inner, inside = _holder(*entering(outside), *isolated)
    started: list[subprocess.Popen[str]] = []
    try:
        _connect(folder, outside, inside)
        started.append(_world(outside))
        stage = Stage(folder, outside, inside, started[0])
        yield stage
        started += stage.extra
    finally:
        for process in (*started, inner, outer):
            process.kill()
            process.wait()


def _connect(folder: Path, outside: int, inside: int) -> None:
    owned: Sequence[str] = [f"ip addr add {address}/32 dev lo" for address in world.ADDRESSES]
    owned_6 = [f"ip addr add {address}/128 dev lo nodad" for address in world.ADDRESSES_6]
    _all(
        outside,
        # `ip` counts process ids of its own namespace: the agent's is a descendant, found by its order.
        "ip link set lo up",
        "ip link add world type veth peer name eth0",
        f"ip link set eth0 netns {_as_seen_from(outside, inside)}",
        f"ip addr add {GATEWAY}/24 dev world",
        f"ip addr add {GATEWAY_6}/64 dev world nodad",
        "ip link set world up",
        *owned,
        *owned_6,
    )
    (folder / "resolv.conf").write_text("nameserver 10.77.0.1\noptions timeout:1 attempts:1\n")
    (folder / "hosts").write_text("127.0.0.1 localhost\n9.9.9.9 example.com\n")
    _all(
        inside,
        "ip link set lo up",
        f"ip addr add {AGENT}/24 dev eth0",
        f"ip addr add {AGENT_6}/64 dev eth0 nodad",
        "ip link set eth0 up",
        f"ip route add default via {GATEWAY}",
        f"ip route add default via {GATEWAY_6}",
        "mount -t tmpfs tmpfs /run",
        f"mount --bind {folder}/resolv.conf /etc/resolv.conf",
        f"mount --bind {folder}/hosts /etc/hosts",
    )


def _as_seen_from(outside: int, inside: int) -> str:
    """The process id of `inside` in the PID namespace of `outside` (`NSpid`, proc_pid_status(5))."""
    depth = len(_numbers(outside))
    return _numbers(inside)[depth - 1]


def _numbers(pid: int) -> list[str]:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))


def _world(outside: int) -> subprocess.Popen[str]:
    command = [*entering(outside), sys.executable, str(Path(world.__file__))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process
