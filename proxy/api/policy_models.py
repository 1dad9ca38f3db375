"""The forms of the routes about policies."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from proxy.api.models import WHOLE, Form, Name
from proxy.documents import Strict
from proxy.model import Mode  # noqa: TC001  # pydantic needs it at run time
from proxy.policy_settings import Preset  # noqa: TC001  # as above

File = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
MAX_TEXT: Final = 65_536
"""Characters of all policies that are tried at once: they are parsed beside what the sidecar is for."""


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

    version: Annotated[int, Field(ge=1, le=2**31 - 1), WHOLE]


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


class SimulateRequest(Strict):
    """Policies to ask about past calls, in place of those of the configuration's files."""

    policies: Annotated[dict[File, str], Field(max_length=16)] = Field(
        description="The text of each file, by its name.", json_schema_extra={"additionalProperties": False}
    )
    preset: Preset | None = Field(default=None, description="In place of the configured one.")
    since_ms: Annotated[int, Field(ge=0), WHOLE] = Field(
        default=0, description="From when on, in milliseconds since 1970."
    )
    limit: Annotated[int, Field(ge=1, le=2000), WHOLE] = Field(default=1000, description="The newest so many calls.")


class Mistake(Form):
    """What is wrong with the policies that were sent."""

    file: str
    line: int
    message: str


class Replay(Form):
    """A past call whose decision would change, or of which that cannot be told."""

    receipt: str
    agent: str
    call: str
    operation: str | None
    change: Literal["tightened", "approval added", "loosened", "unknown"]
    was: str | None
    now: str | None
    policies: list[str]
    why: str | None


class Simulation(Form):
    """What other policies would have said of past calls; with `mistakes`, of none."""

    mistakes: list[Mistake]
    calls: int
    counts: dict[str, int] = Field(description="Calls by what would become of them.")
    changes: list[Replay]
    not_held: list[str] = Field(description="What of a call its receipt does not hold.")


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
