"""The table of where secrets may go: recorded at the first use, asked at every mint, changed by consent alone."""

from __future__ import annotations

import hashlib
import hmac
import logging
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, or_, select, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import SQLAlchemyError

from proxy.credentials.kind import unusable
from proxy.credentials.origins import NO_SECRET, Bound, unconsented
from proxy.db.engine import writing
from proxy.db.tables import bindings
from proxy.db.threads import in_thread
from proxy.errors import Denial, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection, Engine
    from sqlalchemy.dialects import postgresql

    from proxy.clock import Clock
    from proxy.credentials.order import Order
    from proxy.model import AccountId
    from proxy.secret import Secret

_log: Final = logging.getLogger("proxy.credentials")
MAX_ADMITTED: Final = 4096
MAX_FINGERPRINTS: Final = 32
"""Of one account: leased secrets change often, and those before them are of no use to anybody."""


_ALONE: Final = text("LOCK TABLE bindings IN SHARE ROW EXCLUSIVE MODE")


class Bindings:
    """One per process. `asks` is False for a sidecar that ends with its command: there the operator is present."""

    def __init__(self, database: Engine, *, key: bytes, clock: Clock, asks: bool = True) -> None:
        self._database: Final = database
        self._key: Final = key
        self._clock: Final = clock
        self._asks: Final = asks
        self._admitted: Final[dict[tuple[AccountId, str], object]] = {}

    async def admit(self, order: Order, secrets: Mapping[str, Secret]) -> None:
        """Let `secrets` be used for `order`, whose first use is recorded.

        Raises:
            Refused: `consent_required`, some could go to an origin that they could not go to before;
                `credential_unavailable`, this cannot be told.
        """
        if not self._asks:
            return
        slot, seen = (order.account, order.name), (order.origins, dict(secrets))
        if self._admitted.get(slot) == seen:
            return
        fingerprints = self.fingerprints(secrets.values())
        try:
            new = await in_thread(self._first_or_known, str(order.account), fingerprints, order.origins)
        except SQLAlchemyError as error:
            _log.error("account %s: the bindings cannot be read: %s", order.account, type(error).__name__)
            raise Refused(unusable("Where this account's secrets may go cannot be told.")) from None
        if new:
            places = ", ".join(sorted(new))
            _log.warning(
                "account %s: its secrets could go to %s, to which they could not go before; to allow it: "
                "briefcased accounts consent %s",
                order.account,
                places,
                order.account,
            )
            detail = "This account's secrets could now go to a place to which they could not go before."
            raise Refused(Denial("consent_required", detail, by="credentials"))
        if len(self._admitted) >= MAX_ADMITTED:
            self._admitted.clear()
        self._admitted[slot] = seen

    def fingerprints(self, secrets: Iterable[Secret]) -> frozenset[str]:
        """Keyed hashes: they tell nothing without the key that seals the database."""
        found = frozenset(hmac.new(self._key, secret.reveal(), hashlib.sha256).hexdigest() for secret in secrets)
        return found or frozenset({NO_SECRET})

    def pending(self, account: str, fingerprints: frozenset[str], wanted: frozenset[str]) -> frozenset[str]:
        """The origins of `wanted` that `account` needs consent for. Blocks for a small transaction."""
        with self._database.connect() as connection:
            return unconsented(_rows(connection, account, fingerprints), account, fingerprints, wanted)

    def consent(self, account: str, fingerprints: frozenset[str], wanted: frozenset[str]) -> None:
        """Let `account` send its secrets to `wanted`: these, and those that are recorded for it. Blocks likewise."""
        with writing(self._database) as connection:
            known = {row.fingerprint for row in _rows(connection, account, fingerprints) if row.account == account}
            self._record(connection, account, frozenset(known) | fingerprints, wanted)

    def _first_or_known(self, account: str, fingerprints: frozenset[str], wanted: frozenset[str]) -> frozenset[str]:
        """What needs consent; where nothing does, it is recorded."""
        with self._database.connect() as connection:
            rows = _rows(connection, account, fingerprints)
        new = unconsented(rows, account, fingerprints, wanted)
        complete = {Bound(account, print_, origin) for print_ in fingerprints for origin in wanted} <= set(rows)
        if new or complete:
            return new
        with writing(self._database) as connection:
            if connection.dialect.name == "postgresql":  # where others read what is not yet true while one writes
                connection.execute(_ALONE)
            new = unconsented(_rows(connection, account, fingerprints), account, fingerprints, wanted)
            if not new:
                self._record(connection, account, fingerprints, wanted)
                _forget_oldest(connection, account)
        return new

    def _record(
        self, connection: Connection, account: str, fingerprints: frozenset[str], origins: frozenset[str]
    ) -> None:
        insert = _insert(connection)
        since_ms = self._clock.wall_ms()
        for fingerprint in sorted(fingerprints):
            for origin in sorted(origins):
                row = {"account": account, "fingerprint": fingerprint, "origin": origin, "since_ms": since_ms}
                connection.execute(insert(bindings).values(**row).on_conflict_do_nothing())


def _insert(connection: Connection) -> type[sqlite.Insert | postgresql.Insert]:
    """The INSERT of the database's dialect: both know ON CONFLICT, and SQL's own does not."""
    if connection.dialect.name == "sqlite":
        return sqlite.Insert
    from sqlalchemy.dialects.postgresql import Insert  # noqa: PLC0415  # takes a while to load, and few share a database

    return Insert


def _rows(connection: Connection, account: str, fingerprints: frozenset[str]) -> tuple[Bound, ...]:
    """Everything recorded for the account, and for the secrets in whichever account."""
    columns = (bindings.c.account, bindings.c.fingerprint, bindings.c.origin)
    known = or_(bindings.c.account == account, bindings.c.fingerprint.in_(sorted(fingerprints - {NO_SECRET})))
    return tuple(Bound(*row) for row in connection.execute(select(*columns).where(known)).all())


def _forget_oldest(connection: Connection, account: str) -> None:
    """Keep the newest fingerprints of an account; their origins stay with the account through those that are left."""
    of_account = select(bindings.c.fingerprint, bindings.c.since_ms).where(bindings.c.account == account)
    newest: dict[str, int] = {}
    for fingerprint, since_ms in connection.execute(of_account).all():
        newest[fingerprint] = max(since_ms, newest.get(fingerprint, 0))
    for fingerprint in sorted(newest, key=lambda one: -newest[one])[MAX_FINGERPRINTS:]:
        gone = (bindings.c.account == account, bindings.c.fingerprint == fingerprint)
        connection.execute(delete(bindings).where(*gone))
