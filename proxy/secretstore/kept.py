"""What a store gave is kept: for a time, failures shortly, and longer than that only where the operator says so."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from proxy.secretstore.store import SecretUnavailableError

if TYPE_CHECKING:
    from proxy.clock import Clock
    from proxy.secret import Secret
    from proxy.secretstore.store import AskedStore

_log: Final = logging.getLogger("proxy.secretstore")
MAX_PLACES: Final = 1024
MAX_RETRY_AFTER_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long what was asked for is kept.

    Attributes:
        ttl_s: a value; 0 asks at every use.
        failed_s: a failure: nobody asks again before.
        stale_s: how long beyond its time a value still serves while the store cannot be asked. Never after the store
            has said that there is no such secret or that it is not for us.
    """

    ttl_s: float
    failed_s: float
    stale_s: float


@dataclass(slots=True)
class _Known:
    """What is known of one place; all times are those of the monotonic clock. `asked` counts the answers."""

    asked: int = 0
    secret: Secret | None = None
    until_s: float = float("-inf")
    stale_until_s: float = float("-inf")
    failure: SecretUnavailableError | None = None
    failed_until_s: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Kept:
    """A store that one at a time asks for each place, while the others wait for the same answer."""

    def __init__(self, store: AskedStore, *, clock: Clock, keeping: Keeping) -> None:
        self._store: Final = store
        self._clock: Final = clock
        self._keeping: Final = keeping
        self._known: Final[dict[str, _Known]] = {}

    def bad_place(self, place: str) -> str | None:
        """See `SecretStore`."""
        return self._store.bad_place(place)

    async def get(self, place: str) -> Secret:
        """See `SecretStore`."""
        known = self._known.get(place) or self._entered(place)
        if (secret := self._at_hand(known)) is not None:
            return secret
        asked = known.asked
        async with known.lock:
            if known.asked != asked:  # it came while we waited: as good as our own, even where nothing is kept
                return self._came(known)
            if (secret := self._at_hand(known)) is not None:
                return secret
            return await self._ask(place, known)

    async def close(self) -> None:
        """Give back what was only lent, and forget."""
        self._known.clear()
        await self._store.close()

    def _entered(self, place: str) -> _Known:
        while len(self._known) >= MAX_PLACES:
            del self._known[next(iter(self._known))]
        return self._known.setdefault(place, _Known())

    def _came(self, known: _Known) -> Secret:
        """What the last question brought. Raises its failure."""
        if known.failure is not None:
            return self._stale(known, known.failure, self._clock.monotonic_s())
        assert known.secret is not None
        return known.secret

    def _at_hand(self, known: _Known) -> Secret | None:
        """What serves without asking. Raises the failure that is too young to ask again."""
        now_s = self._clock.monotonic_s()
        if known.failure is not None:
            return self._stale(known, known.failure, now_s) if known.failed_until_s > now_s else None
        return known.secret if known.until_s > now_s else None

    async def _ask(self, place: str, known: _Known) -> Secret:
        try:
            fetched = await self._store.fetch(place)
        except SecretUnavailableError as failure:
            known.asked += 1
            return self._failed(known, failure)
        now_s = self._clock.monotonic_s()
        serves_s = float("inf") if fetched.serves_s is None else fetched.serves_s
        known.asked, known.secret, known.failure = known.asked + 1, fetched.secret, None
        known.until_s = now_s + min(self._keeping.ttl_s, serves_s)
        known.stale_until_s = now_s + min(self._keeping.ttl_s + self._keeping.stale_s, serves_s)
        return fetched.secret

    def _failed(self, known: _Known, failure: SecretUnavailableError) -> Secret:
        now_s = self._clock.monotonic_s()
        wait_s = max(self._keeping.failed_s, min(failure.retry_after_s or 0.0, MAX_RETRY_AFTER_S))
        known.failure, known.failed_until_s = failure, now_s + wait_s
        if not failure.passing:
            known.secret = None  # a revocation counts at once
        secret = self._stale(known, failure, now_s)
        _log.warning("%s; the last value serves on", failure)
        return secret

    def _stale(self, known: _Known, failure: SecretUnavailableError, now_s: float) -> Secret:
        """The value whose time is over, where it may serve on. Raises a copy of `failure`: it is raised many times."""
        if known.secret is not None and self._keeping.stale_s > 0 and known.stale_until_s > now_s:
            return known.secret
        raise failure.again()
