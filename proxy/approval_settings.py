"""The block `approvals:` of `briefcased.yaml`."""

from __future__ import annotations

import re
from pathlib import Path  # noqa: TC003
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from proxy.documents import Strict
from proxy.model import OPERATOR

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$")]


HeaderValue = Annotated[str, Field(pattern=r"^[ -~]{0,1024}$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
OperatorName = Annotated[str, Field(pattern=rf"^{OPERATOR}$")]
Https = Annotated[str, Field(pattern=r"^https://[^\s#@]+$", max_length=1024)]
FIELDS: Final = frozenset(
    {
        "account", "action", "agent", "approvers", "cost_microusd", "decide_by", "domain", "host", "id", "link",
        "method", "operation", "path", "profile", "reasons", "state", "strength", "tenant", "title", "user",
    }
)  # fmt: skip
"""What a template may name, as `{title}`."""
FIELD: Final = re.compile(r"\{([a-z_]+)\}")


class Reached(Strict):
    """A server that messages go to."""

    tenant: Name | None = Field(default=None, description="Only this tenant's approvals; none: all.")
    allow_private: tuple[str, ...] = Field(
        default=(), description="CIDR blocks that its name may resolve to although they are private."
    )
    ca_file: Path | None = Field(default=None, strict=False, description="Trust roots for it, PEM.")


class WebhookChannel(Reached):
    """An HTTP request for every approval that is asked for, and one for its end."""

    url: Https
    secret: str | None = Field(default=None, description="Secret ref of the key that signs it (Standard Webhooks).")
    headers: dict[HeaderName, HeaderValue] = {}
    secret_headers: dict[HeaderName, str] = Field(default={}, description="Headers whose values are secret refs.")
    body: Annotated[str, Field(max_length=16_384)] | None = Field(
        default=None, description="Template with {title} and the like; none: the event as JSON."
    )
    content_type: Literal["application/json", "application/x-www-form-urlencoded", "text/html", "text/plain"] = (
        "application/json"
    )
    whole: bool = Field(default=False, description="The JSON event holds the whole request, its body too.")
    ends: bool = Field(default=True, description="Also tell how it ended.")

    @model_validator(mode="after")
    def _known_fields(self) -> Self:
        if unknown := sorted(set(FIELD.findall(self.body or "")) - FIELDS):
            raise ValueError(f"there is no field {unknown[0]}")
        return self


class SlackChannel(Reached):
    """A Slack channel whose members approve with buttons."""

    channel: Annotated[str, Field(pattern=r"^[A-Z0-9]{2,32}$", description="Its id.")]
    token: str = Field(description="Secret ref of the bot token; it needs chat:write.")
    signing_secret: str = Field(description="Secret ref of the app's signing secret.")
    approvers: dict[Annotated[str, Field(pattern=r"^[UW][A-Z0-9]{1,31}$")], OperatorName] = Field(
        default={}, description="Slack user ids to the approvers that they are."
    )
    address: Https = "https://slack.com/api"


class Channels(Strict):
    """Where approvers are told."""

    webhooks: dict[Name, WebhookChannel] = {}
    slack: dict[Name, SlackChannel] = {}


class ApprovalSettings(Strict):
    """How people are asked."""

    hold_s: Annotated[float, Field(ge=0, le=120)] = Field(
        default=25.0, description="How long a request waits for a decision on its open connection."
    )
    decide_within_s: Annotated[int, Field(ge=10, le=604_800)] = Field(
        default=600, description="How long a question stands."
    )
    use_within_s: Annotated[int, Field(ge=10, le=86_400)] = Field(
        default=600, description="How long an approval may then be used, once."
    )
    approvers: Annotated[int, Field(ge=1, le=9)] = Field(default=1, description="How many people must say yes.")
    max_pending_per_agent: Annotated[int, Field(ge=1, le=100)] = 5
    max_waiting: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=100, description="Requests that may wait on open connections at a time; more are told to come back."
    )
    refused_for_s: Annotated[int, Field(ge=0, le=86_400)] = Field(
        default=600, description="How long a no also covers requests with the same method, host and path."
    )
    keep_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        default=30, description="How long after their end approvals and standing grants are kept; receipts stay."
    )
    volatile_headers: tuple[HeaderName, ...] = Field(
        default=(), description="Further headers that clients change from attempt to attempt, and that may differ."
    )
    channels: Channels = Channels()
    link: Https | None = Field(
        default=None, description="Where an approver looks at one; messages link to it with /ID after it."
    )
