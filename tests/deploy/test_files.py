"""Dockerfile, compose.yaml, its configuration and the dashboard, without building anything."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from jsonschema import Draft7Validator

from proxy.api.control import Control
from proxy.catalog.configuration import load_configuration
from proxy.errors import ConfigError
from proxy.tally import Tally
from tests.deploy.podman import merged

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
HADOLINT = Path(sys.executable).parent / "hadolint"
SCHEMA = json.loads((Path(__file__).parent / "compose-spec.json").read_text())
"""The Compose Specification's schema (Apache-2.0), as published by its project."""


@pytest.fixture
def compose():
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def hadolint(path):
    program = str(HADOLINT) if HADOLINT.exists() else shutil.which("hadolint")
    assert program is not None, "make setup installs it"
    return subprocess.run([program, "--no-color", str(path)], capture_output=True, text=True, timeout=60, check=False)


def test_hadolint_finds_nothing_in_the_dockerfile_and_something_in_a_worse_one(tmp_path):
    assert (hadolint(ROOT / "Dockerfile").returncode, hadolint(ROOT / "Dockerfile").stdout) == (0, "")
    worse = tmp_path / "Dockerfile"
    worse.write_text(DOCKERFILE.replace("USER 65532:65532", "USER root"))
    assert "DL3002" in hadolint(worse).stdout


def test_the_image_installs_hashed_wheels_only_and_ends_without_root():
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    installs = re.findall(r"pip install(.*?)(?:\\$|$)", DOCKERFILE, flags=re.MULTILINE)
    assert installs
    assert all("--require-hashes --only-binary=:all: --no-deps" in line for line in installs)
    assert not re.search(r"^(RUN|ADD)", stages[-1], flags=re.MULTILINE), (
        "what is added later is in no base that was trimmed"
    )
    assert "USER 65532:65532" in stages[-1]
    assert "HEALTHCHECK" in stages[-1]
    assert not re.search(r"amd64|arm64|x86_64|aarch64", DOCKERFILE + (ROOT / "deploy/docker/trim").read_text())


@pytest.mark.parametrize("name", ["build", "runtime"])
def test_everything_that_is_locked_has_a_hash(name):
    entries = re.split(r"^(?=[a-z0-9])", (ROOT / f"requirements/{name}.txt").read_text(), flags=re.MULTILINE)[1:]
    assert entries
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_build_sees_what_it_copies_and_nothing_else():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        word.rstrip("/")
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, flags=re.MULTILINE)
        for word in line.split()[:-1]
    }
    assert copied == allowed
    assert [path for path in copied if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(("arguments", "said"), [
    (["--pinned"], "needs --base NAME@sha256:DIGEST"),
    (["--pinned", "--base", "docker.io/library/python:3.13-slim-trixie"], "needs --base NAME@sha256:DIGEST"),
    (["--nonsense"], "Usage: scripts/image"),
])  # fmt: skip
def test_a_release_is_not_built_on_a_base_that_can_change(arguments, said):
    done = subprocess.run(
        ["scripts/image", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode != 0
    assert said in done.stderr


def test_compose_fits_the_specification(compose):
    assert [error.message for error in Draft7Validator(SCHEMA).iter_errors(compose)] == []
    compose["services"]["agent"]["cap_dorp"] = ["ALL"]
    assert len(list(Draft7Validator(SCHEMA).iter_errors(compose))) == 1


def test_every_service_is_hardened_and_every_name_exists(compose):
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        assert "healthcheck" in service, name
        assert set(service.get("networks", ())) <= set(compose["networks"]), name
        assert set(service.get("secrets", ())) <= set(compose["secrets"]), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in compose["volumes"], volume
        for needed in service.get("depends_on", {}).values():
            assert needed == {"condition": "service_healthy"}


def test_what_is_put_on_top_fits_too_and_shares_what_it_says(compose):
    on_top = yaml.safe_load((COMPOSE / "shared.yaml").read_text())
    assert [error.message for error in Draft7Validator(SCHEMA).iter_errors(on_top)] == []
    whole = merged(compose, on_top)
    test_every_service_is_hardened_and_every_name_exists(whole)
    assert all("file" in secret for secret in whole["secrets"].values()), "compose takes no others with read_only"
    first, second = (yaml.safe_load((COMPOSE / "shared" / f"{name}.yaml").read_text()) for name in ("first", "second"))
    assert first["state"] == second["state"]
    assert first["providers"] == second["providers"]
    for service, settings in (("sidecar", first), ("sidecar-2", second)):
        described = whole["services"][service]
        assert settings["listeners"]["control"] == f"{described['networks']['metrics']['ipv4_address']}:8081"
        mounted = [text.split(":")[1] for text in described["volumes"]]
        assert settings["state"]["shared"]["host"] in mounted
        assert len(mounted) == len(set(mounted))
    assert whole["services"]["postgres"]["network_mode"] == "none"


def test_the_only_way_out_of_the_agents_network_is_the_sidecar(compose):
    services, networks = compose["services"], compose["networks"]
    assert list(services["agent"]["networks"]) == ["agents"]
    assert networks["agents"]["internal"] is True
    assert {name for name, service in services.items() if "agents" in service["networks"]} == {"agent", "sidecar"}
    assert "ports" not in services["sidecar"]
    assert "secrets" not in services["agent"]
    assert not any(volume.startswith("state:") for volume in services["agent"]["volumes"])


def test_the_configuration_of_compose_is_good_but_for_the_root_that_the_provider_will_write(compose):
    with pytest.raises(ConfigError) as bad:
        load_configuration(COMPOSE / "briefcased.yaml")
    (finding,) = bad.value.findings
    assert finding.path == "providers.sample.ca_bundle"
    settings = yaml.safe_load((COMPOSE / "briefcased.yaml").read_text())
    control = settings["listeners"]["control"]
    assert control.split(":")[0] == compose["services"]["sidecar"]["networks"]["metrics"]["ipv4_address"]
    scraped = yaml.safe_load((COMPOSE / "prometheus.yml").read_text())["scrape_configs"][0]["static_configs"][0]
    assert scraped["targets"] == [control]
    assert control in compose["services"]["agent"]["environment"]["UNREACHABLE"]


async def exposed():
    """Every sample name that /metrics shows, with its labels."""
    tally = Tally(redactions=1, request_bytes=1, response_bytes=1)
    tally.decisions["allow"] += 1
    tally.outcomes["completed"] += 1
    gauges = {"connections": 1, "generation": 1}
    checks = {"listening": True}
    control = Control(tally=tally, checks=lambda: checks, gauges=lambda: gauges, details=dict, directory=_nothing)
    port = await control.start("127.0.0.1", 0)
    try:
        text = await asyncio.to_thread(
            lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
        )
    finally:
        await control.close()
    found = {}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", text, flags=re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r"(\w+)=", labels))
    return found


async def _nothing(_request):
    raise web.HTTPNotFound


def queries():
    dashboard = json.loads((COMPOSE / "grafana" / "briefcased.json").read_text())
    return [(target["expr"], target["legendFormat"]) for panel in dashboard["panels"] for target in panel["targets"]]


def unknown(expression, legend, metrics):
    """Names and labels in a query that /metrics does not have."""
    names = set(re.findall(r"\bbriefcased_\w+", expression))
    labels = set(re.findall(r"\bby \((\w+)\)", expression)) | set(re.findall(r"[{,](\w+)\s*[!=]", expression))
    labels |= set(re.findall(r"\{\{(\w+)\}\}", legend))
    known = set().union(*(metrics.get(name, set()) for name in names))
    return (names - set(metrics)) | (labels - known)


async def test_the_dashboard_asks_for_metrics_and_labels_that_exist():
    metrics = await exposed()
    assert len(queries()) >= 9
    assert [(query, bad) for query, legend in queries() if (bad := unknown(query, legend, metrics))] == []
    assert unknown("sum by (reslt) (briefcased_decision_total)", "", metrics) == {"reslt", "briefcased_decision_total"}


def test_every_metric_is_on_the_dashboard():
    metrics = {name for name in asyncio.run(exposed()) if name.startswith("briefcased_")}
    shown = {name for query, _ in queries() for name in re.findall(r"briefcased_\w+", query)}
    assert metrics - shown == set()
