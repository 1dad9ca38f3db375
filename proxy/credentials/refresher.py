"""Mints what must survive: as the only one among all processes, from what was stored last, stored before it is used.

    lease -> (what another process has minted meanwhile | journal -> the provider -> store) -> end of lease and journal

However it ends, a refresh token that the provider gave is not lost where that can be helped: what cannot be stored is
kept in memory and stored before anything else is asked; a process that dies leaves its journal.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from proxy.credentials.grants import Granted, LostLeaseError
from proxy.credentials.kind import MintFailedError, unusable
from proxy.credentials.order import ingredients
from proxy.db.threads import in_thread
from proxy.errors import Denial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.clock import Clock
    from proxy.credentials.grants import GrantKey, Grants, Lease
    from proxy.credentials.kind import Credential
    from proxy.credentials.order import Order
    from proxy.credentials.runner import Runner
    from proxy.keys.signer import Signer
    from proxy.secret import Secret

_log: Final = logging.getLogger("proxy.credentials")
WAIT_S: Final = 30.0
"""How long another process may have the lease; then this one gives up."""
LOOK_S: Final = 0.05
ROUNDS: Final = 2
LOOK_AGAIN_S: Final = 5
"""How long nobody looks whether a withdrawn grant was replaced."""
STORE_AGAIN_S: Final = (0.05, 0.2, 0.8)


@dataclass(frozen=True, slots=True)
class Job:
    """One credential to mint.

    Attributes:
        rejected: the version of the grant whose credential the provider did not accept; None for none.
    """

    order: Order
    secrets: Mapping[str, Secret]
    signers: Mapping[str, Signer]
    rejected: int | None = None


class Refresher:
    """One per broker. `remember` is told of every secret before it can be used."""

    def __init__(
        self,
        *,
        grants: Grants,
        runner: Runner,
        clock: Clock,
        token_key: bytes,
        remember: Callable[[Order, Mapping[str, Secret]], None],
    ) -> None:
        self._grants: Final = grants
        self._runner: Final = runner
        self._clock: Final = clock
        self._token_key: Final = token_key
        self._remember: Final = remember
        self._unstored: Final[dict[GrantKey, tuple[int, Mapping[str, str]]]] = {}

    async def mint(self, job: Job) -> tuple[Credential, int]:
        """A credential, and the version of the grant that it comes from.

        Where somebody else has changed the grant meanwhile (an operator has connected the account again), what is there
        now is tried, once: a refusal of the old one says nothing about the new one.

        Raises:
            MintFailedError: there is none.
        """
        for last in range(1, ROUNDS + 1):
            try:
                return await self._under(job, await self._lease(job.order.key))
            except LostLeaseError as lost:
                _log.warning("account %s: %s", job.order.account, lost)
                if last == ROUNDS:
                    break
        raise MintFailedError(unusable("The grant of this account was changed too often meanwhile."))

    async def _lease(self, key: GrantKey) -> Lease:
        try:
            async with asyncio.timeout(WAIT_S):
                while (lease := await in_thread(self._grants.lease, key)) is None:  # noqa: ASYNC110  # not our process
                    await asyncio.sleep(LOOK_S * random.uniform(0.5, 1.5))  # noqa: S311  # jitter
                return lease
        except TimeoutError:
            raise MintFailedError(
                Denial("token_endpoint_error", "No credential came in time.", by="credentials")
            ) from None

    async def _under(self, job: Job, lease: Lease) -> tuple[Credential, int]:
        """Raises `LostLeaseError` where it is worth looking again."""
        order = job.order
        try:
            lease = await self._recovered(order, lease)
            granted = lease.granted
            self._refuse_broken(job, granted)
            self._remember(order, order.kind.kept_secrets(granted.kept))
            restored = self._restored(job, granted)
            if restored is not None:
                await in_thread(self._grants.release, lease, keep_journal=granted.journal is not None)
                return restored, granted.version
            if granted.journal is not None:
                _log.warning("account %s: a refresh was interrupted; the provider is asked once more", order.account)
            given = ingredients(order, job.secrets, job.signers, granted, self._now_s())
            credential = await self._runner.mint(order.kind.mint(given), order.account.provider, job.signers, lease)
        except MintFailedError as failed:
            await self._given_up(job, lease, failed)
            raise
        except LostLeaseError:
            raise
        except BaseException:
            await in_thread(self._grants.release, lease, keep_journal=True)
            raise
        self._remember(order, {**credential.secrets, **order.kind.kept_secrets(credential.keep or {})})
        if credential.keep is None:
            await in_thread(self._grants.release, lease)
            return credential, granted.version
        return credential, await self._store(order, lease, credential.keep)

    def _restored(self, job: Job, granted: Granted) -> Credential | None:
        """What another process has minted, where that still serves for a while."""
        if granted.version == job.rejected:
            return None
        given = ingredients(job.order, job.secrets, job.signers, granted, self._now_s())
        restored = job.order.kind.restore(given)
        return None if restored is None or _ends_by(restored, self._now_s()) else restored

    async def _given_up(self, job: Job, lease: Lease, failed: MintFailedError) -> None:
        """End the lease. What the provider has withdrawn is marked, unless it is not what is stored any more.

        The journal ends only where it is clear that nothing was used up: not by this mint, nor by one before. What came
        with a token that must not be used is stored nonetheless: the provider may have replaced what is here.

        Raises:
            LostLeaseError: somebody has stored another grant meanwhile.
        """
        if failed.keep is not None:
            self._remember(job.order, job.order.kind.kept_secrets(failed.keep))
            await self._store(job.order, lease, failed.keep)
            return
        if not failed.forget:
            clear = failed.nothing_done and lease.granted.journal is None
            await in_thread(self._grants.release, lease, keep_journal=not clear)
            return
        if (await in_thread(self._grants.read, lease.key)).version != lease.granted.version:
            raise LostLeaseError(f"{lease.key.account}: the grant was replaced while it was refused") from None
        if lease.granted.journal is not None:
            _log.error(
                "account %s: a refresh before this one got no answer or was cut off; its new token is lost",
                job.order.account,
            )
        await in_thread(
            self._grants.release, lease, broken=failed.denial.detail, broken_with=self._fingerprint(job.secrets)
        )

    def _refuse_broken(self, job: Job, granted: Granted) -> None:
        """Nothing but another grant, or other secrets in the store, helps a grant that was withdrawn."""
        if granted.broken is None or granted.broken_with not in ("", self._fingerprint(job.secrets)):
            return
        _log.warning("account %s: %s", job.order.account, granted.broken)
        raise MintFailedError(
            Denial("credential_revoked", "The provider has withdrawn this grant.", by="credentials"),
            retry_after_s=LOOK_AGAIN_S,
        )

    def _fingerprint(self, secrets: Mapping[str, Secret]) -> str:
        made = hmac.new(self._token_key, b"broken with\0", hashlib.sha256)
        for name, secret in sorted(secrets.items(), key=lambda item: item[0]):
            value = secret.reveal()
            made.update(f"{name}\0{len(value)}\0".encode() + value)
        return made.hexdigest()[:24]

    async def _store(self, order: Order, lease: Lease, keep: Mapping[str, str]) -> int:
        """Durable before anything is used. What cannot be stored now is kept for the next attempt, and not used."""
        for wait_s in (*STORE_AGAIN_S, None):
            try:
                return (await in_thread(self._grants.store, lease, keep)).version
            except (SQLAlchemyError, OSError) as error:
                _log.error("account %s: a new grant cannot be stored: %s", order.account, type(error).__name__)
                if wait_s is not None:
                    await asyncio.sleep(wait_s)
        self._unstored[order.key] = (lease.granted.version, keep)
        raise MintFailedError(unusable("The new credential could not be stored."))

    async def _recovered(self, order: Order, lease: Lease) -> Lease:
        """Store what could not be stored before, where nobody has stored anything since."""
        unstored = self._unstored.get(order.key)
        if unstored is None:
            return lease
        version, keep = unstored
        if version != lease.granted.version:
            del self._unstored[order.key]
            return lease
        stored = await self._store(order, lease, keep)
        del self._unstored[order.key]
        _log.warning("account %s: the grant that could not be stored is stored now", order.account)
        again = await self._lease(order.key)
        if again.granted.version != stored:
            return again
        return replace(again, granted=Granted(stored, keep))

    def _now_s(self) -> int:
        return self._clock.wall_ms() // 1000


def _ends_by(credential: Credential, now_s: int) -> bool:
    end_s = credential.refresh_at_s if credential.refresh_at_s is not None else credential.expires_at_s
    return end_s is not None and end_s <= now_s
