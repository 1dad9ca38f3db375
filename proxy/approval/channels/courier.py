"""`Courier`: tells approvers what the outbox holds, over the channels of the settings in force."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from proxy.approval.channels.event import Event, NotDeliveredError
from proxy.approval.channels.outbox import Audience
from proxy.approval.channels.slack import Slack
from proxy.approval.channels.webhook import Webhook
from proxy.db.sealing import UnsealError
from proxy.db.threads import in_thread
from proxy.egress.http import HttpFailedError
from proxy.secretstore.store import SecretUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.approval.channels.event import Channel, ReadSecret
    from proxy.approval.channels.outbox import Message, Outbox
    from proxy.approval.store import ApprovalStore
    from proxy.approval_settings import ApprovalSettings, Channels
    from proxy.clock import Clock
    from proxy.egress.http import HttpClient

_log: Final = logging.getLogger("proxy.approval")
POLL_S: Final = 1.0


class Courier:
    """One per process; those that share a database share the work."""

    def __init__(
        self,
        outbox: Outbox,
        store: ApprovalStore,
        *,
        settings: Callable[[], ApprovalSettings],
        http: HttpClient,
        read_secret: ReadSecret,
        clock: Clock,
    ) -> None:
        self._outbox: Final = outbox
        self._store: Final = store
        self._settings: Final = settings
        self._http: Final = http
        self._read_secret: Final = read_secret
        self._clock: Final = clock
        self._wake: Final = asyncio.Event()

    def wake(self) -> None:
        """There may be something to tell."""
        self._wake.set()

    async def run(self) -> None:
        """Tell what there is to tell, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self.round()
            except* SQLAlchemyError:  # what is in the outbox stays there
                _log.warning("approvers could not be told: the database does not answer")

    async def round(self) -> None:
        """Tell what is due now. Raises SQLAlchemyError, also in a group."""
        channels = self._settings().channels
        audiences = _audiences(channels)
        if not audiences:
            return
        await in_thread(self._outbox.plan, audiences)
        async with asyncio.TaskGroup() as tasks:
            for message in await in_thread(self._outbox.take, tuple(audiences)):
                tasks.create_task(self._deliver(message, self._channel(channels, message.channel)))

    async def _deliver(self, message: Message, channel: Channel) -> None:
        try:
            note = await self._send(message, channel)
        except (NotDeliveredError, HttpFailedError, SecretUnavailableError, UnsealError) as error:
            wait_s = error.retry_after_s if isinstance(error, NotDeliveredError) else None
            over = await in_thread(self._outbox.failed, message, wait_s)
            _log.warning("%s could not be told about %s%s: %s", message.channel, message.approval,
                         "; given up" if over else "", error)  # fmt: skip
        else:
            await in_thread(self._outbox.delivered, message, note)

    async def _send(self, message: Message, channel: Channel) -> str | None:
        approval = await in_thread(self._store.get, message.approval)
        card = await in_thread(self._store.card, message.approval)
        if approval is None or card is None:
            return None  # forgotten meanwhile: nothing to tell
        link = self._settings().link
        event = Event(
            id=message.id,
            state=message.state,
            standing=approval.standing(self._store.now()),
            approval=approval,
            card=card,
            link=f"{link.rstrip('/')}/{approval.id}" if link is not None else None,
            at_s=self._clock.wall_ms() // 1000,
            note=await in_thread(self._outbox.note, message.channel, message.approval),
        )
        return await channel.send(event)

    def _channel(self, channels: Channels, name: str) -> Channel:
        kind, _, own = name.partition("/")
        if kind == "slack":
            return Slack(channels.slack[own], http=self._http, read_secret=self._read_secret)
        return Webhook(channels.webhooks[own], http=self._http, read_secret=self._read_secret)


def _audiences(channels: Channels) -> Mapping[str, Audience]:
    """Every channel by its name in the outbox."""
    webhooks = {f"webhooks/{name}": Audience(one.tenant, ends=one.ends) for name, one in channels.webhooks.items()}
    return {**webhooks, **{f"slack/{name}": Audience(one.tenant, ends=True) for name, one in channels.slack.items()}}
