"""One change of the policies in force: what takes the place of what, and what receipts and the log say of it. Pure."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.catalog.configuration import Configuration
    from proxy.policy import Policies, Rollout
    from proxy.policy_standing import Standing
    from proxy.policy_versions import Frame, Version
    from proxy.receipts.record import Value
    from proxy.trial.widening import Difference

_log: Final = logging.getLogger("proxy.policy")
TOLD: Final = 20


class WaitingError(BriefcaseError):
    """The set allows more than the one in force, which stays until somebody confirms the new one."""

    def __init__(self, version: Version) -> None:
        self.version: Final = version
        super().__init__(waiting_text(version.number, version.waits))


def waiting_text(number: int, waits: Sequence[str]) -> str:
    """What whoever wanted version `number` is told; `waits` is by what it allows more."""
    more = f"\n  … and {len(waits) - TOLD} more" if len(waits) > TOLD else ""
    return (
        f"version {number} of the policies allows more than what is in force, which stays until another"
        f" operator confirms it: briefcased policy confirm {number}"
        + "".join(f"\n  {one}" for one in waits[:TOLD])
        + more
    )


@dataclass(frozen=True, slots=True)
class Before:
    """What a set is compared with."""

    policies: Policies
    frame: Frame | None
    rollout: Rollout | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """A set that may be put in force.

    Attributes:
        difference: to `before`; None where nothing was in force before, or it is the same set.
        signed: thumbprint of the key and serial of the signature that let it in.
    """

    standing: Standing
    before: Before | None
    reason: str
    difference: Difference | None = None
    signed: tuple[str, int] | None = None

    @property
    def configuration(self) -> Configuration:
        """With the policies that are to be in force."""
        return self.standing.configuration


def entry(receipt: str, version: Version, admitted: Admitted) -> dict[str, Value]:
    """The fields of its receipt."""
    before, difference = admitted.before, admitted.difference
    told: dict[str, Value] = {}
    if difference is not None:
        told = {
            "added": " ".join(difference.edits.added) or None,
            "removed": " ".join(difference.edits.removed) or None,
            "changed": " ".join(difference.edits.changed) or None,
            "compared": difference.compared,
            "widened": len(difference.widened),
            "widenings": "; ".join(map(str, difference.widened[:TOLD])) or None,
            "looser": " ".join(difference.looser[:TOLD]) or None,
            "around": "; ".join(difference.around[:TOLD]) or None,
        }
    return {
        "id": receipt,
        "change": "policies",
        "version": version.number,
        "restores": version.restores,
        "digest": version.digest,
        "before": before.policies.version if before is not None else None,
        "author": version.author,
        "reason": version.reason,
        "confirmed_by": version.confirmed_by,
        "serial": version.serial,
        **told,
    }


def tell(version: Version, difference: Difference | None) -> None:
    """Say it in the log."""
    back = f", which are those of version {version.restores}" if version.restores is not None else ""
    _log.info("policies of version %d%s: %s", version.number, back, version.digest[:12])
    if difference is None:
        return
    if not difference.compared:
        _log.warning("too many agents and operations to tell whether more is allowed than before")
    if difference.widened:
        _log.warning("%d calls are allowed that were not, or with less than before:", len(difference.widened))
        for cell in difference.widened[:TOLD]:
            _log.warning("  %s", cell)
    for one in difference.around[:TOLD]:
        _log.warning("more may be let through: %s", one)
