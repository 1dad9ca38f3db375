"""`exec:["command", "argument"]`: what a command prints, without a shell, kept for a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import orjson

from proxy.secret import Secret
from proxy.secretstore.command import output_of
from proxy.secretstore.store import SecretUnavailableError, stripped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.clock import Clock


class ExecStore:
    """Runs the command once for all who ask at the same time; its standard error is not read."""

    def __init__(self, *, clock: Clock, ttl_s: float, timeout_s: float, environment: Mapping[str, str]) -> None:
        self._clock: Final = clock
        self._ttl_s: Final = ttl_s
        self._timeout_s: Final = timeout_s
        self._environment: Final = dict(environment)
        self._known: Final[dict[str, tuple[float, Secret]]] = {}
        self._locks: Final[dict[str, asyncio.Lock]] = {}

    @staticmethod
    def bad_place(place: str) -> str | None:
        """A JSON list of texts: the command and its arguments."""
        return None if _command(place) else 'exec: takes a JSON list, as in exec:["pass", "show", "github"]'

    async def get(self, place: str) -> Secret:
        """The command's output without its last line end."""
        if (known := self._fresh(place)) is not None:
            return known
        async with self._locks.setdefault(place, asyncio.Lock()):
            if (known := self._fresh(place)) is not None:
                return known
            secret = Secret("exec", stripped(await self._run(place)))
            self._known[place] = (self._clock.monotonic_s() + self._ttl_s, secret)
            return secret

    def _fresh(self, place: str) -> Secret | None:
        known = self._known.get(place)
        return known[1] if known is not None and known[0] > self._clock.monotonic_s() else None

    async def _run(self, place: str) -> bytes:
        command = _command(place)
        if not command:
            raise SecretUnavailableError("exec", "not a JSON list of texts")
        return await output_of("exec", command, environment=self._environment, timeout_s=self._timeout_s)


def _command(place: str) -> list[str]:
    try:
        command = orjson.loads(place)
    except orjson.JSONDecodeError:
        return []
    fits = isinstance(command, list) and all(isinstance(part, str) and part and "\0" not in part for part in command)
    return command if fits else []
