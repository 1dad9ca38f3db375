"""`azure` through the real sidecar, towards an Entra ID that checks with other code than ours; msal as second opinion."""

from __future__ import annotations

import datetime as dt

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from msal.oauth2cli.assertion import JwtAssertionCreator

from tests.credentials.cloud.conftest import clean, refused_politely, rig_of, used
from tests.fakes.entra import CLIENT, EXCHANGE_AUDIENCE, SECRET, TENANT, Entra
from tests.fakes.tokens import RefusedError
from tests.fakes.workload import Workload
from tests.rig.shipped import shipped_text

pytestmark = pytest.mark.asyncio(loop_scope="module")
LOGIN, API, PATH = "login.microsoftonline.com", "acme-models.openai.azure.com", "/openai/models"
HOSTS = (API, LOGIN, "other.openai.azure.com")
MOODS = ("garbage", "busy")
GIVEN = {"tenant": TENANT, "client_id": CLIENT, "resource": "acme-models"}


def certified() -> tuple[bytes, x509.Certificate]:
    """A key with its certificate in one PEM, as an application registers them."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "briefcase")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem + certificate.public_bytes(serialization.Encoding.PEM), certificate


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def entra():
    return Entra(workload=Workload())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory, entra):
    folder = tmp_path_factory.mktemp("azure")
    pem, entra.certificate = certified()
    other, _ = certified()
    bare = pem[: pem.index(b"-----BEGIN CERTIFICATE")]
    for name, content in {"client.pem": pem, "other.pem": other, "bare.pem": bare}.items():
        (folder / name).write_bytes(content)
    (folder / "jwt").write_text(entra.workload.token(EXCHANGE_AUDIENCE))
    (folder / "wrong").write_text(entra.workload.token("api://else"))

    def account(secrets=None, keys=None, **variables):
        return {"secrets": secrets or {}, "keys": keys or {}, "variables": {**GIVEN, **variables}}

    secret = {"client_secret": "env:CLIENT_SECRET"}
    accounts = {
        "secret": account(secret),
        "certificate": account(keys={"client": f"file:{folder / 'client.pem'}"}),
        "msal": account(keys={"client": f"file:{folder / 'client.pem'}"}),
        "federated": account({"subject_token": f"file:{folder / 'jwt'}"}),
        "wrong-secret": account({"client_secret": "env:WRONG_SECRET"}),
        "wrong-certificate": account(keys={"client": f"file:{folder / 'other.pem'}"}),
        "no-certificate": account(keys={"client": f"file:{folder / 'bare.pem'}"}),
        "wrong-audience": account({"subject_token": f"file:{folder / 'wrong'}"}),
        "wrong-client": account(secret, client_id="00000000-0000-4000-8000-000000000000"),
        "expired": account(secret),
        **{f"mood-{mood}": account(secret) for mood in MOODS},
    }
    profile = shipped_text("azureopenai").replace(
        "kind: azure,", f"kind: azure, authority: 'https://{LOGIN}:{{port}}',"
    )
    # The rig names hosts by the account that they are pinned to.
    environment = {"CLIENT_SECRET": SECRET, "WRONG_SECRET": "not~the~secret~0123456789"}
    async with rig_of(folder, "azureopenai", profile, accounts, HOSTS, environment) as running:
        entra.token_url = f"https://{LOGIN}:{running.provider.port}/{TENANT}/oauth2/v2.0/token"
        entra.serve(running.provider)
        yield running


@pytest.mark.parametrize("name", ["secret", "certificate", "federated"])
async def test_p1_an_application_gets_its_token(rig, entra, name):
    before = len(entra.asked)
    first, second = await used(rig, entra, PATH, name, "azure")
    assert first == second
    assert len(entra.asked) == before + 1
    clean(rig.sidecar.scrubbed(name, f"{SECRET if name == 'secret' else ''} {first}".encode()), SECRET, first)


async def test_the_assertion_has_the_form_that_msal_gives_it(rig, entra):
    assert (await rig.call("GET", PATH, agent="msal")).status == 200
    ours, claims = entra.headers[-1], entra.claims[-1]
    pem = (rig.home.parent / "client.pem").read_bytes()
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(pem[: pem.index(b"-----BEGIN CERTIFICATE")], None)
    creator = JwtAssertionCreator(key, "PS256", sha256_thumbprint=entra.certificate.fingerprint(hashes.SHA256()).hex())
    theirs = creator.create_normal_assertion(audience=entra.token_url, issuer=CLIENT)
    entra.check(theirs)  # the fake takes it: it was not made to fit ours
    assert ours == {name: value.rstrip("=") for name, value in entra.headers[-1].items()}
    assert set(entra.claims[-1]) <= set(claims) | {"sub"}
    assert claims["exp"] - claims["iat"] <= 600
    with pytest.raises(RefusedError):
        entra.check(theirs)  # an assertion is good once


@pytest.mark.parametrize(("agent", "slug"), [
    ("wrong-secret", "credential_revoked"), ("wrong-certificate", "credential_revoked"),
    ("no-certificate", "credential_unavailable"), ("wrong-audience", "credential_revoked"),
    ("wrong-client", "credential_revoked"),
])  # fmt: skip
async def test_p5_what_entra_does_not_accept_is_told_apart(rig, agent, slug):
    answer = await rig.call("GET", PATH, agent=agent)
    assert answer.problem == slug
    clean(answer.body, "AADSTS", SECRET)
    assert rig.provider.last.path != PATH


async def test_an_expired_secret_is_told_apart(rig, entra):
    entra.expired_secret = True
    assert (await rig.call("GET", PATH, agent="expired")).problem == "credential_revoked"
    entra.expired_secret = False


async def test_p2_a_token_goes_to_the_resource_of_its_account_only(rig):
    before = len(rig.provider.requests)
    answer = await rig.call("GET", f"https://other.openai.azure.com:{rig.provider.port}{PATH}", agent="secret")
    assert answer.problem is not None
    assert rig.provider.requests[before:] == []


@pytest.mark.parametrize("mood", MOODS)
async def test_p1_p5_a_rude_token_endpoint_gives_a_refusal_and_none_of_its_words(rig, entra, mood):
    await refused_politely(rig, entra, PATH, f"mood-{mood}", mood)
