"""A webhook: one signed HTTP request for each message. ntfy, e-mail services and chat tools are templates of it.

The signature is that of Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`; the id is the same for every attempt,
so that the receiver can tell a repetition; the timestamp is the attempt's.

Source: standardwebhooks.com, "Webhook Signature Scheme".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import orjson

from proxy.approval.channels.event import NotDeliveredError, fields, filled
from proxy.egress.http import parse_https

if TYPE_CHECKING:
    from proxy.approval.channels.event import Event, ReadSecret
    from proxy.approval_settings import WebhookChannel
    from proxy.egress.http import HttpClient
    from proxy.secret import Secret

PREFIX: Final = b"whsec_"
MAX_ANSWER_BYTES: Final = 64 * 1024
MAX_RETRY_AFTER_S: Final = 3600


class Webhook:
    """One webhook of the settings."""

    def __init__(self, settings: WebhookChannel, *, http: HttpClient, read_secret: ReadSecret) -> None:
        self._settings: Final = settings
        self._http: Final = http
        self._read_secret: Final = read_secret

    async def send(self, event: Event) -> str | None:
        """See `Channel`."""
        settings = self._settings
        body = content(settings, event)
        headers = {"content-type": settings.content_type, **{n.lower(): v for n, v in settings.headers.items()}}
        for name, ref in settings.secret_headers.items():
            headers[name.lower()] = (await self._read_secret(ref)).reveal().decode("latin-1")
        headers |= {"webhook-id": event.id, "webhook-timestamp": str(event.at_s)}
        if settings.secret is not None:
            headers["webhook-signature"] = signature(
                await self._read_secret(settings.secret), event.id, event.at_s, body
            )
        answer = await self._http.request(
            "POST",
            parse_https(settings.url),
            headers=headers,
            body=body,
            max_bytes=MAX_ANSWER_BYTES,
            trust=settings.ca_file,
            allow_private=settings.allow_private,
        )
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise NotDeliveredError(
                f"answered {answer.status}", retry_after_s=retry_after(answer.headers.get("retry-after"))
            )
        return None


def content(settings: WebhookChannel, event: Event) -> bytes:
    """The body: the template filled, or the event as JSON."""
    values = fields(event)
    if settings.body is not None:
        return filled(settings.body, values, settings.content_type)
    whole = {"card": event.card} if settings.whole else {}
    return orjson.dumps({"type": f"approval.{event.state.value}", "timestamp": event.at_s, "data": {**values, **whole}})


def signature(secret: Secret, id_: str, at_s: int, body: bytes) -> str:
    """The value of `webhook-signature`. A secret in the form `whsec_BASE64` is decoded, any other is the key itself."""
    mac = hmac.new(_key(secret.reveal()), b"%s.%d.%s" % (id_.encode(), at_s, body), hashlib.sha256)
    return f"v1,{base64.b64encode(mac.digest()).decode()}"


def retry_after(value: str | None) -> int | None:
    """Seconds of a `Retry-After`, where it is a number; no more than `MAX_RETRY_AFTER_S`."""
    return min(int(value), MAX_RETRY_AFTER_S) if value and value.isascii() and value.isdigit() else None


def _key(secret: bytes) -> bytes:
    if not secret.startswith(PREFIX):
        return secret
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise NotDeliveredError("the secret begins with whsec_ and is not base64") from None
