"""The forms of the routes about versions of the policies, and about a stage of their rollout."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from proxy.api.models import WHOLE, Form, Query
from proxy.documents import Strict

MAX_NUMBER: Final = 2**31 - 1
MAX_CALLS: Final = 10_000
Outcome = Literal["allow", "approval", "strong", "deny"]


class VersionView(Form):
    """A set of policies that was wanted, without its texts."""

    version: int
    digest: str
    restores: int | None = Field(description="The earlier version that it brings back.")
    author: str
    reason: str
    at_ms: int
    receipt: str | None = Field(description="Of its being put in force; null where it never was.")
    files: list[str]
    in_force: bool
    waits: bool = Field(description="For a confirmation.")
    confirmed_by: str | None


class VersionsView(Form):
    """Versions, the newest first."""

    versions: list[VersionView]


class VersionsQuery(Query):
    """Which versions."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    before: Annotated[int, Field(ge=1, le=MAX_NUMBER)] | None = Field(
        default=None, description="Only those with a lower number."
    )


class VersionFile(Form):
    """A file of a version, as it was."""

    file: str
    text: str


class VersionDetail(Form):
    """A version with its texts."""

    version: VersionView
    texts: list[VersionFile]


class DifferenceQuery(Query):
    """With what a version is compared."""

    to: Annotated[int, Field(ge=1, le=MAX_NUMBER)] | None = Field(
        default=None, description="Another version; the one in force unless said."
    )


class DecisionChange(Form):
    """A call that the two sets decide differently."""

    agent: str
    operation: str
    account: str
    was: Outcome
    now: Outcome
    widened: bool


class DifferenceView(Form):
    """One set of policies against another."""

    same: bool = Field(description="Whether their texts are, and nothing around them lets more through.")
    added: list[str]
    removed: list[str]
    changed: list[str]
    compared: bool = Field(description="False where there are too many calls to compare what is allowed.")
    text: list[str] | None = Field(description="The unified difference; null where the texts are too long for one.")
    decisions: list[DecisionChange] = Field(description="Of the agents that you see.")
    around: list[str] = Field(
        description="By what of profiles and settings more may be let through; where files are compared."
    )


class RollbackRequest(Strict):
    """Which version to bring back, and why."""

    version: Annotated[int, Field(ge=1, le=MAX_NUMBER), WHOLE]
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class RollbackView(Form):
    """What became of it."""

    version: int = Field(description="The number of the set that brings it back.")
    restores: int
    state: Literal["in_force", "waiting"]
    wider: list[str] = Field(description="By what it allows more, where it waits for a confirmation.")


class RolloutQuery(Query):
    """Which past calls are told of."""

    since_ms: Annotated[int, Field(ge=0, le=2**53)] = Field(
        default=0, description="From when on, in milliseconds since 1970."
    )
    limit: Annotated[int, Field(ge=1, le=MAX_CALLS)] = Field(default=MAX_CALLS, description="The newest so many.")


class StageView(Form):
    """For whom the candidate decides already, as the configuration says."""

    agents: list[str]
    groups: list[str]
    percent: int


class RolloutChange(Form):
    """Past calls that the candidate would have decided otherwise."""

    agent: str
    operation: str
    was: str
    candidate: str
    calls: int


class RolloutView(Form):
    """How far the candidate is. Of another tenant's agents nothing is told."""

    version: str | None = Field(description="Digest of the candidate; null where there is none.")
    stage: StageView | None
    decides_for: list[str]
    not_for: list[str]
    changes: list[RolloutChange]
