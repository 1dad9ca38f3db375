"""The forms of the routes about policies."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from proxy.api.models import WHOLE, Form, Name
from proxy.documents import Strict
from proxy.model import Mode  # noqa: TC001  # pydantic needs it at run time


class PolicyView(Form):
    """One Cedar policy, as it was written."""

    id: str
    file: str
    line: int
    effect: Literal["permit", "forbid"]
    text: str


class PoliciesView(Form):
    """The policies in force."""

    version: str = Field(description="Digest of everything that decides.")
    preset: str | None
    observe: bool
    generation: int
    policies: list[PolicyView]


class PendingPolicies(Form):
    """A set of policies that allows more than the one in force."""

    version: int
    digest: str
    author: str
    authors: list[str] = Field(description="Who may not confirm it.")
    reason: str
    restores: int | None = Field(description="The earlier version that it brings back.")
    at_ms: int
    wider: list[str] = Field(description="By what it allows more, or may.")


class PendingView(Form):
    """What waits for a confirmation: none or one."""

    pending: list[PendingPolicies]


class Confirmation(Strict):
    """Which set is confirmed."""

    version: Annotated[int, WHOLE, Field(ge=1)]


class HeaderForm(Strict):
    """One header of a request."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]
    value: Annotated[str, Field(max_length=1024)]


class ExplainRequest(Strict):
    """A request to judge as if an agent made it. Nothing is sent."""

    agent: Name
    method: Annotated[str, Field(pattern=r"^[A-Z]{1,16}$")]
    url: Annotated[str, Field(pattern=r"^https?://[!-~]{1,4096}$")]
    headers: Annotated[list[HeaderForm], Field(max_length=32)] = []
    body: Annotated[str, Field(max_length=65_536)] | None = None


class Why(Form):
    """A reason for asking a person."""

    code: str
    text: str
    by: str


class Explanation(Form):
    """What would be decided now."""

    allowed: bool
    slug: str | None = Field(description="Of the refusal, as in docs/errors.md.")
    detail: str | None
    strength: Literal["none", "approval", "strong"]
    policies: list[str]
    reasons: list[Why]
    observed: str | None
    account: str | None
    operation: str | None
    mode: Mode
