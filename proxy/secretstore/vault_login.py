"""Logs in to Vault or OpenBao: with a token, AppRole, a Kubernetes service account, or a JWT; renews while it may."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import orjson

from proxy.secret import Secret
from proxy.secretstore.asking import DeniedError, bearer, below, seconds_below, text_below
from proxy.secretstore.login import EARLY
from proxy.secretstore.store import SecretUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.secretstore.asking import Asker, Json
    from proxy.secretstore.store import Means
    from proxy.store_settings import VaultSettings

_log: Final = logging.getLogger("proxy.secretstore")
SERVICE_ACCOUNT: Final = "file:/var/run/secrets/kubernetes.io/serviceaccount/token"


class VaultLogin:
    """The token that requests carry. A login's leases die with its token: it is renewed as long as that is allowed.

    Attributes:
        current: the token at hand.
        ours: it came from a login of ours, so that we revoke it.
    """

    def __init__(self, settings: VaultSettings, asker: Asker, means: Means) -> None:
        self._auth: Final = settings.auth
        self._asker: Final = asker
        self._clock: Final = means.clock
        self._read: Final = means.read
        self._lock: Final = asyncio.Lock()
        self._renewable = False
        self._due_s = self._until_s = float("-inf")
        self.current: Secret | None = None
        self.ours: Final = settings.auth.method != "token"
        self.headers: Final = {"x-vault-request": "true", "content-type": "application/json"}
        if settings.namespace is not None:
            self.headers["x-vault-namespace"] = settings.namespace

    async def using[T](self, ask: Callable[[Secret], Awaitable[T]]) -> T:
        """What `ask` gets with the token; where that was refused because it has ended, once more with a new one."""
        kept = self.current
        token = await self.token()
        try:
            return await ask(token)
        except DeniedError:
            if token is not kept or not self.ours or await self._alive(token):
                raise
            if self.current is token:
                self.current = None
        return await ask(await self.token())

    async def token(self) -> Secret:
        """A token that lives. Raises `SecretUnavailableError`."""
        if not self.ours:
            assert self._auth.token is not None
            given = await self._read(self._auth.token)
            if given != self.current:
                self.current = given
            assert self.current is not None
            return self.current
        async with self._lock:
            now_s, current = self._clock.monotonic_s(), self.current
            lives = current is not None and self._until_s > now_s
            if current is not None and lives and (self._due_s > now_s or (self._renewable and await self._renewed())):
                return current
            try:
                return await self._logged_in()
            except SecretUnavailableError as error:
                if current is None or not lives or not error.passing:
                    raise
                self._due_s = now_s + (self._until_s - now_s) / 2
                return current  # until its end it serves, and is not replaced at every use

    @property
    def serves_s(self) -> float:
        """Seconds until the token at hand is to be renewed, and with it what was leased with it."""
        return max(self._due_s - self._clock.monotonic_s(), 0.0) if self.ours else float("inf")

    async def _logged_in(self) -> Secret:
        mount = self._auth.mount or self._auth.method
        body = await self._shown()
        answer = await self._asker.json(
            "POST", f"/v1/auth/{quote(mount)}/login", headers=self.headers, body=orjson.dumps(body)
        )
        token = Secret("vault token", text_below("vault", answer, "auth", "client_token"))
        self._take(answer)
        self.current = token
        return token

    async def _shown(self) -> dict[str, str]:
        """What a login shows."""
        auth = self._auth
        if auth.method == "approle":
            refs = {"role_id": auth.role_id, "secret_id": auth.secret_id}
            return {name: await self._text(ref) for name, ref in refs.items() if ref is not None}
        return {"role": auth.role or "", "jwt": await self._text(auth.jwt or SERVICE_ACCOUNT)}

    async def _text(self, ref: str) -> str:
        return bearer(await self._read(ref), "vault", prefix="")

    def _take(self, answer: Json) -> None:
        lives_s = seconds_below(answer, "auth", "lease_duration")
        self._renewable = below(answer, "auth", "renewable") is True
        now_s = self._clock.monotonic_s()
        # A duration of 0 is a token without an end (root, periodic ones have their period).
        self._until_s = now_s + (lives_s if lives_s is not None else float("inf"))
        self._due_s = now_s + (lives_s * EARLY if lives_s is not None else float("inf"))

    async def _renewed(self) -> bool:
        assert self.current is not None
        token = self.current
        try:
            answer = await self._asker.json(
                "POST", "/v1/auth/token/renew-self", headers={**self.headers, **_carrying(token)}, body=b"{}"
            )
        except SecretUnavailableError as error:
            _log.warning("vault: the token could not be renewed: %s", error.reason)
            return False
        before_s = self._until_s
        self._take(answer)
        return self._until_s > before_s  # else its greatest age is near

    async def _alive(self, token: Secret) -> bool:
        """Whether it is another thing than the token that was refused."""
        try:
            await self._asker.json("GET", "/v1/auth/token/lookup-self", headers={**self.headers, **_carrying(token)})
        except DeniedError:
            return False
        return True


def _carrying(token: Secret) -> dict[str, str]:
    return {"x-vault-token": bearer(token, "vault", prefix="")}
