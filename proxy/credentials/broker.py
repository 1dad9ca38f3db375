"""Obtains credentials, keeps them while they serve, puts them on requests, and passes on what answers teach."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import random
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from proxy.credentials.certificates import Certificates
from proxy.credentials.grants import Granted, GrantKey, LostLeaseError, in_thread
from proxy.credentials.kind import Credential, Ingredients, MintFailedError, unusable
from proxy.credentials.learnt import Learnt
from proxy.credentials.runner import Runner
from proxy.db.sealing import UnsealError
from proxy.errors import Denial, Refused
from proxy.keys.signer import KeyUnavailableError
from proxy.secretstore.store import SecretUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from proxy.clock import Clock
    from proxy.credentials.caller import Caller
    from proxy.credentials.grants import Grants
    from proxy.credentials.kind import Kind, Presented
    from proxy.credentials.memory import Memory
    from proxy.exchange import ClientCertificate
    from proxy.keys.ring import KeyRing
    from proxy.keys.signer import Signer
    from proxy.model import AccountId, RequestHead, ResponseHead
    from proxy.secret import Secret
    from proxy.secretstore import SecretStores

_log: Final = logging.getLogger("proxy.credentials")
MINT_S: Final = 30.0
"""How long a mint may take with all its calls; less than a lease lasts."""
BACK_OFF_S: Final = 2.0
MAX_BACK_OFF_S: Final = 300.0
LEASE_LOOK_S: Final = 0.05
MAX_CACHED: Final = 4096


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be obtained: a credential of an account, as its profile and the configuration describe it.

    Attributes:
        name: of the credential in the profile.
        secrets: secret refs of the account, by slot name.
        keys: key refs of the account, by slot name.
        variables: the account's plain values, with the profile's defaults.
        agent: for whom.
    """

    account: AccountId
    name: str
    kind: Kind
    secrets: Mapping[str, str]
    keys: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    agent: str = ""

    @property
    def key(self) -> GrantKey:
        """Which credential this is, among all."""
        return GrantKey(self.account, self.name, self.agent if self.kind.per_agent else "")


@dataclass(slots=True)
class _Entry:
    """A minted credential while it serves. `made_from` changes when a secret, a key ref or a variable does."""

    credential: Credential
    made_from: object
    version: int
    uses: int = 0


@dataclass(slots=True)
class _Failure:
    """Why the last mint failed, and until when (monotonic clock) nobody tries again."""

    denial: Denial
    until_s: float
    made_from: object
    count: int = 1


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
    ) -> None:
        self._stores: Final = stores
        self._keys: Final = keys
        self._grants: Final = grants
        self._runner: Final = Runner(caller, grants)
        self._clock: Final = clock
        self._token_key: Final = token_key
        self._spawn: Final = spawn
        self._memory: Final = memory
        self._entries: Final[OrderedDict[GrantKey, _Entry]] = OrderedDict()
        self._rejected: Final[dict[GrantKey, int]] = {}
        self._refreshing: Final[set[GrantKey]] = set()
        self._failures: Final[dict[GrantKey, _Failure]] = {}
        self._locks: Final[dict[GrantKey, asyncio.Lock]] = {}
        self._learnt: Final = Learnt(clock)
        self._certificates: Final = Certificates()

    # -- obtaining -----------------------------------------------------------------------------------------------

    async def mint(self, order: Order) -> Credential:
        """A credential that may be presented now: the one at hand, or a new one.

        Raises:
            Refused: `credential_unavailable`, `token_endpoint_error`, `not_connected`, `credential_revoked`.
        """
        secrets = await self._secrets(order)
        kind = order.kind
        if not kind.mints:
            signers = await self._ready(order) if kind.key_names() else {}
            public = {slot: signer.public for slot, signer in signers.items()}
            return Credential(secrets, facts=order.variables, keys=public)
        made_from = _made_from(order, secrets)
        entry = self._serving(order.key, made_from)
        if entry is None:
            lock = self._locks.setdefault(order.key, asyncio.Lock())
            async with lock:
                entry = self._serving(order.key, made_from) or await self._minted(order, secrets, made_from)
        elif self._due(entry) and order.key not in self._refreshing:
            self._refreshing.add(order.key)
            self._spawn(self._refresh(order, secrets, made_from))
        entry.uses += 1
        return entry.credential

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

    def _serving(self, key: GrantKey, made_from: object) -> _Entry | None:
        """The credential at hand, where it may still be presented."""
        entry = self._entries.get(key)
        if entry is None or entry.made_from != made_from:
            return None
        credential = entry.credential
        late = credential.expires_at_s is not None and credential.expires_at_s <= self._now_s()
        spent = credential.max_uses is not None and entry.uses >= credential.max_uses
        return None if late or spent else entry

    def _due(self, entry: _Entry) -> bool:
        at_s = entry.credential.refresh_at_s
        return at_s is not None and at_s <= self._now_s()

    async def _refresh(self, order: Order, secrets: Mapping[str, Secret], made_from: object) -> None:
        """Mint a newer credential; where that fails, the one at hand goes on serving until it expires."""
        try:
            with contextlib.suppress(Refused):
                await self._minted_or_refused(order, secrets, made_from)
        finally:
            self._refreshing.discard(order.key)

    async def _minted_or_refused(self, order: Order, secrets: Mapping[str, Secret], made_from: object) -> _Entry:
        """As `_mint_anew`; a fault of a kind refuses its account and ends nothing else."""
        try:
            return await self._mint_anew(order, secrets, made_from)
        except Refused:
            raise
        except Exception as fault:  # noqa: BLE001  # the task's outermost frame
            _log.error("account %s: minting failed: %s", order.account, type(fault).__name__)  # no values
            raise Refused(unusable("The credential could not be made.")) from None

    async def _minted(self, order: Order, secrets: Mapping[str, Secret], made_from: object) -> _Entry:
        """As `_mint_anew`, to the end even where whoever waits for it goes away: a token may have been rotated."""
        done: asyncio.Future[_Entry] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            try:
                entry = await self._minted_or_refused(order, secrets, made_from)
            except Refused as refused:
                if not done.done():
                    done.set_exception(refused)
            else:
                if not done.done():
                    done.set_result(entry)

        self._spawn(work())
        return await done

    async def _mint_anew(self, order: Order, secrets: Mapping[str, Secret], made_from: object) -> _Entry:
        key = order.key
        failure = self._failures.get(key)
        if failure is not None and failure.made_from == made_from and failure.until_s > self._clock.monotonic_s():
            raise Refused(failure.denial)
        try:
            async with asyncio.timeout(MINT_S):
                signers = await self._signers(order)
                if order.kind.durable:
                    credential, version = await self._mint_alone(order, secrets, signers)
                else:
                    minting = order.kind.mint(self._given(order, secrets, signers))
                    credential, version = await self._runner.mint(minting, order.account.provider, signers), 0
        except MintFailedError as failed:
            self._fail(key, failed, made_from)
            raise Refused(failed.denial) from None
        except TimeoutError:
            late = MintFailedError(Denial("token_endpoint_error", "No credential came in time.", by="credentials"))
            self._fail(key, late, made_from)
            raise Refused(late.denial) from None
        except (KeyUnavailableError, UnsealError, LostLeaseError) as error:
            _log.warning("account %s: %s", order.account, error)
            raise Refused(unusable("A key or a grant of this account cannot be used.")) from None
        self._failures.pop(key, None)
        entry = self._entries[key] = _Entry(credential, made_from, version)
        self._entries.move_to_end(key)
        while len(self._entries) > MAX_CACHED:
            self._entries.popitem(last=False)
        self._remember(order, credential.secrets, order.kind.kept_secrets(credential.keep or {}))
        return entry

    def _remember(self, order: Order, *found: Mapping[str, Secret]) -> None:
        for secrets in found:
            for name, secret in secrets.items():
                self._memory.remember(order.account, name, secret)

    def _fail(self, key: GrantKey, failed: MintFailedError, made_from: object) -> None:
        """Nobody asks again at once: for what the provider says, else twice as long each time, with jitter."""
        last = self._failures.get(key)
        count = last.count + 1 if last is not None and last.made_from == made_from else 1
        wait_s = min(BACK_OFF_S * 2 ** (count - 1), MAX_BACK_OFF_S) * random.uniform(0.8, 1.2)  # noqa: S311  # jitter
        if failed.retry_after_s is not None:
            wait_s = min(max(failed.retry_after_s, 1), 3600)
        self._failures[key] = _Failure(failed.denial, self._clock.monotonic_s() + wait_s, made_from, count)
        _log.warning("account %s: %s: %s", key.account, failed.denial.slug, failed.denial.detail)

    async def _mint_alone(
        self, order: Order, secrets: Mapping[str, Secret], signers: Mapping[str, Signer]
    ) -> tuple[Credential, int]:
        """Mint as the only one among all processes, from what was stored last, and store before anything is used."""
        key = order.key
        while (lease := await in_thread(self._grants.lease, key)) is None:  # noqa: ASYNC110  # another process has it
            await asyncio.sleep(LEASE_LOOK_S * random.uniform(0.5, 1.5))  # noqa: S311  # jitter
        try:
            granted = lease.granted
            if granted.broken is not None:
                _log.warning("account %s: %s", order.account, granted.broken)
                raise MintFailedError(
                    Denial("credential_revoked", "The provider has withdrawn this grant.", by="credentials")
                )
            self._remember(order, order.kind.kept_secrets(granted.kept))
            given = self._given(order, secrets, signers, granted)
            rejected = granted.version == self._rejected.get(key)
            restored = None if rejected else order.kind.restore(given)
            if restored is not None and not self._ends_by(restored, self._now_s()):
                await in_thread(self._grants.release, lease)
                return restored, granted.version
            credential = await self._runner.mint(order.kind.mint(given), order.account.provider, signers, lease)
            if credential.keep is not None:
                granted = await in_thread(self._grants.store, lease, credential.keep)
            else:
                await in_thread(self._grants.release, lease)
        except MintFailedError as failed:
            broken = failed.denial.detail if failed.forget else None
            await in_thread(self._grants.release, lease, broken=broken)
            raise
        except BaseException:
            await in_thread(self._grants.release, lease)
            raise
        return credential, granted.version

    @staticmethod
    def _ends_by(credential: Credential, now_s: int) -> bool:
        end_s = credential.refresh_at_s if credential.refresh_at_s is not None else credential.expires_at_s
        return end_s is not None and end_s <= now_s

    # -- presenting ----------------------------------------------------------------------------------------------

    async def prove(
        self, order: Order, credential: Credential, head: RequestHead, body: bytes | None, *, attempt: int = 0
    ) -> Presented:
        """`head` and `body` with the credential in its place. Raises `Refused`: not there, or no key signs."""
        moment = self._learnt.moment((order.key, head.authority), attempt, used=True)
        proving = order.kind.prove(credential, head, body, moment)
        try:
            return await self._runner.prove(proving, partial(self._signers, order))
        except (KeyUnavailableError, SecretUnavailableError) as error:
            _log.warning("account %s: %s", order.account, error)
            raise Refused(unusable("The key of this account cannot sign.")) from None

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
        if lesson.again == "mint":
            self.discard(order, credential)
        return lesson.again

    # -- ingredients ---------------------------------------------------------------------------------------------

    async def _secrets(self, order: Order) -> dict[str, Secret]:
        kind, refs = order.kind, order.secrets
        wanted = [*kind.secret_names(), *(n for n in kind.optional_secret_names() if n in refs)]
        try:
            secrets = {name: await self._stores.get(refs[name]) for name in wanted}
        except SecretUnavailableError as missing:
            _log.warning("account %s: %s", order.account, missing)
            raise Refused(unusable("A secret of this account cannot be read.")) from None
        self._remember(order, secrets)
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

    def _given(
        self,
        order: Order,
        secrets: Mapping[str, Secret],
        signers: Mapping[str, Signer],
        granted: Granted | None = None,
    ) -> Ingredients:
        return Ingredients(
            account=order.account,
            secrets=secrets,
            variables=order.variables,
            keys={slot: signer.public for slot, signer in signers.items()},
            kept=granted.kept if granted is not None else {},
            interrupted=granted.journal if granted is not None else None,
            now_s=self._now_s(),
            agent=order.agent,
        )

    def _now_s(self) -> int:
        return self._clock.wall_ms() // 1000


def _made_from(order: Order, secrets: Mapping[str, Secret]) -> object:
    """Compares equal as long as a credential that was minted from it need not be minted anew."""
    return (
        order.kind,
        tuple(sorted((name, secret) for name, secret in secrets.items())),
        tuple(sorted(order.variables.items())),
        tuple(sorted(order.keys.items())),
    )
