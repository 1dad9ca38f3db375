"""What the schema cannot say about `approvals.channels`."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from proxy.egress.http import parse_https
from proxy.secretstore import ASKED, bad_ref

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proxy.approval_settings import ApprovalSettings, Reached
    from proxy.catalog.checks import Mistake
    from proxy.documents import Place
    from proxy.settings import Settings

ABOVE: Place = ("approvals", "channels")


def approval_mistakes(settings: Settings) -> Iterator[Mistake]:
    """Everything wrong with channels: addresses, refs, files, blocks."""
    for place, reached, address in _reached(settings.approvals):
        yield from _address(place, address)
        if reached.ca_file is not None and not reached.ca_file.is_file():
            yield (*place, "ca_file"), "there is no such file"
        for index, block in enumerate(reached.allow_private):
            try:
                ipaddress.ip_network(block)
            except ValueError:
                yield (*place, "allow_private", index), "not an address or a CIDR block"
    for place, ref in channel_refs(settings.approvals):
        if (problem := bad_ref(ref)) is not None:
            yield place, problem
        scheme = ref.partition(":")[0]
        if scheme in ASKED and getattr(settings.secret_stores, scheme) is None:
            yield place, f"secret_stores.{scheme} says where this store is; it is missing"


def channel_refs(settings: ApprovalSettings) -> Iterator[tuple[Place, str]]:
    """Every secret ref of every channel, with its place in the file."""
    for name, webhook in settings.channels.webhooks.items():
        place = (*ABOVE, "webhooks", name)
        if webhook.secret is not None:
            yield (*place, "secret"), webhook.secret
        for header, ref in webhook.secret_headers.items():
            yield (*place, "secret_headers", header), ref
    for name, slack in settings.channels.slack.items():
        yield (*ABOVE, "slack", name, "token"), slack.token
        yield (*ABOVE, "slack", name, "signing_secret"), slack.signing_secret


def anchored(settings: ApprovalSettings, base: Path) -> ApprovalSettings:
    """`settings` with their paths counted from `base`."""

    def at[T: Reached](several: dict[str, T]) -> dict[str, T]:
        return {
            name: one if one.ca_file is None else one.model_copy(update={"ca_file": base / one.ca_file})
            for name, one in several.items()
        }

    channels = settings.channels
    moved = channels.model_copy(update={"webhooks": at(channels.webhooks), "slack": at(channels.slack)})
    return settings.model_copy(update={"channels": moved})


def _reached(settings: ApprovalSettings) -> Iterator[tuple[Place, Reached, str]]:
    for name, webhook in settings.channels.webhooks.items():
        yield (*ABOVE, "webhooks", name), webhook, webhook.url
    for name, slack in settings.channels.slack.items():
        yield (*ABOVE, "slack", name), slack, slack.address


def _address(place: Place, address: str) -> Iterator[Mistake]:
    try:
        parse_https(address)
    except ValueError:
        yield place, "its address is not https://HOST[:PORT]/PATH"
