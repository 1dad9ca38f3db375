"""What must survive: refresh tokens and whatever else a kind keeps, sealed, one row for each credential of an account.

Only one process refreshes at a time: it holds the row's lease. Before it asks the provider it writes into the journal
what it is about to use up; after the answer it stores the new state in one step (compare-and-swap on `version`), which
ends lease and journal. A journal that is still there belongs to a process that died in between: the next holder knows
that the old token may have been used up already.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson
from sqlalchemy import and_, delete, insert, or_, select, text, update
from sqlalchemy.exc import IntegrityError

from proxy.db.engine import writing
from proxy.db.tables import grants
from proxy.errors import BriefcaseError
from proxy.model import AccountId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement, Connection, Engine, RowMapping

    from proxy.clock import Clock
    from proxy.db.sealing import Seal

LEASE_S: Final = 15.0
"""Longer than one call to a provider may take: it is renewed before each. A process that died holds others up for so
long; many providers take a replaced refresh token once more for 30 s."""


class LostLeaseError(BriefcaseError):
    """Somebody else has stored another state meanwhile: what was minted must not be used."""


@dataclass(frozen=True, slots=True)
class GrantKey:
    """Which row: `agent` is empty unless the credential is for one agent only."""

    account: AccountId
    credential: str
    agent: str = ""

    def __str__(self) -> str:
        return f"{self.account}:{self.credential}:{self.agent}"


@dataclass(frozen=True, slots=True)
class Granted:
    """One row as it is now.

    Attributes:
        version: counts its states; 0 where there is none yet.
        kept: what the last mint kept.
        journal: what a mint that did not end was about to use up; None where the last one ended.
        broken: why it cannot be used until somebody connects the account again.
        broken_with: a keyed hash of the account's secrets at that time; with others it may be tried.
    """

    version: int = 0
    kept: Mapping[str, str] = field(default_factory=dict, repr=False)
    journal: Mapping[str, str] | None = field(default=None, repr=False)
    broken: str | None = None
    broken_with: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to change a row, for a time."""

    key: GrantKey
    holder: str
    granted: Granted


class Grants:
    """The table `grants`. Its methods block for a small transaction; callers on a loop use `in_thread`."""

    def __init__(self, database: Engine, seal: Seal, clock: Clock, *, lease_s: float = LEASE_S) -> None:
        self._database: Final = database
        self._seal: Final = seal
        self._clock: Final = clock
        self._lease_ms: Final = int(lease_s * 1000)

    def read(self, key: GrantKey) -> Granted:
        """The row as it is. Raises `UnsealError` where it was sealed with another key."""
        with self._database.connect() as connection:
            row = connection.execute(select(grants).where(_at(key))).mappings().first()
        return self._granted(key, row) if row is not None else Granted()

    def all(self) -> tuple[tuple[GrantKey, Granted], ...]:
        """Every row whose account is still known by its name; for listings."""
        with self._database.connect() as connection:
            rows = connection.execute(select(grants).order_by(grants.c.account, grants.c.credential)).mappings().all()
        found = []
        for row in rows:
            key = GrantKey(_account(str(row["account"])), str(row["credential"]), str(row["agent"]))
            found.append((key, self._granted(key, row)))
        return tuple(found)

    def versions(self) -> dict[GrantKey, int]:
        """The version of every row."""
        columns = (grants.c.account, grants.c.credential, grants.c.agent, grants.c.version)
        with self._database.connect() as connection:
            rows = connection.execute(select(*columns)).all()
        return {GrantKey(_account(account), credential, agent): version for account, credential, agent, version in rows}

    def lease(self, key: GrantKey) -> Lease | None:
        """The right to change the row, or None while somebody else has it."""
        holder = secrets.token_hex(16)
        with writing(self._database) as connection:
            now_ms = self._now_ms(connection)
            free = or_(grants.c.lease_until_ms.is_(None), grants.c.lease_until_ms <= now_ms)
            taken = {"lease_holder": holder, "lease_until_ms": now_ms + self._lease_ms}
            done = connection.execute(update(grants).where(and_(_at(key), free)).values(**taken)).rowcount
            if not done:
                try:
                    connection.execute(insert(grants).values(**_row(key), version=0, changed_at_ms=now_ms, **taken))
                except IntegrityError:
                    return None
            row = connection.execute(select(grants).where(_at(key))).mappings().one()
        return Lease(key, holder, self._granted(key, row))

    def note(self, lease: Lease, using: Mapping[str, str]) -> None:
        """Write down what is about to be used up, durably, before the provider is asked. Raises `LostLeaseError`."""
        sealed = self._seal.seal(f"journal:{lease.key}", orjson.dumps(dict(using)))
        self._change(lease, {"journal": sealed}, renews=True)

    def renew(self, lease: Lease) -> None:
        """Hold the lease for as long again. Raises `LostLeaseError`."""
        self._change(lease, {}, renews=True)

    def store(self, lease: Lease, kept: Mapping[str, str]) -> Granted:
        """The new state, durable when this returns; ends lease and journal. Raises `LostLeaseError`."""
        version = lease.granted.version + 1
        sealed = self._seal.seal(f"grant:{lease.key}", orjson.dumps(dict(kept)))
        self._change(lease, {**_ENDED, "version": version, "sealed": sealed, "broken": None})
        return Granted(version, kept)

    def release(
        self, lease: Lease, *, broken: str | None = None, broken_with: str = "", keep_journal: bool = False
    ) -> None:
        """Nothing changed, or (`broken`) what is kept is useless from now on. A lost lease is not an error here.

        With `keep_journal` the next holder learns that it may have been used up already.
        """
        values: dict[str, object] = dict(_ENDED)
        if keep_journal:
            del values["journal"]
        if broken is not None:
            values |= {"broken": f"{broken}\n{broken_with}", "version": lease.granted.version + 1}
        try:
            self._change(lease, values)
        except LostLeaseError:
            return

    def put(self, key: GrantKey, kept: Mapping[str, str]) -> None:
        """A state that came from elsewhere (a person connected the account), whatever was there before."""
        sealed = self._seal.seal(f"grant:{key}", orjson.dumps(dict(kept)))
        with writing(self._database) as connection:
            now_ms = self._now_ms(connection)
            # Processes tell states apart by their versions, so those of a row that was removed do not come again.
            last = connection.execute(select(grants.c.version).where(_at(key)).with_for_update()).scalar()
            found = last or secrets.randbelow(2**30)
            connection.execute(delete(grants).where(_at(key)))
            connection.execute(
                insert(grants).values(**_row(key), version=found + 1, sealed=sealed, changed_at_ms=now_ms)
            )

    def forget(self, key: GrantKey) -> bool:
        """Remove the row; False where there was none."""
        with writing(self._database) as connection:
            return bool(connection.execute(delete(grants).where(_at(key))).rowcount)

    def _change(self, lease: Lease, values: Mapping[str, object], *, renews: bool = False) -> None:
        mine = and_(_at(lease.key), grants.c.lease_holder == lease.holder, grants.c.version == lease.granted.version)
        with writing(self._database) as connection:
            now_ms = self._now_ms(connection)
            held = {"lease_until_ms": now_ms + self._lease_ms} if renews else {}
            changed = connection.execute(
                update(grants).where(mine).values(**values, **held, changed_at_ms=now_ms)
            ).rowcount
        if not changed:
            raise LostLeaseError(f"{lease.key.account}: another process has changed its grant meanwhile")

    def _now_ms(self, connection: Connection) -> int:
        """By the one clock of all who share the database: a machine whose own is ahead must not end others' leases."""
        if connection.dialect.name == "postgresql":
            return int(connection.execute(_DATABASE_MS).scalar_one())
        return self._clock.wall_ms()

    def _granted(self, key: GrantKey, row: RowMapping) -> Granted:
        def opened(column: str, place: str) -> Mapping[str, str] | None:
            sealed = row[column]
            return None if sealed is None else orjson.loads(self._seal.unseal(f"{place}:{key}", sealed))

        broken, _, broken_with = (row["broken"] or "").partition("\n")
        return Granted(
            version=row["version"],
            kept=opened("sealed", "grant") or {},
            journal=opened("journal", "journal"),
            broken=broken or None,
            broken_with=broken_with,
        )


_DATABASE_MS: Final = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)")
_ENDED: Final[Mapping[str, object]] = {"lease_holder": None, "lease_until_ms": None, "journal": None}


def _account(written: str) -> AccountId:
    provider, _, name = written.partition("/")
    return AccountId(provider, name)


def _row(key: GrantKey) -> dict[str, str]:
    return {"account": str(key.account), "credential": key.credential, "agent": key.agent}


def _at(key: GrantKey) -> ColumnElement[bool]:
    return and_(
        grants.c.account == str(key.account), grants.c.credential == key.credential, grants.c.agent == key.agent
    )
