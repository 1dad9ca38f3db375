"""A sidecar for an API whose tokens come from a rude authorization server beside it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from sqlalchemy.exc import OperationalError

from proxy.credentials.grants import Grants
from tests.credentials.oauth.minting import Setup, ShiftedClock, broker_of, order_of
from tests.fakes.token_server import TokenServer
from tests.rig import running_rig
from tests.rig.provider import Provider

SECRET = "s3cr3t/+ %:value-of-the-client"
HOSTS = ("api.example.test", "auth.example.test")
PROFILE = """\
schema: 1
name: api
title: API
docs: https://example.test/
checked: "2026-11-25"
hosts: [{{host: api.example.test, port: {port}}}]
variables:
  client_id: {{pattern: "[a-z ]+"}}
secrets:
  client_secret: {{env: [CLIENT_SECRET], stand_in: {{template: "cs-{{base62:24}}"}}}}
  refresh_token: {{env: [REFRESH_TOKEN], stand_in: {{template: "rt-{{base62:24}}"}}}}
  subject: {{env: [SUBJECT], stand_in: {{template: "su-{{base62:24}}"}}}}
  actor: {{env: [ACTOR], stand_in: {{template: "ac-{{base62:24}}"}}}}
credentials:
  token: {{kind: oauth, @fields@}}
operations:
  - {{id: read, methods: [GET], path: "/**", action: read}}
  - {{id: write, methods: [POST], path: "/**", action: write}}
"""
AT_ENDPOINT = 'token_endpoint: "https://auth.example.test:{port}/token"'
ENVIRONMENT = {"CLIENT_SECRET": SECRET, "SUBJECT": "subject-token-of-the-user", "ACTOR": "actor-token-of-the-agent"}


def account(**more):
    secrets = {"client_secret": "env:CLIENT_SECRET", "subject": "env:SUBJECT", "actor": "env:ACTOR"}
    if "REFRESH_TOKEN" in more.pop("environment", {}):
        secrets["refresh_token"] = "env:REFRESH_TOKEN"
    return {"api": {"accounts": {"main": {"secrets": secrets, "variables": {"client_id": "client one"}, **more}}}}


@contextlib.asynccontextmanager
async def oauth_rig(folder, server, fields, *, environment=None, endpoint=AT_ENDPOINT, provider=None, **more):
    folder.mkdir(exist_ok=True)
    given = {**ENVIRONMENT, **(environment or {})}
    profile = PROFILE.replace("@fields@", f"{fields}, {endpoint}")
    settings = {"providers": account(environment=given, **more)}
    async with running_rig(
        folder, profiles={"api": profile}, settings=settings, environment=given, hosts=HOSTS, provider=provider
    ) as rig:
        rig.provider.on("/token", server.token)
        rig.provider.on("/me", server.resource)
        yield rig


@pytest.fixture
def server():
    return TokenServer()


@pytest.fixture
async def provider(tmp_path):
    """For tests that start a sidecar more than once."""
    running = Provider(tmp_path, HOSTS)
    await running.start()
    yield running
    await running.stop()


class FullDisk(Grants):
    """Cannot store the first `failures` times."""

    failures = 0

    def store(self, lease, kept):
        if self.failures:
            self.failures -= 1
            raise OperationalError("INSERT", {}, Exception("disk full"))
        return super().store(lease, kept)


class Rig:
    def __init__(self, setup, broker, clock):
        self.order, self.broker, self.grants, self.clock = order_of(setup), broker, broker._grants, clock

    async def token(self):
        self.broker._failures.clear()  # time passes
        return (await self.broker.mint(self.order)).text("access_token")


@pytest.fixture
async def refreshing(tmp_path, provider, server):
    provider.on("/token", server.token)
    tasks = await (group := asyncio.TaskGroup()).__aenter__()
    endpoint = f"https://auth.example.test:{provider.port}/token"

    def build(**fields):
        data = {"grant": "refresh_token", "token_endpoint": endpoint, **fields}
        environment = {"client_secret": SECRET, "refresh_token": server.login()}
        setup, clock = Setup(str(tmp_path), str(provider.root), data, environment, lease_s=0.5), ShiftedClock()
        return Rig(setup, broker_of(setup, clock, tasks, kind_of_grants=FullDisk), clock)

    yield build
    await group.__aexit__(None, None, None)
