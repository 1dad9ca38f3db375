"""The table `captured`: sealed secrets out of replies, each with the stand-in that its agent holds."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import orjson
from sqlalchemy import and_, insert, select, update

from proxy.credentials.standin import StandIn
from proxy.db.engine import writing
from proxy.db.sealing import UnsealError
from proxy.db.tables import captured
from proxy.model import AccountId
from proxy.secret import Secret
from proxy.secretstore.store import SecretUnavailableError

if TYPE_CHECKING:
    from sqlalchemy import Engine, RowMapping

    from proxy.clock import Clock
    from proxy.db.sealing import Seal

_log: Final = logging.getLogger("proxy.credentials")
SCHEME: Final = "captured"
READ_AT_ONCE: Final = 500
"""Ids in one query: SQLite takes 999 parameters."""
ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Captured:
    """One captured secret.

    Attributes:
        id: unique, no secret.
        receipt: id of the decision in whose answer it came.
        removed: it has no value any more; its stand-in is still known, and refused.
    """

    id: str
    agent: str
    account: AccountId
    slot: str
    value: str = field(repr=False)
    stand_in: str
    receipt: str
    random_bits: int = 0
    removed: bool = False

    @property
    def secret(self) -> Secret:
        """Its value, under a name that may be shown."""
        return Secret(f"{self.account}:{self.slot}#{self.id}", self.value)

    @property
    def held(self) -> StandIn:
        """Its stand-in."""
        return StandIn(self.stand_in, self.agent, self.account, self.slot, self.random_bits, self.id)


@dataclass(frozen=True, slots=True)
class Listed:
    """What may be shown of a captured secret."""

    id: str
    agent: str
    account: str
    slot: str
    receipt: str
    created_at_ms: int


def new_id() -> str:
    """An id for a captured secret."""
    return secrets.token_hex(ID_BYTES)


class CapturedSecrets:
    """The rows, and a secret store over them (`captured:ID`), for refs that only the sidecar itself makes."""

    def __init__(self, database: Engine, seal: Seal, clock: Clock) -> None:
        self._database: Final = database
        self._seal: Final = seal
        self._clock: Final = clock
        self._known: Final[dict[str, Captured]] = {}
        self._unread: Final[set[str]] = set()

    def load(self) -> tuple[Captured, ...]:
        """Every row. Blocks. Raises `UnsealError`, because an answer must not be searched for a part of them only."""
        with self._database.connect() as connection:
            rows = connection.execute(select(captured).order_by(captured.c.created_at_ms)).mappings().all()
        self._known.update((row["id"], self._opened(row)) for row in rows)
        return tuple(self._known.values())

    def all(self) -> tuple[Captured, ...]:
        """Those that are known now."""
        return tuple(self._known.values())

    def count(self, agent: str, account: AccountId) -> int:
        """How many `agent` has of `account`."""
        mine = (one for one in self._known.values() if not one.removed)
        return sum((one.agent, one.account) == (agent, account) for one in mine)

    def changed(self) -> tuple[Captured, ...]:
        """What other processes captured or removed, to be given to `learn`. Blocks.

        A row that does not open is left out, and is not tried again.
        """
        with self._database.connect() as connection:
            marks = connection.execute(select(captured.c.id, captured.c.removed_at_ms)).all()
            there = {id_: removed is not None for id_, removed in marks}
            wanted = [id_ for id_, removed in there.items() if id_ not in self._unread and self._differs(id_, removed)]
            rows = [
                row
                for at in range(0, len(wanted), READ_AT_ONCE)
                for row in connection.execute(
                    select(captured).where(captured.c.id.in_(wanted[at : at + READ_AT_ONCE]))
                ).mappings()
            ]
        return tuple(one for row in rows if (one := self._read(row)) is not None)

    def learn(self, changed: tuple[Captured, ...]) -> None:
        """These are as they are now."""
        self._known.update((one.id, one) for one in changed)

    def _differs(self, id_: str, removed: bool) -> bool:  # noqa: FBT001
        known = self._known.get(id_)
        return known is None or known.removed != removed

    def _read(self, row: RowMapping) -> Captured | None:
        try:
            return self._opened(row)
        except UnsealError as error:
            self._unread.add(row["id"])
            _log.error("a captured secret cannot be read: %s", error)
            return None

    def store(self, new: tuple[Captured, ...]) -> None:
        """Durable, all or none, when this returns. Blocks."""
        with writing(self._database) as connection:
            for one in new:
                sealed = self._seal.seal(_place(one.id, one.agent, one.account, one.slot), _written(one))
                connection.execute(
                    insert(captured).values(
                        id=one.id, agent=one.agent, account=str(one.account), slot=one.slot, sealed=sealed,
                        receipt=one.receipt, created_at_ms=self._clock.wall_ms(),
                    )
                )  # fmt: skip
        self._known.update((one.id, one) for one in new)

    def listed(self) -> tuple[Listed, ...]:
        """Every one that was not removed, the oldest first, without values. Blocks."""
        columns = (captured.c[name] for name in ("id", "agent", "account", "slot", "receipt", "created_at_ms"))
        there = select(*columns).where(captured.c.removed_at_ms.is_(None)).order_by(captured.c.created_at_ms)
        with self._database.connect() as connection:
            return tuple(Listed(*row) for row in connection.execute(there).all())

    def remove(self, id_: str) -> bool:
        """Let the value of one go, and keep its stand-in to refuse it; False where there was none. Blocks.

        Raises:
            UnsealError: it was sealed with another key.
        """
        with writing(self._database) as connection:
            there = and_(captured.c.id == id_, captured.c.removed_at_ms.is_(None))
            row = connection.execute(select(captured).where(there)).mappings().one_or_none()
            if row is None:
                return False
            one = replace(self._opened(row), value="", removed=True)
            sealed = self._seal.seal(_place(one.id, one.agent, one.account, one.slot), _written(one))
            connection.execute(update(captured).where(there).values(sealed=sealed, removed_at_ms=self._clock.wall_ms()))
        self._known[id_] = one
        return True

    @staticmethod
    def bad_place(place: str) -> str | None:
        """Nobody writes such a ref."""
        del place
        return "captured: is not for configurations"

    async def get(self, place: str) -> Secret:
        """The secret with this id."""
        found = self._known.get(place)
        if found is None or found.removed:
            raise SecretUnavailableError(SCHEME, "there is no such secret any more")
        return found.secret

    def _opened(self, row: RowMapping) -> Captured:
        provider, _, name = str(row["account"]).partition("/")
        account = AccountId(provider, name)
        opened = orjson.loads(self._seal.unseal(_place(row["id"], row["agent"], account, row["slot"]), row["sealed"]))
        if not isinstance(opened, dict):
            raise UnsealError(f"captured {row['id']}: not what was sealed")
        return Captured(
            row["id"], row["agent"], account, row["slot"], opened["value"], opened["stand_in"], row["receipt"],
            opened["random_bits"], row["removed_at_ms"] is not None,
        )  # fmt: skip


def _written(one: Captured) -> bytes:
    return orjson.dumps({"value": one.value, "stand_in": one.stand_in, "random_bits": one.random_bits})


def _place(id_: str, agent: str, account: AccountId, slot: str) -> str:
    """What the row is sealed for: it opens for no other agent, account or slot."""
    return f"captured:{id_}:{agent}:{account}:{slot}"
