"""`vault:mount/path#field`: HashiCorp Vault and OpenBao. See docs/stores/vault.md.

Source: the HTTP API of both (KV secrets engine versions 1 and 2, `sys/leases`, `auth/token`, namespaces).
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote

import orjson

from proxy.secret import Secret
from proxy.secretstore.asking import Asker, bearer, below, text_below
from proxy.secretstore.store import Fetched, SecretUnavailableError
from proxy.secretstore.vault_login import VaultLogin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from proxy.clock import Clock
    from proxy.secretstore.asking import Json
    from proxy.secretstore.store import Means
    from proxy.settings import Settings
    from proxy.store_settings import VaultSettings

_log: Final = logging.getLogger("proxy.secretstore")
_PLACE: Final = re.compile(r"([A-Za-z0-9_@:+=,. -]+(?:/[A-Za-z0-9_@:+=,. -]+)+)#([A-Za-z0-9_. -]{1,128})")
RENEW_AT: Final = 2 / 3
"""The part of a lease after which it is renewed."""
MAX_LEASES: Final = 256


@dataclass(slots=True)
class _Lease:
    """A leased secret: its fields, the token that it dies with, and (monotonic clock) when it began and ends."""

    id: str
    data: Mapping[str, object]
    token: Secret
    renewable: bool
    from_s: float
    until_s: float

    def due_s(self) -> float:
        """When it is to be renewed."""
        return self.from_s + (self.until_s - self.from_s) * RENEW_AT


class VaultStore:
    """Reads KV secrets; leases dynamic ones once for all fields, renews them while they are used, revokes them."""

    def __init__(self, settings: VaultSettings, asker: Asker, login: VaultLogin, clock: Clock) -> None:
        self._mounts: Final = settings.mounts
        self._asker: Final = asker
        self._login: Final = login
        self._clock: Final = clock
        self._leases: Final[dict[str, _Lease]] = {}
        self._lent: Final[dict[str, _Lease]] = {}
        self._locks: Final[dict[str, asyncio.Lock]] = {}

    @classmethod
    def made(cls, settings: Settings, means: Means) -> Self | None:
        """See `AskedStore`."""
        own = settings.secret_stores.vault
        if own is None:
            return None
        asker = Asker.made("vault", own.address, own, settings, means)
        return cls(own, asker, VaultLogin(own, asker, means), means.clock)

    @staticmethod
    def bad_place(place: str) -> str | None:
        """A path with its mount, and a field."""
        found = _PLACE.fullmatch(place)
        if found is None or any(set(segment) <= {".", " "} for segment in found[1].split("/")):
            return "vault: takes MOUNT/PATH#FIELD, as in vault:secret/github#token"
        return None

    async def fetch(self, place: str) -> Fetched:
        """See `AskedStore`."""
        path, _, name = place.rpartition("#")
        mount = self._mount_of(path)
        rest = quote(path[len(mount) + 1 :])
        match self._mounts.get(mount, "kv2"):
            case "kv1":
                answer = await self._read(f"/v1/{quote(mount)}/{rest}")
                return Fetched(_field(below(answer, "data"), name))
            case "kv2":
                answer = await self._read(f"/v1/{quote(mount)}/data/{rest}")
                return Fetched(_field(below(answer, "data", "data"), name))
            case "dynamic":
                async with self._locks.setdefault(path, asyncio.Lock()):
                    lease = await self._leased(f"/v1/{quote(mount)}/{rest}")
                wait_s = max(lease.due_s() - self._clock.monotonic_s(), 0.0)
                return Fetched(_field(lease.data, name), min(wait_s, self._login.serves_s))

    async def close(self) -> None:
        """Revoke the token that we logged in for, and with it its leases; else every lease that may still be alive."""
        token, now_s = self._login.current, self._clock.monotonic_s()
        lent = [lease for lease in self._lent.values() if lease.until_s > now_s]
        self._leases.clear()
        self._lent.clear()
        if token is None:
            return
        await self._revoke((lease for lease in lent if lease.token is not token), token)
        if not (self._login.ours and await self._given_back("/v1/auth/token/revoke-self", {}, token)):
            await self._revoke((lease for lease in lent if lease.token is token), token)

    async def _revoke(self, leases: Iterable[_Lease], token: Secret) -> None:
        for lease in leases:
            await self._given_back("/v1/sys/leases/revoke", {"lease_id": lease.id}, token)

    async def _given_back(self, target: str, body: Mapping[str, str], token: Secret) -> bool:
        try:
            await self._ask("PUT", target, token, body)
        except SecretUnavailableError as error:
            _log.warning("vault: a lease or token stays until it expires: %s", error.reason)
            return False
        return True

    def _mount_of(self, path: str) -> str:
        """The longest mount of the settings that `path` lies below, else its first segment."""
        named = [mount for mount in self._mounts if path.startswith(f"{mount}/")]
        return max(named, key=len) if named else path.partition("/")[0]

    async def _read(self, target: str) -> Json:
        return await self._login.using(partial(self._ask, "GET", target))

    async def _ask(self, method: str, target: str, token: Secret, body: Mapping[str, object] | None = None) -> Json:
        return await self._asker.json(
            method,
            target,
            headers={**self._login.headers, "x-vault-token": bearer(token, "vault", prefix="")},
            body=orjson.dumps(body) if body is not None else b"",
            accepted=frozenset({200, 204}),
        )

    async def _leased(self, target: str) -> _Lease:
        """The lease at hand, renewed where it is due; else a new one.

        The token goes first: what was leased with it ends with it, however long it was leased for.
        """
        await self._login.token()
        lease, now_s = self._leases.get(target), self._clock.monotonic_s()
        lives = lease is not None and lease.token is self._login.current and lease.until_s > now_s
        if lives and lease is not None and (lease.due_s() > now_s or (lease.renewable and await self._renewed(lease))):
            return lease
        return await self._lease(target)

    async def _renewed(self, lease: _Lease) -> bool:
        """Whether it could be renewed, for at least as long as to be worth it."""
        now_s = self._clock.monotonic_s()
        try:
            answer = await self._ask("PUT", "/v1/sys/leases/renew", lease.token, {"lease_id": lease.id})
        except SecretUnavailableError as error:
            _log.warning("vault: a lease could not be renewed: %s", error.reason)
            lease.from_s = now_s  # so that it is not asked for at every use
            return error.passing and lease.until_s - now_s > 1
        lasts_s = _duration_s(answer)
        asked_s = lease.until_s - lease.from_s
        lease.from_s, lease.until_s = now_s, now_s + lasts_s
        return lasts_s > asked_s / 10  # the end of what its role allows is near

    async def _lease(self, target: str) -> _Lease:
        asked_at_s = self._clock.monotonic_s()
        used: list[Secret] = []

        async def ask(token: Secret) -> Json:
            answer = await self._ask("GET", target, token)
            used.append(token)
            return answer

        answer = await self._login.using(ask)
        data = below(answer, "data")
        if not isinstance(data, dict):
            raise SecretUnavailableError("vault", "the answer has no data", passing=True)
        until_s = asked_at_s + _duration_s(answer)
        lease = _Lease(
            text_below("vault", answer, "lease_id"),
            data,
            used[-1],
            below(answer, "renewable") is True,
            asked_at_s,
            until_s,
        )
        self._leases[target] = lease
        for ended in [lent for lent in self._lent.values() if lent.until_s <= asked_at_s]:
            del self._lent[ended.id]
        self._lent[lease.id] = lease
        while len(self._lent) > MAX_LEASES:
            del self._lent[next(iter(self._lent))]
        return lease


def _field(data: object, name: str) -> Secret:
    found = below(data, name)
    if not isinstance(found, str):
        raise SecretUnavailableError("vault", "there is no such field, or it is not a text")
    return Secret("vault", found)


def _duration_s(answer: Json) -> float:
    found = below(answer, "lease_duration")
    return float(found) if isinstance(found, int) and not isinstance(found, bool) and 0 < found < 2**40 else 0.0
