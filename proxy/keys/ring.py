"""Every key of every account: made by us and sealed in the database, in a secret store, or in a backend of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from sqlalchemy import and_, insert, select
from sqlalchemy.exc import IntegrityError

from proxy.db.engine import writing
from proxy.db.tables import account_keys
from proxy.keys import software
from proxy.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

    from proxy.clock import Clock
    from proxy.db.sealing import Seal
    from proxy.keys.signer import Signer
    from proxy.model import AccountId
    from proxy.secretstore import SecretStores


class KeyBackend(Protocol):
    """Where keys rest that never come here: a token, a remote signer."""

    @staticmethod
    def bad_place(place: str) -> str | None:
        """What is wrong with the part of a key ref after the scheme, or None."""
        ...

    async def signer(self, place: str, algorithm: str | None) -> Signer:
        """The key at `place`. Raises `KeyUnavailableError`."""
        ...


class KeyRing:
    """The signers of one process. `backends` by scheme; any other ref is a secret ref to a PEM or JWK."""

    def __init__(
        self,
        *,
        database: Engine,
        seal: Seal,
        stores: SecretStores,
        backends: Mapping[str, KeyBackend],
        clock: Clock,
    ) -> None:
        self._database: Final = database
        self._seal: Final = seal
        self._stores: Final = stores
        self._backends: Final = backends
        self._clock: Final = clock
        self._loaded: Final[dict[tuple[str, str], tuple[Secret, Signer]]] = {}
        self._made: Final[dict[tuple[AccountId, str], Signer]] = {}

    async def signer(self, account: AccountId, slot: str, ref: str | None, algorithm: str) -> Signer:
        """The key `slot` of `account`. Without a ref it is one of ours, made for `algorithm` at its first use.

        A key that the account names signs with `algorithm` where it can, else with the usual one of its type.

        Raises:
            KeyUnavailableError: it cannot be had.
            SecretUnavailableError: its store cannot be asked.
        """
        if ref is None:
            known = self._made.get((account, slot))
            if known is None:
                known = self._made[(account, slot)] = await asyncio.to_thread(self._own, account, slot, algorithm)
            return known
        scheme, _, place = ref.partition(":")
        if (backend := self._backends.get(scheme)) is not None:
            return await backend.signer(place, algorithm)
        secret = await self._stores.get(ref)
        found = self._loaded.get((ref, algorithm))
        if found is None or found[0] != secret:  # a key that was replaced is let go
            found = self._loaded[(ref, algorithm)] = (secret, software.load_for(secret, algorithm))
        return found[1]

    def made_at_ms(self, account: AccountId, slot: str) -> int | None:
        """When the key `slot` of `account` was made here; None where it was not."""
        at = and_(account_keys.c.account == str(account), account_keys.c.slot == slot)
        with self._database.connect() as connection:
            return connection.execute(select(account_keys.c.created_at_ms).where(at)).scalar()

    def _own(self, account: AccountId, slot: str, algorithm: str) -> Signer:
        place = f"key:{account}:{slot}"
        at = and_(account_keys.c.account == str(account), account_keys.c.slot == slot)
        with self._database.connect() as connection:
            row = connection.execute(select(account_keys).where(at)).mappings().first()
        if row is None:
            made = software.generate(algorithm)
            values = {
                "account": str(account),
                "slot": slot,
                "algorithm": algorithm,
                "sealed": self._seal.seal(place, made.pem()),
                "created_at_ms": self._clock.wall_ms(),
            }
            try:
                with writing(self._database) as connection:
                    connection.execute(insert(account_keys).values(**values))
            except IntegrityError:  # another process was first: its key counts
                with self._database.connect() as connection:
                    row = connection.execute(select(account_keys).where(at)).mappings().one()
            else:
                return made
        return software.load(Secret(place, self._seal.unseal(place, row["sealed"])), row["algorithm"])
