"""`github_app` through the real sidecar, towards a GitHub that checks with other code than ours."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.credentials.cloud.conftest import clean, new_rsa, refused_politely, rig_of, told
from tests.fakes.github import APP, GitHub
from tests.fakes.tokens import MOODS
from tests.rig.shipped import shipped_text

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOSTS = ("api.github.com", "github.com")
WIDE = {"repositories": "*", "permissions": "*"}
NARROW = {"repositories": "widgets,gadgets", "permissions": "contents:read,issues:write"}
ACCOUNTS = {
    "numbered": {"installation": "77", **NARROW},
    "org": {"installation": "acme", **NARROW},
    "repository": {"installation": "acme/widgets", "repositories": "widgets", "permissions": "contents:write"},
    "user": {"installation": "ada", **WIDE},
    "nobody": {"installation": "nobody", **WIDE},
    "gone": {"installation": "99", **WIDE},
    "greedy": {"installation": "77", "repositories": "payroll", "permissions": "*"},
    "mighty": {"installation": "77", "repositories": "*", "permissions": "contents:admin"},
    "unnamed": {"installation": "77", "repositories": ",", "permissions": "*"},
    "stranger": {"installation": "77", **WIDE},
    **{name: {"installation": "77", **NARROW} for name in ("suspended", "limited", "revoked", "git")},
    **{f"excess-{name}": {"installation": "77", **NARROW} for name in ("permissions", "level", "repositories", "silence")},
    **{f"mood-{mood}": {"installation": "77", **NARROW} for mood in MOODS},
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def github():
    return GitHub()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory, github):
    folder = tmp_path_factory.mktemp("github")
    private, github.public = new_rsa()
    other, _ = new_rsa()
    (folder / "app.pem").write_bytes(private)
    (folder / "other.pem").write_bytes(other)
    accounts = {
        name: {
            "variables": {"app_id": APP, **variables},
            "keys": {"app": f"file:{folder / ('other.pem' if name == 'stranger' else 'app.pem')}"},
        }
        for name, variables in ACCOUNTS.items()
    }
    profile = shipped_text("github").replace(
        "kind: github_app", "kind: github_app, api_url: 'https://api.github.com:{port}'"
    )
    async with rig_of(folder, "github", profile, accounts, HOSTS) as running:
        github.serve(running.provider)
        yield running


@pytest.fixture(autouse=True)
def restored(github):
    yield
    github.mood, github.suspended, github.excess, github.limited, github.lives_s = "", False, "", False, 3600


async def read(rig, agent, path="/repos/acme/widgets"):
    return await rig.call("GET", path, agent=agent)


@pytest.mark.parametrize(("account", "body"), [
    ("numbered", {"repositories": ["widgets", "gadgets"], "permissions": {"contents": "read", "issues": "write"}}),
    ("org", {"repositories": ["widgets", "gadgets"], "permissions": {"contents": "read", "issues": "write"}}),
    ("repository", {"repositories": ["widgets"], "permissions": {"contents": "write"}}),
    ("user", {}),
])  # fmt: skip
async def test_p1_an_installation_token_is_narrowed_cached_and_never_seen(rig, github, account, body):
    before = len(github.bodies)
    answers = [await read(rig, account) for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert github.bodies[before:] == [body]
    seen = rig.provider.last.one("authorization")
    assert seen.removeprefix("Bearer ") in github.live
    for answer in answers:
        clean(answer.body, *github.live)  # the provider echoed the token
        assert b"[github/" in answer.body
    decision = (await rig.settled(1))[-1].decision
    clean(await told(rig), *github.live)
    assert (decision["account"], decision["credential_kind"]) == (f"github/{account}", "github_app")
    assert decision["credential_token"]


async def test_git_gets_the_token_as_basic(rig, github):
    answer = await rig.call(
        "GET", f"https://github.com:{rig.provider.port}/acme/widgets.git/info/refs?service=git-upload-pack", agent="git"
    )
    assert answer.status == 200
    sent = rig.provider.last.one("authorization")
    assert sent.startswith("Basic ")
    clean(answer.body, *github.live, sent.removeprefix("Basic "))


@pytest.mark.parametrize(("account", "slug"), [
    ("nobody", "not_connected"), ("gone", "not_connected"), ("greedy", "credential_unavailable"),
    ("mighty", "credential_unavailable"), ("unnamed", "credential_unavailable"), ("stranger", "credential_revoked"),
])  # fmt: skip
async def test_refusals_of_github_are_told_apart(rig, github, account, slug):
    answer = await read(rig, account)
    assert answer.problem == slug
    clean(answer.body, "payroll", "does not exist or is not accessible")


async def test_a_suspended_installation_is_withdrawn_and_a_limit_is_not(rig, github):
    github.suspended = True
    assert (await read(rig, "suspended")).problem == "credential_revoked"
    github.suspended, github.limited = False, True
    assert (await read(rig, "limited")).problem == "token_endpoint_error"


@pytest.mark.parametrize("excess", ["permissions", "level", "repositories", "silence"])
async def test_p5_a_token_that_may_do_more_than_was_asked_for_is_not_used(rig, github, excess):
    github.excess = excess
    before = len(rig.provider.requests)
    assert (await read(rig, f"excess-{excess}")).problem == "credential_unavailable"
    assert [seen.path for seen in rig.provider.requests[before:]] == ["/app/installations/77/access_tokens"]


@pytest.mark.parametrize("mood", MOODS)
async def test_p1_p5_a_rude_token_endpoint_gives_a_refusal_and_none_of_its_words(rig, github, mood):
    await refused_politely(rig, github, "/repos/acme/widgets", f"mood-{mood}", mood)


async def test_a_token_that_was_revoked_is_minted_again_within_the_request_once_in_a_while(rig, github):
    assert (await read(rig, "revoked")).status == 200
    github.live.clear()
    before = len(github.bodies)
    assert (await read(rig, "revoked")).status == 200
    assert len(github.bodies) == before + 1
    github.live.clear()
    assert (await read(rig, "revoked")).status == 401  # not twice within half a minute
    assert len(github.bodies) == before + 1


async def test_an_account_without_the_apps_key_has_nothing(rig):
    from proxy.catalog.configuration import mistakes
    from proxy.settings import Settings

    settings = Settings.model_validate_json(
        '{"version": 1, "providers": {"github": {"accounts": {"a": {"variables": {"app_id": "1", "installation": "1",'
        ' "repositories": "*", "permissions": "*"}}}}}}'
    )
    assert [message for _, message in mistakes(settings, rig.configuration.profiles)] == [
        "an account has at least one secret"
    ]
