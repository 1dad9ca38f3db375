"""Verifies ID tokens of operators who log in: the keys of each OpenID provider, and how often one may be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.credentials.asking import answered
from proxy.credentials.kind import CallFailedError, MintFailedError
from proxy.credentials.oauth.metadata import authorization_server
from proxy.errors import BriefcaseError
from proxy.identity.id_token import Person, Refusal, person_of
from proxy.identity.jwt import presented
from proxy.identity.keys import FromFile, FromUrl, Keys
from proxy.identity.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.clock import Clock
    from proxy.egress.http import HttpClient
    from proxy.identity.keys import Fetch, Fetched
    from proxy.operator_settings import OidcProvider
    from proxy.settings import Settings, UpstreamProxyEntry


class KeysUnavailableError(Exception):
    """The keys of the provider cannot be read, so nobody can be believed."""


class Logins:
    """One per process."""

    def __init__(self, http: HttpClient, settings: Callable[[], Settings], clock: Clock) -> None:
        self._http: Final = http
        self._settings: Final = settings
        self._clock: Final = clock
        self._throttle: Final = Throttle()
        self._known: list[tuple[OidcProvider, Keys]] = []

    def providers(self) -> tuple[OidcProvider, ...]:
        """Where people may log in now."""
        return self._settings().operators.oidc

    async def person(self, id_token: str, nonce: str) -> tuple[OidcProvider, Person] | Refusal:
        """Who logged in with `nonce`, and where. Raises `KeysUnavailableError`."""
        token, refusal = presented(id_token), Refusal("token")
        for provider in self.providers():
            if token is None or provider.issuer != token.issuer or token.algorithm not in provider.algorithms:
                continue
            keys = self._keys(provider)
            if keys.wanted_for(token):
                await keys.refresh(unknown_key=True)
            if (current := keys.current()) is None:
                raise KeysUnavailableError
            found = person_of(id_token, provider, current, nonce=nonce, now_s=self._clock.wall_ms() / 1000)
            if isinstance(found, Person):
                return provider, found
            refusal = found if refusal.fault == "token" else refusal
        return refusal

    def wait_s(self, source: str) -> int:
        """How long `source` must wait after a failed login, which this counts; 0 where it may try again."""
        now_s = self._clock.monotonic_s()
        wait_s = self._throttle.wait_s(source, now_s)
        if wait_s == 0:
            self._throttle.failed(source, now_s)
        return wait_s

    def _keys(self, provider: OidcProvider) -> Keys:
        """Those that are kept for these very settings; others are forgotten."""
        self._known = [(one, keys) for one, keys in self._known if one in self.providers()]
        for one, keys in self._known:
            if one == provider:
                return keys
        made = Keys(self._fetch(provider), issuer=provider, clock=self._clock)
        self._known.append((provider, made))
        return made

    def _fetch(self, provider: OidcProvider) -> Fetch:
        proxy = self._settings().egress.upstream_proxy
        if provider.jwks_file is not None:
            return FromFile(provider.jwks_file)
        if provider.jwks_url is not None:
            return FromUrl(provider, http=self._http, proxy=proxy)
        return _Discovered(provider, self._http, proxy)


class _Discovered:
    """Wherever the provider's metadata says (OpenID Connect Discovery 1.0, section 4)."""

    def __init__(self, provider: OidcProvider, http: HttpClient, proxy: UpstreamProxyEntry | None) -> None:
        self._provider: Final = provider
        self._http: Final = http
        self._proxy: Final = proxy

    async def __call__(self, version: str | None) -> Fetched:
        """See `Fetch`."""
        own = self._provider
        try:
            server = await answered(authorization_server(own.issuer), self._http, trust=own.ca_file, proxy=self._proxy)
        except MintFailedError as failed:
            raise BriefcaseError(failed.denial.detail) from None
        except CallFailedError as failed:
            raise BriefcaseError(str(failed)) from None
        if server.jwks_uri is None:
            raise BriefcaseError("its metadata names no keys")
        found = own.model_copy(update={"jwks_url": server.jwks_uri})
        return await FromUrl(found, http=self._http, proxy=self._proxy)(version)
