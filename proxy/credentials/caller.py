"""Makes the calls that kinds yield: trust roots, upstream proxies, vetted addresses, client certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from proxy.credentials.kind import CallFailedError, Reply
from proxy.egress.http import HttpFailedError, parse_https

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from proxy.credentials.kind import Call
    from proxy.egress.http import ClientIdentity, HttpClient
    from proxy.keys.signer import Signer
    from proxy.model import Authority, UpstreamProxy


class Routes(Protocol):
    """What the configuration in force says about ways out."""

    def trust(self, provider: str) -> Path | None:
        """Roots for `provider`."""
        ...

    def via(self, provider: str, authority: Authority) -> UpstreamProxy | None:
        """The operator's proxy that `authority` is reached through."""
        ...

    def private(self, host: str) -> tuple[str, ...]:
        """Private addresses that `host` may resolve to."""
        ...


class Caller:
    """One per process. `routes` gives the configuration in force; `identify` makes a client certificate of a key."""

    def __init__(
        self, *, http: HttpClient, routes: Callable[[], Routes], identify: Callable[[Signer], ClientIdentity]
    ) -> None:
        self._http: Final = http
        self._routes: Final = routes
        self._identify: Final = identify

    async def call(self, wanted: Call, provider: str, certificate: Signer | None = None) -> Reply:
        """The reply. Raises `CallFailedError`."""
        try:
            url = parse_https(wanted.url)
        except ValueError:
            raise CallFailedError("the URL of a call is not an https URL") from None
        routes = self._routes()
        try:
            answer = await self._http.request(
                wanted.method,
                url,
                headers=wanted.headers,
                body=wanted.body,
                max_bytes=wanted.max_reply_bytes,
                trust=routes.trust(provider),
                via=routes.via(provider, url.authority),
                allow_private=routes.private(url.authority.host),
                identity=self._identify(certificate) if certificate is not None else None,
            )
        except HttpFailedError as failed:
            raise CallFailedError(str(failed)) from None
        return Reply(answer.status, answer.headers, answer.body)
