"""An agent and its approvers around one service."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from proxy.approval.approvers import Approvers, Ballot
from proxy.approval.grant_store import GrantStore
from proxy.approval.key_store import ApproverKeys
from proxy.approval.proofs import Proofs
from proxy.approval.recorder import Recorder
from proxy.approval.registrar import Registrar
from proxy.approval.service import Approvals, Waiter
from proxy.approval.store import ApprovalStore
from proxy.approval_settings import ApprovalSettings
from proxy.db.sealing import Seal
from proxy.errors import Denial, Refused
from proxy.model import Operator, Role
from tests.approval.hands import KEY, Hands
from tests.approval.requests import asked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

    from proxy.approval.fingerprint import Asked
    from proxy.approval.grants import Grant
    from proxy.approval.states import Approval

AT_ONCE = ApprovalSettings(hold_s=0.0)


class Desk:
    """One process: the agents' side, and the approvers'."""

    def __init__(
        self, database: Engine, hands: Hands, settings: ApprovalSettings = AT_ONCE, *, boot: str = "boot-1"
    ) -> None:
        self.hands = hands
        self.store = ApprovalStore(database, Seal(KEY), hands, boot=boot)
        grants = GrantStore(database, hands, boot=boot)
        self.approvals = Approvals(self.store, grants=grants, settings=settings, key=KEY, clock=hands)
        self.full = False
        self.keys, self.recorded = ApproverKeys(database, hands), list[dict[str, object]]()
        proofs, record = Proofs(self.keys, hands.wall_ms), Recorder(self._write)
        self.approvers = Approvers(self.approvals, proofs, record, also=lambda _: frozenset())
        self.registrar = Registrar(self.keys, proofs, record)

    async def _write(self, fields: Mapping[str, object]) -> None:
        if self.full:
            raise Refused(Denial("receipt_unavailable", "Receipts cannot be written now.", by="receipts"))
        self.recorded.append(dict(fields))

    async def admit(self, one: Asked | None = None) -> Approval | Grant | Denial:
        """What a request gets that is sent now, and used at once."""
        try:
            waiter = Waiter(asyncio.Event(), lambda: False)
            permit = await self.approvals.granted(one or asked(), "Open an issue", waiter=waiter)
            await self.approvals.use(permit, receipt="rcp_1")
        except Refused as refused:
            return refused.denial
        return permit

    async def says(self, one: Asked | None = None) -> str:
        answer = await self.admit(one)
        return answer.slug if isinstance(answer, Denial) else answer.id[:3]

    async def required(self, one: Asked | None = None) -> str:
        """The id of the approval that a request is told it needs."""
        denial = await self.admit(one)
        assert isinstance(denial, Denial)
        assert denial.slug == "approval_required", denial
        return str(denial.extra["approval_id"])


def approver(
    name: str = "ann", tenant: str | None = None, role: Role = Role.APPROVER, via: str = "token:t"
) -> Operator:
    """Ann, who comes with a token."""
    return Operator(name, role, role, tenant, via)


def ballot(yes: bool = True, by: Operator | None = None, **changed: object) -> Ballot:
    """Ann's."""
    return Ballot(**{"by": by or approver(), "yes": yes, **changed})  # type: ignore[arg-type]
