"""Every set of policies that was put in force, kept in the database: what it said, who wanted it, and why."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping  # noqa: TC003  # a dataclass's fields are looked at
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import delete, func, insert, select, update

from proxy.db.engine import writing
from proxy.db.tables import policy_versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Engine

    from proxy.clock import Clock

type Sources = tuple[tuple[str, str], ...]
"""File name and Cedar text of each."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What of a configuration decides beside the texts of the policies.

    Attributes:
        observe: policies only say what they would refuse.
        confirm: what widens waits for a confirmation.
        signers: public keys whose signature is one; JSON Web Keys, as text.
        profiles: the operator's own that are enabled, by name, as JSON.
        candidate: texts of the policies that decide for some agents already.
        stage: for whom: `agents`, `groups`, `percent`.
        settings: what else of the configuration has a say, as JSON; None for versions of before that was kept.
    """

    observe: bool = False
    confirm: bool = False
    signers: tuple[str, ...] = ()
    profiles: Mapping[str, str] = field(default_factory=dict)
    candidate: tuple[str, ...] = ()
    stage: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] | None = None

    def without_candidate(self) -> Frame:
        """Where one set decides for everybody."""
        return replace(self, candidate=(), stage={})

    def without_settings(self) -> Frame:
        """As it was kept before settings were."""
        return replace(self, settings=None)


@dataclass(frozen=True, slots=True)
class Version:
    """One set.

    Attributes:
        number: from 1, in the order of time.
        digest: of everything that decides, the schema too: `Policies.version`.
        files_digest: of the files as they were when this was wanted; for a rollback, of those that it overrules.
        restores: the number of the earlier set that a rollback brings back; None for what the files say.
        receipt: of its being put in force; None while no sidecar has done so.
        frame: None for versions of before there were any.
        authors: who may not confirm it: names, and user ids as `uid:N`.
        waits: by what it allows more, where it waits for a confirmation, or did; empty: it never had to.
        confirmed_by: the operator, or `key:` and the thumbprint of a signer.
        serial: of the signature.
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
    frame: Frame | None = None
    authors: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    confirmed_by: str | None = None
    serial: int | None = None

    @property
    def has_settings(self) -> bool:
        """Whether it says what of the settings decided."""
        return self.frame is not None and self.frame.settings is not None

    @property
    def is_waiting(self) -> bool:
        """Whether it must not be put in force yet."""
        return bool(self.waits) and self.confirmed_by is None and self.receipt is None


def digest_of(sources: Iterable[tuple[str, str]], frame: Frame) -> str:
    """SHA-256 of the texts in their order and of what `frame` says, in hexadecimal. Where files lie is no matter."""
    texts = [text for _, text in sources]
    said = {name: value for name, value in asdict(frame).items() if value}
    whole = orjson.dumps([texts, said] if said else texts, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(whole).hexdigest()


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

    def page(self, limit: int, before: int | None = None) -> Iterator[Version]:
        """The newest `limit` of those below `before`, the newest first; one at a time, for their texts may be long."""
        query = select(policy_versions).order_by(policy_versions.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(policy_versions.c.number < before)
        with self._database.connect() as connection:
            for row in connection.execution_options(yield_per=1).execute(query):
                yield _version(row)

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
        self,
        *,
        digest: str,
        sources: Sources,
        files_digest: str,
        frame: Frame | None,
        author: str,
        authors: Iterable[str] = (),
        reason: str,
        restores: int | None = None,
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
                    frame=None if frame is None else orjson.dumps(frame).decode(),
                    authors=orjson.dumps(sorted({author, *authors})).decode(),
                )
            )
        return number

    def wait(self, number: int, why: Iterable[str]) -> None:
        """It must be confirmed, because it allows more."""
        self._change(number, waits=orjson.dumps(list(why)).decode())

    def confirm(self, number: int, by: str, serial: int | None = None) -> None:
        """It may be put in force; `serial` where that is because of a signature."""
        self._change(number, confirmed_by=by, serial=serial)

    def renew(self, number: int, serial: int) -> None:
        """It was signed once more, with a higher serial."""
        self._change(number, serial=serial)

    def adopt(self, number: int, files_digest: str, frame: Frame) -> None:
        """What of the settings is in force with it: one of before these were kept does not say."""
        self._change(number, files_digest=files_digest, frame=orjson.dumps(frame).decode())

    def waiting(self) -> Version | None:
        """The one that waits for a confirmation: never any but the newest."""
        newest = self.newest()
        return newest if newest is not None and newest.is_waiting else None

    def newest_serial(self) -> int:
        """The highest serial of a signature that counted; 0 where none did."""
        query = select(func.coalesce(func.max(policy_versions.c.serial), 0))
        with self._database.connect() as connection:
            found: int = connection.execute(query).scalar_one()
        return found

    def enforced(self, number: int, receipt: str) -> None:
        """It is in force: the receipt says so."""
        self._change(number, receipt=receipt)

    def withdraw(self, number: int) -> None:
        """Forget one that was never put in force."""
        unused = (policy_versions.c.number == number) & policy_versions.c.receipt.is_(None)
        with writing(self._database) as connection:
            connection.execute(delete(policy_versions).where(unused))

    def _change(self, number: int, **values: str | int | None) -> None:
        with writing(self._database) as connection:
            connection.execute(update(policy_versions).where(policy_versions.c.number == number).values(values))


def _version(row: Any) -> Version:
    return Version(
        number=row.number,
        digest=row.digest,
        sources=tuple((name, text) for name, text in orjson.loads(row.sources)),
        files_digest=row.files_digest,
        restores=row.restores,
        author=row.author,
        reason=row.reason,
        at_ms=row.at_ms,
        receipt=row.receipt,
        frame=_frame(row.frame),
        authors=tuple(orjson.loads(row.authors)),
        waits=tuple(orjson.loads(row.waits or "[]")),
        confirmed_by=row.confirmed_by,
        serial=row.serial,
    )


def _frame(text: str | None) -> Frame | None:
    if text is None:
        return None
    said = orjson.loads(text)
    return Frame(
        observe=said["observe"],
        confirm=said["confirm"],
        signers=tuple(said["signers"]),
        profiles=said["profiles"],
        candidate=tuple(said.get("candidate", ())),
        stage=said.get("stage", {}),
        settings=said.get("settings"),
    )
