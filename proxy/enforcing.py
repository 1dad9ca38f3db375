"""Which set of policies is in force: what the files say, or an earlier set until the files change; each is receipted.

A set that allows more than the one before it is told, in the log and in the receipt; or it waits, and the one before
it stays in force, until another operator confirms it or it comes with a signature (I-05). One gate, `admitted`, for
starts, reloads and rollbacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from proxy.catalog.bundle import frame_of, signer_of
from proxy.catalog.pinning import owners
from proxy.catalog.setting_changes import deciding
from proxy.db.threads import in_thread
from proxy.errors import BriefcaseError, ConfigError, Refused
from proxy.policy import Policies, Rollout
from proxy.policy_change import Admitted, Before, WaitingError, entry, tell
from proxy.policy_standing import Standing, brought_back, restored, standing, vocabulary_of
from proxy.policy_versions import digest_of
from proxy.trial.widening import difference_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.catalog.configuration import Configuration
    from proxy.clock import Clock
    from proxy.model import Agent, Operator
    from proxy.policy_standing import Standing, Wish
    from proxy.policy_versions import Frame, PolicyVersions, Version
    from proxy.receipts.log import ReceiptLog
    from proxy.receipts.record import Value
    from proxy.trial.widening import Difference

_log: Final = logging.getLogger("proxy.policy")


class BusyError(BriefcaseError):
    """Another configuration is about to be put in force."""

    def __init__(self) -> None:
        super().__init__("a reload is under way")


class OtherWaitsError(BriefcaseError):
    """Two sets that allow more do not wait at once."""

    def __init__(self) -> None:
        super().__init__("another version of the policies waits for a confirmation")


class Enforcing:
    """For one sidecar: looks up, judges, records, keeps.

    Attributes:
        versions: what is kept.
        confirmed: to be set once a set that waited has been confirmed; whoever reloads waits for it.
        comparing: held while versions are compared for the control API.
        waiting: the number of the set that waits.
    """

    def __init__(self, versions: PolicyVersions, receipts: ReceiptLog, clock: Clock, author: str) -> None:
        self.versions: Final = versions
        self._receipts: Final = receipts
        self._clock: Final = clock
        self._author: Final = author
        self._frame: Frame | None = None
        self.confirmed: Final = asyncio.Event()
        self.comparing: Final = threading.Lock()
        self.waiting: int | None = None

    async def begin(self, configuration: Configuration, agents: Sequence[Agent]) -> Configuration:
        """`configuration` with what is in force from the start: where its policies wait, those that were in force last.

        Raises:
            BriefcaseError: the versions cannot be read or recorded, or what was in force does not fit any more.
        """
        last = self._last()
        try:
            before = None if last is None else self._before(last, configuration)
            self._frame = last.frame if last is not None else None
            admitted = await self.admitted(configuration, before, agents, "start", known=last is not None)
        except WaitingError as waiting:
            if last is None:
                raise
            return self._instead(configuration, self._adopted(last, configuration), agents, waiting)
        await self.put(admitted)
        return admitted.configuration

    def _adopted(self, last: Version, configuration: Configuration) -> Version:
        """What was in force last: of a release that kept no settings, with those of this start. `BriefcaseError`."""
        if last.frame is None or last.has_settings:
            return last
        self._frame = replace(last.frame, settings=deciding(configuration.settings))
        files_digest = digest_of(last.sources, self._frame) if last.restores is None else last.files_digest
        self._adopt(last, files_digest, self._frame)
        return replace(last, frame=self._frame)

    def _adopt(self, version: Version, files_digest: str, frame: Frame) -> None:
        try:
            self.versions.adopt(version.number, files_digest, frame)
        except SQLAlchemyError as error:
            raise BriefcaseError(f"a set of policies cannot be recorded ({type(error).__name__})") from None

    @staticmethod
    def _instead(
        configuration: Configuration, last: Version, agents: Sequence[Agent], waiting: WaitingError
    ) -> Configuration:
        """What was in force last, in place of what waits. Raises `BriefcaseError`: it cannot be had back."""
        try:
            found = restored(configuration, last, agents)
        except BriefcaseError as error:
            advice = "start with the files of then, and reload with these: then they can be confirmed"
            raise BriefcaseError(f"{error}\n{waiting}\n{advice}") from None
        _log.error("the sidecar runs with policies of version %d: %s", last.number, waiting)
        return found

    async def reloaded(
        self, configuration: Configuration, policies: Policies, rollout: Rollout | None, agents: Sequence[Agent]
    ) -> Admitted:
        """As `admitted`, where `policies` are in force, and what of `rollout` decides already."""
        before = Before(policies, self._frame, rollout)
        return await self.admitted(configuration, before, agents, "reload", known=True)

    async def admitted(
        self, configuration: Configuration, before: Before | None, agents: Sequence[Agent], reason: str, *, known: bool
    ) -> Admitted:
        """The gate. `known`: a set has been in force; with `before` None it cannot be told what that was.

        Raises:
            WaitingError: it must be confirmed first; that it waits is on record.
            BriefcaseError: the versions cannot be read or recorded.
        """
        try:
            _, rollout = configuration.deciding()
            frame = frame_of(configuration.settings, configuration.profiles, rollout)
            wanted = standing(self.versions.newest(), configuration, frame)
            return await self._gated(wanted, before, agents, reason, known=known)
        except (SQLAlchemyError, Refused) as error:
            raise BriefcaseError(f"the versions of policies cannot be used ({type(error).__name__})") from None

    async def back(
        self,
        wish: Wish,
        in_force: Configuration,
        policies: Policies,
        rollout: Rollout | None,
        agents: Sequence[Agent],
    ) -> Admitted:
        """As `admitted`, for an earlier set in place of the `policies` that are in force with the rest of `in_force`.

        What is in force by the same wish already, or waits by it, is no second version.

        Raises:
            UnfitError: it does not fit `in_force`.
            OtherWaitsError: it would have to be confirmed, and another set waits for that.
        """
        before = Before(policies, self._frame, rollout)
        try:
            wanted = await in_thread(self._wanted_back, wish, in_force, before)
            return await self._gated(wanted, before, agents, wish.reason, known=True)
        except (SQLAlchemyError, Refused) as error:
            raise BriefcaseError(f"the versions of policies cannot be used ({type(error).__name__})") from None

    def _wanted_back(self, wish: Wish, in_force: Configuration, before: Before) -> Standing:
        last, newest, earlier = self.last(), self.versions.newest(), self._version(wish.number)
        frame = before.frame or frame_of(in_force.settings, in_force.profiles, before.rollout)
        wanted = brought_back(earlier, in_force, frame, last.files_digest)
        if newest is not None and (newest.restores, newest.files_digest) == (wish.number, last.files_digest):
            return replace(wanted, version=newest)
        return replace(wanted, wish=wish)

    async def _gated(
        self, wanted: Standing, before: Before | None, agents: Sequence[Agent], reason: str, *, known: bool
    ) -> Admitted:
        if not wanted.is_new:
            return Admitted(wanted, before, reason, signed=self._signed(wanted, needed=False))
        difference = await self._difference(wanted, before, agents)
        why = self._why(wanted, difference) if known else ()
        needed = bool(why) and (wanted.version is None or wanted.version.confirmed_by is None)
        signed = self._signed(wanted, needed=needed)
        if signed is not None or not needed:
            return Admitted(wanted, before, reason, difference, signed)
        raise await self._waiting(Admitted(wanted, before, reason, difference), why)

    async def put(self, admitted: Admitted) -> None:
        """Record that the set takes the place of the one before; return when that is durable.

        Raises:
            BriefcaseError: it cannot be recorded, so it must not be put in force.
        """
        if admitted.standing.is_new:
            receipt, kept = self._receipts.new_id(), None
            try:
                version = kept = self._kept(admitted)
                if not version.has_settings:
                    self.versions.adopt(version.number, admitted.standing.files_digest, admitted.standing.frame)
                await self._receipts.record_change(entry(receipt, version, admitted))
                self.versions.enforced(version.number, receipt)
            except (SQLAlchemyError, Refused) as error:
                if kept is not None and admitted.standing.wish is not None:
                    self._withdraw(kept)
                raise BriefcaseError(f"a change of policies cannot be recorded ({type(error).__name__})") from None
            tell(version, admitted.difference)
        else:
            self._renew(admitted)
        self._frame, self.waiting = admitted.standing.frame, None

    async def rejected(self, mistakes: int) -> None:
        """Record that a configuration was not put in force (I-04)."""
        fields: dict[str, Value] = {"id": self._receipts.new_id(), "change": "config_rejected", "mistakes": mistakes}
        try:
            await self._receipts.record_change(fields)
        except Refused:
            _log.error("that a configuration was refused could not be recorded")

    def pending(self) -> Version | None:
        """The set that waits. Blocks; raises `SQLAlchemyError`."""
        return self.versions.waiting()

    def unfit(self, version: Version, operator: Operator) -> bool:
        """Whether this operator stands behind the set already: the author, or the owner of a file of it."""
        return bool({operator.name, operator.user, operator.via} & set(version.authors))

    def confirm(self, version: Version, operator: Operator) -> None:
        """Let it be put in force by the next reload. Blocks; raises `SQLAlchemyError`."""
        self.versions.confirm(version.number, operator.name)

    def is_of_now(self, version: Version) -> bool:
        """Whether it was wanted over the files that are in force. Blocks; raises `BriefcaseError`."""
        return version.files_digest == self.last().files_digest

    async def _waiting(self, admitted: Admitted, why: tuple[str, ...]) -> WaitingError:
        """Keep the set as one that waits, on record first."""
        if admitted.standing.wish is not None and self.versions.waiting() is not None:
            raise OtherWaitsError
        version = self._kept(admitted)
        if not version.waits:
            fields = entry(self._receipts.new_id(), version, admitted)
            await self._receipts.record_change({**fields, "change": "policies_pending"})
            self.versions.wait(version.number, why)  # after its receipt: else a second try would leave none
            version = self._version(version.number)
        self.waiting = version.number
        return WaitingError(version)

    def _gate(self, wanted: Standing) -> Frame:
        """What says how the next set gets in: what was in force, read or not, so that no set lets itself in."""
        return self._frame if self._frame is not None else wanted.frame

    def _why(self, wanted: Standing, difference: Difference | None) -> tuple[str, ...]:
        """By what it must wait."""
        if not self._gate(wanted).confirm:
            return ()
        return ("what was in force before cannot be told",) if difference is None else difference.wider

    def _signed(self, wanted: Standing, *, needed: bool) -> tuple[str, int] | None:
        """Whose signature counts, and its serial. Keys count from the set after the one that names them.

        One that is not `needed` counts too: no bundle of before it may come back with the signature of then.
        """
        if wanted.restores is not None:
            return None  # a signature is over the files, and this is what overrules them
        try:
            signed = signer_of(wanted.configuration.settings, self._gate(wanted), wanted.files_digest)
        except BriefcaseError as error:
            if needed:
                _log.warning("%s", error)
            return None
        if signed is not None and signed[1] <= self.versions.newest_serial():
            if needed:
                _log.warning("the signature is of an earlier bundle: sign it again")
            return None
        return signed

    async def _difference(self, wanted: Standing, before: Before | None, agents: Sequence[Agent]) -> Difference | None:
        if before is None:
            return None
        now_ms, frames = self._clock.wall_ms(), (before.frame, wanted.frame)
        return await difference_of(
            before.policies,
            wanted.policies,
            wanted.configuration,
            agents,
            now_ms=now_ms,
            frames=frames,
            rollouts=(before.rollout, wanted.rollout),
        )

    def _kept(self, admitted: Admitted) -> Version:
        """As it is kept, and kept as signed where it is."""
        wanted, signed = admitted.standing, admitted.signed
        number = wanted.version.number if wanted.version is not None else self._added(wanted, admitted.reason)
        if signed is not None:
            confirmed_by = wanted.version.confirmed_by if wanted.version is not None else None
            self.versions.confirm(number, confirmed_by or f"key:{signed[0]}", signed[1])
        return self._version(number)

    def _renew(self, admitted: Admitted) -> None:
        """The set in force was signed once more, or says from now on what of the settings decides: `BriefcaseError`."""
        standing, version = admitted.standing, admitted.standing.version
        assert version is not None
        try:
            if admitted.signed is not None:
                self.versions.renew(version.number, admitted.signed[1])
        except SQLAlchemyError as error:
            raise BriefcaseError(f"a set of policies cannot be recorded ({type(error).__name__})") from None
        if not version.has_settings:
            self._adopt(version, standing.files_digest, standing.frame)

    def _added(self, wanted: Standing, reason: str) -> int:
        configuration, wish = wanted.configuration, wanted.wish
        files_authors = (f"uid:{os.getuid()}", *owners(configuration.file, configuration.settings))
        return self.versions.add(
            digest=wanted.policies.version,
            sources=wanted.policies.sources,
            files_digest=wanted.files_digest,
            frame=wanted.frame,
            author=self._author if wish is None else wish.author,
            authors=files_authors if wish is None else wish.authors,
            reason=reason,
            restores=wanted.restores,
        )

    def _withdraw(self, version: Version) -> None:
        """What could not be put in force is not wanted any more: no reload takes it up."""
        try:
            self.versions.withdraw(version.number)
        except SQLAlchemyError:
            _log.error("version %d of the policies could not be withdrawn: a reload may take it up", version.number)

    def _version(self, number: int) -> Version:
        version = self.versions.one(number)
        if version is None:
            raise BriefcaseError(f"version {number} of the policies is gone")
        return version

    def last(self) -> Version:
        """What was put in force last. Raises `BriefcaseError`."""
        found = self._last()
        if found is None:
            raise BriefcaseError("nothing was put in force yet")
        return found

    def _last(self) -> Version | None:
        try:
            return self.versions.newest(in_force=True)
        except SQLAlchemyError as error:
            raise BriefcaseError(f"the versions of policies cannot be read ({type(error).__name__})") from None

    @staticmethod
    def _before(last: Version, configuration: Configuration) -> Before | None:
        """It, as the configuration of now lets it be read; None where it does not fit any more."""
        with contextlib.suppress(BriefcaseError):
            earlier = restored(configuration, last)
            assert earlier.policies is not None
            return Before(earlier.policies, last.frame, earlier.rollout)
        if last.frame is not None and last.frame.stage:
            return None  # for some agents other policies decided, which cannot be read
        with contextlib.suppress(ConfigError):
            return Before(Policies.load(last.sources, vocabulary_of(configuration)), last.frame)
        return None
