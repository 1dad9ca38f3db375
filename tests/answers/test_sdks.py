"""Real SDKs in a process of their own get stand-ins by their own token calls; the provider sees the real credential."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.answers.conftest import API, KEY, SECOND, TOKEN
from tests.rig.program import clean_environment, ended, started

pytestmark = pytest.mark.asyncio(loop_scope="module")
PROGRAM = str(Path(__file__).with_name("sdk_program.py"))


async def run(rig, tmp_path, *arguments, env=None):
    environment = {**clean_environment(tmp_path), **rig.env(), "BOTO_CONFIG": "/dev/null", **(env or {})}
    process = await started(sys.executable, PROGRAM, *arguments, env=environment, cwd=tmp_path)
    done = await ended(process)
    assert done.code == 0, done.err
    for secret in (KEY, SECOND):
        assert secret not in done.out + done.err
    return done.lines


def held(rig, slot, account="main"):
    return rig.stand_in("widgets", slot, account)


def api(rig):
    return f"https://{API}:{rig.provider.port}/v1/things"


async def test_p1_google_auth_with_a_service_account_file(rig, tmp_path):
    key = await asyncio.to_thread(rsa.generate_private_key, 65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    file = tmp_path / "throw-away.json"
    described = {
        "type": "service_account", "client_email": "second@widgets.test", "private_key": pem, "private_key_id": "x",
        "token_uri": "https://oauth2.googleapis.com/token", "project_id": "widgets-project", "client_id": "1",
    }  # fmt: skip
    file.write_text(json.dumps(described))
    token, *_ = await run(rig, tmp_path, "service_account", str(file), api(rig))
    assert token == held(rig, "access_token", "second")
    assert rig.provider.last.one("authorization") == f"Bearer {SECOND}"


@pytest.mark.slow
async def test_p1_google_auth_on_a_machine_with_a_metadata_server(rig, tmp_path):
    token, *_ = await run(rig, tmp_path, "compute_engine", api(rig))
    assert token == held(rig, "access_token")
    assert rig.provider.last.one("authorization") == f"Bearer {KEY}"


@pytest.mark.parametrize("way", ["iam-role", pytest.param("container-role", marks=pytest.mark.slow)])
async def test_p1_boto3_with_the_credentials_of_its_machine(rig, tmp_path, way):
    keys = [held(rig, slot) for slot in ("access_key_id", "secret_access_key", "session_token")]
    env = {}
    if way == "container-role":  # botocore uses no proxy for these, so its base URL is ours
        base = rig.sidecar.endpoints[1]
        env = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{base}/169.254.170.2:80/v2/credentials/x",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": keys[2],
        }
    rig.provider.answers("/", IDENTITY)
    found, *_ = await run(rig, tmp_path, "boto3", f"https://{TOKEN}:{rig.provider.port}", rig.url(), env=env)
    assert found == " ".join([way, *keys])
    assert rig.provider.last.one("authorization") == f"Bearer {KEY}"
    assert keys[2] not in rig.provider.last.head.decode()


@pytest.mark.slow
async def test_p1_a_plain_oauth_client(rig, tmp_path):
    secret, url = held(rig, "client_secret", "second"), f"https://{TOKEN}:{rig.provider.port}/oauth/token"
    token, *_ = await run(rig, tmp_path, "oauth_client", url, secret, api(rig))
    assert token == held(rig, "access_token", "second")
    assert rig.provider.last.one("authorization") == f"Bearer {SECOND}"


BODY = (
    b'<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
    b"<Account>111122223333</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
)
IDENTITY = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
