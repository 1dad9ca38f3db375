"""What a store is asked with: a token, obtained once for all, kept for its time, dropped when it is refused."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.secretstore.asking import DeniedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.clock import Clock
    from proxy.secret import Secret

EARLY: Final = 0.9
"""The part of a token's life after which it is replaced."""


@dataclass(frozen=True, slots=True)
class Token:
    """`lives_s` from now on; None as long as it is accepted."""

    secret: Secret
    lives_s: float | None = None


class Login:
    """Obtains tokens, one at a time."""

    def __init__(self, obtain: Callable[[], Awaitable[Token]], *, clock: Clock) -> None:
        self._obtain: Final = obtain
        self._clock: Final = clock
        self._lock: Final = asyncio.Lock()
        self._token: Secret | None = None
        self._until_s = float("-inf")

    @property
    def current(self) -> Secret | None:
        """The token at hand, whether or not it still serves."""
        return self._token

    async def token(self) -> Secret:
        """A token. Raises `SecretUnavailableError`."""
        async with self._lock:
            if self._token is None or self._until_s <= self._clock.monotonic_s():
                token = await self._obtain()
                lives_s = float("inf") if token.lives_s is None else token.lives_s * EARLY
                self._token, self._until_s = token.secret, self._clock.monotonic_s() + lives_s
            return self._token

    def forget(self, token: Secret) -> None:
        """`token` was refused."""
        if self._token is token:
            self._token = None

    async def using[T](self, ask: Callable[[Secret], Awaitable[T]]) -> T:
        """What `ask` gets with a token; where one is refused that had been kept, once more with a new one."""
        kept = self._token
        token = await self.token()
        try:
            return await ask(token)
        except DeniedError:
            self.forget(token)
            if token is not kept:
                raise
        return await ask(await self.token())
