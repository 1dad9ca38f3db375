"""Which set of policies is in force: what the files say, or an earlier set until the files change; each is receipted.

A set that allows more than the one before it is told, in the log and in the receipt (I-05).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from proxy.catalog.binding import bind
from proxy.catalog.policies import load_policies, vocabulary
from proxy.errors import BriefcaseError, ConfigError, Refused
from proxy.policy import Policies
from proxy.policy_versions import digest_of
from proxy.trial.matrix import compared, edits, questions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from proxy.catalog.configuration import Configuration
    from proxy.clock import Clock
    from proxy.model import Agent
    from proxy.policy import Vocabulary
    from proxy.policy_versions import PolicyVersions, Version
    from proxy.receipts.log import ReceiptLog
    from proxy.receipts.record import Value
    from proxy.trial.matrix import Cell, Edits

_log: Final = logging.getLogger("proxy.policy")
MAX_QUESTIONS: Final = 20_000
"""A larger matrix is not compared, and that is told instead."""
TOLD: Final = 20
_AT_A_TIME: Final = 20


@dataclass(frozen=True, slots=True)
class Standing:
    """What is to be in force.

    Attributes:
        files_digest: of the files of the configuration.
        version: that the set has been kept as; None for files that were not seen before.
    """

    configuration: Configuration
    policies: Policies
    files_digest: str
    version: Version | None

    @property
    def is_new(self) -> bool:
        """Whether no receipt says so yet."""
        return self.version is None or self.version.receipt is None


@dataclass(frozen=True, slots=True)
class Difference:
    """A set against the one before it. `compared` is false where the matrix was too large."""

    edits: Edits
    cells: tuple[Cell, ...]
    compared: bool

    @property
    def widened(self) -> tuple[Cell, ...]:
        """What is allowed now, or with less, and was not before."""
        return tuple(cell for cell in self.cells if cell.widened)


class Enforcing:
    """For one sidecar: looks up, records, keeps."""

    def __init__(self, versions: PolicyVersions, receipts: ReceiptLog, clock: Clock, author: str) -> None:
        self._versions: Final = versions
        self._receipts: Final = receipts
        self._clock: Final = clock
        self._author: Final = author

    def standing(self, configuration: Configuration) -> Standing:
        """What is to be in force with `configuration`.

        Raises:
            BriefcaseError: the versions cannot be read, or the set that was brought back does not fit any more.
        """
        try:
            return standing(self._versions.newest(), configuration)
        except SQLAlchemyError as error:
            raise BriefcaseError(f"the versions of policies cannot be read ({type(error).__name__})") from None

    async def begin(self, configuration: Configuration, agents: Sequence[Agent]) -> Configuration:
        """`configuration` with the policies that are in force from the start; raises as `standing` and `put` do."""
        wanted = self.standing(configuration)
        await self.put(wanted, None, agents, "start")
        return wanted.configuration

    async def put(self, wanted: Standing, before: Policies | None, agents: Sequence[Agent], reason: str) -> None:
        """Record that `wanted` takes the place of `before`; return when that is durable. Nothing where it is not new.

        Raises:
            BriefcaseError: it cannot be recorded, so it must not be put in force.
        """
        if not wanted.is_new:
            return
        difference = None
        if (before := before or self._before(wanted)) is not None:
            difference = await difference_of(before, wanted, agents, now_ms=self._clock.wall_ms())
        receipt = self._receipts.new_id()
        try:
            number = wanted.version.number if wanted.version is not None else self._kept(wanted, reason)
            version = self._versions.one(number)
            assert version is not None
            await self._receipts.record_change(_entry(receipt, version, before, difference))
            self._versions.enforced(number, receipt)
        except (SQLAlchemyError, Refused) as error:
            raise BriefcaseError(f"a change of policies cannot be recorded ({type(error).__name__})") from None
        _tell(version, difference)

    async def rejected(self, mistakes: int) -> None:
        """Record that a configuration was not put in force (I-04)."""
        fields: dict[str, Value] = {"id": self._receipts.new_id(), "change": "config_rejected", "mistakes": mistakes}
        try:
            await self._receipts.record_change(fields)
        except Refused:
            _log.error("that a configuration was refused could not be recorded")

    def _kept(self, wanted: Standing, reason: str) -> int:
        return self._versions.add(
            digest=wanted.policies.version,
            sources=wanted.policies.sources,
            files_digest=wanted.files_digest,
            author=self._author,
            reason=reason,
        )

    def _before(self, wanted: Standing) -> Policies | None:
        """What was in force when a sidecar last ran; None where that is not known or does not fit any more."""
        try:
            last = self._versions.newest(in_force=True)
            return None if last is None else Policies.load(last.sources, vocabulary_of(wanted.configuration))
        except (SQLAlchemyError, ConfigError):
            return None


def standing(newest: Version | None, configuration: Configuration) -> Standing:
    """What is to be in force where `newest` was the last that was wanted. Raises `BriefcaseError`."""
    own = configuration.policies or load_policies(configuration.settings, configuration.profiles)
    files_digest = digest_of(own.sources)
    if newest is None or newest.files_digest != files_digest:
        return Standing(replace(configuration, policies=own), own, files_digest, None)
    if newest.restores is None:
        return Standing(replace(configuration, policies=own), own, files_digest, newest)
    try:
        earlier = Policies.load(newest.sources, vocabulary_of(configuration))
    except ConfigError as error:
        message = f"policies of version {newest.restores}, which were brought back, do not fit this configuration"
        raise BriefcaseError(f"{message}:\n{error}") from None
    return Standing(replace(configuration, policies=earlier), earlier, files_digest, newest)


def vocabulary_of(configuration: Configuration) -> Vocabulary:
    """What policies of `configuration` may speak of."""
    profiles = configuration.profiles
    return vocabulary(profiles[name] for name in sorted(configuration.settings.providers) if name in profiles)


async def difference_of(before: Policies, wanted: Standing, agents: Iterable[Agent], *, now_ms: int) -> Difference:
    """What changes; others have their turn while it is worked out."""
    settings = wanted.configuration.settings
    accounts = bind(settings, wanted.configuration.profiles)
    asked = list(questions(accounts, agents, mode=settings.mode, now_ms=now_ms))
    cells: list[Cell] = []
    if len(asked) <= MAX_QUESTIONS:
        for start in range(0, len(asked), _AT_A_TIME):
            cells += compared(before, wanted.policies, asked[start : start + _AT_A_TIME])
            await asyncio.sleep(0)
    return Difference(edits(before, wanted.policies), tuple(cells), len(asked) <= MAX_QUESTIONS)


def _entry(receipt: str, version: Version, before: Policies | None, difference: Difference | None) -> dict[str, Value]:
    told: dict[str, Value] = {}
    if difference is not None:
        told = {
            "added": " ".join(difference.edits.added) or None,
            "removed": " ".join(difference.edits.removed) or None,
            "changed": " ".join(difference.edits.changed) or None,
            "compared": difference.compared,
            "widened": len(difference.widened),
            "widenings": "; ".join(map(str, difference.widened[:TOLD])) or None,
        }
    return {
        "id": receipt,
        "change": "policies",
        "version": version.number,
        "restores": version.restores,
        "digest": version.digest,
        "before": before.version if before is not None else None,
        "author": version.author,
        "reason": version.reason,
        **told,
    }


def _tell(version: Version, difference: Difference | None) -> None:
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
