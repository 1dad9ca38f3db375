"""The rig itself: what the certified server and the resource server take and refuse, asked by a client that is not ours."""

from __future__ import annotations

import asyncio
import ssl

import httpx
import pytest
import requests
from requests_oauth2client import OAuth2Client, PrivateKeyJwt

from tests.rig.authorization_server import REDIRECT, SECRET, authorization_server
from tests.rig.browser import Browser


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with authorization_server(tmp_path_factory.mktemp("as")) as running:
        yield running


def client_of(server, **options):
    session = requests.Session()
    session.trust_env, session.verify = False, str(server.root)
    at = {
        "token_endpoint": "/token", "authorization_endpoint": "/auth", "pushed_authorization_request_endpoint": "/request",
        "device_authorization_endpoint": "/device/auth", "revocation_endpoint": "/token/revocation",
    }  # fmt: skip
    urls = {name: server.issuer + path for name, path in at.items()}
    return OAuth2Client(
        **urls, issuer=server.issuer, authorization_response_iss_parameter_supported=True, redirect_uri=REDIRECT,
        session=session, **options,
    )  # fmt: skip


async def call(server, path, token, **headers):
    async with server.client() as client:
        return await client.get(server.resource + path, headers={"Authorization": f"Bearer {token}", **headers})


@pytest.mark.slow
async def test_a_token_is_for_one_resource_and_one_scope(server):
    client = client_of(server, auth=("machine", SECRET))
    token = await asyncio.to_thread(client.client_credentials, scope="read", resource=server.resource)
    assert (await call(server, "/x", token.access_token)).json()["client"] == "machine"
    assert (await call(server, "/scope/write/x", token.access_token)).status_code == 403
    assert (await call(server, "/short/x", token.access_token)).status_code == 401
    await server.control("/rig/withdraw", at=server.resource)
    assert (await call(server, "/x", token.access_token)).status_code == 401


@pytest.mark.slow
async def test_proofs_need_nonces_of_either_server(server):
    client = client_of(server, auth=("machine-dpop", SECRET))
    token = await asyncio.to_thread(client.client_credentials, scope="read", resource=server.resource, dpop=True)
    assert token.token_type == "DPoP"
    session = requests.Session()
    session.trust_env, session.verify, session.auth = False, str(server.root), token
    answer = await asyncio.to_thread(session.get, server.resource + "/dpop/x", timeout=20)
    assert answer.json()["scheme"] == "dpop"
    statuses = [request for request in await server.requests(at=server.resource) if request["path"] == "/dpop/x"]
    assert len(statuses) == 2
    assert (await call(server, "/x", token.access_token)).status_code == 401


@pytest.mark.slow
async def test_a_client_proves_itself_by_key_or_certificate(server):
    key = server.keys.public.as_dict(private=True)
    client = client_of(server, auth=PrivateKeyJwt("machine-jwt", {**key, "alg": "ES256"}))
    token = await asyncio.to_thread(client.client_credentials, scope="read", resource=server.resource)
    assert (await call(server, "/x", token.access_token)).status_code == 200
    context = ssl.create_default_context(cafile=str(server.root))
    context.load_cert_chain(server.keys.certificate)
    form = {
        "grant_type": "client_credentials",
        "client_id": "machine-mtls",
        "resource": server.resource,
        "scope": "read",
    }
    async with httpx.AsyncClient(verify=context, trust_env=False) as certified:
        bound = (await certified.post(server.issuer + "/token", data=form)).json()["access_token"]
        headers = {"Authorization": f"Bearer {bound}"}
        assert (await certified.get(server.resource + "/mtls/x", headers=headers)).status_code == 200
    assert (await call(server, "/mtls/x", bound)).status_code == 401
    async with server.client() as plain:
        assert (await plain.post("/token", data=form)).status_code == 401


async def test_a_person_consents_and_refresh_tokens_rotate(server):
    client = client_of(server, auth=("app-par", SECRET))
    asked = client.authorization_request(scope="read", resource=server.resource)
    pushed = await asyncio.to_thread(client.pushed_authorization_request, asked)
    async with server.client() as browser:
        back = await Browser(server, browser).authorize(str(pushed))
    answer = asked.validate_callback(back)
    token = await asyncio.to_thread(client.authorization_code, answer)
    assert (await call(server, "/x", token.access_token)).json()["sub"] == "alice"
    newer = await asyncio.to_thread(client.refresh_token, token)
    assert newer.refresh_token != token.refresh_token
    form = {"grant_type": "refresh_token", "refresh_token": token.refresh_token}
    async with server.client(auth=("app-par", SECRET)) as plain:
        assert (await plain.post("/token", data=form)).json()["error"] == "invalid_grant"


@pytest.mark.slow
async def test_a_person_refuses(server):
    client = client_of(server, client_id="app-public")
    asked = client.authorization_request(scope="read", resource=server.resource)
    async with server.client() as browser:
        back = await Browser(server, browser).authorize(str(asked), refuse=True)
    assert "error=access_denied" in back


@pytest.mark.slow
async def test_a_device_code_is_approved_elsewhere(server):
    client = client_of(server, auth=("app", SECRET))
    device = await asyncio.to_thread(client.authorize_device, scope="read", resource=server.resource)
    async with server.client() as browser:
        page = await Browser(server, browser).approve(device.verification_uri, device.user_code)
    assert "Success" in page
    token = await asyncio.to_thread(client.device_code, device)
    assert (await call(server, "/x", token.access_token)).json()["sub"] == "alice"


async def test_faults_come_when_a_test_asks_for_them(server):
    await server.faults({"path": "/token", "status": 503, "headers": {"Retry-After": "7"}, "body": "no"})
    async with server.client() as client:
        assert (await client.post("/token")).headers["retry-after"] == "7"
        assert (await client.post("/token")).status_code == 400
    assert [r["method"] for r in await server.requests("/token")][-2:] == ["POST", "POST"]
