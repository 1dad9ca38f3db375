"""The sidecar's container of the manifests, started as it says: command, variables, mounts, probes; only below another root."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys

import httpx
import pytest
import yaml

from proxy.settings import AgentEntry
from tests.cli.conftest import ROOT
from tests.deploy.manifests import KUBERNETES, Manifests
from tests.rig.program import assert_unseen, ended, started

SECRET = "ghp_" + "k8sSecretThatIsMountedAsAFile000000000"


class Pod:
    """Volumes as folders below `root`, at the paths at which the sidecar's container mounts them."""

    def __init__(self, root):
        self.manifests = Manifests.of((KUBERNETES / "example.yaml").read_text("utf-8"))
        self.container = self.manifests.container("briefcased")
        self.root = root
        for path in self.manifests.mounts("briefcased").values():
            self.below(path).mkdir(mode=0o700, parents=True)  # ours here; a kubelet's volume is root's

    def below(self, path):
        return self.root / path.lstrip("/")

    def placed(self, text):
        """`text` with the paths of mounts below our root."""
        paths = "|".join(map(re.escape, self.manifests.mounts("briefcased").values()))
        return re.sub(rf"(?<![\w/])({paths})(?=[/\s]|$)", lambda found: str(self.below(found[1])), text)

    def mount_configuration(self):
        folder = self.below(self.manifests.mounts("briefcased")["briefcased-config"])
        path = self.manifests.configuration(folder)
        config = yaml.safe_load(path.read_text())
        config["listeners"] |= {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0"}
        path.write_text(self.placed(yaml.safe_dump(config)))

    def mount_secrets(self):
        folder = self.below(self.manifests.mounts("briefcased")["briefcased-secrets"])
        for source in self.manifests.volume("briefcased-secrets")["projected"]["sources"]:
            for item in source["secret"]["items"]:
                path = folder / item["path"]
                path.parent.mkdir(exist_ok=True)
                path.write_text(SECRET)
                path.chmod(0o440)

    async def start(self, bin_):
        variables = {entry["name"]: self.placed(entry["value"]) for entry in self.container["env"]}
        environment = {"PATH": f"{bin_}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), **variables}
        command = [self.placed(word) for word in self.container["command"]]
        return await started(*command, env=environment, cwd=self.root)

    @property
    def home(self):
        (entry,) = [entry for entry in self.container["env"] if entry["name"] == "BRIEFCASED_HOME"]
        return self.below(entry["value"])


@pytest.fixture
def bin_(tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "briefcased").write_text(f'#!/bin/sh\nexec {sys.executable} -m proxy "$@"\n')
    (folder / "briefcased").chmod(0o755)
    return folder


async def test_the_sidecar_starts_and_answers_its_probes(tmp_path, bin_):
    pod = Pod(tmp_path / "pod")
    pod.mount_configuration()
    pod.mount_secrets()
    process = await pod.start(bin_)
    try:
        async with asyncio.timeout(60):
            while not (pod.home / "sidecar.json").exists():
                assert process.returncode is None
                await asyncio.sleep(0.05)
        control = json.loads((pod.home / "sidecar.json").read_text())["control"]
        async with httpx.AsyncClient(base_url=f"http://{control}", trust_env=False, timeout=20) as kubelet:
            for probe in ("readinessProbe", "livenessProbe"):
                assert (await kubelet.get(pod.container[probe]["httpGet"]["path"])).status_code == 200
            if "hand_over" in AgentEntry.model_fields:
                await handed_over(pod)
            assert "briefcased_ready" in (await kubelet.get("/metrics")).text
    finally:
        process.send_signal(signal.SIGTERM)
        done = await ended(process, limit_s=60)
    assert done.code == 0, done.err
    assert SECRET not in done.err


async def handed_over(pod):
    """The startup probe holds, and the agent's container finds what it sources: with stand-ins, without secrets."""
    probe = [pod.placed(word) for word in pod.container["startupProbe"]["exec"]["command"]]
    ready = await ended(await started(*probe, env={"PATH": os.environ["PATH"]}, cwd=pod.root))
    assert ready.code == 0
    (sourced,) = re.findall(r"^\. (\S+)$", pod.manifests.container("agent")["args"][0], re.MULTILINE)
    script = f". {pod.placed(sourced)}; env"
    agent = await ended(await started("sh", "-c", script, env={"PATH": os.environ["PATH"]}, cwd=pod.root))
    variables = dict(line.split("=", 1) for line in agent.lines if "=" in line)
    assert re.fullmatch(r"http://agent:\S+@127\.0\.0\.1:8080", variables["HTTPS_PROXY"])
    assert {"GITHUB_TOKEN", "OPENAI_API_KEY", "SSL_CERT_FILE"} <= variables.keys()
    assert_unseen(agent.out, SECRET)


@pytest.mark.slow
async def test_p5_without_its_secrets_the_sidecar_does_not_start(tmp_path, bin_):
    pod = Pod(tmp_path / "pod")
    pod.mount_configuration()
    done = await ended(await pod.start(bin_), limit_s=60)
    assert done.code == 1
    assert "mode ga needs every secret" in done.err
