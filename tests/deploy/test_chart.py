"""The chart under helm itself: lint, rendering, schema, and a chart of somebody else that includes the sidecar."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess

import kubernetes_validate
import pytest
import yaml

from proxy.catalog.configuration import load_configuration
from tests.deploy.manifests import CHART, KUBERNETES, ROOT, Manifests
from tests.docs import pages

VARIANTS = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").iterdir())
VERSIONS = ["1.34", "1.35", "1.36", "1.37"]
NOT_OURS = {"ServiceMonitor"}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def generator():
    """Skips where there is neither a helm nor the npm that could bring one."""
    if shutil.which("helm") is None and shutil.which("npm") is None:
        pytest.skip("there is neither helm nor npm")
    spec = importlib.util.spec_from_file_location("generate_manifests", ROOT / "scripts" / "generate_manifests.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def helm(*arguments):
    command = [str(ROOT / "scripts" / "helm"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("name", ["example", "transparent", "identity"])
def test_the_plain_manifests_are_what_the_chart_renders(generator, name):
    assert (KUBERNETES / f"{name}.yaml").read_text("utf-8") == generator.manifest(name)


@pytest.mark.parametrize("name", VARIANTS)
def test_helm_finds_nothing_to_say(generator, name):
    done = helm("lint", "--strict", str(CHART), "--values", str(generator.values_file(name)))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", VARIANTS)
def test_kubernetes_knows_every_field_of_every_variant(generator, name, version):
    assert VERSIONS[-1] == ".".join(kubernetes_validate.latest_version().split(".")[:2]), "there is a newer one"
    for item in Manifests.of(generator.render(generator.values_file(name))).objects:
        if item["kind"] not in NOT_OURS:
            kubernetes_validate.validate(item, version, strict=True)


def test_the_configuration_is_good(generator, tmp_path):
    manifests = Manifests.of(generator.render(generator.values_file("today")))
    configuration = load_configuration(manifests.configuration(tmp_path))
    settings = configuration.settings
    assert settings.mode == "staging"
    assert settings.agents["coder"].accounts == ("github/work", "internal/*")
    assert settings.limits.max_body_bytes == 17179869184, "helm writes large numbers as floats"
    assert settings.limits.drain_s == 20
    assert "internal" in configuration.profiles


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"agent": {"uid": 65532}}, "agent.uid and sidecar.uid must differ"),
        ({"surprise": 1}, "surprise"),
        ({"providers": {"github": {"accounts": {"a": {"secrets": {"token": "plain"}}}}}}, "providers"),
    ],
)
def test_helm_refuses_bad_values(generator, tmp_path, values, words):
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    done = helm("template", "x", str(CHART), "--values", str(tmp_path / "values.yaml"))
    assert done.returncode != 0
    assert words in done.stderr


def test_everything_optional_can_be_off(generator, tmp_path):
    off = {key: {"enabled": False} for key in ("agent", "networkPolicy", "podDisruptionBudget", "handOver")}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({**off, "serviceAccount": {"create": False}}))
    assert Manifests.of(generator.render(tmp_path / "values.yaml")).kinds() == {"ConfigMap"}


def test_another_chart_includes_the_sidecar_as_the_page_says(generator, tmp_path):
    page = pages.text("kubernetes.md")
    code = [*pages.blocks(page, "yaml"), *pages.blocks(page, "gotemplate")]
    blocks = {block.split("\n", 1)[0]: block for block in code}
    chart = tmp_path / "mine"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: mine\nversion: 1.0.0\n")
    (chart / "values.yaml").write_text(blocks["# values.yaml"])
    (chart / "templates" / "deployment.yaml").write_text(blocks["# templates/deployment.yaml"])
    shutil.copytree(CHART, chart / "charts" / "credential-briefcase")
    manifests = Manifests.of(generator.render(chart=chart))
    for item in manifests.objects:
        kubernetes_validate.validate(item, VERSIONS[-1], strict=True)
    assert [one["name"] for one in manifests.pod["initContainers"]] == ["briefcased"]
    assert manifests.mounts("coder")["briefcased-hand-over"] == manifests.mounts("briefcased")["briefcased-hand-over"]
    users = {manifests.container(name)["securityContext"]["runAsUser"] for name in ("coder", "briefcased")}
    assert len(users) == 2
    labels = manifests.only("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert manifests.only("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    named = manifests.volume("briefcased-config")["configMap"]["name"]
    assert named == manifests.only("ConfigMap")["metadata"]["name"]
