"""The block `risk:` of `briefcased.yaml`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # pydantic needs it at run time
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from proxy.documents import Strict
from proxy.model import Mode

type Code = Literal[
    "base64_blob",
    "card_number",
    "double_encoding",
    "email_list",
    "first_use",
    "hidden_characters",
    "high_entropy",
    "iban",
    "injection",
    "jwt",
    "known_secret",
    "large_body",
    "look_alike_letters",
    "new_destination",
    "off_hours",
    "phone_list",
    "private_key",
    "ssn",
    "unusual_volume",
]
"""The rules whose points may be set; see docs/risk.md."""
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Points = Annotated[int, Field(ge=0, le=100)]
Score = Annotated[int, Field(ge=1, le=100)]


class Thresholds(Strict):
    """From which score on something more than the policies' yes is wanted."""

    approval_at: Score | None = Field(default=None, description="Score from which a person must approve.")
    strong_at: Score | None = Field(default=None, description="Score from which the approval must be a strong one.")
    refuse_at: Score | None = Field(default=None, description="Score from which the call is refused.")

    def stricter(self, other: Thresholds) -> Thresholds:
        """The lower of each threshold."""
        return Thresholds(
            approval_at=_lower(self.approval_at, other.approval_at),
            strong_at=_lower(self.strong_at, other.strong_at),
            refuse_at=_lower(self.refuse_at, other.refuse_at),
        )

    @property
    def unset(self) -> bool:
        """Whether no score has a consequence."""
        return self.approval_at is None and self.strong_at is None and self.refuse_at is None


class WorkingHours(Strict):
    """When calls are usual."""

    days: tuple[Annotated[int, Field(ge=1, le=7)], ...] = Field(
        default=(1, 2, 3, 4, 5), description="ISO weekdays: 1 is Monday."
    )
    from_hour: Annotated[int, Field(ge=0, le=23)] = 7
    until_hour: Annotated[int, Field(ge=1, le=24)] = Field(default=20, description="The first hour after them.")
    utc_offset_minutes: Annotated[int, Field(ge=-720, le=840)] = 0


class Volume(Strict):
    """When an hour's calls of one operation by one agent are unusually many: above both."""

    at_least: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(default=200, description="Calls in the hour.")
    times_peak: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=4, description="Times the busiest hour of the week before."
    )


class Classifier(Strict):
    """A service of yours that is asked for a score of its own, which can only raise ours."""

    url: Annotated[str, Field(pattern=r"^https://[^#\s]+$", description="Where features are sent, by POST.")]
    token: str | None = Field(default=None, description="Secret ref of a bearer token.")
    ca_bundle: Path | None = Field(default=None, strict=False, description="Trust roots for it, PEM.")
    send: Literal["features", "body"] = Field(
        default="features", description="`body`: the request's body goes along; bodies are held for it."
    )
    unavailable: Literal["approval", "highest"] = Field(
        default="highest", description="What a call gets that it does not answer for: an approval, or the score 100."
    )
    timeout_s: Annotated[float, Field(gt=0, le=4)] = 4.0
    failures: Annotated[int, Field(ge=1, le=100)] = Field(
        default=5, description="Failures in a row after which it is left alone."
    )
    rest_s: Annotated[float, Field(ge=1, le=3600)] = Field(default=30.0, description="For how long.")


class RiskSettings(Thresholds):
    """How risky calls are told from others, and what follows. See docs/risk.md."""

    profiles: dict[Name, Thresholds] = Field(
        default={}, description="Thresholds of single profiles; the lower one counts."
    )
    points: dict[Code, Points] = Field(default={}, description="Other points than a rule's own; 0 turns it off.")
    bodies: Literal["held", "always"] = Field(
        default="held", description="Which bodies are looked at: those held anyway, or all, which are held for it."
    )
    look_bytes: Annotated[int, Field(ge=1024, le=262_144)] = Field(
        default=65_536, description="How much of a body is looked at."
    )
    large_body_bytes: Annotated[int, Field(ge=1)] = 1_048_576
    working_hours: WorkingHours | None = Field(default=None, description="Absent: no hour is unusual.")
    volume: Volume = Volume()
    classifier: Classifier | None = None

    @model_validator(mode="after")
    def _checked(self) -> Self:
        hours = self.working_hours
        if hours is not None and hours.from_hour >= hours.until_hour:
            raise ValueError("working_hours: from_hour must be before until_hour")
        return self

    @property
    def holds_bodies(self) -> bool:
        """Whether every body is held."""
        return self.bodies == "always" or (self.classifier is not None and self.classifier.send == "body")

    def thresholds(self, profile: str, mode: Mode) -> Thresholds:
        """What counts for calls of `profile`: where nothing is set, the mode's own; a profile's only tighten."""
        own = USUAL if self.unset and mode is not Mode.REFERENCE else self
        return own.stricter(self.profiles.get(profile, Thresholds()))


USUAL: Final = Thresholds(approval_at=50, strong_at=80)
"""Of modes `staging` and `ga`, where the file says nothing."""


def _lower(one: int | None, other: int | None) -> int | None:
    return min((each for each in (one, other) if each is not None), default=None)
