"""`exec:["command", "argument"]`: what a command prints, without a shell, kept for a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

from proxy.secret import Secret
from proxy.secretstore.command import output_of
from proxy.secretstore.store import SecretUnavailableError, stripped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.clock import Clock


@dataclass(slots=True)
class _Known:
    """What is known of one command; `runs` counts how often it ended, `until_s` is of the monotonic clock."""

    runs: int = 0
    secret: Secret | None = None
    until_s: float = float("-inf")
    failure: SecretUnavailableError | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class ExecStore:
    """Runs the command once for all who ask at the same time; its standard error is not read."""

    def __init__(self, *, clock: Clock, ttl_s: float, timeout_s: float, environment: Mapping[str, str]) -> None:
        self._clock: Final = clock
        self._ttl_s: Final = ttl_s
        self._timeout_s: Final = timeout_s
        self._environment: Final = dict(environment)
        self._known: Final[dict[str, _Known]] = {}

    @staticmethod
    def bad_place(place: str) -> str | None:
        """A JSON list of texts: the command and its arguments."""
        return None if _command(place) else 'exec: takes a JSON list, as in exec:["pass", "show", "github"]'

    async def get(self, place: str) -> Secret:
        """The command's output without its last line end. Those who waited for a run get what came of it."""
        known = self._known.setdefault(place, _Known())
        if (secret := self._fresh(known)) is not None:
            return secret
        runs = known.runs
        async with known.lock:
            if (secret := self._fresh(known)) is not None:
                return secret
            if known.runs != runs and known.failure is not None:
                raise known.failure.again()
            return await self._ran(place, known)

    def _fresh(self, known: _Known) -> Secret | None:
        return known.secret if known.until_s > self._clock.monotonic_s() else None

    async def _ran(self, place: str, known: _Known) -> Secret:
        try:
            secret = Secret("exec", stripped(await self._run(place)))
        except SecretUnavailableError as failure:
            known.runs, known.failure = known.runs + 1, failure
            raise failure.again() from None
        known.runs, known.failure, known.secret = known.runs + 1, None, secret
        known.until_s = self._clock.monotonic_s() + self._ttl_s
        return secret

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
