"""Approvers are told: webhooks and Slack, over real TLS, until it has worked (J-03, J-04)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from proxy.approval.channels.courier import Courier
from proxy.approval.channels.event import TYPES, filled
from proxy.approval.channels.outbox import GIVE_UP_MS, LEASE_MS, Audience, Outbox
from proxy.approval.channels.slack_message import MAX_SHOWN
from proxy.approval.channels.webhook import signature
from proxy.approval_settings import ApprovalSettings
from proxy.secret import Secret
from tests.approval.receiver import read_secret, receiving
from tests.approval.requests import AGENT, asked
from tests.approval.voting import Desk, ballot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import Engine

    from proxy.egress.http import HttpClient
    from tests.approval.hands import Hands
    from tests.approval.receiver import Receiver, SlackServer
    from tests.rig.provider import Seen


class Team:
    """A desk whose courier goes round when a test says so."""

    def __init__(self, desk: Desk, http: HttpClient, receiver: Receiver, slack: SlackServer) -> None:
        self.desk, self.http, self.receiver, self.slack = desk, http, receiver, slack
        self.database = desk.store._database
        self.courier = self.another()

    def another(self) -> Courier:
        """A courier that knows nothing but the database."""
        desk = self.desk
        return Courier(
            Outbox(self.database, desk.hands),
            desk.store,
            settings=lambda: desk.approvals.settings,
            http=self.http,
            read_secret=read_secret,
            clock=desk.hands,
        )

    def over(self, *, link: str | None = None, **channels: Any) -> None:
        given = {"hold_s": 0.0, "channels": channels, "link": link, "max_pending_per_agent": 100}
        self.desk.approvals.settings = ApprovalSettings.model_validate_json(json.dumps(given))

    def webhook(self, **more: object) -> None:
        self.over(webhooks={"ops": self.receiver.settings(**more)})


@pytest_asyncio.fixture
async def team(database: Engine, hands: Hands, tmp_path: Path) -> AsyncIterator[Team]:
    async with receiving(tmp_path) as (receiver, slack, http):
        yield Team(Desk(database, hands), http, receiver, slack)


# -- webhooks ------------------------------------------------------------------------------------------------------


async def test_a_webhook_learns_of_a_question_and_of_its_end_each_once(team: Team) -> None:
    team.webhook()
    id_ = await team.desk.required()
    for _ in range(3):
        await team.courier.round()
    await team.desk.approvers.decide(id_, ballot())
    for _ in range(3):
        await team.courier.round()
    first, second = team.receiver.told
    asked_for, approved = json.loads(first[1]), json.loads(second[1])
    assert (first[0], asked_for["type"]) == (f"webhooks/ops:{id_}:pending", "approval.pending")
    assert (second[0], approved["type"]) == (f"webhooks/ops:{id_}:approved", "approval.approved")
    assert approved["data"]["approvers"] == "ann"
    data = asked_for["data"]
    assert (data["title"], data["agent"], data["method"], data["host"]) == (
        "Open an issue", "coder", "POST", "api.github.test",
    )  # fmt: skip
    assert "card" not in data
    assert b"Release 1.2" not in first[1]  # the body of the request stays here unless it is asked for


async def test_the_whole_request_goes_along_where_the_operator_says_so(team: Team) -> None:
    team.webhook(whole=True)
    await team.desk.required()
    await team.courier.round()
    assert "Release 1.2" in json.loads(team.receiver.told[0][1])["data"]["card"]["body"]


def test_the_published_vector_of_standard_webhooks() -> None:
    secret = Secret("x", b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_ntfy_by_template(team: Team) -> None:
    body = '{"topic":"ops","title":"{title}","message":"{agent}: {method} {host}{path}","click":"{link}"}'
    hook = team.receiver.settings(body=body, secret_headers={"Authorization": "env:NTFY"}, headers={"X-Tag": "key"})
    team.over(link="https://briefcase.example/approvals/", webhooks={"phone": hook})
    id_ = await team.desk.required()
    await team.courier.round()
    seen = team.receiver.attempts[0]
    assert (seen.one("authorization"), seen.one("x-tag")) == ("Bearer tk_canary", "key")
    assert json.loads(seen.body) == {
        "topic": "ops",
        "title": "Open an issue",
        "message": "coder: POST api.github.test/repos/acme/site/issues",
        "click": f"https://briefcase.example/approvals/{id_}",
    }


@pytest.mark.parametrize("content_type", TYPES)
def test_a_value_stays_within_its_place_in_a_template(content_type: str) -> None:
    values = {"title": 'a"b&c=<i>{agent}\\', "agent": "coder"}
    wanted = {
        "application/json": b'{"x":"a\\"b&c=<i>{agent}\\\\","n":{}}',
        "application/x-www-form-urlencoded": b'{"x":"a%22b%26c%3D%3Ci%3E%7Bagent%7D%5C","n":{}}',
        "text/html": b'{"x":"a&quot;b&amp;c=&lt;i&gt;{agent}\\","n":{}}',
        "text/plain": b'{"x":"a"b&c=<i>{agent}\\","n":{}}',
    }
    assert filled('{"x":"{title}","n":{}}', values, content_type) == wanted[content_type]


async def test_what_is_not_taken_is_tried_again_later_and_later_under_the_same_id(team: Team, hands: Hands) -> None:
    team.webhook()
    team.receiver.status = 503
    await team.desk.required()
    waited = []
    for _ in range(4):
        before = len(team.receiver.attempts)
        while len(team.receiver.attempts) == before:
            await team.courier.round()
            hands.forward(1)
            waited.append(before)
    assert [waited.count(number) for number in range(4)] == [1, 2, 4, 8]
    team.receiver.status = 200
    hands.forward(16)
    await team.courier.round()
    assert len({seen.one("webhook-id") for seen in team.receiver.attempts}) == 1
    assert len({seen.one("webhook-timestamp") for seen in team.receiver.attempts}) == 5
    assert len(team.receiver.told) == 1


async def test_retry_after_is_heeded_and_in_the_end_it_is_given_up(team: Team, hands: Hands) -> None:
    team.webhook()
    team.receiver.status, team.receiver.headers = 429, "Retry-After: 100\r\n"
    await team.desk.required()
    await team.courier.round()
    hands.forward(99)
    await team.courier.round()
    assert len(team.receiver.attempts) == 1
    for _ in range(3):
        hands.forward(GIVE_UP_MS / 1000)
        await team.courier.round()
    assert len(team.receiver.attempts) == 2  # the second came after a day


async def test_a_restart_loses_no_message_and_nobody_is_told_what_is_over(team: Team, hands: Hands) -> None:
    team.webhook()
    first = await team.desk.required()
    team.receiver.status = 500
    await team.courier.round()
    second = await team.desk.required(asked(body=b"2"))
    team.receiver.status = 200
    hands.forward(5)
    await team.another().round()
    await team.another().round()
    assert sorted(id_ for id_, _ in team.receiver.told) == sorted(
        f"webhooks/ops:{one}:pending" for one in (first, second)
    )


async def test_two_processes_tell_it_once_and_one_that_died_is_stood_in_for(team: Team, hands: Hands) -> None:
    team.webhook()
    await team.desk.required()
    await asyncio.gather(team.another().round(), team.another().round())
    assert len(team.receiver.told) == 1
    await team.desk.required(asked(body=b"2"))
    outbox = Outbox(team.database, hands)
    outbox.plan({"webhooks/ops": Audience(None, ends=True)})
    (taken,) = outbox.take(("webhooks/ops",))  # and then its process dies
    await team.courier.round()
    assert len(team.receiver.told) == 1
    hands.forward(LEASE_MS / 1000)
    await team.courier.round()
    assert team.receiver.told[1][0] == taken.id
    outbox.failed(taken, None)  # whoever is late changes nothing
    await team.courier.round()
    assert len(team.receiver.told) == 2


async def test_a_database_that_fails_stops_no_courier(team: Team, hands: Hands) -> None:
    team.webhook()
    await team.desk.required()
    gone = asyncio.Event()

    async def sabotage(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The table goes while its message is on the way."""
        if not gone.is_set():
            with team.database.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE approval_messages RENAME TO away")
            gone.set()
        await team.receiver.hook(seen, reader, writer)

    team.receiver.provider.on("/hook", sabotage)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(20):
        running = tasks.create_task(team.courier.run())
        team.courier.wake()
        await gone.wait()
        await asyncio.sleep(0.3)
        with team.database.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO approval_messages")
        hands.forward(LEASE_MS / 1000)
        while len(team.receiver.told) < 2:
            await asyncio.sleep(0.01)
        running.cancel()
    assert len({id_ for id_, _ in team.receiver.told}) == 1


async def test_o_11_a_webhook_reaches_no_forbidden_address(team: Team, hands: Hands) -> None:
    for host in ("meta.example.test", "inside.example.test", "127.0.0.1"):
        port = team.receiver.provider.port
        hook = {**team.receiver.settings(), "url": f"https://{host}:{port}/hook", "allow_private": []}
        team.over(webhooks={"ops": hook})
        await team.desk.required(asked(body=host.encode()))
        await team.courier.round()
        hands.forward(700)
    team.webhook(allow_private=[])
    await team.courier.round()
    assert team.receiver.attempts == []
    assert team.receiver.provider.connections == 0


async def test_p6_a_channel_of_a_tenant_learns_of_its_approvals_only(team: Team) -> None:
    team.webhook(tenant="acme")
    await team.desk.required(asked(agent=replace(AGENT, tenant="other")))
    await team.courier.round()
    assert team.receiver.attempts == []
    await team.desk.required()
    await team.courier.round()
    assert len(team.receiver.told) == 1


async def test_without_ends_only_questions_are_told(team: Team) -> None:
    team.webhook(ends=False)
    await team.desk.approvers.decide(await team.desk.required(), ballot())
    await team.courier.round()
    assert team.receiver.told == []  # decided before anybody could be told
    id_ = await team.desk.required(asked(body=b"2"))
    await team.courier.round()
    await team.desk.approvers.decide(id_, ballot(yes=False))
    await team.courier.round()
    assert len(team.receiver.told) == 1


# -- Slack ---------------------------------------------------------------------------------------------------------


def blocks(slack: SlackServer) -> dict[str, Any]:
    """The blocks of the only message, by type."""
    (message,) = slack.messages.values()
    return {block["type"]: block for block in message["blocks"]}


def buttons(slack: SlackServer) -> list[str]:
    return [one["action_id"] for one in blocks(slack).get("actions", {}).get("elements", [])]


def shown(slack: SlackServer) -> str:
    return str(blocks(slack)["rich_text"]["elements"][0]["elements"][0]["text"])


async def test_slack_shows_the_request_and_changes_its_message(team: Team) -> None:
    team.over(slack={"team": team.slack.settings()}, link="https://briefcase.example/a")
    id_ = await team.desk.required()
    await team.courier.round()
    assert buttons(team.slack) == ["briefcased_approve", "briefcased_reject", "briefcased_look"]
    assert blocks(team.slack)["actions"]["elements"][0]["value"] == id_
    assert shown(team.slack).startswith("POST https://api.github.test:443/repos/acme/site/issues?draft=1&x=%20\n")
    assert shown(team.slack).endswith('{"title":"Release 1.2","labels":["a","b"],"amount":100}')
    await team.desk.approvers.decide(id_, ballot())
    await team.courier.round()
    assert buttons(team.slack) == []
    assert "approved by ann" in blocks(team.slack)["context"]["elements"][0]["text"]
    assert await team.desk.says() == "apr"
    await team.courier.round()
    assert "approved, and sent by ann" in blocks(team.slack)["context"]["elements"][0]["text"]
    assert team.slack.calls == ["/api/chat.postMessage", "/api/chat.update", "/api/chat.update"]


async def test_j_04_nothing_in_a_slack_message_is_markup_of_the_agents(team: Team) -> None:
    team.over(slack={"team": team.slack.settings()})
    await team.desk.required(asked(body="<!channel> *bold* \u202egnp.exe <https://evil.test|ok>".encode()))
    await team.courier.round()
    (message,) = team.slack.messages.values()
    assert shown(team.slack).endswith("<!channel> *bold* \\u{202e}gnp.exe <https://evil.test|ok>")
    kinds = [text["type"] for text in _texts(message["blocks"])]
    assert set(kinds) == {"plain_text", "text"}  # never mrkdwn
    assert "spelt out because they would deceive: 1" in blocks(team.slack)["section"]["text"]["text"]
    assert not message["unfurl_links"]


async def test_j_03_what_a_message_cannot_show_cannot_be_approved_there(team: Team) -> None:
    team.over(slack={"team": team.slack.settings()})
    await team.desk.required(asked(body=b"a" * MAX_SHOWN))
    await team.courier.round()
    assert buttons(team.slack) == ["briefcased_reject"]
    assert "Too long for a message: 2800 bytes of body, SHA-256" in shown(team.slack)


async def test_slack_that_fails_is_asked_again_and_what_is_over_has_no_buttons(team: Team, hands: Hands) -> None:
    team.over(slack={"team": team.slack.settings()})
    team.slack.fails = 1
    id_ = await team.desk.required()
    await team.courier.round()
    assert team.slack.messages == {}
    hands.forward(601)
    assert team.desk.store.expire() == (id_,)
    await team.courier.round()
    assert buttons(team.slack) == []


async def test_settings_that_are_mistakes_are_named(tmp_path: Path) -> None:
    from proxy.catalog.approval_checks import approval_mistakes, channel_refs
    from proxy.settings import Settings

    hook = {
        "url": "https://h.test:x/", "secret": "pasted", "secret_headers": {"A": "vault:kv/x#y"},
        "ca_file": str(tmp_path / "none.pem"), "allow_private": ["10/8"],
    }  # fmt: skip
    slack = {"channel": "C1", "token": "env:A", "signing_secret": "env:B", "address": "https://h.test\\x"}
    given = {"version": 1, "approvals": {"channels": {"webhooks": {"ops": hook}, "slack": {"team": slack}}}}
    settings = Settings.model_validate_json(json.dumps(given))
    assert sorted(".".join(map(str, place[2:])) for place, _ in approval_mistakes(settings)) == [
        "slack.team", "webhooks.ops", "webhooks.ops.allow_private.0", "webhooks.ops.ca_file", "webhooks.ops.secret",
        "webhooks.ops.secret_headers.A",
    ]  # fmt: skip
    assert [ref for _, ref in channel_refs(settings.approvals)] == ["pasted", "vault:kv/x#y", "env:A", "env:B"]
    with pytest.raises(ValueError, match="there is no field body"):
        ApprovalSettings.model_validate({"channels": {"webhooks": {"a": {"url": "https://h.test", "body": "{body}"}}}})


def _texts(value: object) -> list[dict[str, Any]]:
    """Every text object of Block Kit in there."""
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    if isinstance(value, dict):
        own = [value] if isinstance(value.get("text"), str) else []
        return own + [text for one in value.values() for text in _texts(one)]
    return []
