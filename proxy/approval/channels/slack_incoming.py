"""Clicks in Slack: verified, mapped to an approver, and counted. Nobody else can say yes here (J-18).

Verified: the signature over timestamp and body, a timestamp of the last five minutes, and that it comes for the first
time, in whatever process. A click counts as an approver's answer without a key, so it completes no strong approval.

Source: docs.slack.dev, "Verifying requests from Slack", "Handling user interaction".
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

import orjson
from sqlalchemy.exc import SQLAlchemyError

from proxy.approval.approvers import Ballot, NotEntitledError, NotOpenError, UnsignedError
from proxy.approval.channels.slack_message import APPROVE, REJECT, by_click
from proxy.db.sealing import UnsealError
from proxy.db.threads import in_thread
from proxy.errors import Refused
from proxy.model import Operator, Role
from proxy.secretstore.store import SecretUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from proxy.approval.approvers import Approvers
    from proxy.approval.channels.event import ReadSecret
    from proxy.approval.store import ApprovalStore
    from proxy.approval_settings import ApprovalSettings, SlackChannel
    from proxy.clock import Clock

PATH: Final = "/approvals/slack/"
MAX_AGE_S: Final = 5 * 60
MAX_BODY_BYTES: Final = 256 * 1024
_STAMP_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Reply:
    """What Slack is answered: a status, and a sentence of ours."""

    status: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Click:
    """What a user did."""

    user: str
    action: str
    approval: str


type Route = Callable[[Mapping[str, str], bytes], Awaitable[Reply]]
"""Answers a POST with these headers, names in lower case, and this body."""


class SlackIncoming:
    """The answering side of every Slack channel of the settings."""

    def __init__(
        self,
        *,
        settings: Callable[[], ApprovalSettings],
        store: ApprovalStore,
        approvers: Approvers,
        once: Callable[[str], bool],
        revoked: Callable[[str, str | None], bool],
        read_secret: ReadSecret,
        clock: Clock,
    ) -> None:
        self._settings: Final = settings
        self._store: Final = store
        self._approvers: Final = approvers
        self._once: Final = once
        self._revoked: Final = revoked
        self._read_secret: Final = read_secret
        self._clock: Final = clock

    def routes(self) -> dict[str, Route]:
        """What answers a POST, by path; to be mounted where Slack can reach it, without other authentication."""
        return {f"{PATH}{name}": self._route(name) for name in self._settings().channels.slack}

    def _route(self, name: str) -> Route:
        async def route(headers: Mapping[str, str], body: bytes) -> Reply:
            channel = self._settings().channels.slack.get(name)
            return await self.answer(channel, headers, body) if channel else Reply(HTTPStatus.NOT_FOUND)

        return route

    async def answer(self, channel: SlackChannel, headers: Mapping[str, str], body: bytes) -> Reply:
        """Count a click of an approver; anything that is not one changes nothing."""
        try:
            if not await self._authentic(channel, headers, body):
                return Reply(HTTPStatus.UNAUTHORIZED, "This is not a fresh request of Slack.")
            click = clicked(body)
            if click is None:
                return Reply(HTTPStatus.OK)  # a link, or something that this app has no use for
            return await self._count(channel, click)
        except (Refused, SecretUnavailableError, SQLAlchemyError, UnsealError):
            return Reply(HTTPStatus.SERVICE_UNAVAILABLE, "Approvals cannot be read or written now.")

    async def _authentic(self, channel: SlackChannel, headers: Mapping[str, str], body: bytes) -> bool:
        stamp, given = headers.get("x-slack-request-timestamp", ""), headers.get("x-slack-signature", "")
        if len(body) > MAX_BODY_BYTES or not fresh(stamp, self._clock.wall_ms() // 1000):
            return False
        secret = (await self._read_secret(channel.signing_secret)).reveal()
        wanted = slack_signature(secret, stamp, body)
        if not hmac.compare_digest(wanted.encode(), given.encode()):
            return False
        return await in_thread(self._once, f"slack:{wanted}")

    async def _count(self, channel: SlackChannel, click: Click) -> Reply:
        approver = channel.approvers.get(click.user)
        if approver is None:
            return Reply(HTTPStatus.FORBIDDEN, "This Slack user is no approver.")
        if await in_thread(self._revoked, approver, channel.tenant):
            return Reply(HTTPStatus.FORBIDDEN, "This approver is one no longer.")
        yes = click.action == APPROVE
        card = await in_thread(self._store.card, click.approval)
        if yes and (card is None or not by_click(card)):
            return Reply(HTTPStatus.CONFLICT, "This call cannot be approved with a click.")
        try:
            by = _operator(approver, channel.tenant, click.user)
            await self._approvers.decide(click.approval, Ballot(by, yes, reason="in Slack"))
        except NotEntitledError as error:
            return Reply(HTTPStatus.FORBIDDEN, str(error))
        except (NotOpenError, UnsignedError) as error:
            return Reply(HTTPStatus.CONFLICT, str(error))
        return Reply(HTTPStatus.OK)


def _operator(approver: str, tenant: str | None, user: str) -> Operator:
    """Which of the users a person of an OpenID provider is, only their login says: here they may be any (J-10)."""
    known = Operator(approver, Role.APPROVER, Role.APPROVER, tenant, f"slack:{user}")
    return replace(known, anybody=True) if "/" in approver else known


def slack_signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """The value of `X-Slack-Signature`."""
    return "v0=" + hmac.new(secret, b"v0:%s:%s" % (timestamp.encode(), body), hashlib.sha256).hexdigest()


def fresh(timestamp: str, now_s: int) -> bool:
    """Whether it is a Unix time within five minutes of now."""
    digits = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _STAMP_DIGITS
    return digits and abs(now_s - int(timestamp)) <= MAX_AGE_S


def clicked(body: bytes) -> Click | None:
    """The one button of ours that was pressed; None for everything else."""
    try:
        (payload,) = parse_qs(body.decode("utf-8"), strict_parsing=True, max_num_fields=8)["payload"]
        said = orjson.loads(payload)
        (action,) = said["actions"]
        click = Click(str(said["user"]["id"]), str(action["action_id"]), str(action["value"]))
    except (ValueError, KeyError, TypeError):
        return None
    return click if said.get("type") == "block_actions" and click.action in (APPROVE, REJECT) else None
