"""compose.yaml with shared.yaml on top, carried out by podman: two sidecars, one PostgreSQL, one account."""

from __future__ import annotations

import json
import re
import shutil
import time

import pytest
import yaml

from proxy.catalog.pinning import profiles_digest
from tests.deploy import podman as here
from tests.deploy.database import database_image
from tests.deploy.podman import podman, project
from tests.rig.postgres import found

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(here.missing()), reason=f"not on this machine: {', '.join(here.missing())}"),
    pytest.mark.skipif(found("postgres") is None, reason="not on this machine: postgresql"),
]
SECRETS = {
    "postgres_password": "database-password-0123456789",
    "seal_key": "seal-key-of-both-0123456789abcdef",
    "refresh_token": "first-refresh-token-0123456789",
}
LOGIN = {
    "kind": "oauth", "grant": "refresh_token", "token_endpoint": "https://api.sample.test:8443/token",
    "client": {"auth": "none", "id": "sample"},
}  # fmt: skip
CALL = """\
. /run/briefcased/{name}/env.sh && exec python3 -sP -c 'import urllib.request
for _ in range({times}): print(urllib.request.urlopen("https://api.sample.test:8443/v1/mine", timeout=30).read().decode())'
"""


class Stack:
    """The project, with a login beside the sample's key."""

    def __init__(self, project):
        self.project = project
        compose = project.folder / "deploy" / "compose"
        (compose / "secrets").mkdir()
        for name, value in SECRETS.items():
            (compose / "secrets" / name).write_text(value)
            project.data["secrets"].setdefault(name, {"file": f"./deploy/compose/secrets/{name}"})
        profile = yaml.safe_load((compose / "profiles" / "sample.yaml").read_text())
        profile["secrets"]["refresh_token"] = {"env": ["SAMPLE_REFRESH_TOKEN"]}
        profile["credentials"]["login"] = LOGIN
        profile["operations"].append(
            {"id": "mine", "methods": ["GET"], "path": "/v1/mine", "action": "read", "credentials": ["login"]}
        )
        (compose / "profiles" / "sample.yaml").write_text(yaml.safe_dump(profile))
        for path in (compose / "shared").iterdir():
            settings = yaml.safe_load(path.read_text())
            account = settings["providers"]["sample"]["accounts"]["main"]
            account["secrets"]["refresh_token"] = "file:/run/secrets/refresh_token"
            settings["profiles_digest"] = profiles_digest([compose / "profiles"])
            path.write_text(yaml.safe_dump(settings))
        services = project.data["services"]
        for sidecar in ("sidecar", "sidecar-2"):
            services[sidecar]["secrets"] = [*services[sidecar]["secrets"], "refresh_token"]
        shutil.copy(compose / "provider.py", compose / "sample.py")
        shutil.copy(here.ROOT / "tests" / "deploy" / "token_provider.py", compose / "provider.py")
        services["provider"]["volumes"].append("./deploy/compose/sample.py:/srv/sample.py:ro")

    def start(self):
        self.project.prepare("agents", "providers", "metrics")
        for service in ("provider", "postgres", "sidecar", "sidecar-2"):
            self.project.start(service)
            self.project.healthy(service)

    def call(self, sidecar, times=1):
        """What the agent of a sidecar gets from the provider, answer by answer."""
        services, (name, volume) = self.project.data["services"], AGENTS[sidecar]
        usual = services["agent"]
        command = [CALL.format(name=name, times=times)]
        services["agent"] = usual | {"command": command, "volumes": [f"{volume}:/run/briefcased:ro"]}
        podman("rm", "--force", "--ignore", self.project.name("agent"))
        try:
            done = self.project.run("agent")
        finally:
            services["agent"] = usual
        assert done.returncode == 0, done.stdout + done.stderr + self.project.logs(sidecar)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def refreshes(self):
        return re.findall(r"token: (\w+)", self.project.logs("provider"))


AGENTS = {"sidecar": ("coder", "handed"), "sidecar-2": ("reviewer", "handed-2")}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    here.image()
    folder = tmp_path_factory.mktemp("shared")
    with project(folder, "deploy/compose/shared.yaml", postgres=database_image()) as started:
        made = Stack(started)
        made.start()
        yield made


def test_what_one_sidecar_has_refreshed_the_other_one_uses(stack):
    first = stack.call("sidecar")
    second = stack.call("sidecar-2")
    assert [answer["you_sent"] for answer in first + second] == ["[sample/main:access_token]"] * 2
    for sidecar in ("sidecar-2", "sidecar", "sidecar-2"):
        time.sleep(4.1)  # the token has ended
        assert stack.call(sidecar, times=5)
    assert len(stack.refreshes()) >= 4
    assert "REUSED" not in stack.refreshes()


def test_p1_what_rests_in_the_database_is_sealed_and_nobody_asks_it_without_the_password(stack):
    name = stack.project.name("postgres")
    ask = (
        "psql",
        "-h",
        "/var/run/postgresql",
        "-U",
        "briefcased",
        "-Atc",
        "SELECT account, credential, grants::text FROM grants",
    )
    refused = podman("exec", name, *ask, "briefcased", check=False)
    assert refused.returncode != 0
    assert "password" in refused.stderr
    said = podman("exec", f"--env=PGPASSWORD={SECRETS['postgres_password']}", name, *ask, "briefcased").stdout
    assert said.startswith("sample/main|login|")
    assert "-token-" not in said
    assert "access" not in said


def test_p5_without_the_database_nothing_is_let_through_until_it_is_back(stack):
    podman("stop", "--time=5", stack.project.name("postgres"))
    time.sleep(7)  # locks are believed for five seconds
    try:
        with pytest.raises(AssertionError, match=r"HTTP Error 503"):
            stack.call("sidecar")
    finally:
        podman("start", stack.project.name("postgres"))
        stack.project.healthy("postgres")
    assert stack.call("sidecar-2")
    assert "REUSED" not in stack.refreshes()
