"""Which calls the shipped profiles know, and how much they let an account do."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from proxy.catalog.validation.loading import bodies_meet
from tests.profiles.conftest import PROFILES, Call, call_of, is_name, operation_of, pieces, rank, resolve

if TYPE_CHECKING:
    from proxy.catalog.schema import Operation

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# A fresh key, a share, a member, a delegate, money that leaves: no account has these without being told so.
DELEGATION = [
    ("openai", "POST", "https://api.openai.com/v1/organization/admin_api_keys"),
    ("openai", "POST", "https://api.openai.com/v1/organization/projects/p/service_accounts"),
    ("openai", "POST", "https://api.openai.com/v1/organization/invites"),
    ("openai", "POST", "https://api.openai.com/v1/realtime/client_secrets"),
    ("openai", "POST", "https://api.openai.com/v1/chatkit/sessions"),
    ("openai", "POST", "https://api.openai.com/v1/webhook_endpoints"),
    ("openai", "POST", "https://api.openai.com/v1/fine_tuning/checkpoints/c/permissions"),
    ("openai", "GET", "https://api.openai.com/v1/vaults/v/credentials"),
    ("openai", "POST", "https://api.openai.com/v1/something_new"),
    ("anthropic", "POST", "https://api.anthropic.com/v1/organizations/invites"),
    ("anthropic", "GET", "https://api.anthropic.com/v1/organizations/api_keys"),
    ("anthropic", "POST", "https://api.anthropic.com/v1/organizations/webhooks"),
    ("anthropic", "POST", "https://api.anthropic.com/v1/tunnels/t/reveal_token"),
    ("anthropic", "POST", "https://api.anthropic.com/v1/vaults/v/credentials"),
    ("anthropic", "GET", "https://api.anthropic.com/v1/environments/e/work/poll"),
    ("anthropic", "POST", "https://api.anthropic.com/v1/oauth/token"),
    ("anthropic", "POST", "https://api.anthropic.com/api/oauth/claude_cli/create_api_key"),
    ("gemini", "POST", "https://generativelanguage.googleapis.com/v1alpha/auth_tokens"),
    ("gemini", "POST", "https://generativelanguage.googleapis.com/v1beta/credentials"),
    ("gemini", "POST", "https://generativelanguage.googleapis.com/v1beta/webhooks"),
    ("gemini", "POST", "https://generativelanguage.googleapis.com/v1beta/tunedModels/m/permissions"),
    ("gemini", "POST", "https://generativelanguage.googleapis.com/v1beta/tunedModels/m:transferOwnership"),
    ("openrouter", "POST", "https://openrouter.ai/api/v1/keys"),
    ("openrouter", "GET", "https://openrouter.ai/api/v1/keys/hash"),
    ("openrouter", "POST", "https://openrouter.ai/api/v1/auth/keys"),
    ("openrouter", "POST", "https://openrouter.ai/api/v1/auth/keys/code"),
    ("openrouter", "POST", "https://openrouter.ai/api/v1/byok"),
    ("openrouter", "POST", "https://openrouter.ai/api/v1/workspaces/w/members/add"),
    ("openrouter", "POST", "https://openrouter.ai/api/v1/observability/destinations"),
    ("huggingface", "GET", "https://huggingface.co/api/models/acme/m/xet-read-token/main"),
    ("huggingface", "GET", "https://huggingface.co/api/datasets/acme/m/xet-write-token/main"),
    ("huggingface", "GET", "https://huggingface.co/api/models/gpt2/xet-read-token/main"),
    ("huggingface", "GET", "https://huggingface.co/api/spaces/acme/s/jwt"),
    ("huggingface", "POST", "https://huggingface.co/api/settings/webhooks"),
    ("huggingface", "POST", "https://huggingface.co/api/spaces/acme/s/secrets"),
    ("huggingface", "PUT", "https://huggingface.co/api/models/acme/m/settings"),
    ("huggingface", "POST", "https://huggingface.co/api/organizations/acme/members"),
    ("huggingface", "POST", "https://huggingface.co/api/models/acme/m/user-access-request/grant"),
    ("huggingface", "POST", "https://huggingface.co/api/jobs/acme"),
    ("github", "POST", "https://api.github.com/repos/acme/w/keys"),
    ("github", "POST", "https://api.github.com/repos/acme/w/hooks"),
    ("github", "GET", "https://api.github.com/repos/acme/w/hooks"),
    ("github", "PATCH", "https://api.github.com/repos/acme/w/hooks/1/config"),
    ("github", "PUT", "https://api.github.com/repos/acme/w/collaborators/eve"),
    ("github", "PUT", "https://api.github.com/repos/acme/w/actions/secrets/NAME"),
    ("github", "POST", "https://api.github.com/repos/acme/w/actions/runners/registration-token"),
    ("github", "PUT", "https://api.github.com/repos/acme/w/environments/prod"),
    ("github", "PUT", "https://api.github.com/repos/acme/w/branches/main/protection"),
    ("github", "PATCH", "https://api.github.com/repos/acme/w"),
    ("github", "POST", "https://api.github.com/repos/acme/w/transfer"),
    ("github", "PUT", "https://api.github.com/orgs/acme/memberships/eve"),
    ("github", "POST", "https://api.github.com/orgs/acme/invitations"),
    ("github", "POST", "https://api.github.com/orgs/acme/hooks"),
    ("github", "PUT", "https://api.github.com/teams/1/memberships/eve"),
    ("github", "POST", "https://api.github.com/user/keys"),
    ("github", "POST", "https://api.github.com/user/gpg_keys"),
    ("github", "POST", "https://api.github.com/app/installations/1/access_tokens"),
    ("github", "POST", "https://api.github.com/applications/c/token"),
    ("github", "GET", "https://api.github.com/repos/acme/w/secret-scanning/alerts"),
    ("gitlab", "POST", "https://gitlab.com/api/v4/projects/1/hooks"),
    ("gitlab", "POST", "https://gitlab.com/api/v4/projects/1/hooks.json"),
    ("gitlab", "POST", "https://gitlab.com/api/v4/projects/a%2Fb/deploy_keys"),
    ("gitlab", "POST", "https://gitlab.com/api/v4/projects/1/deploy_tokens"),
    ("gitlab", "POST", "https://gitlab.com/api/v4/projects/1/access_tokens"),
    ("gitlab", "GET", "https://gitlab.com/api/v4/projects/1/variables"),
    ("gitlab", "GET", "https://gitlab.com/api/v4/projects/1/variables.json"),
    ("gitlab", "GET", "https://gitlab.com/api/v4/projects/1/triggers"),
    ("gitlab", "GET", "https://gitlab.com/api/v4/projects/1/pipelines/2/variables"),
    ("gitlab", "POST", "https://gitlab.com/api/v4/projects/1/members"),
    ("gitlab", "POST", "https://gitlab.com/api/v4/projects/1/invitations"),
    ("gitlab", "POST", "https://gitlab.com/api/v4/projects/1/share"),
    ("gitlab", "PUT", "https://gitlab.com/api/v4/projects/1"),
    ("gitlab", "PUT", "https://gitlab.com/api/v4/projects/1/integrations/slack"),
    ("gitlab", "POST", "https://gitlab.com/api/v4/groups/1/members"),
    ("gitlab", "POST", "https://gitlab.com/api/v4/groups/1/access_tokens"),
    ("gitlab", "POST", "https://gitlab.com/api/v4/user/keys"),
    ("gitlab", "POST", "https://gitlab.com/api/v4/users/1/impersonation_tokens"),
    ("gitlab", "POST", "https://gitlab.com/api/v4/personal_access_tokens/self/rotate"),
    ("gitlab", "POST", "https://gitlab.com/api/v4/applications"),
    ("gitlab", "POST", "https://gitlab.com/api/v4/runners"),
    ("discord", "GET", "https://discord.com/api/v10/channels/1/webhooks"),
    ("discord", "GET", "https://discord.com/api/v10/guilds/1/webhooks"),
    ("discord", "POST", "https://discord.com/api/v10/channels/1/invites"),
    ("discord", "PUT", "https://discord.com/api/v10/guilds/1/members/2/roles/3"),
    ("discord", "PUT", "https://discord.com/api/v10/channels/1/permissions/2"),
    ("discord", "PATCH", "https://discord.com/api/v10/guilds/1"),
    ("discord", "PUT", "https://discord.com/api/v10/applications/1/commands"),
    ("discord", "POST", "https://discord.com/api/v10/webhooks/1/token"),
    ("slack", "POST", "https://slack.com/api/files.sharedPublicURL"),
    ("slack", "POST", "https://slack.com/api/conversations.inviteShared"),
    ("slack", "POST", "https://slack.com/api/oauth.v2.access"),
    ("slack", "POST", "https://slack.com/api/tooling.tokens.rotate"),
    ("slack", "POST", "https://slack.com/api/apps.manifest.update"),
    ("slack", "POST", "https://slack.com/api/auth.revoke"),
    ("notion", "POST", "https://api.notion.com/v1/oauth/token"),
    ("notion", "POST", "https://api.notion.com/v1/webhooks"),
    ("linear", "POST", "https://api.linear.app/oauth/token"),
    ("stripe", "POST", "https://api.stripe.com/v1/webhook_endpoints"),
    ("stripe", "POST", "https://api.stripe.com/v2/core/event_destinations"),
    ("stripe", "POST", "https://api.stripe.com/v1/ephemeral_keys"),
    ("stripe", "POST", "https://api.stripe.com/v1/account_links"),
    ("stripe", "POST", "https://api.stripe.com/v1/accounts/a/external_accounts"),
    ("stripe", "POST", "https://api.stripe.com/v1/payouts"),
    ("stripe", "POST", "https://api.stripe.com/v1/transfers"),
    ("stripe", "POST", "https://api.stripe.com/v1/file_links"),
    ("stripe", "POST", "https://api.stripe.com/v1/billing_portal/sessions"),
    ("stripe", "POST", "https://api.stripe.com/v1/terminal/connection_tokens"),
    ("stripe", "GET", "https://api.stripe.com/v1/issuing/cards/c"),
    ("stripe", "GET", "https://api.stripe.com/v1/apps/secrets/find"),
    ("sentry", "POST", "https://sentry.io/api/0/api-tokens/"),
    ("sentry", "POST", "https://sentry.io/api/0/organizations/o/org-auth-tokens/"),
    ("sentry", "POST", "https://us.sentry.io/api/0/organizations/o/members/"),
    ("sentry", "POST", "https://us.sentry.io/api/0/organizations/o/members"),
    ("sentry", "POST", "https://de.sentry.io/api/0/projects/o/p/keys/"),
    ("sentry", "POST", "https://de.sentry.io/api/0/projects/o/p/hooks/"),
    ("sentry", "POST", "https://sentry.io/api/0/sentry-apps/"),
    ("sentry", "POST", "https://sentry.io/api/0/organizations/o/integrations/"),
    ("coinbase", "POST", "https://api.coinbase.com/api/v3/brokerage/portfolios/move_funds"),
    ("coinbase", "DELETE", "https://api.coinbase.com/api/v3/brokerage/portfolios/p"),
    ("coinbase", "POST", "https://api.coinbase.com/api/v3/brokerage/intx/allocate"),
    ("datadog", "POST", "https://api.datadoghq.com/api/v2/api_keys"),
    ("datadog", "GET", "https://api.datadoghq.eu/api/v2/api_keys/k"),
    ("datadog", "POST", "https://api.datadoghq.com/api/v2/current_user/application_keys"),
    ("datadog", "POST", "https://api.datadoghq.com/api/v2/service_accounts/s/application_keys"),
    ("datadog", "POST", "https://api.datadoghq.com/api/v1/api_key"),
    ("datadog", "POST", "https://api.datadoghq.com/api/v2/users"),
    ("datadog", "POST", "https://api.datadoghq.com/api/v2/roles"),
    ("datadog", "POST", "https://api.datadoghq.com/api/v1/dashboard/public"),
    ("datadog", "POST", "https://api.datadoghq.com/api/v1/integration/webhooks/configuration/webhooks"),
    ("datadog", "POST", "https://api.datadoghq.com/api/v1/synthetics/tests/api"),
    ("telegram", "POST", "https://api.telegram.org/bot1:a/setWebhook"),
    ("telegram", "POST", "https://api.telegram.org/bot1:a/logOut"),
    ("telegram", "POST", "https://api.telegram.org/bot1:a/getManagedBotToken"),
    ("telegram", "POST", "https://api.telegram.org/bot1:a/exportChatInviteLink"),
    ("telegram", "POST", "https://api.telegram.org/bot1:a/promoteChatMember"),
]  # fmt: skip
# What agents do all day.
EVERYDAY = [
    ("openai", "POST", "https://us.api.openai.com/v1/chat/completions", "chat.create"),
    ("openai", "GET", "https://api.openai.com/v1/responses/r/input_items", "read"),
    ("anthropic", "POST", "https://api.anthropic.com/v1/messages?beta=true", "messages.create"),
    ("anthropic", "GET", "https://api.anthropic.com/v1/messages/batches/b/results", "batches.results"),
    ("gemini", "POST", "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent?alt=sse", "models.call"),
    ("gemini", "POST", "https://generativelanguage.googleapis.com/upload/v1beta/files", "files.upload"),
    ("openrouter", "POST", "https://openrouter.ai/api/v1/chat/completions", "chat.create"),
    ("huggingface", "POST", "https://router.huggingface.co/v1/chat/completions", "inference.call"),
    ("huggingface", "GET", "https://huggingface.co/acme/m/info/refs?service=git-upload-pack", "git.fetch_refs"),
    ("huggingface", "HEAD", "https://huggingface.co/datasets/acme/d/resolve/main/a/b.parquet", "files.dataset"),
    ("huggingface", "POST", "https://huggingface.co/api/models/acme/m/commit/main", "models.commit"),
    ("github", "GET", "https://github.com/acme/w.git/info/refs?service=git-upload-pack", "git.fetch_refs"),
    ("github", "GET", "https://github.com/acme/w.git/info/refs?service=git-receive-pack", "git.push_refs"),
    ("github", "POST", "https://github.com/acme/w/git-upload-pack", "git.fetch"),
    ("github", "POST", "https://github.com/acme/w.git/git-receive-pack", "git.push"),
    ("github", "POST", "https://github.com/acme/w.git/info/lfs/objects/batch", "git.lfs"),
    ("github", "POST", "https://api.github.com/repos/acme/w/pulls/1/reviews", "pulls.change"),
    ("github", "PUT", "https://api.github.com/repos/acme/w/contents/a/b.txt", "contents.change"),
    ("github", "POST", "https://api.github.com/repos/acme/w/actions/workflows/ci.yml/dispatches", "actions.dispatch"),
    ("github", "POST", "https://uploads.github.com/repos/acme/w/releases/1/assets?name=a.zip", "releases.upload"),
    ("gitlab", "POST", "https://gitlab.com/api/v4/projects/a%2Fb/merge_requests/1/notes", "merge_requests.change"),
    ("gitlab", "GET", "https://gitlab.com/a/b/c.git/info/refs?service=git-receive-pack", "git.push_refs1"),
    ("gitlab", "GET", "https://gitlab.com/api/v4/projects/1/repository/files/a%2Fb.txt/raw?ref=main", "repository.get"),
    ("slack", "POST", "https://slack.com/api/conversations.history", "conversations.history"),
    ("discord", "PUT", "https://discord.com/api/v10/channels/1/messages/2/reactions/%F0%9F%91%8D/@me", "reactions.change"),
    ("discord", "POST", "https://discord.com/api/v10/channels/1/messages", "messages.create"),
    ("notion", "POST", "https://api.notion.com/v1/data_sources/d/query", "data_sources.query"),
    ("notion", "PATCH", "https://api.notion.com/v1/blocks/b/children", "blocks.change"),
    ("linear", "POST", "https://mcp.linear.app/mcp", "mcp.call"),
    ("stripe", "GET", "https://api.stripe.com/v1/customers/search?query=a", "customers.get"),
    ("stripe", "POST", "https://api.stripe.com/v1/refunds", "refunds.change"),
    ("sentry", "PUT", "https://sentry.io/api/0/organizations/o/issues/1/", "issues.change_in_org"),
    ("datadog", "GET", "https://api.uk1.datadoghq.com/api/v1/query?query=a", "metrics.query"),
    ("telegram", "GET", "https://api.telegram.org/bot1:a/getUpdates?timeout=50", "get_updates"),
    ("openweathermap", "GET", "https://api.openweathermap.org/data/3.0/onecall?lat=1&lon=2", "weather.onecall"),
]  # fmt: skip
SOCKETS = [
    ("openai", "https://api.openai.com/v1/realtime?model=m", "realtime.connect"),
    ("openai", "https://api.openai.com/v1/responses", "responses.connect"),
    ("gemini", "https://generativelanguage.googleapis.com/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent?key=k", "live.connect"),
    ("slack", "https://wss-primary.slack.com/link/?ticket=t&app_id=a", "apps.connections.socket"),
    ("discord", "https://gateway.discord.gg/?v=10&encoding=json&compress=zlib-stream", "gateway.connect"),
    ("discord", "https://gateway-us-east1-b.discord.gg/?v=10&encoding=json", "gateway.connect"),
]  # fmt: skip
REFUSED = [
    ("github", "GET", "https://github.com/acme/w/info/refs"),  # the old protocol, without a service
    ("github", "GET", "https://github.com/acme/w/info/refs?service=git-upload-archive"),
    ("github", "POST", "https://github.com/login/oauth/access_token"),
    ("slack", "POST", "https://slack.com/api/chat.postmessage"),
    ("slack", "POST", "https://slack.com/api/admin.users.invite"),
    ("telegram", "POST", "https://api.telegram.org/bot1:a/setwebhook"),
    ("discord", "GET", "https://discord.com/api/users/@me"),
    ("discord", "GET", "https://gateway.discord.gg/?v=10&encoding=json"),
]
# Signed addresses lead here; a credential would be one host too far.
NEVER_A_CREDENTIAL = {
    "github": {"codeload.github.com", "objects.githubusercontent.com", "release-assets.githubusercontent.com"},
    "huggingface": {"us.aws.cdn.hf.co", "us.gcp.cdn.hf.co", "cdn-lfs.hf.co", "cas-bridge.xethub.hf.co"},
    "notion": {"prod-files-secure.s3.us-west-2.amazonaws.com"},
    "discord": {"cdn.discordapp.com"},
    "slack": {"wss-primary.slack.com", "wss-backup.slack.com"},
}
MODEL_CALLS = [
    ("openai", "responses.create"), ("openai", "chat.create"), ("openai", "realtime.connect"),
    ("anthropic", "messages.create"), ("gemini", "models.call"), ("gemini", "interactions.change"),
    ("openrouter", "chat.create"), ("openrouter", "messages.create"), ("huggingface", "inference.call"),
    ("telegram", "get_updates"),
]  # fmt: skip


def overlap(first: Operation, second: Operation, hosts: set[str]) -> bool:
    """Whether some request could be both."""
    if first.websocket != second.websocket or not set(first.methods) & set(second.methods):
        return False
    if not set(first.hosts or hosts) & set(second.hosts or hosts):
        return False
    if any(second.query.get(name, value) != value for name, value in first.query.items()):
        return False
    if not bodies_meet(first, second):
        return False
    left, right = pieces(first.path), pieces(second.path)
    shorter, longer = sorted((left, right), key=lambda parts: len(parts) - (parts[-1] == "**"))
    head = shorter[:-1] if shorter[-1] == "**" else shorter
    if any(
        not ((is_name(a) and b != "") or (is_name(b) and a != "") or a == b) for a, b in zip(head, longer, strict=False)
    ):
        return False
    return shorter[-1] == "**" or len(longer) - (longer[-1] == "**") == len(head)


def within(narrow: Operation, wide: Operation) -> bool:
    """Whether every path of `narrow` is one of `wide`."""
    left, right = pieces(narrow.path), pieces(wide.path)
    if right[-1] != "**":
        return len(left) == len(right) and all(is_name(b) or a == b for a, b in zip(left, right, strict=True))
    head = right[:-1]
    return len(left) >= len(head) and all(
        (is_name(b) and a != "**") or a == b for a, b in zip(left, head, strict=False)
    )


@pytest.mark.parametrize(("name", "method", "url"), DELEGATION)
def test_delegation_is_admin(name, method, url):
    operation = resolve(PROFILES[name], call_of(method, url))
    assert operation is not None
    assert operation.action == "admin"


@pytest.mark.parametrize(("name", "url"), sorted({(name, url) for name, method, url in DELEGATION if method != "GET"}))
def test_no_other_method_changes_a_delegation_as_a_mere_write(name, url):
    for method in METHODS:
        operation = resolve(PROFILES[name], call_of(method, url))
        assert operation is None or operation.action != "write", (method, operation.id)


@pytest.mark.parametrize(("name", "method", "url", "operation"), EVERYDAY)
def test_everyday_calls_are_known_and_need_no_more_than_a_write(name, method, url, operation):
    found = resolve(PROFILES[name], call_of(method, url))
    assert found is not None
    assert found.id == operation
    assert found.action != "admin"


@pytest.mark.parametrize(("name", "url", "operation"), SOCKETS)
def test_sockets_are_known(name, url, operation):
    found = resolve(PROFILES[name], Call.of("GET", url, websocket=True))
    assert found is not None
    assert found.id == operation


@pytest.mark.parametrize(("name", "method", "url"), REFUSED)
def test_what_is_not_listed_is_not_an_operation(name, method, url):
    assert resolve(PROFILES[name], Call.of(method, url)) is None


def test_admin_is_never_shadowed_by_something_weaker(profile):
    hosts = {rule.host for rule in profile.hosts}
    shadowed = [
        (strict.id, weak.id)
        for strict, weak in permutations(profile.operations, 2)
        if strict.action == "admin"
        and weak.action != "admin"
        and overlap(strict, weak, hosts)
        and not within(weak, strict)
        and rank(weak) >= rank(strict)
    ]
    assert shadowed == []


def test_no_two_operations_are_equally_specific(profile):
    hosts = {rule.host for rule in profile.hosts}
    ties = [
        (one.id, other.id)
        for one, other in permutations(profile.operations, 2)
        if overlap(one, other, hosts) and rank(one) == rank(other)
    ]
    assert ties == []


@pytest.mark.parametrize("name", sorted(NEVER_A_CREDENTIAL))
def test_p2_hosts_of_signed_addresses_never_get_a_credential(name):
    profile = PROFILES[name]
    hosts = {rule.host for rule in profile.hosts}
    assert hosts >= NEVER_A_CREDENTIAL[name]
    for operation in profile.operations:
        if set(operation.hosts or hosts) & NEVER_A_CREDENTIAL[name]:
            assert operation.anonymous, operation.id


@pytest.mark.parametrize(("name", "operation"), MODEL_CALLS)
def test_model_calls_and_polls_may_take_their_time(name, operation):
    assert operation_of(PROFILES[name], operation).limits.response_timeout_s >= 900


def test_slack_app_tokens_open_sockets_only():
    assert [op.id for op in PROFILES["slack"].operations if "app" in op.credentials] == ["apps.connections.open"]
    assert all(op.credentials or op.anonymous for op in PROFILES["slack"].operations)


def test_git_takes_basic_and_the_api_does_not():
    for name, api_hosts in (
        ("github", {"api.github.com", "uploads.github.com"}),
        ("huggingface", {"router.huggingface.co"}),
    ):
        for operation in PROFILES[name].operations:
            assert ("git" in operation.credentials) == operation.id.startswith("git."), operation.id
            assert not (operation.id.startswith("git.") and set(operation.hosts) & api_hosts), operation.id
