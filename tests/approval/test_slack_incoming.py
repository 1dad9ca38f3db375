"""Clicks in Slack: forged, late and replayed ones change nothing (J-18, J-10)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from proxy.approval.channels.slack_incoming import SlackIncoming, clicked, slack_signature
from proxy.approval.channels.slack_message import APPROVE, MAX_SHOWN, REJECT
from proxy.approval.states import State
from proxy.approval_settings import ApprovalSettings
from proxy.errors import BriefcaseError
from proxy.model import Strength
from proxy.secretstore.store import SecretUnavailableError
from tests.approval.receiver import SECRETS, read_secret
from tests.approval.requests import AGENT, asked
from tests.approval.voting import Desk, ballot

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from proxy.approval.channels.slack_incoming import Reply
    from tests.approval.hands import Hands

# Source: docs.slack.dev, "Verifying requests from Slack".
SECRET = b"8f742231b10e8888abcd99yyyzzz85a5"
COMMAND = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
    b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14"
    b"d10d2c447fce8b6703c"
)


class Clicks:
    """Slack's side: signs what a user does. Not our code."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        channel = {
            "channel": "C1", "token": "env:BOT", "signing_secret": "env:SIGNING", "tenant": "acme",
            "approvers": {"U1ANN": "ann", "U2COD": "coder", "U3CAT": "cat", "U4OWN": "own/ann@acme.test"},
        }  # fmt: skip
        settings = ApprovalSettings.model_validate({"channels": {"slack": {"team": channel}}})
        self.incoming = SlackIncoming(
            settings=lambda: settings, store=desk.store, approvers=desk.approvers, once=desk.keys.once,
            revoked=lambda name, tenant: (name, tenant) in self.revoked, read_secret=read_secret, clock=desk.hands,
        )  # fmt: skip
        self.revoked: set[tuple[str, str | None]] = set()
        self.count = 0

    def body(self, id_: str, *, action: str = APPROVE, user: str = "U1ANN", **more: Any) -> bytes:
        self.count += 1
        payload = {
            "type": "block_actions", "user": {"id": user}, "trigger_id": str(self.count),
            "actions": [{"type": "button", "action_id": action, "value": id_}], **more,
        }  # fmt: skip
        return urlencode({"payload": json.dumps(payload)}).encode()

    def headers(self, body: bytes, *, secret: bytes = SECRETS["env:SIGNING"], late_s: int = 0) -> dict[str, str]:
        stamp = str(self.desk.hands.wall // 1000 - late_s)
        signed = hmac.new(secret, b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
        return {"x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={signed}"}

    async def post(self, headers: dict[str, str], body: bytes) -> Reply:
        (route,) = self.incoming.routes().values()
        return await route(headers, body)

    async def click(self, id_: str, **how: Any) -> int:
        body = self.body(id_, **how)
        return (await self.post(self.headers(body), body)).status


@pytest.fixture
def slack(database: Engine, hands: Hands) -> Clicks:
    return Clicks(Desk(database, hands))


def untouched(slack: Clicks, id_: str) -> bool:
    found = slack.desk.store.get(id_)
    return found is not None and (found.state, found.votes) == (State.PENDING, ())


def test_the_published_vector_of_slack() -> None:
    wanted = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    assert slack_signature(SECRET, "1531420618", COMMAND) == wanted
    assert clicked(COMMAND) is None


async def test_a_click_approves_or_rejects(slack: Clicks) -> None:
    assert list(slack.incoming.routes()) == ["/approvals/slack/team"]
    assert await slack.click(await slack.desk.required()) == 200
    assert await slack.desk.says() == "apr"
    id_ = await slack.desk.required()
    assert await slack.click(id_, action=REJECT) == 200
    assert await slack.desk.says() == "approval_rejected"
    assert await slack.click(id_) == 409
    recorded = slack.desk.recorded[-1]
    said = (recorded["change"], recorded["target"], recorded["by"], recorded["via"], recorded["vote"])
    assert said == ("approval_vote", id_, "ann", "slack:U1ANN", "reject")


async def test_j_10_a_revoked_operator_clicks_in_vain(slack: Clicks) -> None:
    id_ = await slack.desk.required()
    slack.revoked.add(("ann", "acme"))
    assert [await slack.click(id_), await slack.click(id_, action=REJECT)] == [403, 403]
    assert untouched(slack, id_)


async def test_p5_a_click_that_cannot_be_receipted_changes_nothing(slack: Clicks) -> None:
    id_ = await slack.desk.required()
    slack.desk.full = True
    assert await slack.click(id_) == 503
    assert untouched(slack, id_)


async def test_j_18_forged_callbacks(slack: Clicks) -> None:
    id_ = await slack.desk.required()
    body = slack.body(id_)
    good = slack.headers(body)
    stamp, signed = good["x-slack-request-timestamp"], good["x-slack-signature"]
    forged: list[tuple[dict[str, str], bytes]] = [
        ({}, body),
        ({**good, "x-slack-signature": ""}, body),
        ({**good, "x-slack-signature": "v0="}, body),
        ({**good, "x-slack-signature": signed.upper()}, body),
        ({**good, "x-slack-signature": signed.replace("v0", "v1")}, body),
        ({**good, "x-slack-signature": "v0=" + "é" * 64}, body),
        ({**good, "x-slack-request-timestamp": str(int(stamp) + 1)}, body),
        ({**good, "x-slack-request-timestamp": f" {stamp}"}, body),
        ({**good, "x-slack-request-timestamp": f"+{stamp}"}, body),
        ({**good, "x-slack-request-timestamp": "٣" * 10}, body),
        ({**good, "x-slack-request-timestamp": "9" * 5000}, body),
        (good, body + b"&x=1"),
        (good, slack.body(id_)),
        (slack.headers(body, secret=b"another"), body),
        (slack.headers(body, secret=b""), body),
        (slack.headers(body, late_s=301), body),
        (slack.headers(body, late_s=-301), body),
    ]
    for headers, sent in forged:
        assert (await slack.post(headers, sent)).status == 401, headers
        assert untouched(slack, id_)
    assert (await slack.post(good, body)).status == 200  # what was forged has not used it up


async def test_j_18_replayed_callbacks(slack: Clicks) -> None:
    both = asked(needs=2)
    id_ = await slack.desk.required(both)
    body = slack.body(id_)
    headers = slack.headers(body)
    assert (await slack.post(headers, body)).status == 200
    assert (await slack.post(headers, body)).status == 401
    again = await asyncio.gather(*(Clicks(slack.desk).post(headers, body) for _ in range(5)))
    assert {reply.status for reply in again} == {401}
    slack.desk.hands.forward(299)
    assert (await slack.post(headers, body)).status == 401


async def test_j_10_only_approvers_of_the_tenant_decide(slack: Clicks) -> None:
    id_ = await slack.desk.required()
    assert await slack.click(id_, user="U9EVE") == 403
    assert await slack.click(id_, user="U2COD") == 403  # the agent itself
    from dataclasses import replace

    other = await slack.desk.required(asked(agent=replace(AGENT, tenant="other")))
    assert await slack.click(other) == 409
    assert await slack.click("apr_unknown", action=REJECT) == 409
    assert await slack.click(id_, user="U4OWN") == 403  # who may be alice, for whom the agent acts
    alone = await slack.desk.required(asked(agent=replace(AGENT, user=None)))
    assert await slack.click(alone, user="U4OWN") == 200
    assert untouched(slack, id_)
    assert untouched(slack, other)


async def test_what_was_not_shown_or_wants_a_key_is_not_approved_by_a_click(slack: Clicks) -> None:
    for one in (asked(body=b"a" * MAX_SHOWN), asked(strength=Strength.STRONG)):
        id_ = await slack.desk.required(one)
        assert await slack.click(id_) == 409
        assert untouched(slack, id_)
        assert await slack.click(id_, action=REJECT) == 200
        slack.desk.hands.forward(601)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"x", b"payload=", b"payload={}", b"payload=[]", b"payload=null", b"payload=%FF", b"payload={}&payload={}",
        urlencode({"payload": json.dumps({"type": "view_submission", "user": {"id": "U1ANN"}, "actions": []})}).encode(),
        urlencode({"payload": "[" * 10_000}).encode(),
        b"payload=" + b"a" * 300_000,
    ],
)  # fmt: skip
async def test_what_is_no_click_of_ours_changes_nothing(slack: Clicks, body: bytes) -> None:
    reply = await slack.post(slack.headers(body), body)
    assert reply.status in (200, 401)
    assert clicked(body) is None


async def test_other_buttons_and_several_at_once_are_no_clicks(slack: Clicks) -> None:
    id_ = await slack.desk.required()
    both = [{"action_id": APPROVE, "value": id_}, {"action_id": REJECT, "value": id_}]
    for how in ({"action": "briefcased_look"}, {"actions": both}, {"type": "message_action"}):
        assert await slack.click(id_, **how) == 200
        assert untouched(slack, id_)


async def test_p5_without_the_signing_secret_or_the_database_nothing_is_counted(
    slack: Clicks, database: Engine
) -> None:
    id_ = await slack.desk.required()

    async def missing(ref: str) -> Any:
        raise SecretUnavailableError(ref, "gone")

    body = slack.body(id_)
    channel = slack.incoming._settings().channels.slack["team"]
    blind = SlackIncoming(
        settings=slack.incoming._settings, store=slack.desk.store, approvers=slack.desk.approvers,
        once=slack.desk.keys.once, revoked=lambda _n, _t: False, read_secret=missing, clock=slack.desk.hands,
    )  # fmt: skip
    assert (await blind.answer(channel, slack.headers(body), body)).status == 503
    with database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE approval_nonces RENAME TO away")
    try:
        assert await slack.click(id_) == 503
    finally:
        with database.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO approval_nonces")
    assert untouched(slack, id_)
    assert issubclass(SecretUnavailableError, BriefcaseError)
    await slack.desk.approvers.decide(id_, ballot())
