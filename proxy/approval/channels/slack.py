"""Slack: one message for each approval, which changes when it is decided.

Source: docs.slack.dev, methods `chat.postMessage` and `chat.update`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import orjson

from proxy.approval.channels.event import NotDeliveredError
from proxy.approval.channels.slack_message import message
from proxy.approval.channels.webhook import MAX_ANSWER_BYTES, retry_after
from proxy.egress.http import parse_https

if TYPE_CHECKING:
    from proxy.approval.channels.event import Event, ReadSecret
    from proxy.approval_settings import SlackChannel
    from proxy.egress.http import HttpClient


class Slack:
    """One Slack channel of the settings."""

    def __init__(self, settings: SlackChannel, *, http: HttpClient, read_secret: ReadSecret) -> None:
        self._settings: Final = settings
        self._http: Final = http
        self._read_secret: Final = read_secret

    async def send(self, event: Event) -> str | None:
        """Post the message, or change the one that was posted; what to note is `CHANNEL TS`. See `Channel`."""
        if event.note is None:
            method, place = "chat.postMessage", {"channel": self._settings.channel}
        else:
            channel, _, ts = event.note.partition(" ")
            method, place = "chat.update", {"channel": channel, "ts": ts}
        said = await self._call(method, {**place, **message(event), "unfurl_links": False, "unfurl_media": False})
        match said:
            case {"channel": str(posted_in), "ts": str(posted_at)}:
                return f"{posted_in} {posted_at}"
            case _:
                raise NotDeliveredError("Slack's answer does not say which message it is")

    async def _call(self, method: str, arguments: dict[str, object]) -> dict[str, object]:
        settings = self._settings
        token = (await self._read_secret(settings.token)).reveal().decode("latin-1")
        answer = await self._http.request(
            "POST",
            parse_https(f"{settings.address}/{method}"),
            headers={"authorization": f"Bearer {token}", "content-type": "application/json; charset=utf-8"},
            body=orjson.dumps(arguments),
            max_bytes=MAX_ANSWER_BYTES,
            trust=settings.ca_file,
            allow_private=settings.allow_private,
        )
        if answer.status != HTTPStatus.OK:
            wait_s = retry_after(answer.headers.get("retry-after"))
            raise NotDeliveredError(f"Slack answered {answer.status}", retry_after_s=wait_s)
        try:
            said = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            raise NotDeliveredError("Slack's answer is not JSON") from None
        if not isinstance(said, dict) or said.get("ok") is not True:
            raise NotDeliveredError("Slack says that it is not ok")
        return said
