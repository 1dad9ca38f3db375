"""The image, built and run: small rights, no tools for an intruder, and the topology of compose.yaml by podman."""

from __future__ import annotations

import json
import tarfile

import pytest

from tests.deploy import podman as here
from tests.deploy.podman import podman, project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(here.missing()), reason=f"not on this machine: {', '.join(here.missing())}"),
]
KEY = (here.ROOT / "deploy" / "compose" / "sample_api_key").read_text().strip()
HARDENED = ("--network=none", "--no-healthcheck", "--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL",
            "--security-opt=no-new-privileges")  # fmt: skip


@pytest.fixture(scope="module")
def image():
    return here.image()


def shell(image, script):
    return podman("run", "--rm", *HARDENED, "--entrypoint=/bin/sh", image, "-c", script).stdout


def test_it_runs_without_root_capabilities_or_a_place_to_write(image):
    said = shell(
        image, "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status; touch /x 2>&1; briefcased --version"
    )
    uid, *status, refused, version = said.splitlines()
    assert uid == "65532"
    assert [line.split() for line in status] == [["CapEff:", "0" * 16], ["CapBnd:", "0" * 16], ["NoNewPrivs:", "1"]]
    assert "Read-only file system" in refused
    assert version.startswith("briefcased ")


def test_nothing_in_it_installs_compiles_or_changes_its_rights(image):
    tools = "pip pip3 gcc cc apt apt-get dpkg perl make"
    said = shell(
        image,
        f"for tool in {tools}; do command -v $tool; done; find / -xdev -type f -perm /6000; python3 -c 'import pip'; echo $?",
    )
    assert said == "1\n"
    said = shell(image, "find / -xdev -uid 65532 2>/dev/null; true")
    assert set(said.split()) == {"/var/lib/briefcased", "/run/briefcased"}, "the program cannot change itself"


def test_it_says_what_it_is(image):
    described = here.inspected(image)
    labels = described["Config"]["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"] == "0.1.0"
    assert described["Config"]["User"] == "65532:65532"
    assert described["HealthCheck" if "HealthCheck" in described else "Healthcheck"]["Test"] == [
        "CMD",
        "briefcased",
        "health",
    ]
    assert described["Config"]["Entrypoint"] == ["briefcased"]
    assert "RES_OPTIONS=timeout:1 attempts:2" in described["Config"]["Env"]


def test_two_builds_give_the_same_bytes(image):
    first = here.inspected(image)
    here.built("localhost/briefcased:again")
    try:
        again = here.inspected("localhost/briefcased:again")
        assert again["RootFS"]["Layers"] == first["RootFS"]["Layers"], differences(image, "localhost/briefcased:again")
    finally:
        podman("image", "rm", "--force", "localhost/briefcased:again", check=False)


def differences(*images):
    """Names of files that differ, for whoever has to find out why."""
    listings = []
    for name in images:
        folder = here.run("mktemp", "-d").stdout.strip()
        podman("save", "--format=docker-dir", "--output", folder, name)
        layer = json.loads((here.Path(folder) / "manifest.json").read_text())["layers"]
        files = {}
        for entry in layer:
            with tarfile.open(here.Path(folder) / entry["digest"].removeprefix("sha256:")) as archive:
                for member in archive:
                    content = archive.extractfile(member).read() if member.isfile() else b""
                    files[member.name] = (member.mode, member.uid, member.mtime, hash(content))
        listings.append(files)
    return sorted(
        name for name in listings[0].keys() | listings[1].keys() if listings[0].get(name) != listings[1].get(name)
    )[:20]


@pytest.fixture(scope="module")
def topology(tmp_path_factory):
    with project(tmp_path_factory.mktemp("compose")) as started:
        started.prepare("agents", "providers", "metrics")
        started.start("provider")
        started.healthy("provider")
        started.start("sidecar")
        started.healthy("sidecar")
        yield started


def test_p1_p2_the_agent_reaches_its_provider_through_the_sidecar_and_no_other_way(topology):
    done = topology.run("agent")
    assert done.returncode == 0, done.stdout + done.stderr + topology.logs("sidecar")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ok"] * 4, done.stdout
    assert "the real key, from 10." in topology.logs("provider")
    assert KEY not in done.stdout + done.stderr + topology.logs("sidecar")


def test_the_way_past_the_sidecar_would_be_noticed(topology):
    """With the provider's network the same agent finds a way: the check can fail."""
    networks = topology.data["services"]["agent"]["networks"]
    topology.data["services"]["agent"]["networks"] = ["agents", "providers"]
    podman("rm", "--force", "--ignore", topology.name("agent"))
    try:
        done = topology.run("agent")
    finally:
        topology.data["services"]["agent"]["networks"] = networks
    assert done.returncode == 1
    assert "FAILED there is no way past the sidecar" in done.stdout


def test_p1_no_file_that_the_agent_sees_holds_the_key(topology):
    script = f"cat /run/briefcased/coder/* | grep -c {KEY}; ls /run/briefcased; ls /run/secrets /var/lib/briefcased 2>/dev/null; env"
    services = topology.data["services"]
    usual = services["agent"]
    services["agent"] = usual | {"entrypoint": ["/bin/sh", "-c"], "command": [script]}
    podman("rm", "--force", "--ignore", topology.name("agent"))
    try:
        said = topology.run("agent").stdout
    finally:
        services["agent"] = usual
    assert said.splitlines()[:2] == ["0", "coder"]
    assert KEY not in said


def test_metrics_and_receipts_tell_what_happened(topology):
    podman("rm", "--force", "--ignore", topology.name("agent"))
    assert topology.run("agent").returncode == 0
    script = "import urllib.request; print(urllib.request.urlopen('http://{}/metrics').read().decode())"
    control = topology.data["services"]["sidecar"]["networks"]["metrics"]["ipv4_address"]
    said = podman("exec", topology.name("sidecar"), "python3", "-c", script.format(f"{control}:8081")).stdout
    assert 'briefcased_decisions_total{result="allow"}' in said
    verified = podman("exec", topology.name("sidecar"), "briefcased", "receipts", "verify").stdout
    assert verified.startswith("receipts verify: ok")


def test_a_stop_drains_and_the_next_start_keeps_the_agents_token(topology):
    token = podman("exec", topology.name("sidecar"), "cat", "/run/briefcased/coder/token").stdout
    podman("stop", "--time=20", topology.name("sidecar"))
    state = json.loads(podman("inspect", topology.name("sidecar")).stdout)[0]["State"]
    assert state["ExitCode"] == 0, topology.logs("sidecar")
    podman("start", topology.name("sidecar"))
    topology.healthy("sidecar")
    assert podman("exec", topology.name("sidecar"), "cat", "/run/briefcased/coder/token").stdout == token
