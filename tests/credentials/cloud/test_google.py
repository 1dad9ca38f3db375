"""`google` and `google_federation` through the real sidecar, towards a Google that checks with other code than ours."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio

from proxy.credentials.google import GoogleCredential
from tests.credentials.cloud.conftest import clean, new_rsa, refused_politely, rig_of, used
from tests.fakes.google import EMAIL, KEY_ID, POOL, Google, form
from tests.fakes.workload import Workload

pytestmark = pytest.mark.asyncio(loop_scope="module")
API, OAUTH, STS, IAM = "api.example.test", "oauth2.example.test", "sts.example.test", "iam.example.test"
PROFILE = """\
schema: 1
name: goo
title: Google
docs: https://example.test/
checked: "2026-11-25"
hosts: [{{host: api.example.test, port: {port}}}]
secrets:
  service_account: {{env: [A], stand_in: {{prefix: sa-}}}}
  subject_token: {{env: [B], stand_in: {{prefix: st-}}}}
variables:
  project_number: {{default: "123"}}
  pool: {{default: ci}}
  provider: {{default: gh}}
  email: {{pattern: "[a-z0-9.@-]+"}}
credentials:
  access: {{kind: google, token_url: "https://oauth2.example.test:{port}/token"}}
  wide: {{kind: google, token_url: "https://oauth2.example.test:{port}/token", scopes: ["https://www.googleapis.com/auth/everything"]}}
  user: {{kind: google, token_url: "https://oauth2.example.test:{port}/token", subject: ada@widgets.example}}
  identity: {{kind: google, token_url: "https://oauth2.example.test:{port}/token", obtain: id_token, audience: "https://run.example.test"}}
  self: {{kind: google, token_url: "https://oauth2.example.test:{port}/token", obtain: self_signed, audience: "https://api.example.test/"}}
  self_scoped: {{kind: google, token_url: "https://oauth2.example.test:{port}/token", obtain: self_signed}}
  federated: {{kind: google_federation, token_url: "https://sts.example.test:{port}/v1/token"}}
  taken: {{kind: google_federation, token_url: "https://sts.example.test:{port}/v1/token",
    iam_url: "https://iam.example.test:{port}", service_account: "{{email}}", scopes: ["https://www.googleapis.com/auth/bigquery"]}}
  taken_id: {{kind: google_federation, token_url: "https://sts.example.test:{port}/v1/token", obtain: id_token,
    iam_url: "https://iam.example.test:{port}", service_account: "{{email}}", id_audience: "https://run.example.test"}}
operations:
  - {{id: read, methods: [GET], path: "/**", action: read}}
"""
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
PUBLIC = "https://oauth2.googleapis.com/token"
OTHER = EMAIL.replace("agent", "other")
KEYED = {name: {"credentials": [name]} for name in ("access", "wide", "user", "identity", "self", "self_scoped")}
MOODS = ("types", "unsendable")


def account(credential, *, key="sa.json", variables=None):
    return {"credentials": [credential], "key": key, "variables": variables or {}}


ACCOUNTS = {
    **{name: account(name) for name in KEYED},
    "disabled": account("access"), "wrong-audience": account("identity"), "mood": account("access"),
    **{f"mood-{mood}": account("access") for mood in MOODS},
    "elsewhere": account("access", key="elsewhere.json"), "stranger": account("access", key="stranger.json"),
    "no-key": account("access", key="no-key.json"), "weak": account("access", key="weak.json"),
    "library": account("access"), "library-id": account("identity"),
    "library-taken": account("taken", key="jwt", variables={"email": EMAIL}),
    "federated": account("federated", key="jwt"), "expired": account("federated", key="old-jwt"),
    "audience": account("federated", key="other-jwt"),
    "provider": account("federated", key="jwt", variables={"provider": "gl"}),
    "taken": account("taken", key="jwt", variables={"email": EMAIL}),
    "taken_id": account("taken_id", key="jwt", variables={"email": EMAIL}),
    "denied": account("taken", key="jwt", variables={"email": OTHER}),
}  # fmt: skip


def key_file(pem, token_url, **changed):
    return json.dumps({
        "type": "service_account", "project_id": "widgets", "private_key_id": KEY_ID, "private_key": pem.decode(),
        "client_email": EMAIL, "client_id": "1", "token_uri": token_url,
    } | changed)  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def google():
    return Google(workload=Workload())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory, google):
    folder = tmp_path_factory.mktemp("google")
    accounts = {
        name: {
            "secrets": {
                ("service_account" if described["key"].endswith("json") else "subject_token"): f"file:{folder / described['key']}"
            },
            "variables": described["variables"],
            "credentials": described["credentials"],
        }
        for name, described in ACCOUNTS.items()
    }  # fmt: skip
    private, google.public = new_rsa()
    google.private, _ = new_rsa()
    stranger, _ = new_rsa()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    weak = rsa.generate_private_key(65537, 1024).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    audience = f"https:{POOL}"
    assert google.workload is not None
    (folder / "jwt").write_text(google.workload.token(audience))
    (folder / "old-jwt").write_text(google.workload.token(audience, exp=1_700_000_000))
    (folder / "other-jwt").write_text(google.workload.token("https://elsewhere.test"))
    for name in ("sa.json", "elsewhere.json", "stranger.json", "no-key.json", "weak.json"):
        (folder / name).write_text('{"placeholder": "until the port is known"}')
    async with rig_of(folder, "goo", PROFILE, accounts, (API, OAUTH, STS, IAM, "localhost")) as running:
        google.token_url = f"https://{OAUTH}:{running.provider.port}/token"
        google.serve(running.provider)
        (folder / "sa.json").write_text(key_file(private, google.token_url))
        (folder / "elsewhere.json").write_text(key_file(private, "https://evil.example.test/token"))
        (folder / "stranger.json").write_text(key_file(stranger, google.token_url))
        (folder / "no-key.json").write_text(key_file(b"not a key", google.token_url))
        (folder / "weak.json").write_text(key_file(weak, google.token_url))
        running.private_key = private.decode()
        yield running


@pytest.fixture(autouse=True)
def restored(google):
    yield
    google.mood, google.disabled, google.wrong_audience = "", False, False


@pytest.mark.parametrize(("name", "path"), [
    ("access", "/v1/models"), ("user", "/v1/models"), ("identity", "/v1/models"), ("self", "/self"), ("self_scoped", "/self"),
])  # fmt: skip
async def test_p1_a_service_account_gets_its_tokens(rig, google, name, path):
    before = len(google.asked)
    first, second = await used(rig, google, path, name, "google")
    assert first == second  # cached
    assert len(google.asked) - before == (0 if name.startswith("self") else 1)
    match name:
        case "access":
            assert google.claims[-1]["scope"] == "https://www.googleapis.com/auth/cloud-platform"
        case "user":
            assert google.claims[-1]["sub"] == "ada@widgets.example"
        case "identity":
            assert google.claims[-1]["target_audience"] == "https://run.example.test"


async def test_p1_the_private_key_inside_the_file_is_looked_for_too(rig, google):
    await used(rig, google, "/v1/models", "access", "google")
    leak = await rig.call("GET", "/v1/models", agent="access", headers={"X-Echoed": rig.private_key.replace("\n", "")})
    assert leak.status == 200
    shown = rig.sidecar.scrubbed("access", f"leak: {rig.private_key} end".encode())
    assert b"PRIVATE KEY" not in shown


@pytest.mark.parametrize(
    ("name", "path"), [("federated", "/v1/models"), ("taken", "/v1/models"), ("taken_id", "/v1/models")]
)
async def test_p1_a_workload_gets_tokens_without_any_key(rig, google, name, path):
    tokens = await used(rig, google, path, name, "google_federation")
    assert (tokens[0] in google.federated) == (name == "federated")
    shown = rig.sidecar.scrubbed(name, " ".join(google.federated).encode())
    assert not any(token.encode() in shown for token in google.federated)
    wanted = "cloud-platform" if name == "federated" else "iam"  # no more than taking on needs
    assert google.scopes_seen[-1] == f"https://www.googleapis.com/auth/{wanted}"


@pytest.mark.parametrize(("agent", "slug"), [
    ("wide", "credential_unavailable"), ("elsewhere", "credential_unavailable"), ("stranger", "credential_revoked"),
    ("no-key", "credential_unavailable"), ("weak", "credential_unavailable"), ("expired", "credential_revoked"),
    ("audience", "credential_revoked"), ("provider", "credential_unavailable"), ("denied", "credential_revoked"),
])  # fmt: skip
async def test_p5_what_google_does_not_accept_is_told_apart(rig, agent, slug):
    before = len(rig.provider.requests)
    answer = await rig.call("GET", "/v1/models", agent=agent)
    assert answer.problem == slug
    clean(answer.body, "deleted", "rejected", "iam.serviceAccounts")
    assert not any(seen.path == "/v1/models" for seen in rig.provider.requests[before:])


async def test_p2_a_key_file_for_another_token_endpoint_is_sent_nowhere(rig, google):
    before = len(google.asked)
    assert (await rig.call("GET", "/v1/models", agent="elsewhere")).problem == "credential_unavailable"
    assert len(google.asked) == before


async def test_a_deleted_account_is_withdrawn(rig, google):
    google.disabled = True
    assert (await rig.call("GET", "/v1/models", agent="disabled")).problem == "credential_revoked"


async def test_p5_an_id_token_for_another_audience_is_not_presented(rig, google):
    google.wrong_audience = True
    assert (await rig.call("GET", "/v1/models", agent="wrong-audience")).problem == "credential_unavailable"


@pytest.mark.parametrize("mood", MOODS)
async def test_p1_p5_a_rude_token_endpoint_gives_a_refusal_and_none_of_its_words(rig, google, mood):
    await refused_politely(rig, google, "/v1/models", f"mood-{mood}", mood)


def by_googles_library(folder, token_url, port, root):
    """Three tokens, each obtained by google-auth from the same server: a key's, an identity, a workload's."""
    import google.auth.identity_pool
    import requests
    from google.auth.transport.requests import Request
    from google.oauth2 import service_account

    with requests.Session() as session:
        session.verify, session.trust_env = str(root), False
        request = Request(session)
        near = f"https://localhost:{port}"
        file = str(folder / "sa.json")
        key = service_account.Credentials.from_service_account_file(file, scopes=[CLOUD_PLATFORM])
        grant = key._make_authorization_grant_assertion()
        identity = service_account.IDTokenCredentials.from_service_account_file(
            file, target_audience="https://run.example.test"
        )._make_authorization_grant_assertion()
        workload = google.auth.identity_pool.Credentials(
            audience=POOL,
            subject_token_type="urn:ietf:params:oauth:token-type:jwt",
            token_url=f"{near}/v1/token",
            credential_source={"file": str(folder / "jwt")},
            service_account_impersonation_url=f"{near}/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken",
            scopes=[CLOUD_PLATFORM],
        )
        workload.refresh(request)
    return grant.decode(), identity.decode(), workload.token


async def test_googles_own_library_asks_for_the_same(rig, google):
    pytest.importorskip("google.auth", reason="comes with the dev extra")
    assert (await rig.call("GET", "/v1/models", agent="library")).status == 200
    assert (await rig.call("GET", "/v1/models", agent="library-id")).status == 200
    assert (await rig.call("GET", "/v1/models", agent="library-taken")).status == 200
    folder, port = rig.home.parent, rig.provider.port
    ours = [seen for seen in google.asked if seen.path == "/v1/token"][-1]
    claims = google.claims[-2:]
    grant, identity, token = await asyncio.to_thread(
        by_googles_library, folder, google.token_url, port, rig.provider.root
    )
    # Theirs are always for the public endpoint; ours are for the profile's, which is that one unless it says otherwise.
    assert GoogleCredential.model_fields["token_url"].default == PUBLIC
    theirs = [google._decoded(text, PUBLIC) for text in (grant, identity)]  # the fake takes them
    for mine, other in zip(claims, theirs, strict=True):
        assert {name: mine[name] for name in mine if name not in ("iat", "exp", "aud")} == {
            name: other[name] for name in other if name not in ("iat", "exp", "aud")
        }
    assert token in google.live
    posted = [seen for seen in google.asked if seen.path == "/v1/token"][-1]
    assert form(ours) == form(posted)
