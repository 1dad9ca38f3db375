"""The sidecar in front of a provider that plays AWS: every request's signature is verified there by other code."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from tests.fakes.aws_verifier import Verifier
from tests.rig.provider import Provider
from tests.rig.sidecar import running_rig

KEY_ID, KEY = "AKIAREALREALREALREAL", "REALsecretREALsecretREALsecretREALsecret"
OTHER_ID, OTHER = "AKIAOTHEROTHEROTHERO", "OTHERsecretOTHERsecretOTHERsecretOTHERse"
HOSTS = (
    "dynamodb.us-east-1.amazonaws.com", "dynamodb.eu-west-1.amazonaws.com", "s3.us-east-1.amazonaws.com", "pets.s3.us-east-1.amazonaws.com",
    "sts.us-east-1.amazonaws.com", "iam.amazonaws.com", "bedrock-runtime.us-east-1.amazonaws.com", "lambda.us-east-1.amazonaws.com",
    "transcribestreaming.us-east-1.amazonaws.com", "pets.mrap.accesspoint.s3-global.amazonaws.com",
)  # fmt: skip
PROFILE = """\
schema: 1
name: aws
title: AWS
docs: https://docs.aws.amazon.com/
checked: "2026-11-25"
hosts:
{hosts}
encoded_slash: true
secrets:
  access_key_id: {{env: [AWS_ACCESS_KEY_ID], stand_in: {{template: "AKIA{{base32:16}}"}}}}
  secret_access_key: {{env: [AWS_SECRET_ACCESS_KEY], stand_in: {{length: 40}}}}
  session_token: {{env: [AWS_SESSION_TOKEN], stand_in: {{length: 200}}}}
variables:
  services: {{default: "*", pattern: "[a-z0-9*,-]+"}}
  regions: {{default: "*", pattern: "[a-z0-9*,-]+"}}
credentials:
  keys: {{kind: aws, services: "{{services}}", regions: "{{regions}}", refused_actions: [AssumeRole, CreateAccessKey]}}
operations:
  - {{id: read, methods: [GET, HEAD], path: "/**", action: read, allow_range: true}}
  - {{id: write, methods: [POST, PUT, DELETE], path: "/**", action: write, limits: {{max_held_bytes: 1048576}}}}
"""


def escaped(text):
    return text.replace("{", "{{").replace("}", "}}").replace("@port@", "{port}")


def profile(hosts=HOSTS):
    return escaped(PROFILE.format(hosts="\n".join(f"  - {{host: {host}, port: @port@}}" for host in hosts)))


class Everywhere(dict):
    """One handler for every path."""

    def __init__(self, handler):
        super().__init__()
        self.handler = handler

    def get(self, _path, _default=None):
        return self.handler


class Aws(Provider):
    """`verdicts` are what the verifier said of each request."""

    verifier: Verifier
    verdicts: list

    async def start(self):
        self.verifier, self.verdicts = Verifier({KEY_ID: KEY, OTHER_ID: OTHER}), []
        self.handlers = Everywhere(self.answer)
        await super().start()

    async def answer(self, seen, _reader, writer):
        self.verdicts.append(self.verifier.judge(seen))
        body = json.dumps({"verdict": self.verdicts[-1], "key": KEY_ID, "again": seen.headers}).encode()
        status = "200 OK" if self.verdicts[-1] is None else "403 Forbidden"
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        writer.write(b"" if seen.method == "HEAD" else body)


SETTINGS = {
    "providers": {
        "aws": {
            "accounts": {
                "main": {"secrets": {"access_key_id": "env:ID", "secret_access_key": "env:KEY"}, "default": True},
                "other": {
                    "secrets": {"access_key_id": "env:OTHER_ID", "secret_access_key": "env:OTHER"},
                    "variables": {"services": "s3,dynamodb", "regions": "us-*"},
                },
            }
        }
    }
}
ENVIRONMENT = {"ID": KEY_ID, "KEY": KEY, "OTHER_ID": OTHER_ID, "OTHER": OTHER}


@asynccontextmanager
async def running(folder):
    provider = Aws(folder, HOSTS)
    await provider.start()
    try:
        async with running_rig(
            folder,
            profiles={"aws": profile()},
            settings=SETTINGS,
            environment=ENVIRONMENT,
            hosts=HOSTS,
            provider=provider,
        ) as found:
            yield found
    finally:
        await provider.stop()


@pytest.fixture
async def rig(tmp_path):
    async with running(tmp_path) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lasting(tmp_path_factory):
    """One for all tests of a module, which leave no verdicts behind."""
    async with running(tmp_path_factory.mktemp("aws")) as found:
        yield found
