"""Stock SDKs that hold no credential, with the shipped profiles: they find stand-ins, and the sidecar signs for them."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from proxy.cli.sdk import sdk_variables
from tests.answers.capturing import reply
from tests.aws.conftest import KEY, KEY_ID, OTHER, OTHER_ID, Aws
from tests.cli.conftest import BRIEFCASED, ROOT
from tests.rig.process import HOST
from tests.rig.program import clean_environment, ended, started
from tests.rig.shipped import shipped_text
from tests.rig.sidecar import running_rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
PROGRAM = str(Path(__file__).with_name("stock_program.py"))
DYNAMO, STS = "dynamodb.us-east-1.amazonaws.com", "sts.us-east-1.amazonaws.com"
VERTEX, OAUTH = "aiplatform.googleapis.com", "oauth2.googleapis.com"
HOSTS = (HOST, DYNAMO, STS, VERTEX, OAUTH)  # an address has no server name: it comes first
PATIENT = {"AWS_METADATA_SERVICE_TIMEOUT": "20"}  # botocore gives up after one second
TOKEN = "ya29.REAL-of-the-service-account-0123456789"
ROLE = "arn:aws:iam::111122223333:role/reader"


class Cloud(Aws):
    """AWS's verifier; and Google's token endpoint and an API, which say what they saw."""

    async def answer(self, seen, reader, writer):
        if (seen.one("host") or "").startswith(OAUTH):
            writer.write(reply({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600}))
        elif (seen.one("host") or "").startswith(VERTEX):
            writer.write(reply({}))
        else:
            await super().answer(seen, reader, writer)


def account(key_id, key, **more):
    return {"secrets": {"access_key_id": key_id, "secret_access_key": key}, **more}


def key_file(token_url):
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps({
        "type": "service_account", "private_key": pem.decode(), "client_email": "agent@widgets.iam.gserviceaccount.com", "token_uri": token_url,
    })  # fmt: skip


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rig(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stock")
    cloud = Cloud(folder, HOSTS)
    await cloud.start()
    url = f"https://{OAUTH}:{cloud.port}/token"
    # The token endpoint that is answered keeps its port; the one that the sidecar itself asks is the rig's.
    vertex = shipped_text("vertex").replace("{{kind: google}}", f'{{{{kind: google, token_url: "{url}"}}}}')
    texts = {
        "aws": shipped_text("aws"),
        "vertex": vertex.replace(f"{OAUTH}, port: {{port}}", OAUTH),
        "google": shipped_text("google").replace(f"{OAUTH}, port: {{port}}", OAUTH),
    }
    settings = {
        "listeners": {
            "proxy": "127.0.0.1:0", "control": "127.0.0.1:0", "more": [{"at": "127.0.0.1:0", "kind": "base_url"}],
        },
        "providers": {
            "aws": {"accounts": {"main": account("env:ID", "env:KEY", default=True), "other": account("env:OTHER_ID", "env:OTHER")}},
            "google": {"accounts": {"main": {"secrets": {"client_secret": "env:CLIENT_SECRET"}}}},
            "vertex": {"accounts": {"main": {"secrets": {"service_account": "env:SA"}, "variables": {"project": "widgets-project"}}}},
        },
    }  # fmt: skip
    environment = {
        "ID": KEY_ID,
        "KEY": KEY,
        "OTHER_ID": OTHER_ID,
        "OTHER": OTHER,
        "CLIENT_SECRET": "GOCSPX-REAL-0123456789",
    }
    environment["SA"] = await asyncio.to_thread(key_file, url)
    try:
        async with running_rig(
            folder, profiles=texts, settings=settings, environment=environment, hosts=HOSTS, provider=cloud
        ) as running:
            yield running
    finally:
        await cloud.stop()


async def run(rig, tmp_path, *arguments, variables=None):
    env = {**clean_environment(tmp_path), **rig.env(), "BOTO_CONFIG": "/dev/null", **PATIENT, **(variables or {})}
    done = await ended(await started(sys.executable, PROGRAM, *arguments, env=env, cwd=tmp_path))
    assert done.code == 0, done.err
    for secret in (KEY, KEY_ID, OTHER, TOKEN):
        assert secret not in done.out + done.err
    return json.loads(done.out)


def variables(rig, tmp_path, **changes):
    base = {"base_url": f"http://{rig.sidecar.endpoints[1]}", "folder": tmp_path / "sdk", **changes}
    return sdk_variables(rig.sidecar.pipeline.generation, "tester", **base)


def held(rig, *slots, account="main"):
    return [rig.stand_in("aws", slot, account) for slot in slots]


def dynamo(rig):
    return f"https://{DYNAMO}:{rig.provider.port}"


def signed(rig):
    """By whom, and what the verifier said."""
    last = rig.provider.requests[-1].one("authorization").partition("Credential=")[2]
    return last.partition("/")[0], rig.provider.verdicts[-1]


async def test_p1_boto3_on_a_machine_with_metadata_is_signed_for(rig, tmp_path):
    method, *keys, _ = await run(rig, tmp_path, "aws", dynamo(rig))
    assert method == "iam-role"
    assert keys == held(rig, "access_key_id", "secret_access_key", "sdk_session")
    assert signed(rig) == (KEY_ID, None)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "key_id"), [("main", KEY_ID), ("other", OTHER_ID)])
async def test_p1_boto3_in_a_container_is_told_its_account_by_the_token(rig, tmp_path, name, key_id):
    given = variables(rig, tmp_path)
    given["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = held(rig, "sdk_session", account=name)[0]
    method, *keys, _ = await run(rig, tmp_path, "aws", dynamo(rig), variables=given)
    assert method == "container-role"
    assert keys == held(rig, "access_key_id", "secret_access_key", "sdk_session", account=name)
    assert signed(rig) == (key_id, None)


async def test_p1_google_auth_finds_a_file_and_the_service_account_is_used(rig, tmp_path):
    given = variables(rig, tmp_path)
    url = f"https://{VERTEX}:{rig.provider.port}/v1/publishers/google/models/x"
    module, project, token, status = await run(rig, tmp_path, "google", url, variables=given)
    assert (module, project, status) == ("google.oauth2.credentials", "widgets-project", 200)
    assert token == rig.stand_in("vertex", "access_token")
    assert rig.provider.requests[-1].one("authorization") == f"Bearer {TOKEN}"


@pytest.mark.slow
async def test_p1_google_auth_on_a_machine_with_metadata(rig, tmp_path):
    url = f"https://{VERTEX}:{rig.provider.port}/v1/publishers/google/models/x"
    module, project, token, status = await run(rig, tmp_path, "google", url)
    assert (module, project, status) == ("google.auth.compute_engine.credentials", "widgets-project", 200)
    assert token == rig.stand_in("vertex", "access_token")
    assert rig.provider.requests[-1].one("authorization") == f"Bearer {TOKEN}"


@pytest.mark.parametrize(("provider", "slots"), [
    ("google", ("sdk_refresh_token", "sdk_access_token")), ("vertex", ("refresh_token", "access_token")),
])  # fmt: skip
async def test_p6_a_token_host_of_two_profiles_answers_for_the_one_whose_stand_in_is_sent(rig, provider, slots):
    form = {"grant_type": "refresh_token", "refresh_token": rig.stand_in(provider, slots[0])}
    answer = await rig.call("POST", f"https://{OAUTH}/token", data=form)
    assert answer.json()["access_token"] == rig.stand_in(provider, slots[1])
    calls = {call.decision["id"]: call for call in await rig.settled(1)}
    assert calls[answer.headers["briefcased-receipt"]].decision["account"] == f"{provider}/main"


async def test_p1_variables_are_those_of_what_is_there(rig, tmp_path):
    there, bare = variables(rig, tmp_path), variables(rig, tmp_path, base_url=None)
    assert there["AWS_CONTAINER_CREDENTIALS_FULL_URI"].startswith("http://127.0.0.1:")
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" not in bare
    file = Path(bare["GOOGLE_APPLICATION_CREDENTIALS"])
    assert json.loads(file.read_text())["refresh_token"] == rig.stand_in("vertex", "refresh_token")
    assert file.stat().st_mode & 0o777 == 0o600
    assert sdk_variables(rig.sidecar.pipeline.generation, "nobody", base_url=None, folder=tmp_path / "no") == {}


@pytest.mark.slow
async def test_p1_briefcased_run_gives_boto3_what_it_needs(rig, tmp_path):
    """The program of `briefcased run` has no variable with a key, not even a stand-in."""
    cloud = rig.provider
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    text = (
        shipped_text("aws").format(port=cloud.port).replace("{host: account.us-east-1.amazonaws.com", f"{{host: {HOST}")
    )
    text = text.replace("account.us-east-1.amazonaws.com", HOST).replace(
        "kind: aws\n", "kind: aws\n    service: dynamodb\n    region: us-east-1\n"
    )
    (profiles / "aws.yaml").write_text(text)
    (tmp_path / "id").write_text(KEY_ID)
    (tmp_path / "key").write_text(KEY)
    config = tmp_path / "briefcased.yaml"
    config.write_text(yaml.safe_dump({
        "version": 1, "profiles": [str(profiles)],
        "providers": {"aws": {"accounts": {"main": account(f"file:{tmp_path}/id", f"file:{tmp_path}/key", actions=["read", "write", "admin"])}}},
        "egress": {"allow_private": [{"host": HOST, "addresses": ["127.0.0.1/32"]}], "ca_bundle": str(cloud.root)},
    }))  # fmt: skip
    env = {
        **clean_environment(tmp_path),
        "BRIEFCASED_HOME": str(tmp_path / "state"),
        "PYTHONPATH": str(ROOT),
        "BOTO_CONFIG": "/dev/null",
    }
    command = (
        *BRIEFCASED,
        "run",
        "--config",
        str(config),
        "--",
        sys.executable,
        PROGRAM,
        "aws",
        f"https://{HOST}:{cloud.port}",
    )
    done = await ended(await started(*command, env=env, cwd=tmp_path), limit_s=60)
    assert done.code == 0, done.err
    assert json.loads(done.out)[0] == "container-role"
    assert signed(rig) == (KEY_ID, None)
    assert KEY not in done.out + done.err
