"""The table `captured`: sealed secrets out of replies, each with the stand-in that its agent holds."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson
from sqlalchemy import delete, insert, select

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

SCHEME: Final = "captured"
ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Captured:
    """One captured secret.

    Attributes:
        id: unique, no secret.
        receipt: id of the decision in whose answer it came.
    """

    id: str
    agent: str
    account: AccountId
    slot: str
    value: str = field(repr=False)
    stand_in: str
    receipt: str
    random_bits: int = 0

    @property
    def secret(self) -> Secret:
        """Its value, under a name that may be shown."""
        return Secret(f"{self.account}:{self.slot}#{self.id}", self.value)

    @property
    def held(self) -> StandIn:
        """Its stand-in."""
        return StandIn(self.stand_in, self.agent, self.account, self.slot, self.random_bits, self.id)


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
        return sum((one.agent, one.account) == (agent, account) for one in self._known.values())

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

    def forget(self, id_: str) -> bool:
        """Remove one; False where there was none. Blocks."""
        with writing(self._database) as connection:
            gone = connection.execute(delete(captured).where(captured.c.id == id_)).rowcount
        return self._known.pop(id_, None) is not None or bool(gone)

    @staticmethod
    def bad_place(place: str) -> str | None:
        """Nobody writes such a ref."""
        del place
        return "captured: is not for configurations"

    async def get(self, place: str) -> Secret:
        """The secret with this id."""
        found = self._known.get(place)
        if found is None:
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
            opened["random_bits"],
        )  # fmt: skip


def _written(one: Captured) -> bytes:
    return orjson.dumps({"value": one.value, "stand_in": one.stand_in, "random_bits": one.random_bits})


def _place(id_: str, agent: str, account: AccountId, slot: str) -> str:
    """What the row is sealed for: it opens for no other agent, account or slot."""
    return f"captured:{id_}:{agent}:{account}:{slot}"
