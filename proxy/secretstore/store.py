"""What a secret store is: one at hand, or one that is asked over the network and kept from (`Kept`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from proxy.clock import Clock
    from proxy.egress.http import HttpClient
    from proxy.secret import Secret
    from proxy.settings import Settings


class SecretUnavailableError(BriefcaseError):
    """A store has no such secret, or could not be asked. The text names the store and the reason, never a value.

    Attributes:
        passing: the store could not be asked, or not now. False: it answered, and what it said counts (it has no such
            secret, or it is not for us).
        retry_after_s: seconds for which the store does not want to be asked again; None where it did not say.
    """

    def __init__(self, scheme: str, reason: str, *, passing: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(f"{scheme}: secret unavailable: {reason}")
        self.scheme = scheme
        self.reason = reason
        self.passing = passing
        self.retry_after_s = retry_after_s

    def again(self) -> SecretUnavailableError:
        """The same failure, to be raised once more: an exception that is kept would collect tracebacks."""
        return SecretUnavailableError(self.scheme, self.reason, passing=self.passing, retry_after_s=self.retry_after_s)


class SecretStore(Protocol):
    """Where long-lived secrets rest."""

    @staticmethod
    def bad_place(place: str) -> str | None:
        """What is wrong with the part of a secret ref after the scheme, or None."""
        ...

    async def get(self, place: str) -> Secret:
        """The secret as it is now. Raises `SecretUnavailableError`."""
        ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a store gave.

    Attributes:
        serves_s: seconds for which it may be used at most, whatever the settings say (a lease); None for no such limit.
    """

    secret: Secret
    serves_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What stores that have to be asked work with.

    Attributes:
        http: for calls of the stores alone; it knows nothing of agents and providers.
        read: a secret of a store at hand, by its ref: what a store logs in with. Raises `SecretUnavailableError`.
        environment: the sidecar's own.
    """

    http: HttpClient
    clock: Clock
    read: Callable[[str], Awaitable[Secret]]
    environment: Mapping[str, str]


class AskedStore(Protocol):
    """A store that has to be asked. It keeps nothing: `Kept` does, for as long as the settings say."""

    @classmethod
    def made(cls, settings: Settings, means: Means) -> Self | None:
        """The store as the settings describe it; None where they do not."""
        ...

    @staticmethod
    def bad_place(place: str) -> str | None:
        """What is wrong with the part of a secret ref after the scheme, or None."""
        ...

    async def fetch(self, place: str) -> Fetched:
        """The secret as it is now. Raises `SecretUnavailableError`."""
        ...

    async def close(self) -> None:
        """Give back what was only lent. Raises nothing."""
        ...


def stripped(raw: bytes) -> bytes:
    """Without the line end that editors and commands append."""
    return raw.rstrip(b"\r\n")
