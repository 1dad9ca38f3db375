"""`Approvers`: the other side of `Approvals`: answers, signed or not, standing grants, and the keys to sign with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.approval.entitled import Unfit, unfit
from proxy.approval.grants import BadTermsError, Scope, check_path
from proxy.approval.statement import statement
from proxy.approval.states import State, Vote
from proxy.approval.store import Changed
from proxy.db.threads import in_thread
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.approval.grants import Grant
    from proxy.approval.key_store import ApproverKeys
    from proxy.approval.service import Approvals
    from proxy.approval.statement import Proof, Wish
    from proxy.approval.states import Approval


class NotProvenError(BriefcaseError):
    """The signature does not prove who answered: forged, late, used before, or of a key that does not count."""


class NotEntitledError(BriefcaseError):
    """This approver may not decide here (J-10)."""


class NotOpenError(BriefcaseError):
    """There is nothing to decide: no such approval, or it is decided or over."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """What an approver answers.

    Attributes:
        approver: who, as whoever calls this has authenticated them.
        tenant: the approver's; None for one of the whole installation.
        proof: the signature, where they gave one.
        grant: the standing grant to make along with a yes.
    """

    approver: str
    tenant: str | None
    yes: bool
    reason: str = ""
    proof: Proof | None = None
    grant: Wish | None = None


class Approvers:
    """One instance per process."""

    def __init__(self, approvals: Approvals, keys: ApproverKeys) -> None:
        self._approvals: Final = approvals
        self.keys: Final = keys

    async def decide(self, id_: str, ballot: Ballot) -> tuple[Changed, Grant | None]:
        """Count an answer; the approval after it, and the grant that was made with it.

        Raises:
            NotOpenError: there is nothing to decide, also because the approval is another tenant's (J-06).
            NotEntitledError: this approver may not.
            NotProvenError: there is a proof, and it proves nothing.
            BadTermsError: the grant cannot be made; nothing is counted.
        """
        approval, card = await self._open(id_, ballot.tenant)
        scope = _scope(approval, card, ballot) if ballot.grant is not None else None
        self._entitled(approval.tenant, approval.agent, approval.user, approval.needs, ballot)
        factor = await self._proven(approval, card, ballot)
        vote = Vote(ballot.approver, ballot.yes, factor)
        changed = await self._approvals.vote(id_, vote, reason=ballot.reason, tenant=ballot.tenant)
        if isinstance(changed, Unfit):
            raise NotEntitledError(str(changed))
        if not isinstance(changed, Changed):
            raise NotOpenError("this approval is decided, or over")
        if ballot.grant is None or scope is None:
            return changed, None
        terms = ballot.grant.terms
        grants = self._approvals.grants
        return changed, await in_thread(grants.make, scope, terms, vote, approval=id_, reason=ballot.reason)

    async def grant(self, scope: Scope, ballot: Ballot, *, needs: int = 1) -> Grant:
        """Make a standing grant by itself; without an approval that was signed it is never a strong one.

        Raises:
            NotEntitledError: this approver may not.
            BadTermsError: such a grant cannot be made.
        """
        if ballot.grant is None or not ballot.yes:
            raise BadTermsError("a grant has terms, and is a yes")
        check_path(scope.path, scope.path.replace("*", "-"))
        self._entitled(scope.tenant, scope.agent, scope.user, needs, ballot)
        vote, grants = Vote(ballot.approver, yes=True), self._approvals.grants
        return await in_thread(grants.make, scope, ballot.grant.terms, vote, approval=None, reason=ballot.reason)

    async def second(self, grant_id: str, approver: str, *, tenant: str | None) -> None:
        """Stand behind a grant that another approver made, for requests that need several.

        Raises:
            NotOpenError: there is no such grant that is alive.
            NotEntitledError: this approver may not.
        """
        found = await in_thread(self._approvals.grants.get, grant_id)
        if found is None or tenant not in (None, found.scope.tenant):
            raise NotOpenError("there is no such grant")
        scope = found.scope
        self._entitled(scope.tenant, scope.agent, scope.user, 2, Ballot(approver, tenant, yes=True))
        if not await in_thread(self._approvals.grants.second, grant_id, Vote(approver, yes=True)):
            raise NotOpenError("this grant has ended")

    async def revoke(self, grant_id: str, *, by: str, tenant: str | None) -> None:
        """End a grant at once. Raises `NotOpenError` where there is none to end."""
        if not await in_thread(self._approvals.grants.revoke, grant_id, by=by, tenant=tenant):
            raise NotOpenError("there is no such grant, or it was revoked before")

    async def revoke_key(self, key: str, *, by: str) -> int:
        """Let a key speak for nobody any more, and end the grants that were made with it; how many those were.

        Raises `NotOpenError` where there is no such key that counts.
        """
        if not await in_thread(self.keys.revoke, key):
            raise NotOpenError("there is no such key, or it was revoked before")
        return await in_thread(self._approvals.grants.revoke_made_with, key, by=by)

    async def _open(self, id_: str, tenant: str | None) -> tuple[Approval, Mapping[str, object]]:
        store = self._approvals.store
        approval, card = await in_thread(store.get, id_), await in_thread(store.card, id_)
        if approval is None or card is None or tenant not in (None, approval.tenant):
            raise NotOpenError("there is no such approval")
        if approval.standing(store.now()) is not State.PENDING:
            raise NotOpenError("this approval is decided, or over")
        return approval, card

    async def _proven(self, approval: Approval, card: Mapping[str, object], ballot: Ballot) -> str | None:
        """The id of the key that proves the answer; None where no proof was given. Raises `NotProvenError`."""
        proof = ballot.proof
        if proof is None:
            return None
        message = statement(
            approval=approval.id,
            fingerprint=approval.fingerprint,
            card=card,
            yes=ballot.yes,
            approver=ballot.approver,
            at_ms=proof.at_ms,
            nonce=proof.nonce,
            grant=ballot.grant,
        )
        if not proof.fresh(self._approvals.store.now().wall_ms):
            raise NotProvenError("the signature is not from the last five minutes, or its nonce is too short")
        if not await in_thread(self.keys.signed, proof.key, ballot.approver, message, proof.signature):
            raise NotProvenError("the signature is not one of this approver's keys over what was asked")
        if not await in_thread(self.keys.once, f"vote:{proof.key}:{proof.nonce}"):
            raise NotProvenError("this signature was used before")
        return proof.key

    @staticmethod
    def _entitled(tenant: str, agent: str, user: str | None, needs: int, ballot: Ballot) -> None:
        why = unfit(ballot.approver, approver_tenant=ballot.tenant, tenant=tenant, agent=agent, user=user, needs=needs)
        if why is not None:
            raise NotEntitledError(str(why))


def _scope(approval: Approval, card: Mapping[str, object], ballot: Ballot) -> Scope:
    """What a grant made from `approval` covers. Raises `BadTermsError`."""
    assert ballot.grant is not None
    if not ballot.yes:
        raise BadTermsError("a grant goes with a yes")
    ballot.grant.terms.check()
    check_path(ballot.grant.path, str(card["path"]))
    return Scope(
        tenant=approval.tenant,
        agent=approval.agent,
        user=approval.user,
        account=approval.account,
        profile=approval.profile,
        profile_version=str(card["profile_version"]),
        operation=approval.operation,
        policy_version=str(card["policy_version"]),
        method=str(card["method"]),
        origin=str(card["origin"]),
        path=ballot.grant.path,
    )
