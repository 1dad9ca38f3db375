"""Keys that approvers have registered, and what may be used once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
from sqlalchemy import and_, insert, select, update
from sqlalchemy.exc import IntegrityError

from proxy.approval.statement import ALGORITHMS
from proxy.approval.states import State
from proxy.db.engine import writing
from proxy.db.tables import (
    approval_grant_votes,
    approval_grants,
    approval_nonces,
    approval_votes,
    approvals,
    approver_keys,
)
from proxy.errors import BriefcaseError
from proxy.keys.signer import KeyUnavailableError
from proxy.keys.verification import public_from_jwk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement, Connection, Engine, RowMapping

    from proxy.clock import Clock
    from proxy.keys.public import PublicKey

KEEP_NONCES_MS: Final = 3600 * 1000
"""Longer than anything that carries one is accepted."""


class BadKeyError(BriefcaseError):
    """This key cannot be an approver's. The text is ours."""


@dataclass(frozen=True, slots=True)
class ApproverKey:
    """One key; its id is the RFC 7638 thumbprint.

    Attributes:
        tenant: the approver's; None for one of the whole installation.
        confirmed_by: the admin who made it count; None where nobody has.
    """

    id: str
    approver: str
    tenant: str | None
    label: str
    public: PublicKey
    created_at_ms: int
    confirmed_at_ms: int | None
    confirmed_by: str | None
    revoked_at_ms: int | None

    @property
    def counts(self) -> bool:
        """Whether what it signs counts."""
        return self.confirmed_at_ms is not None and self.revoked_at_ms is None


def approvers_public(jwk: Mapping[str, object]) -> PublicKey:
    """The public key of `jwk`, which is one that approvers may sign with. Raises `BadKeyError`."""
    try:
        public = public_from_jwk(jwk, None)
    except KeyUnavailableError:
        raise BadKeyError("this is no public key that approvers sign with") from None
    if public.algorithm not in ALGORITHMS:
        raise BadKeyError("approvers sign with Ed25519 or ES256")
    return public


class ApproverKeys:
    """The tables `approver_keys` and `approval_nonces`. Methods block for a small transaction."""

    def __init__(self, database: Engine, clock: Clock) -> None:
        self._database: Final = database
        self._clock: Final = clock

    def register(self, approver: str, public: PublicKey, *, tenant: str | None, label: str) -> None:
        """Write down that the key is `approver`'s; it counts once it is confirmed.

        Raises:
            BadKeyError: it is, or was, registered already, by whomever.
        """
        row = {
            "id": public.thumbprint,
            "approver": approver,
            "tenant": tenant,
            "jwk": orjson.dumps(dict(public.jwk)).decode(),
            "label": label,
            "created_at_ms": self._clock.wall_ms(),
        }
        try:
            with writing(self._database) as connection:
                connection.execute(insert(approver_keys).values(**row))
        except IntegrityError:
            raise BadKeyError("this key was registered before") from None

    def get(self, id_: str) -> ApproverKey | None:
        """One, as its row says."""
        with self._database.connect() as connection:
            row = connection.execute(select(approver_keys).where(approver_keys.c.id == id_)).mappings().first()
        return _key(row) if row is not None else None

    def listed(self, *, tenant: str | None = None, approver: str | None = None) -> tuple[ApproverKey, ...]:
        """The oldest first, revoked ones too: all of them, or those of one tenant, or of one approver."""
        query = select(approver_keys).order_by(approver_keys.c.created_at_ms)
        if tenant is not None:
            query = query.where(approver_keys.c.tenant == tenant)
        if approver is not None:
            query = query.where(approver_keys.c.approver == approver)
        with self._database.connect() as connection:
            return tuple(map(_key, connection.execute(query).mappings()))

    def of(self, approver: str, *, tenant: str | None) -> tuple[str, ...]:
        """The ids of the keys of that tenant's `approver` that are not revoked."""
        found = self.listed(approver=approver)
        return tuple(key.id for key in found if key.revoked_at_ms is None and key.tenant == tenant)

    def counting(self, id_: str, approver: str, *, tenant: str | None) -> ApproverKey | None:
        """The key `id_`, if it is `approver`'s of that tenant and counts now."""
        key = self.get(id_)
        return key if key is not None and key.counts and (key.approver, key.tenant) == (approver, tenant) else None

    def confirm(self, id_: str, *, by: str) -> bool:
        """Let it count from now on; whether this call did it."""
        rows = approver_keys.c
        there = and_(rows.id == id_, rows.confirmed_at_ms.is_(None), rows.revoked_at_ms.is_(None))
        values = {"confirmed_at_ms": self._clock.wall_ms(), "confirmed_by": by}
        with writing(self._database) as connection:
            return connection.execute(update(approver_keys).where(there).values(**values)).rowcount == 1

    def revoke(self, id_: str, *, by: str) -> int | None:
        """Let it speak for nobody from now on, and end what it has said; how many standing grants that ended.

        Its votes on what is pending are taken back, and its yeses that no call has used expire. None where there is no
        such key that is not revoked.
        """
        now_ms = self._clock.wall_ms()
        there = and_(approver_keys.c.id == id_, approver_keys.c.revoked_at_ms.is_(None))
        with writing(self._database) as connection:
            done = connection.execute(update(approver_keys).where(there).values(revoked_at_ms=now_ms))
            if done.rowcount == 0:
                return None
            _take_back(connection, approval_votes.c.factor == id_, None, now_ms)
            return _end_grants(connection, approval_grant_votes.c.factor == id_, None, now_ms, by)

    def dismiss(self, approver: str, *, tenant: str | None, by: str) -> bool:
        """End what an approver has said who is one no longer, with or without a key; whether there was anything.

        `tenant` is the only one that they decided in; None: all.
        """
        now_ms = self._clock.wall_ms()
        with writing(self._database) as connection:
            votes = _take_back(connection, approval_votes.c.approver == approver, tenant, now_ms)
            grants = _end_grants(connection, approval_grant_votes.c.approver == approver, tenant, now_ms, by)
        return votes + grants > 0

    def once(self, nonce: str) -> bool:
        """Whether `nonce` comes for the first time; the second time, in whatever process, it does not."""
        now_ms = self._clock.wall_ms()
        try:
            with writing(self._database) as connection:
                connection.execute(approval_nonces.delete().where(approval_nonces.c.at_ms < now_ms - KEEP_NONCES_MS))
                connection.execute(insert(approval_nonces).values(nonce=nonce, at_ms=now_ms))
        except IntegrityError:
            return False
        return True


def _take_back(connection: Connection, said: ColumnElement[bool], tenant: str | None, now_ms: int) -> int:
    """Votes on approvals that are not over; how many, or how many approvals that ended."""
    its = select(approval_votes.c.approval).where(said)
    there = approvals.c.id.in_(its) if tenant is None else and_(approvals.c.id.in_(its), approvals.c.tenant == tenant)
    ended = 0
    for state, after in ((State.PENDING, State.PENDING), (State.APPROVED, State.EXPIRED)):
        changed = update(approvals).where(there, approvals.c.state == state.value)
        count = connection.execute(changed.values(state=after.value, changed_at_ms=now_ms)).rowcount
        ended += count if state is not after else 0
    pending = select(approvals.c.id).where(there, approvals.c.state == State.PENDING.value)
    taken = connection.execute(approval_votes.delete().where(said, approval_votes.c.approval.in_(pending)))
    return ended + taken.rowcount


def _end_grants(connection: Connection, said: ColumnElement[bool], tenant: str | None, now_ms: int, by: str) -> int:
    """Standing grants with such a vote behind them; how many."""
    grants = approval_grants.c
    its = and_(grants.id.in_(select(approval_grant_votes.c.grant).where(said)), grants.revoked_at_ms.is_(None))
    wanted = its if tenant is None else and_(its, grants.tenant == tenant)
    return connection.execute(
        update(approval_grants).where(wanted).values(revoked_at_ms=now_ms, revoked_by=by)
    ).rowcount


def _key(row: RowMapping) -> ApproverKey:
    return ApproverKey(
        id=row["id"],
        approver=row["approver"],
        tenant=row["tenant"],
        label=row["label"],
        public=public_from_jwk(orjson.loads(row["jwk"]), None),
        created_at_ms=row["created_at_ms"],
        confirmed_at_ms=row["confirmed_at_ms"],
        confirmed_by=row["confirmed_by"],
        revoked_at_ms=row["revoked_at_ms"],
    )
