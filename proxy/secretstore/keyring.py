"""`keyring:SERVICE/USER`: the operating system's keyring. See docs/stores/keyring.md."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from typing import TYPE_CHECKING, Final, Self

from proxy.secret import Secret
from proxy.secretstore.store import Fetched, SecretUnavailableError

if TYPE_CHECKING:
    from proxy.secretstore.store import Means
    from proxy.settings import Settings

_PLACE: Final = re.compile(r"[^/\x00-\x1f\x7f]{1,256}/[^\x00-\x1f\x7f]{1,256}")


class KeyringStore:
    """Asks in a thread: a keyring may wait for its owner to unlock it."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s: Final = timeout_s
        self._asked: asyncio.Future[str | None] | None = None
        self._lock: Final = asyncio.Lock()

    @classmethod
    def made(cls, settings: Settings, _means: Means) -> Self | None:
        """See `AskedStore`."""
        return cls(settings.secret_stores.timeout_s)

    @staticmethod
    def bad_place(place: str) -> str | None:
        """A service and, behind the first slash, a user name."""
        return None if _PLACE.fullmatch(place) else "keyring: takes SERVICE/USER, as in keyring:github.com/me"

    async def fetch(self, place: str) -> Fetched:
        """See `AskedStore`."""
        service, _, user = place.partition("/")
        async with self._lock:
            value = await self._answer(service, user)
        if value is None:
            raise SecretUnavailableError("keyring", "it has no such entry")
        return Fetched(Secret("keyring", value))

    async def close(self) -> None:
        """See `AskedStore`."""

    async def _answer(self, service: str, user: str) -> str | None:
        if self._asked is not None and not self._asked.done():
            raise SecretUnavailableError("keyring", "it has not yet answered an earlier question", passing=True)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str | None] = loop.create_future()
        self._asked = answer
        answer.add_done_callback(lambda done: done.exception())  # known, even where nobody waits any longer
        # Of its own and a daemon: nothing waits for it at the end, because a keyring may ask its owner for ever.
        threading.Thread(target=_ask, args=(service, user, loop, answer), daemon=True).start()
        try:
            async with asyncio.timeout(self._timeout_s):
                value = await asyncio.shield(answer)
        except TimeoutError:
            reason = f"no answer within {self._timeout_s:g} s; it may be locked"
            raise SecretUnavailableError("keyring", reason, passing=True) from None
        return value


def _ask(service: str, user: str, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[str | None]) -> None:
    """Put what the keyring says, or its failure, into `answer`."""

    def told(value: str | None, failure: SecretUnavailableError | None) -> None:
        if answer.done():
            return
        if failure is not None:
            answer.set_exception(failure)
        else:
            answer.set_result(value)

    value, failure = None, None
    try:
        value = _asked(service, user)
    except SecretUnavailableError as error:
        failure = error
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(told, value, failure)


def _asked(service: str, user: str) -> str | None:
    try:
        import keyring  # noqa: PLC0415  # loads desktop backends: only where it is asked for

        return keyring.get_password(service, user)
    except Exception as error:  # noqa: BLE001  # the thread's outermost frame: backends raise what they like
        raise SecretUnavailableError("keyring", f"it cannot be read ({type(error).__name__})", passing=True) from None
