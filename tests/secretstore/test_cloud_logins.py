"""How `gcpsm:`, `azurekv:` and `infisical:` log in otherwise than the contract's benches do."""

from __future__ import annotations

import asyncio
import json
import time

import orjson
import pytest

from proxy.secretstore import SecretUnavailableError
from proxy.services import secret_stores
from proxy.settings import Settings
from tests.fakes.stores import azure, google, infisical
from tests.rig.provider import read_head
from tests.secretstore.benches import AzureBench, GoogleBench, InfisicalBench, SetClock

VALUE = "the-value-of-the-secret"
BENCHES = {"gcpsm": GoogleBench, "azurekv": AzureBench, "infisical": InfisicalBench}
TOKENS = {"TOKEN": google.SUBJECT_TOKEN, "AZURE": azure.FEDERATED, "POD": infisical.JWT}


@pytest.fixture
async def metadata():
    """A machine's metadata service, in plain HTTP: both clouds'. `tell` gives the tokens."""

    class Metadata:
        tell = staticmethod(lambda: "nothing")
        flavor, requests, address = b"Metadata-Flavor: Google\r\n", [], ""

    service = Metadata()
    service.requests = []

    async def serve(reader, writer):
        seen = await read_head(reader)
        service.requests.append(seen)
        asked = (seen.one("metadata-flavor"), seen.one("metadata"))
        body = json.dumps({"access_token": service.tell(), "expires_in": "3599", "token_type": "Bearer"}).encode()
        if asked not in (("Google", None), (None, "true")):
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n" % (service.flavor, len(body)) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    service.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield service
    server.close()


@pytest.fixture
async def bench(request, tmp_path):
    bench = BENCHES[request.param](tmp_path)
    await bench.server.start()
    bench.put("one", VALUE)
    yield bench
    await bench.server.stop()


def of(scheme):
    return pytest.mark.parametrize("bench", [scheme], indirect=True)


def stores_of(bench, auth, clock=None, **environment):
    section = bench.settings() | {"auth": auth, "ca_file": str(bench.server.provider.root), "ttl_s": 0}
    settings = Settings.model_validate_json(orjson.dumps({"version": 1, "secret_stores": {bench.scheme: section}}))
    return secret_stores(
        settings,
        home=bench.server.provider.folder,
        environment={**bench.environment(), **TOKENS, **environment},
        clock=clock or SetClock(),
        passphrase=None,
        hosts={bench.server.host: ("127.0.0.1",)},
    )


async def reads(stores, bench):
    return (await stores.get(bench.ref("one"))).reveal() == VALUE.encode()


@of("gcpsm")
async def test_google_by_the_metadata_server(bench, metadata):
    metadata.tell = lambda: bench.server.token("machine")
    stores = stores_of(bench, {"method": "metadata"}, GCE_METADATA_HOST=metadata.address)
    assert await reads(stores, bench)
    assert await reads(stores, bench)
    assert [seen.target for seen in metadata.requests] == [
        "/computeMetadata/v1/instance/service-accounts/default/token"
    ]
    metadata.flavor = b""
    with pytest.raises(SecretUnavailableError, match="not Google"):
        await reads(stores_of(bench, {"method": "metadata"}, GCE_METADATA_HOST=metadata.address), bench)


@of("gcpsm")
@pytest.mark.parametrize("place", ["metadata.google.internal", "8.8.8.8", "10.0.0.1:80", "http://127.0.0.1", "é"])
async def test_p2_a_metadata_service_is_an_address_of_the_machine(bench, place):
    with pytest.raises(SecretUnavailableError, match=r"not the address|not an address"):
        await reads(stores_of(bench, {"method": "metadata"}, GCE_METADATA_HOST=place), bench)
    assert bench.server.provider.requests == []


@of("gcpsm")
@pytest.mark.parametrize("impersonate", [None, google.EMAIL])
async def test_google_by_workload_identity(bench, impersonate):
    auth = {
        "method": "federation",
        "audience": google.AUDIENCE,
        "subject_token": "env:TOKEN",
        "impersonate": impersonate,
    }
    assert await reads(stores_of(bench, auth), bench)
    wrong = auth | {"audience": google.AUDIENCE + "x"}
    with pytest.raises(SecretUnavailableError, match="400") as failed:
        await reads(stores_of(bench, wrong), bench)
    assert google.SUBJECT_TOKEN not in str(failed.value)


@of("gcpsm")
async def test_a_token_is_used_for_its_time_and_one_that_is_refused_is_replaced_once(bench):
    clock = SetClock()
    stores = stores_of(bench, {"method": "service_account", "key": "env:KEY"}, clock)
    for _ in range(3):
        assert await reads(stores, bench)
    assert bench.server.given == 1
    clock.now_s += 3300
    assert await reads(stores, bench)
    assert bench.server.given == 2
    bench.server.tokens.clear()
    assert await reads(stores, bench)
    assert bench.server.given == 3


@of("gcpsm")
@pytest.mark.parametrize("key", ["not JSON", "{}", '{"client_email": "a@b", "private_key": "-----BEGIN"}'])
async def test_p5_a_key_file_that_is_none(bench, key):
    with pytest.raises(SecretUnavailableError) as failed:
        await reads(stores_of(bench, {"method": "service_account", "key": "env:OWN"}, OWN=key), bench)
    assert key not in str(failed.value)


@of("azurekv")
async def test_azure_by_a_managed_identity(bench, metadata):
    metadata.tell = bench.server.token
    auth = {"method": "managed_identity", "client_id": azure.CLIENT}
    assert await reads(stores_of(bench, auth, AZURE_POD_IDENTITY_AUTHORITY_HOST=f"http://{metadata.address}/"), bench)
    assert metadata.requests[0].target == (
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net"
        f"&client_id={azure.CLIENT}"
    )


@of("azurekv")
async def test_azure_by_a_federated_token(bench):
    auth = {"method": "federated", "tenant": azure.TENANT, "client_id": azure.CLIENT, "token": "env:AZURE"}
    assert await reads(stores_of(bench, auth), bench)
    with pytest.raises(SecretUnavailableError, match="401"):
        await reads(stores_of(bench, auth | {"token": "env:POD"}), bench)


@of("infisical")
@pytest.mark.parametrize("method", ["kubernetes", "oidc"])
async def test_infisical_by_a_platform_token(bench, method):
    auth = {"method": method, "identity": infisical.IDENTITY, "jwt": "env:POD"}
    assert await reads(stores_of(bench, auth), bench)


@of("infisical")
async def test_p5_infisical_gives_no_value_to_whoever_may_not_read_it_and_still_says_200(bench):
    auth = {"method": "oidc", "identity": infisical.IDENTITY, "jwt": "env:POD"}
    bench.server.hidden = set(bench.server.values)
    with pytest.raises(SecretUnavailableError, match="not read its value"):
        await reads(stores_of(bench, auth), bench)


async def test_p7_a_metadata_service_that_says_nothing_is_given_up(tmp_path):
    async def serve(_reader, _writer):
        await asyncio.sleep(30)

    silent = await asyncio.start_server(serve, "127.0.0.1", 0)
    place = f"127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    settings = Settings.model_validate_json(b'{"version": 1, "secret_stores": {"timeout_s": 0.2, "gcpsm": {}}}')
    stores = secret_stores(settings, home=tmp_path, environment={"GCE_METADATA_HOST": place}, clock=SetClock(), passphrase=None)  # fmt: skip
    started = time.monotonic()
    with pytest.raises(SecretUnavailableError, match=r"0\.2 s"):
        await stores.get("gcpsm:my-project/one")
    assert time.monotonic() - started < 5
    silent.close()
