"""Serves the key directory of Web Bot Auth for the hosts that `signature_agent` names: public keys, each with proof.

The proof is a signature over the host that was asked for, so nobody else can serve our keys as theirs. It is made for
the configured hosts alone: whoever can ask must not choose what is signed.

Source: draft-meunier-webbotauth-httpsig-directory; see `proxy/credentials/key_directory.py`.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from proxy.api.server import Answer, plain
from proxy.canonical import parse_authority
from proxy.credentials.http_signature import HttpSignatureCredential
from proxy.credentials.kind import filled
from proxy.db.sealing import UnsealError
from proxy.keys.signer import KeyUnavailableError
from proxy.model import HTTPS_PORT
from proxy.secretstore.store import SecretUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from proxy.catalog.binding import BoundAccount
    from proxy.clock import Clock
    from proxy.decision import Generation
    from proxy.keys.ring import KeyRing
    from proxy.keys.signer import Signer
    from proxy.model import Authority

_log: Final = logging.getLogger("proxy.api")
FRESH_S: Final = 300
"""How long what was made is served, by us and by caches: a replaced key shows after that."""
VALID_S: Final = 3600
FAILED_S: Final = 5.0
"""How long a key that could not sign is left alone."""


@dataclass(frozen=True, slots=True)
class _Made:
    """A directory as it is served, until `until_s` (monotonic); without `body` it could not be made."""

    until_s: float
    generation: int
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


class KeyDirectory:
    """One per process. What it serves is made once and kept for `FRESH_S`, however often it is asked for."""

    def __init__(self, *, generation: Callable[[], Generation], keys: KeyRing, clock: Clock) -> None:
        self._generation: Final = generation
        self._keys: Final = keys
        self._clock: Final = clock
        self._made: Final[dict[Authority, _Made]] = {}
        self._making: Final = asyncio.Lock()

    async def answer(self, asked: str) -> Answer:
        """The directory of the host that is asked for; 404 where no account signs in its name."""
        host = parse_authority(asked.encode("latin-1"), HTTPS_PORT)
        generation = self._generation()
        accounts = [one for group in generation.accounts.values() for one in group]
        slots = [slot for account in accounts for slot in _slots(account, host)]
        if host is None or not slots:
            return plain(HTTPStatus.NOT_FOUND)
        async with self._making:
            made = self._made.get(host)
            if made is None or made.generation != generation.number or made.until_s <= self._clock.monotonic_s():
                made = self._made[host] = await self._make(host, slots, generation.number)
        if made.body is None:
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, ("retry-after", str(int(FAILED_S))))
        fields = {name.lower(): value for name, value in made.fields.items()}
        kind = fields.pop("content-type")
        return Answer(made.body, kind, more=(*fields.items(), ("cache-control", f"public, max-age={FRESH_S}")))

    async def _make(self, host: Authority, slots: list[_Slot], generation: int) -> _Made:
        from proxy.credentials import key_directory  # noqa: PLC0415  # its library is an extra

        now_s = self._clock.wall_ms() // 1000
        name = host.host if host.port == HTTPS_PORT else str(host)
        try:
            found = [await slot.signer(self._keys) for slot in slots]
            signers = {signer.public.thumbprint: signer for signer in found}.values()
            body = key_directory.directory(signer.public for signer in signers)
            fields = await key_directory.fields(name, body, signers, created_s=now_s, expires_s=now_s + VALID_S)
        except (KeyUnavailableError, SecretUnavailableError, UnsealError) as error:
            _log.warning("the key directory of %s cannot be made: %s", name, error)
            return _Made(self._clock.monotonic_s() + FAILED_S, generation)
        return _Made(self._clock.monotonic_s() + FRESH_S, generation, fields, body)


@dataclass(frozen=True, slots=True)
class _Slot:
    """A key that signs in the name of a host."""

    account: BoundAccount
    slot: str
    algorithm: str

    async def signer(self, keys: KeyRing) -> Signer:
        return await keys.signer(self.account.id, self.slot, self.account.account.keys.get(self.slot), self.algorithm)


def _slots(account: BoundAccount, host: Authority | None) -> Iterator[_Slot]:
    variables = account.variables
    for name in account.account.credentials or account.profile.credentials:
        kind = account.profile.credentials[name]
        if not isinstance(kind, HttpSignatureCredential) or kind.signature_agent is None:
            continue
        if not kind.variable_names() <= variables.keys():
            continue
        scheme, _, rest = filled(kind.signature_agent, variables).partition("://")
        if scheme == "https" and parse_authority(rest.partition("/")[0].encode(), HTTPS_PORT) == host:
            yield from (_Slot(account, slot, algorithm) for slot, algorithm in kind.key_names().items())
