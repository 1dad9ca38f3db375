"""deploy/kubernetes as it is checked in: what a pod gets, and what it must not get. No helm is needed here."""

from __future__ import annotations

import importlib.util
import json

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft7Validator

from proxy.catalog.configuration import load_configuration
from tests.deploy.manifests import CHART, KUBERNETES, ROOT, Manifests
from tests.docs import pages

NAMES = ["example", "transparent", "identity"]
NEWEST = "1.37"
NOT_OURS = {"ServiceMonitor"}  # a custom resource: its schema is not Kubernetes'


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("generate_manifests", ROOT / "scripts" / "generate_manifests.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=NAMES)
def manifests(request):
    return Manifests.of((KUBERNETES / f"{request.param}.yaml").read_text("utf-8"))


@pytest.fixture
def example():
    return Manifests.of((KUBERNETES / "example.yaml").read_text("utf-8"))


def test_every_file_was_made_from_the_chart_as_it_is(generator):
    assert {path.stem for path in KUBERNETES.glob("*.yaml")} == set(generator.NAMES) == set(NAMES)
    for name in NAMES:
        head = (KUBERNETES / f"{name}.yaml").read_text("utf-8")[:400]
        assert f"# chart sha256: {generator.chart_digest(name)}\n" in head, f"{name} is stale; run: make manifests"


def test_kubernetes_knows_every_field(manifests):
    for item in manifests.objects:
        if item["kind"] not in NOT_OURS:
            kubernetes_validate.validate(item, NEWEST, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_found(example):
    item = example.only("Deployment")
    example.container("agent")["securityContext"]["runAsUsr"] = 0
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(item, NEWEST, strict=True)


def test_the_sidecar_is_native_and_starts_before_the_agent(manifests):
    *_, last = manifests.pod["initContainers"]
    assert (last["name"], last["restartPolicy"]) == ("briefcased", "Always")
    assert [one["name"] for one in manifests.pod["containers"]] == ["agent"]
    control = {port["name"] for port in last["ports"]}
    assert {last[probe]["httpGet"]["port"] for probe in ("readinessProbe", "livenessProbe")} == control
    assert last["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert last["startupProbe"]["exec"]["command"] == ["test", "-r", "/run/briefcased/env.sh"]
    assert ". /run/briefcased/env.sh" in manifests.container("agent")["args"][0]
    assert last["livenessProbe"]["httpGet"]["path"] == "/healthz"


@pytest.mark.parametrize("name", ["briefcased", "agent"])
def test_a_container_can_do_nothing_that_it_need_not(manifests, name):
    container = manifests.container(name)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsUser": container["securityContext"]["runAsUser"],
        "runAsGroup": container["securityContext"]["runAsGroup"],
    }
    assert set(container["resources"]) == {"requests", "limits"}


def test_p6_agent_and_sidecar_are_different_users_without_a_common_process_list(manifests):
    users = {manifests.container(name)["securityContext"]["runAsUser"] for name in ("briefcased", "agent")}
    assert len(users) == 2
    assert 0 not in users
    pod = manifests.pod
    assert (pod["shareProcessNamespace"], pod["hostNetwork"], pod["automountServiceAccountToken"]) == (False,) * 3
    assert not {"hostPID", "hostIPC"} & set(pod)


def test_p1_what_holds_secrets_is_mounted_in_the_sidecar_alone(manifests):
    private = {"briefcased-config", "briefcased-state", "briefcased-tmp", "briefcased-secrets"}
    assert private <= set(manifests.mounts("briefcased"))
    assert not private & set(manifests.mounts("agent"))
    for one in [*manifests.pod["initContainers"], *manifests.pod["containers"]]:
        names = {mount["name"] for mount in one.get("volumeMounts", [])}
        assert one["name"] == "briefcased" or "briefcased-secrets" not in names
        assert "envFrom" not in one
        assert all("valueFrom" not in variable for variable in one.get("env", []))


def test_the_hand_over_is_in_memory_and_the_agent_cannot_write_it(manifests):
    assert manifests.volume("briefcased-hand-over")["emptyDir"]["medium"] == "Memory"
    (mount,) = [m for m in manifests.container("agent")["volumeMounts"] if m["name"] == "briefcased-hand-over"]
    assert mount["readOnly"] is True
    config = yaml.safe_load(manifests.only("ConfigMap")["data"]["briefcased.yaml"])
    handed = config["agents"]["agent"]["hand_over"]
    assert handed == {"directory": mount["mountPath"], "proxy": config["listeners"]["proxy"]}
    assert (
        manifests.pod["securityContext"]["fsGroup"]
        == manifests.container("briefcased")["securityContext"]["runAsGroup"]
    )
    shared = set(manifests.mounts("agent")) & set(manifests.mounts("briefcased"))
    assert shared == {"briefcased-hand-over"}


def test_every_secret_ref_is_a_file_that_is_mounted(manifests):
    config = yaml.safe_load(manifests.only("ConfigMap")["data"]["briefcased.yaml"])
    refs = {
        ref
        for provider in config["providers"].values()
        for account in provider["accounts"].values()
        for ref in account["secrets"].values()
    }
    folder = manifests.mounts("briefcased")["briefcased-secrets"]
    sources = manifests.volume("briefcased-secrets")["projected"]["sources"]
    mounted = {f"file:{folder}/{item['path']}" for source in sources for item in source["secret"]["items"]}
    assert refs == mounted
    assert config["mode"] == "ga"


def test_only_the_redirect_has_a_capability_and_only_where_it_is_wanted(generator):
    for name in NAMES:
        manifests = Manifests.of((KUBERNETES / f"{name}.yaml").read_text("utf-8"))
        added = {
            one["name"]: one["securityContext"]["capabilities"]["add"]
            for one in [*manifests.pod["initContainers"], *manifests.pod["containers"]]
            if "add" in one["securityContext"]["capabilities"]
        }
        assert added == ({"redirect": ["NET_ADMIN"]} if name == "transparent" else {})
        if name == "transparent":
            assert manifests.pod["initContainers"][0]["name"] == "redirect"
            config = yaml.safe_load(manifests.only("ConfigMap")["data"]["briefcased.yaml"])
            (listener,) = config["listeners"]["more"]
            sidecar = manifests.container("briefcased")["securityContext"]["runAsUser"]
            to, dns = (at.rpartition(":")[2] for at in (listener["at"], config["listeners"]["dns"]))
            assert manifests.container("redirect")["command"] == [
                "briefcased", "redirect", "--to", to, "--except-uid", str(sidecar), "--dns-port", dns,
            ]  # fmt: skip


def test_the_network_policy_selects_the_pod_and_closes_what_it_does_not_need(manifests):
    policy = manifests.only("NetworkPolicy")["spec"]
    labels = manifests.only("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    dns, web = policy["egress"]
    assert {(port["protocol"], port["port"]) for port in dns["ports"]} == {("UDP", 53), ("TCP", 53)}
    assert [port["port"] for port in web["ports"]] == [443]
    metadata, private = "169.254.0.0/16", "10.0.0.0/8"
    assert {metadata, private} <= set(web["to"][0]["ipBlock"]["except"])
    for rule in policy["ingress"]:
        assert rule["from"], "an empty list would mean everybody"


@pytest.mark.parametrize("kind", ["NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceMonitor"])
def test_what_selects_the_pod_selects_it(kind):
    manifests = Manifests.of((KUBERNETES / "transparent.yaml").read_text("utf-8"))
    spec = manifests.only(kind)["spec"]
    selector = spec.get("podSelector") or spec["selector"]
    wanted = selector.get("matchLabels", selector)
    target = manifests.only("Service")["metadata"] if kind == "ServiceMonitor" else None
    labels = (target or manifests.only("Deployment")["spec"]["template"]["metadata"])["labels"]
    assert wanted
    assert wanted.items() <= labels.items()


def test_an_identity_token_is_bound_to_its_audience_and_is_the_agents_alone():
    manifests = Manifests.of((KUBERNETES / "identity.yaml").read_text("utf-8"))
    (source,) = manifests.volume("briefcased-identity")["projected"]["sources"]
    config = yaml.safe_load(manifests.only("ConfigMap")["data"]["briefcased.yaml"])
    assert source["serviceAccountToken"]["audience"] == config["identity"]["tokens"][0]["audience"]
    assert "briefcased-identity" in manifests.mounts("agent")
    assert "briefcased-identity" not in manifests.mounts("briefcased")


def test_the_values_schema_takes_the_values_and_refuses_others():
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    Draft7Validator.check_schema(schema)
    judge = Draft7Validator(schema)
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    assert list(judge.iter_errors(values)) == []
    assert set(values) | {"global"} == set(schema["properties"])
    for bad in ({"secretss": {}}, {"mode": "prod"}, {"sidecar": {"uid": 0}}, {"agent": {"uid": 0}}, {"identity": {"accounts": ["x"]}},
                {"identity": {"serviceAccountToken": {"enabled": True, "tokens": []}}}, {"image": {"repository": "x", "digest": "sha256:1"}},
                {"providers": {"github": {"accounts": {"a": {"secrets": {"token": "ghp_plain"}}}}}}):  # fmt: skip
        assert list(judge.iter_errors(bad)), bad


def test_the_configuration_is_good(manifests, tmp_path):
    path = manifests.configuration(tmp_path)
    settings = load_configuration(path).settings
    assert settings.mode == "ga"
    assert settings.limits.drain_s + 10 <= manifests.pod["terminationGracePeriodSeconds"]
    port = manifests.container("briefcased")["ports"][0]["containerPort"]
    assert settings.listeners.control == f"0.0.0.0:{port}"
    assert settings.listeners.proxy.startswith("127.0.0.1:")


def test_the_page_names_every_value():
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    spans = {span for row in pages.table(pages.text("kubernetes.md"), "value") for span in pages.SPAN.findall(row[0])}
    whole = {"nameOverride", "fullnameOverride", "commonLabels", "imagePullSecrets", "agent"}
    nested = {f"{top}.{key}" for top in set(values) - whole if isinstance(values[top], dict) for key in values[top]}
    said = spans | {
        span for row in pages.table(pages.text("kubernetes.md"), "value") for span in pages.SPAN.findall(row[2])
    }
    assert nested - said == set()
    known = {"agent", "agent.enabled"} | nested | {key for key in values if not values[key]} | set(values)
    assert spans - known == set()
