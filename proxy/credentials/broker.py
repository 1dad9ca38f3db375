"""Obtains credentials, keeps them while they serve, puts them on requests, and passes on what answers teach."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import math
import random
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import SQLAlchemyError

from proxy.credentials.certificates import Certificates
from proxy.credentials.grants import Granted
from proxy.credentials.kind import Credential, MintFailedError, unusable
from proxy.credentials.learnt import Learnt
from proxy.credentials.order import ingredients
from proxy.credentials.refresher import LOOK_AGAIN_S, Job, Refresher
from proxy.credentials.runner import Runner
from proxy.credentials.under_way import UnderWay
from proxy.db.sealing import UnsealError
from proxy.db.threads import in_thread
from proxy.errors import Refused
from proxy.keys.signer import KeyUnavailableError
from proxy.secretstore.store import SecretUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from proxy.clock import Clock
    from proxy.credentials.bindings import Bindings
    from proxy.credentials.caller import Caller
    from proxy.credentials.grants import GrantKey, Grants
    from proxy.credentials.kind import Presented
    from proxy.credentials.memory import Memory
    from proxy.credentials.order import Order
    from proxy.errors import Denial
    from proxy.exchange import ClientCertificate
    from proxy.keys.ring import KeyRing
    from proxy.keys.signer import Signer
    from proxy.model import RequestHead, ResponseHead
    from proxy.secret import Secret
    from proxy.secretstore import SecretStores

_log: Final = logging.getLogger("proxy.credentials")
BACK_OFF_S: Final = 2.0
MAX_BACK_OFF_S: Final = 300.0
MAX_COUNT: Final = 16
"""From then on the wait is the longest in any case, and two to the power of more would once be too large a number."""
FORCED_S: Final = 60.0
"""A credential that the provider did not accept is replaced at most so often; a 401 for ever costs no more mints."""
WATCH_S: Final = 2.0
MAX_CACHED: Final = 4096


@dataclass(slots=True)
class _Entry:
    """A minted credential while it serves. `made_from` changes when a secret, a key ref or a variable does."""

    credential: Credential
    made_from: object
    version: int
    uses: int = 0

    @property
    def spent(self) -> bool:
        """Whether it was presented as often as it may be."""
        return self.credential.max_uses is not None and self.uses >= self.credential.max_uses


@dataclass(slots=True)
class _Failure:
    """Why the last mint failed, and until when (monotonic clock) nobody tries again; `version` of the grant then."""

    denial: Denial
    until_s: float
    made_from: object
    count: int
    version: int


class Broker:
    """One per process. `memory` learns of every secret before it can be used."""

    def __init__(
        self,
        *,
        stores: SecretStores,
        keys: KeyRing,
        grants: Grants,
        caller: Caller,
        clock: Clock,
        token_key: bytes,
        spawn: Callable[[Coroutine[None, None, None]], object],
        memory: Memory[Any],
        bindings: Bindings,
    ) -> None:
        self._stores: Final = stores
        self._keys: Final = keys
        self._grants: Final = grants
        self._runner: Final = Runner(caller, grants, clock)
        self._clock: Final = clock
        self._token_key: Final = token_key
        self._spawn: Final = spawn
        self._memory: Final = memory
        self._bindings: Final = bindings
        self._refresher: Final = Refresher(
            grants=grants, runner=self._runner, clock=clock, token_key=token_key, remember=self._remember
        )
        self._entries: Final[OrderedDict[GrantKey, _Entry]] = OrderedDict()
        self._rejected: Final[dict[GrantKey, int]] = {}
        self._forced_at_s: Final[dict[GrantKey, float]] = {}
        self._minting: Final[UnderWay[GrantKey, _Entry]] = UnderWay(spawn)
        self._failures: Final[dict[GrantKey, _Failure]] = {}
        self._learnt: Final = Learnt(clock)
        self._certificates: Final = Certificates()

    # -- obtaining -----------------------------------------------------------------------------------------------

    async def mint(self, order: Order) -> Credential:
        """A credential that may be presented now: the one at hand, or a new one.

        Raises:
            Refused: `credential_unavailable`, `token_endpoint_error`, `not_connected`, `credential_revoked`,
                `consent_required`.
        """
        secrets = await self._secrets(order)
        await self._bindings.admit(order, secrets)
        kind = order.kind
        if not kind.mints:
            signers = await self._ready(order) if kind.key_names() else {}
            public = {slot: signer.public for slot, signer in signers.items()}
            return Credential(secrets, facts=order.variables, keys=public)
        made_from = order.made_from(secrets)
        work = partial(self._minted_or_refused, order, secrets, made_from)
        entry = self._serving(order.key, made_from)
        if entry is not None and self._due(entry):
            self._minting.begin(order.key, made_from, work)  # where it fails, this one goes on serving until it expires
        while entry is None or entry.spent:  # others may have used up what all waited for
            entry = await self._minting.wait(order.key, made_from, work)
        entry.uses += 1
        self._remember(order, entry.credential.secrets)  # others may have pushed it out of what is searched for
        return entry.credential

    async def watch(self) -> None:
        """Notice what other processes change: a withdrawn grant is not used any more, a new one is, within seconds."""
        while True:
            await asyncio.sleep(WATCH_S)
            if not self._entries and not self._failures:
                continue
            try:
                self._notice(await in_thread(self._grants.versions))
            except SQLAlchemyError as error:
                _log.error("the grants cannot be read: %s", type(error).__name__)

    def _notice(self, versions: Mapping[GrantKey, int]) -> None:
        """Let go of what came from another state of a grant than the one that is stored now."""
        for key, entry in list(self._entries.items()):
            if entry.version and versions.get(key) != entry.version:
                del self._entries[key]
        for key in [key for key, failure in self._failures.items() if versions.get(key, 0) != failure.version]:
            del self._failures[key]

    async def resume(self, order: Order) -> None:
        """At the start: search answers for what is kept, and go on at once where a process died while it minted.

        Some providers take a refresh token that they have replaced only for moments more.
        """
        try:
            granted = await in_thread(self._grants.read, order.key)
        except UnsealError as error:
            _log.warning("account %s: %s", order.account, error)
            return
        self._remember(order, order.kind.kept_secrets(granted.kept))
        if granted.journal is not None:
            self._spawn(self._resumed(order))

    async def _resumed(self, order: Order) -> None:
        with contextlib.suppress(Refused):
            await self.mint(order)

    def token_id(self, credential: Credential) -> str | None:
        """What receipts say of the credential: a keyed hash of its token, useless for anything else."""
        if credential.token is None:
            return None
        value = credential.secrets[credential.token].reveal()
        return hmac.new(self._token_key, b"token id\0" + value, hashlib.sha256).hexdigest()[:24]

    def discard(self, order: Order, credential: Credential) -> None:
        """`credential` was not accepted: the next one is minted anew."""
        entry = self._entries.get(order.key)
        if entry is not None and entry.credential is credential:
            del self._entries[order.key]
            self._rejected[order.key] = entry.version

    def replaced(self, key: GrantKey) -> None:
        """What is kept for `key` was replaced from outside: what was minted from the old one serves no longer."""
        self._entries.pop(key, None)
        self._rejected.pop(key, None)
        self._failures.pop(key, None)

    def _serving(self, key: GrantKey, made_from: object) -> _Entry | None:
        """The credential at hand, where it may still be presented."""
        entry = self._entries.get(key)
        if entry is None or entry.made_from != made_from:
            return None
        credential = entry.credential
        late = credential.expires_at_s is not None and credential.expires_at_s <= self._now_s()
        return None if late or entry.spent else entry

    def _due(self, entry: _Entry) -> bool:
        at_s = entry.credential.refresh_at_s
        return at_s is not None and at_s <= self._now_s()

    async def _minted_or_refused(self, order: Order, secrets: Mapping[str, Secret], made_from: object) -> _Entry:
        """As `_mint_anew`; a fault of a kind refuses its account and ends nothing else."""
        try:
            return await self._mint_anew(order, secrets, made_from)
        except Refused:
            raise
        except Exception as fault:  # noqa: BLE001  # the task's outermost frame
            _log.error("account %s: minting failed: %s", order.account, type(fault).__name__)  # no values
            soon = LOOK_AGAIN_S if isinstance(fault, SQLAlchemyError) else None
            failed = MintFailedError(unusable("The credential could not be made."), retry_after_s=soon)
            raise Refused(self._told(await self._fail(order, failed, made_from))) from None

    async def _mint_anew(self, order: Order, secrets: Mapping[str, Secret], made_from: object) -> _Entry:
        key = order.key
        failure = self._failures.get(key)
        waits = failure is not None and failure.made_from == made_from
        if failure is not None and waits and failure.until_s > self._clock.monotonic_s():
            raise Refused(self._told(failure))
        try:
            credential, version = await self._fresh(order, secrets)
        except MintFailedError as failed:
            raise Refused(self._told(await self._fail(order, failed, made_from))) from None
        except (KeyUnavailableError, SecretUnavailableError, UnsealError) as error:
            _log.warning("account %s: %s", order.account, error)
            raise Refused(unusable("A key or a grant of this account cannot be used.")) from None
        self._failures.pop(key, None)
        entry = self._entries[key] = _Entry(credential, made_from, version)
        self._entries.move_to_end(key)
        while len(self._entries) > MAX_CACHED:
            self._entries.popitem(last=False)
        self._remember(order, credential.secrets)
        return entry

    async def _fresh(self, order: Order, secrets: Mapping[str, Secret]) -> tuple[Credential, int]:
        """A new credential, and the version of its grant (0 where it has none)."""
        signers = await self._signers(order)
        if order.kind.durable:
            return await self._refresher.mint(Job(order, secrets, signers, self._rejected.get(order.key)))
        given = ingredients(order, secrets, signers, Granted(), self._now_s())
        return await self._runner.mint(order.kind.mint(given), order.account.provider, signers), 0

    def _remember(self, order: Order, secrets: Mapping[str, Secret], *, owner: str | None = None) -> None:
        owner = order.key.agent if owner is None else owner
        for name, secret in secrets.items():
            self._memory.remember(order.account, order.places.get(name, name), secret, owner=owner)

    async def _version(self, order: Order) -> int:
        """Of the grant that is stored now; 0 where there is none."""
        if not order.kind.durable:
            return 0
        try:
            return (await in_thread(self._grants.versions)).get(order.key, 0)
        except SQLAlchemyError:
            return 0

    def _told(self, failure: _Failure) -> Denial:
        """What the agent gets: when it is worth trying again, where that helps."""
        if failure.denial.slug != "token_endpoint_error":
            return failure.denial
        return replace(failure.denial, retry_after_s=max(math.ceil(failure.until_s - self._clock.monotonic_s()), 1))

    async def _fail(self, order: Order, failed: MintFailedError, made_from: object) -> _Failure:
        """Nobody asks again at once: for what the provider says, else twice as long each time, with jitter."""
        key, version = order.key, await self._version(order)
        last = self._failures.get(key)
        count = min(last.count + 1, MAX_COUNT) if last is not None and last.made_from == made_from else 1
        wait_s = min(BACK_OFF_S * 2 ** (count - 1), MAX_BACK_OFF_S) * random.uniform(0.8, 1.2)  # noqa: S311  # jitter
        if failed.retry_after_s is not None:
            wait_s = min(max(failed.retry_after_s, 1), 3600)
        failure = _Failure(failed.denial, self._clock.monotonic_s() + wait_s, made_from, count, version)
        self._failures[key] = failure
        _log.warning("account %s: %s: %s", key.account, failed.denial.slug, failed.denial.detail)
        return failure

    # -- presenting ----------------------------------------------------------------------------------------------

    async def prove(
        self, order: Order, credential: Credential, head: RequestHead, body: bytes | None, *, attempt: int = 0
    ) -> Presented:
        """`head` and `body` with the credential in its place. Raises `Refused`: not there, or no key signs."""
        moment = self._learnt.moment((order.key, head.authority), attempt, used=True)
        proving = order.kind.prove(credential, head, body, moment)
        try:
            presented = await self._runner.prove(proving, partial(self._signers, order))
        except (KeyUnavailableError, SecretUnavailableError) as error:
            _log.warning("account %s: %s", order.account, error)
            raise Refused(unusable("The key of this account cannot sign.")) from None
        self._remember(order, presented.secrets)
        return presented

    async def certificate(self, order: Order) -> ClientCertificate | None:
        """What the connection presents; None for nothing. Raises `Refused`: it has to, and cannot."""
        slot = order.kind.certificate_slot()
        return None if slot is None else self._certificates.of((await self._ready(order))[slot], self._now_s())

    def learn(
        self, order: Order, credential: Credential, head: RequestHead, response: ResponseHead, *, attempt: int = 0
    ) -> str:
        """Remember what an answer teaches; `no`, `prove` or `mint`: whether to send again, and after what."""
        place = (order.key, head.authority)
        lesson = order.kind.learn(credential, head, response, self._learnt.moment(place, attempt))
        if lesson.facts:
            self._learnt.remember(place, lesson.facts)
        if lesson.notice:
            _log.warning("account %s: %s", order.account, lesson.notice)
        if lesson.again == "mint" and not self._may_force(order, credential):
            return "no"
        if lesson.again == "mint":
            self.discard(order, credential)
            self._runner.forget(order.account.provider)
        return lesson.again

    def _may_force(self, order: Order, credential: Credential) -> bool:
        """Whether a refused credential may be replaced now; always where it was replaced meanwhile."""
        entry, now_s = self._entries.get(order.key), self._clock.monotonic_s()
        if entry is None or entry.credential is not credential:
            return True
        if now_s - self._forced_at_s.get(order.key, -FORCED_S) < FORCED_S:
            return False
        self._forced_at_s[order.key] = now_s
        return True

    # -- ingredients ---------------------------------------------------------------------------------------------

    async def _secrets(self, order: Order) -> dict[str, Secret]:
        kind, refs = order.kind, order.secrets
        wanted = [*kind.secret_names(), *(n for n in kind.optional_secret_names() if n in refs)]
        try:
            secrets = {name: await self._stores.get(refs[name]) for name in wanted}
        except SecretUnavailableError as missing:
            _log.warning("account %s: %s", order.account, missing)
            raise Refused(unusable("A secret of this account cannot be read.")) from None
        self._remember(order, secrets, owner="")
        return secrets

    async def _signers(self, order: Order) -> dict[str, Signer]:
        return {
            slot: await self._keys.signer(order.account, slot, order.keys.get(slot), algorithm)
            for slot, algorithm in order.kind.key_names().items()
        }

    async def _ready(self, order: Order) -> dict[str, Signer]:
        try:
            return await self._signers(order)
        except (KeyUnavailableError, SecretUnavailableError, UnsealError) as error:
            _log.warning("account %s: %s", order.account, error)
            raise Refused(unusable("A key of this account cannot be used.")) from None

    def _now_s(self) -> int:
        return self._clock.wall_ms() // 1000
