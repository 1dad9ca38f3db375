"""The image as this machine can build it, and compose.yaml carried out by podman, which has no compose here.

Only what our file uses is understood; any other key of a service is an error, so that nothing is passed over in silence.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
TOOLS: Final = ("buildah", "podman", "runc", "debootstrap")
CONTEXT: Final = (
    "Dockerfile",
    "requirements",
    "pyproject.toml",
    "proxy",
    "addons",
    "certs",
    "profiles",
    "deploy/docker",
)
HEALTHY_S: Final = 120.0
# What a machine without systemd and without CAP_SYS_RESOURCE needs; a usual one does with less.
CONTAINERS_CONF: Final = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
MAPPED: Final = frozenset({
    "image", "build", "user", "networks", "volumes", "secrets", "depends_on", "healthcheck", "stop_grace_period", "read_only",
    "cap_drop", "security_opt", "restart", "pids_limit", "entrypoint", "command", "environment", "group_add",
    "tmpfs", "shm_size", "network_mode",
})  # fmt: skip


def missing() -> list[str]:
    """The tools that are not here."""
    return [tool for tool in TOOLS if shutil.which(tool) is None] + ([] if os.geteuid() == 0 else ["root"])


@functools.cache
def environment() -> dict[str, str]:
    folder = Path(tempfile.mkdtemp(prefix="briefcased-podman-"))
    (folder / "containers.conf").write_text(CONTAINERS_CONF)
    certificates = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    trust = {"PIP_CERT": certificates} if certificates else {}
    return {**os.environ, **trust, "CONTAINERS_CONF": str(folder / "containers.conf")}


def run(*command: str, timeout_s: float = 120, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, env={**environment(), **more}, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=ROOT
    )
    assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done


def podman(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return run("podman", *arguments, **more)


def content() -> str:
    """A digest of everything that goes into the image."""
    files = [
        path for name in CONTEXT for path in ([ROOT / name] if (ROOT / name).is_file() else (ROOT / name).rglob("*"))
    ]
    digest = hashlib.sha256()
    for path in sorted(path for path in files if path.is_file() and "__pycache__" not in path.parts):
        digest.update(f"{path.relative_to(ROOT)}\0{path.stat().st_mode & 0o111}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def built(tag: str, *, epoch: int = 1_764_000_000) -> str:
    """Build the image under `tag`; what scripts/image printed last: name, size, id."""
    done = run("scripts/image", "--local-base", "--tag", tag, timeout_s=1500, SOURCE_DATE_EPOCH=str(epoch))
    return done.stdout.strip().splitlines()[-1]


def image() -> str:
    """An image of this tree; made once, as the build takes minutes. Workers of one run take turns."""
    name = f"localhost/briefcased:test-{content()}"
    with (Path(tempfile.gettempdir()) / "briefcased-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if podman("image", "exists", name, check=False).returncode != 0:
            built(name)
    return name


def inspected(name: str) -> dict[str, Any]:
    return json.loads(podman("image", "inspect", name).stdout)[0]


@dataclass
class Project:
    """compose.yaml under way. Every name begins with `prefix`; subnets are moved, so that two runs do not meet.

    `on_top` are files that are put on top of it; `images` those of services that have another one.
    """

    folder: Path
    image: str
    on_top: tuple[str, ...] = ()
    images: dict[str, str] = field(default_factory=dict)
    prefix: str = field(default_factory=lambda: f"bt{secrets.token_hex(3)}")

    def __post_init__(self) -> None:
        net = f"10.{100 + secrets.randbelow(100)}."
        shutil.copytree(ROOT / "deploy", self.folder / "deploy")
        for path in (self.folder / "deploy" / "compose").rglob("*"):
            if path.is_file():
                path.write_text(path.read_text().replace("10.213.", net))
        self.data = {}
        for name in ("compose.yaml", *self.on_top):
            self.data = merged(self.data, yaml.safe_load((ROOT / name).read_text().replace("10.213.", net)))

    def name(self, of: str) -> str:
        return f"{self.prefix}-{of}"

    def prepare(self, *networks: str) -> None:
        for network in networks:
            described = self.data["networks"][network]
            subnet = [f"--subnet={entry['subnet']}" for entry in described.get("ipam", {}).get("config", [])]
            internal = ["--internal"] if described.get("internal") else []
            podman("network", "create", *internal, *subnet, self.name(network))

    def start(self, service: str) -> subprocess.CompletedProcess[str]:
        return podman("run", "--detach", *self.arguments(service))

    def run(self, service: str) -> subprocess.CompletedProcess[str]:
        return podman("run", *self.arguments(service), check=False)

    def healthy(self, service: str) -> float:
        """Wait for the service's own health check; seconds that it took."""
        began = time.monotonic()
        kind, *command = self.data["services"][service]["healthcheck"]["test"]
        assert kind == "CMD"
        while podman("exec", self.name(service), *command, check=False).returncode != 0:
            assert time.monotonic() - began < HEALTHY_S, self.logs(service)
            assert podman("container", "exists", self.name(service), check=False).returncode == 0
            time.sleep(0.2)
        return time.monotonic() - began

    def logs(self, service: str) -> str:
        done = podman("logs", self.name(service), check=False)
        return done.stdout + done.stderr

    def arguments(self, service: str) -> list[str]:
        described = self.data["services"][service]
        assert set(described) <= MAPPED, set(described) - MAPPED
        entry, *rest = described.get("entrypoint", [""])
        return [
            f"--name={self.name(service)}", "--no-healthcheck", f"--user={described['user']}",
            *(["--read-only", "--read-only-tmpfs=false"] if described.get("read_only") else []),
            *(f"--cap-drop={capability}" for capability in described.get("cap_drop", ())),
            *(f"--security-opt={option.removesuffix(':true')}" for option in described.get("security_opt", ())),
            *(f"--group-add={group}" for group in described.get("group_add", ())),
            *(f"--env={name}={value}" for name, value in described.get("environment", {}).items()),
            *self._networks(service, described.get("networks", {})),
            *([f"--network={described['network_mode']}"] if "network_mode" in described else []),
            *(f"--tmpfs={path}" for path in described.get("tmpfs", ())),
            *([f"--shm-size={described['shm_size']}"] if "shm_size" in described else []),
            *(f"--volume={self._volume(text)}" for text in described.get("volumes", ())),
            *(f"--volume={self._secret(name)}:/run/secrets/{name}:ro" for name in described.get("secrets", ())),
            *([f"--entrypoint={entry}"] if entry else []),
            self.images.get(service, self.image), *rest, *described.get("command", ()),
        ]  # fmt: skip

    def _networks(self, service: str, networks: list[str] | dict[str, Any]) -> Iterator[str]:
        for name, how in networks.items() if isinstance(networks, dict) else {key: {} for key in networks}.items():
            options = [f"alias={service}", *([f"ip={how['ipv4_address']}"] if "ipv4_address" in how else [])]
            options += [f"alias={alias}" for alias in how.get("aliases", ())]
            yield f"--network={self.name(name)}:{','.join(options)}"

    def _secret(self, name: str) -> Path:
        """The file of a secret: `${VARIABLE:-USUAL}` in its name is the usual value."""
        return self.folder / re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", self.data["secrets"][name]["file"])

    def _volume(self, text: str) -> str:
        source, rest = text.split(":", 1)
        return f"{self.folder / source if source.startswith('.') else self.name(source)}:{rest}"

    def remove(self) -> None:
        for service in self.data["services"]:
            podman("rm", "--force", "--time=1", self.name(service), check=False)
        for kind, names in (("volume", self.data["volumes"]), ("network", self.data["networks"])):
            for name in names:
                podman(kind, "rm", "--force", self.name(name), check=False)


def merged(one: Any, other: Any) -> Any:
    """`other` on top of `one` as compose merges: mappings by key, lists one after the other, mounts by their target."""
    if isinstance(one, dict) and isinstance(other, dict):
        both = {key: merged(one[key], other[key]) if key in one else other[key] for key in other}
        return {**one, **both}
    if isinstance(one, list) and isinstance(other, list):
        mounted = {text.split(":")[1] for text in other if text.count(":")}
        return [text for text in one if text.partition(":")[2].split(":")[0] not in mounted] + other
    return other


@contextlib.contextmanager
def project(folder: Path, *on_top: str, **images: str) -> Iterator[Project]:
    """Removed at the end, whatever happened."""
    started = Project(folder, image(), on_top, images)
    try:
        yield started
    finally:
        started.remove()
