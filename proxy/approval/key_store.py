"""Keys that approvers have registered, and what may be used once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from proxy.approval.statement import ALGORITHMS
from proxy.db.engine import writing
from proxy.db.tables import approval_nonces, approver_keys
from proxy.errors import BriefcaseError
from proxy.keys.signer import KeyUnavailableError
from proxy.keys.verification import public_from_jwk, verified

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine, RowMapping

    from proxy.clock import Clock
    from proxy.keys.public import PublicKey

KEEP_NONCES_MS: Final = 3600 * 1000
"""Longer than anything that carries one is accepted."""


@dataclass(frozen=True, slots=True)
class ApproverKey:
    """One key; its id is the RFC 7638 thumbprint."""

    id: str
    approver: str
    label: str
    public: PublicKey
    created_at_ms: int
    revoked_at_ms: int | None


class ApproverKeys:
    """The tables `approver_keys` and `approval_nonces`. Methods block for a small transaction."""

    def __init__(self, database: Engine, clock: Clock) -> None:
        self._database: Final = database
        self._clock: Final = clock

    def register(self, approver: str, jwk: Mapping[str, object], *, label: str = "") -> ApproverKey:
        """Let the holder of the key speak for `approver`. Whoever calls this has made sure who they are.

        Raises:
            BriefcaseError: no public Ed25519 or P-256 key, or one that is, or was, registered already.
        """
        try:
            public = public_from_jwk(jwk, None)
        except KeyUnavailableError as error:
            raise BriefcaseError(str(error)) from None
        if public.algorithm not in ALGORITHMS:
            raise BriefcaseError("approvers sign with Ed25519 or ES256")
        row = {
            "id": public.thumbprint,
            "approver": approver,
            "jwk": orjson.dumps(dict(public.jwk)).decode(),
            "label": label,
            "created_at_ms": self._clock.wall_ms(),
            "revoked_at_ms": None,
        }
        try:
            with writing(self._database) as connection:
                connection.execute(insert(approver_keys).values(**row))
        except IntegrityError:
            raise BriefcaseError("this key was registered before") from None
        return ApproverKey(public.thumbprint, approver, label, public, self._clock.wall_ms(), None)

    def listed(self, approver: str | None = None) -> tuple[ApproverKey, ...]:
        """All of them, revoked ones too, or one approver's."""
        query = select(approver_keys).order_by(approver_keys.c.created_at_ms)
        if approver is not None:
            query = query.where(approver_keys.c.approver == approver)
        with self._database.connect() as connection:
            return tuple(map(_key, connection.execute(query).mappings()))

    def revoke(self, id_: str) -> bool:
        """Let it speak for nobody from now on; whether this call did it."""
        there = (approver_keys.c.id == id_) & approver_keys.c.revoked_at_ms.is_(None)
        with writing(self._database) as connection:
            done = update(approver_keys).where(there).values(revoked_at_ms=self._clock.wall_ms())
            return connection.execute(done).rowcount == 1

    def signed(self, id_: str, approver: str, message: bytes, signature: bytes) -> bool:
        """Whether `signature` over `message` is by the key `id_`, and that key speaks for `approver` now."""
        there = (approver_keys.c.id == id_) & (approver_keys.c.approver == approver)
        query = select(approver_keys).where(there, approver_keys.c.revoked_at_ms.is_(None))
        with self._database.connect() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            return False
        try:
            verified(_key(row).public, message, signature)
        except KeyUnavailableError:
            return False
        return True

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


def _key(row: RowMapping) -> ApproverKey:
    public = public_from_jwk(orjson.loads(row["jwk"]), None)
    return ApproverKey(row["id"], row["approver"], row["label"], public, row["created_at_ms"], row["revoked_at_ms"])
