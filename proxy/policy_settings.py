"""The block `policies:` of `briefcased.yaml`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # pydantic needs it at run time
from typing import Literal

from pydantic import Field

from proxy.documents import Strict
from proxy.model import Mode

type Preset = Literal["open", "relaxed", "standard", "strict", "read-only"]
type Widening = Literal["tell", "confirm"]


class PolicySettings(Strict):
    """Which Cedar policies decide."""

    preset: Preset | None = Field(
        default=None, description="Policies that come with the sidecar; absent with `files`: those files alone."
    )
    files: tuple[Path, ...] = Field(default=(), strict=False, description="Files of Cedar policies.")
    observe: bool = Field(
        default=False, description="Decide and record, but let through what policies would refuse or have approved."
    )

    widening: Widening | None = Field(
        default=None,
        description="What becomes of a set that allows more than the one in force: it is told and takes effect, or it "
        "waits until another operator confirms it.",
    )
    signers: tuple[Path, ...] = Field(
        default=(), strict=False, description="Files of public keys, PEM or JWK: what these sign counts as confirmed."
    )
    signature: Path | None = Field(
        default=None, description="The signature that `briefcased policy sign` makes over the files and local profiles."
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
