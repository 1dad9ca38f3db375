"""The block `approvals:` of `briefcased.yaml`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxy.documents import Strict

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$")]


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
    volatile_headers: tuple[HeaderName, ...] = Field(
        default=(), description="Further headers that clients change from attempt to attempt, and that may differ."
    )
