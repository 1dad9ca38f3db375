"""The block `policies:` of `briefcased.yaml`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # pydantic needs it at run time
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from proxy.documents import Strict
from proxy.model import Mode

type Preset = Literal["open", "relaxed", "standard", "strict", "read-only"]
type Widening = Literal["tell", "confirm"]


class Candidate(Strict):
    """Policies that are to take the place of those in force, and for whom they decide already.

    For everybody else they are asked as well, and receipts say where they would decide otherwise.
    """

    preset: Preset | None = Field(default=None, description="As `policies.preset`.")
    files: tuple[Path, ...] = Field(default=(), strict=False, description="As `policies.files`.")
    agents: tuple[str, ...] = Field(default=(), description="Agents for whom they decide.")
    groups: tuple[str, ...] = Field(default=(), description="Groups of agents for whom they decide.")
    percent: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="The share of all agents for whom they decide, picked by their names."
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.preset is None and not self.files:
            raise ValueError("a candidate has a preset, or files")
        return self


class PolicySettings(Strict):
    """Which Cedar policies decide."""

    preset: Preset | None = Field(
        default=None, description="Policies that come with the sidecar; absent with `files`: those files alone."
    )
    files: tuple[Path, ...] = Field(default=(), strict=False, description="Files of Cedar policies.")
    observe: bool = Field(
        default=False, description="Decide and record, but let through what policies would refuse or have approved."
    )
    candidate: Candidate | None = None

    widening: Widening | None = Field(
        default=None,
        description="What becomes of a configuration that allows more than the one in force: it is told and takes "
        "effect, or it waits until another operator confirms it.",
    )
    signers: tuple[Path, ...] = Field(
        default=(), strict=False, description="Files of public keys, PEM or JWK: what these sign counts as confirmed."
    )
    signature: Path | None = Field(
        default=None, description="The signature that `briefcased policy sign` makes over all that decides."
    )

    def chosen(self, mode: Mode) -> Preset | None:
        """The preset in force: the one that is named, else, where there are no files either, the mode's own."""
        if self.preset is not None or self.files:
            return self.preset
        return "open" if mode is Mode.REFERENCE else "standard"

    def confirms(self, mode: Mode) -> bool:
        """Whether what widens waits for a confirmation: where it is said, else in the stricter modes."""
        if self.widening is not None:
            return self.widening == "confirm"
        return mode is not Mode.REFERENCE
