"""Runs what kinds yield: makes their calls and signatures, and sends the answers back in."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from proxy.credentials.documents import Documents
from proxy.credentials.kind import CallFailedError, MintFailedError, Sign, unusable
from proxy.db.threads import in_thread
from proxy.errors import Denial

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from proxy.clock import Clock
    from proxy.credentials.caller import Caller
    from proxy.credentials.documents import Place
    from proxy.credentials.grants import Grants, Lease
    from proxy.credentials.kind import Call, Minting, Presented, Proving, Reply
    from proxy.keys.signer import Signer

_log: Final = logging.getLogger("proxy.credentials")
MAX_STEPS: Final = 32
MINT_S: Final = 30.0
"""How long a mint may begin new calls; what has been answered by then is still used."""


class NoAnswerError(MintFailedError):
    """A call got no answer, so it is not known what the provider made of it."""


class TooLateError(CallFailedError):
    """A call was not begun, because the mint has taken too long already."""


class Runner:
    """One per broker."""

    def __init__(self, caller: Caller, grants: Grants, clock: Clock) -> None:
        self._caller: Final = caller
        self._grants: Final = grants
        self._clock: Final = clock
        self._documents: Final = Documents(clock)

    def forget(self, provider: str) -> None:
        """What discovery said about `provider` is asked for again."""
        self._documents.drop_all_of(provider)

    async def mint[T](
        self,
        minting: Minting[T],
        provider: str,
        signers: Mapping[str, Signer],
        lease: Lease | None = None,
    ) -> T:
        """What `minting` returns. What a call uses up is noted under `lease` before it is made; others renew it.

        A call that was begun is never cut off, because its answer may hold what cannot be had twice; each has an end of
        its own. No new one is begun after `MINT_S`.

        Raises:
            MintFailedError: by the generator, or because a call failed and the generator did not mind it.
            LostLeaseError: somebody else has the lease by now.
        """
        read: set[Place] = set()
        try:
            return await self._run(minting, provider, signers, lease, read)
        except MintFailedError:
            self._documents.drop(read)
            raise

    async def _run[T](
        self, minting: Minting[T], provider: str, signers: Mapping[str, Signer], lease: Lease | None, read: set[Place]
    ) -> T:
        answer: Reply | bytes | None = None
        problem: CallFailedError | None = None
        end_s = self._clock.monotonic_s() + MINT_S
        for _ in range(MAX_STEPS):
            try:
                step = minting.throw(problem) if problem is not None else minting.send(answer)  # type: ignore[arg-type]
            except StopIteration as ended:
                minted: T = ended.value
                return minted
            except TooLateError:
                raise MintFailedError(
                    Denial("token_endpoint_error", "No credential came in time.", by="credentials")
                ) from None
            except CallFailedError as failed:
                _log.warning("provider %s: %s", provider, failed)
                raise NoAnswerError(
                    Denial("token_endpoint_error", "The token endpoint could not be reached.", by="credentials")
                ) from None
            answer = problem = None
            if isinstance(step, Sign):
                answer = await signers[step.key].sign(step.message)
                continue
            if step.keeps is not None:
                read.add((provider, step.url))
                answer = self._documents.get((provider, step.url))
                if answer is not None:
                    continue
            if self._clock.monotonic_s() > end_s:
                problem = TooLateError()
                continue
            if lease is not None:
                noted = partial(self._grants.note, using=step.uses_up) if step.uses_up else self._grants.renew
                await in_thread(noted, lease)
            try:
                certificate = signers[step.certificate] if step.certificate is not None else None
                answer = await self._answered(step, provider, certificate)
            except CallFailedError as failed:
                problem = failed
        minting.close()
        raise MintFailedError(unusable("Minting took too many steps."))

    async def _answered(self, wanted: Call, provider: str, certificate: Signer | None) -> Reply:
        reply = await self._caller.call(wanted, provider, certificate)
        if wanted.keeps is not None and wanted.keeps(reply):
            self._documents.put((provider, wanted.url), reply)
        return reply

    @staticmethod
    async def prove(proving: Proving[Presented], signers: Callable[[], Awaitable[Mapping[str, Signer]]]) -> Presented:
        """What `proving` returns. Its signers are only fetched where it wants a signature."""
        made: bytes | None = None
        found: Mapping[str, Signer] | None = None
        while True:
            try:
                step = proving.send(made)  # type: ignore[arg-type]
            except StopIteration as ended:
                presented: Presented = ended.value
                return presented
            found = found or await signers()
            made = await found[step.key].sign(step.message)
