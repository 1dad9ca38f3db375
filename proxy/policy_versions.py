"""Every set of policies that was put in force, kept in the database: what it said, who wanted it, and why."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import delete, func, insert, select, update

from proxy.db.engine import writing
from proxy.db.tables import policy_versions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Engine

    from proxy.clock import Clock

type Sources = tuple[tuple[str, str], ...]
"""File name and Cedar text of each."""


@dataclass(frozen=True, slots=True)
class Version:
    """One set.

    Attributes:
        number: from 1, in the order of time.
        digest: of everything that decides, the schema too: `Policies.version`.
        files_digest: of the files as they were when this was wanted; for a rollback, of those that it overrules.
        restores: the number of the earlier set that a rollback brings back; None for what the files say.
        receipt: of its being put in force; None while no sidecar has done so.
    """

    number: int
    digest: str
    sources: Sources
    files_digest: str
    restores: int | None
    author: str
    reason: str
    at_ms: int
    receipt: str | None


def digest_of(sources: Iterable[tuple[str, str]]) -> str:
    """SHA-256 of the texts in their order, in hexadecimal. Where the files lie is no matter."""
    return hashlib.sha256(orjson.dumps([text for _, text in sources])).hexdigest()


class PolicyVersions:
    """The table. Every method blocks, and raises `SQLAlchemyError` where the database cannot be used."""

    def __init__(self, database: Engine, clock: Clock) -> None:
        self._database: Final = database
        self._clock: Final = clock

    def every(self) -> list[Version]:
        """The oldest first."""
        with self._database.connect() as connection:
            rows = connection.execute(select(policy_versions).order_by(policy_versions.c.number)).all()
        return [_version(row) for row in rows]

    def one(self, number: int) -> Version | None:
        """The set with this number."""
        query = select(policy_versions).where(policy_versions.c.number == number)
        with self._database.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _version(row)

    def newest(self, *, in_force: bool = False) -> Version | None:
        """The newest; with `in_force`, of those that a sidecar has put in force."""
        query = select(policy_versions).order_by(policy_versions.c.number.desc()).limit(1)
        if in_force:
            query = query.where(policy_versions.c.receipt.is_not(None))
        with self._database.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _version(row)

    def add(
        self, *, digest: str, sources: Sources, files_digest: str, author: str, reason: str, restores: int | None = None
    ) -> int:
        """Keep a set that is wanted; returns its number."""
        newest = func.coalesce(func.max(policy_versions.c.number), 0)
        with writing(self._database) as connection:
            number: int = connection.execute(select(newest)).scalar_one() + 1
            connection.execute(
                insert(policy_versions).values(
                    number=number,
                    digest=digest,
                    sources=orjson.dumps(sources).decode(),
                    files_digest=files_digest,
                    restores=restores,
                    author=author,
                    reason=reason,
                    at_ms=self._clock.wall_ms(),
                    receipt=None,
                )
            )
        return number

    def enforced(self, number: int, receipt: str) -> None:
        """It is in force: the receipt says so."""
        with writing(self._database) as connection:
            connection.execute(
                update(policy_versions).where(policy_versions.c.number == number).values(receipt=receipt)
            )

    def withdraw(self, number: int) -> None:
        """Forget one that was never put in force."""
        unused = (policy_versions.c.number == number) & policy_versions.c.receipt.is_(None)
        with writing(self._database) as connection:
            connection.execute(delete(policy_versions).where(unused))


def _version(row: Any) -> Version:
    sources = tuple((name, text) for name, text in orjson.loads(row.sources))
    return Version(
        row.number, row.digest, sources, row.files_digest, row.restores, row.author, row.reason, row.at_ms, row.receipt
    )
