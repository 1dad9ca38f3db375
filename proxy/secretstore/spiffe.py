"""`spiffe:AUDIENCE[#SPIFFE-ID]`: a JWT-SVID of this workload, from the Workload API. See docs/stores/spiffe.md.

Sources: SPIFFE Workload API and JWT-SVID. The package `spiffe` (extra of the same name) speaks gRPC in a thread.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final, Self

from proxy.secret import Secret
from proxy.secretstore.store import Fetched, SecretUnavailableError

if TYPE_CHECKING:
    from proxy.clock import Clock
    from proxy.secretstore.store import Means
    from proxy.settings import Settings

_PLACE: Final = re.compile(
    r"[\x21\x22\x24-\x7e]{1,1024}(?:#spiffe://[a-z0-9._-]{1,255}(?:/[A-Za-z0-9._-]{1,255}){0,32})?"
)
SOCKET: Final = "SPIFFE_ENDPOINT_SOCKET"
PART: Final = 0.5
"""Of what is left of its life, how long a token is used: the exchange that it is for has to verify it, too."""


class SpiffeStore:
    """Asks for one audience at a time; whose identity is ours is decided by the Workload API, not here."""

    def __init__(self, socket: str | None, trust_domain: str | None, *, timeout_s: float, clock: Clock) -> None:
        self._socket: Final = socket
        self._trust_domain: Final = trust_domain
        self._timeout_s: Final = timeout_s
        self._clock: Final = clock

    @classmethod
    def made(cls, settings: Settings, means: Means) -> Self | None:
        """See `AskedStore`."""
        own = settings.secret_stores.spiffe
        socket = own.socket or means.environment.get(SOCKET)
        return cls(socket, own.trust_domain, timeout_s=settings.secret_stores.timeout_s, clock=means.clock)

    @staticmethod
    def bad_place(place: str) -> str | None:
        """An audience; perhaps the SPIFFE ID, for a workload that has several."""
        return None if _PLACE.fullmatch(place) else "spiffe: takes AUDIENCE or AUDIENCE#spiffe://TRUST-DOMAIN/PATH"

    async def fetch(self, place: str) -> Fetched:
        """See `AskedStore`."""
        if self._socket is None:
            raise SecretUnavailableError("spiffe", f"neither secret_stores.spiffe.socket nor {SOCKET} is set")
        audience, _, subject = place.partition("#")
        token, trust_domain, expiry_s = await asyncio.to_thread(
            _fetched, self._socket, audience, subject, self._timeout_s
        )
        if self._trust_domain is not None and trust_domain != self._trust_domain:
            raise SecretUnavailableError("spiffe", "the identity is one of another trust domain")
        left_s = expiry_s - self._clock.wall_ms() / 1000
        if left_s <= 0:
            raise SecretUnavailableError("spiffe", "the Workload API gave a token that has expired", passing=True)
        return Fetched(Secret("JWT-SVID", token), left_s * PART)

    async def close(self) -> None:
        """See `AskedStore`."""


def _fetched(socket: str, audience: str, subject: str, timeout_s: float) -> tuple[str, str, int]:
    """Token, trust domain and expiry. The package checks `aud`, `exp`, and that `sub` is a SPIFFE ID."""
    try:
        from spiffe import SpiffeId, WorkloadApiClient  # noqa: PLC0415  # gRPC: only where it is asked for
        from spiffe.errors import PySpiffeError  # noqa: PLC0415
    except ImportError:
        raise SecretUnavailableError("spiffe", "the extra is not installed: credential-briefcase[spiffe]") from None
    try:
        wanted = SpiffeId(subject) if subject else None
        with WorkloadApiClient(socket) as client:
            svid = client.fetch_jwt_svid({audience}, subject=wanted, timeout=timeout_s)
    except PySpiffeError as error:
        raise SecretUnavailableError(
            "spiffe", f"the Workload API gave none ({type(error).__name__})", passing=True
        ) from None
    if wanted is not None and svid.spiffe_id != wanted:
        raise SecretUnavailableError("spiffe", "the Workload API gave another identity")
    return svid.token, svid.spiffe_id.trust_domain.name, int(svid.expiry)
