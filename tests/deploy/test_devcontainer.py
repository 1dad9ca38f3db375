"""deploy/devcontainer: the workspace gets a way out and no key."""

from __future__ import annotations

import json

import pytest
import yaml

from proxy.catalog.configuration import load_configuration
from tests.deploy.manifests import ROOT

FOLDER = ROOT / "deploy" / "devcontainer"


@pytest.fixture
def compose():
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())


@pytest.fixture
def config():
    return yaml.safe_load((FOLDER / "briefcased.yaml").read_text())


def test_the_configuration_is_good(config, tmp_path):
    path = tmp_path / "briefcased.yaml"
    path.write_text(yaml.safe_dump(config))
    assert load_configuration(path).settings.mode == "ga"


def test_the_files_agree(compose, config):
    described = json.loads((FOLDER / "devcontainer.json").read_text())
    workspace, sidecar = compose["services"][described["service"]], compose["services"]["briefcased"]
    (handed,) = [agent["hand_over"] for agent in config["agents"].values()]
    assert f"handed:{handed['directory']}:ro" in workspace["volumes"]
    assert f"handed:{handed['directory']}" in sidecar["volumes"]
    assert described["containerEnv"]["BASH_ENV"] == f"{handed['directory']}/env.sh"
    host, _, port = handed["proxy"].partition(":")
    assert host in compose["services"]
    assert config["listeners"]["proxy"].endswith(f":{port}")


def test_p1_the_workspace_has_neither_a_secret_nor_another_way_out(compose):
    workspace, sidecar = compose["services"]["workspace"], compose["services"]["briefcased"]
    assert "secrets" not in workspace
    assert "environment" not in workspace
    assert not any("state" in volume for volume in workspace["volumes"])
    assert [name for name in workspace["networks"] if not compose["networks"][name].get("internal")] == []
    assert sidecar["secrets"] == list(compose["secrets"])
    assert sidecar["cap_drop"] == ["ALL"]
    assert sidecar["read_only"] is True
