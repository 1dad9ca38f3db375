"""What a channel is told: one approval that has come to a state. Pure."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote_plus

import orjson

from proxy.approval_settings import FIELD
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from proxy.approval.states import Approval, State
    from proxy.secret import Secret

type ReadSecret = Callable[[str], Awaitable[Secret]]
TYPES: Final[Mapping[str, Callable[[str], str]]] = {
    "application/json": lambda text: orjson.dumps(text).decode()[1:-1],
    "application/x-www-form-urlencoded": quote_plus,
    "text/html": html.escape,
    "text/plain": lambda text: text,
}
"""How a value is written within content of that type."""
_BREAKS: Final = re.compile(r"[\n\t]")


class NotDeliveredError(BriefcaseError):
    """The other side did not take it. `retry_after_s`: when it wants to be asked again, if it said."""

    def __init__(self, text: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(text)
        self.retry_after_s: Final = retry_after_s


@dataclass(frozen=True, slots=True)
class Event:
    """One message.

    Attributes:
        id: the same for every attempt at it.
        state: what it tells; the approval may have gone on since.
        standing: where the approval is now.
        card: as approvers see it, all text escaped.
        link: where to look at it, from the settings alone (O-12).
        at_s: now, Unix time.
        note: what the channel noted when it delivered the first message about this approval.
    """

    id: str
    state: State
    standing: State
    approval: Approval
    card: Mapping[str, object]
    link: str | None
    at_s: int
    note: str | None = None


class Channel(Protocol):
    """A way to tell approvers."""

    async def send(self, event: Event) -> str | None:
        """Deliver it; what to note for later messages about the same approval.

        Raises:
            NotDeliveredError: it may be tried again.
            HttpFailedError: likewise.
            SecretUnavailableError: likewise.
        """
        ...


def fields(event: Event) -> dict[str, str]:
    """What templates may name. Facts that the proxy knows; nothing of the request's query, headers or body."""
    card, approval = event.card, event.approval
    reasons = card["reasons"]
    assert isinstance(reasons, list)
    plain = {name: _one_line(card[name]) for name in _FROM_CARD}
    return {
        **plain,
        "approvers": ", ".join(approval.approvers),
        "decide_by": datetime.fromtimestamp(approval.deadline.wall_ms / 1000, UTC).isoformat(timespec="seconds"),
        "id": approval.id,
        "link": event.link or "",
        "reasons": "; ".join(_one_line(one["text"]) for one in reasons),
        "state": event.state.value,
    }


def filled(template: str, values: Mapping[str, str], content_type: str) -> bytes:
    """`template` with each `{name}` replaced, written as content of that type wants it."""
    escape = TYPES[content_type]
    return FIELD.sub(lambda found: escape(values[found[1]]), template).encode()


_FROM_CARD: Final = (
    "account",
    "action",
    "agent",
    "cost_microusd",
    "domain",
    "host",
    "method",
    "operation",
    "path",
    "profile",
    "strength",
    "tenant",
    "title",
    "user",
)


def _one_line(value: object) -> str:
    return "" if value is None else _BREAKS.sub(" ", str(value))
