"""`Approvers`: the other side of `Approvals`: answers, signed or not, and standing grants.

    open? -> entitled? -> proven? -> receipt -> counted

Whoever calls this has authenticated the operator, and asks nothing of it twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from proxy.approval.entitled import unfit
from proxy.approval.grant_store import new_id
from proxy.approval.grants import BadTermsError, Scope, check_path
from proxy.approval.key_statements import seconding
from proxy.approval.proofs import NotProvenError
from proxy.approval.statement import statement
from proxy.approval.states import State, Vote
from proxy.approval.store import Changed
from proxy.db.threads import in_thread
from proxy.errors import BriefcaseError
from proxy.model import Strength

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.approval.grants import Grant
    from proxy.approval.proofs import Proofs
    from proxy.approval.recorder import Recorder, Said
    from proxy.approval.service import Approvals
    from proxy.approval.statement import Proof, Wish
    from proxy.approval.states import Approval
    from proxy.model import Operator


class NotEntitledError(BriefcaseError):
    """This approver may not decide here (J-10)."""

    slug: ClassVar[str] = "own_request"


class NotAdminError(NotEntitledError):
    """Only an admin may."""

    slug = "forbidden"


class UnsignedError(BriefcaseError):
    """A strong approval needs a signature, and none was given."""

    slug: ClassVar[str] = "strong_factor_required"


class NotOpenError(BriefcaseError):
    """There is nothing to decide: it is decided or over."""


class NotThereError(NotOpenError):
    """There is no such thing, also because it is another tenant's (J-06)."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """What an approver answers.

    Attributes:
        by: who, as whoever calls this has authenticated them.
        proof: the signature, where they gave one.
        grant: the standing grant to make along with a yes.
    """

    by: Operator
    yes: bool
    reason: str = ""
    proof: Proof | None = None
    grant: Wish | None = None


class Approvers:
    """One instance per process. `also` tells the other names of a person, as far as we know them."""

    def __init__(
        self, approvals: Approvals, proofs: Proofs, record: Recorder, *, also: Callable[[Operator], frozenset[str]]
    ) -> None:
        self._approvals: Final = approvals
        self._proofs: Final = proofs
        self._record: Final = record
        self._also: Final = also

    async def decide(self, id_: str, ballot: Ballot) -> tuple[Changed, Grant | None]:
        """Count an answer; the approval after it, and the grant that was made with it.

        Raises:
            NotOpenError: there is nothing to decide.
            NotEntitledError: this approver may not.
            UnsignedError: a yes to a strong approval without a proof.
            NotProvenError: there is a proof, and it proves nothing.
            BadTermsError: the grant cannot be made; nothing is counted.
            Refused: the receipt cannot be written; nothing is counted.
        """
        by = ballot.by
        approval, card = await self._open(id_, by)
        scope = _scope(approval, card, ballot)
        try:
            _entitled(by, approval.tenant, approval.agent, approval.user)
            factor = await self._factor(approval, card, ballot)
        except (NotEntitledError, UnsignedError, NotProvenError) as error:
            await self._record(by, "approval_refused", id_, tenant=approval.tenant, refused=error.slug)
            raise
        grant_id = new_id() if scope is not None else None
        more = {"reason": ballot.reason or None, "factor": factor, "grant": grant_id, **_terms(ballot.grant)}
        vote = Vote(by.name, ballot.yes, factor, await in_thread(self._also, by))
        said = "approve" if ballot.yes else "reject"
        await self._record(by, "approval_vote", id_, tenant=approval.tenant, vote=said, **more)
        changed = await self._approvals.vote(id_, vote, reason=ballot.reason)
        if not isinstance(changed, Changed):
            raise NotOpenError(_over(changed or State.EXPIRED))
        grants = self._approvals.grants
        if changed.approval.state is State.REJECTED:  # who had said yes with a grant said so about this call
            await in_thread(grants.revoke_made_with_approval, id_, by=by.name)
        if ballot.grant is None or scope is None or grant_id is None:
            return changed, None
        terms = ballot.grant.terms
        return changed, await in_thread(
            grants.make, scope, terms, vote, approval=id_, reason=ballot.reason, id_=grant_id
        )

    async def grant(self, scope: Scope, ballot: Ballot) -> Grant:
        """Make a standing grant by itself; without an approval that was signed it is never a strong one.

        Raises:
            NotEntitledError: this approver may not.
            BadTermsError: such a grant cannot be made.
            Refused: the receipt cannot be written; nothing is made.
        """
        if ballot.grant is None or not ballot.yes:
            raise BadTermsError("a grant has terms, and is a yes")
        ballot.grant.terms.check()
        check_path(scope.path, scope.path.replace("*", "-"))
        id_, by = new_id(), ballot.by
        await self._entitled(id_, by, scope)
        where = {"agent": scope.agent, "account": scope.account, "operation": f"{scope.profile}:{scope.operation}"}
        more = {**_terms(ballot.grant), **where, "reason": ballot.reason or None}
        await self._record(by, "grant_make", id_, tenant=scope.tenant, **more)
        vote, grants, terms = Vote(by.name, yes=True), self._approvals.grants, ballot.grant.terms
        return await in_thread(grants.make, scope, terms, vote, approval=None, reason=ballot.reason, id_=id_)

    async def second(self, grant_id: str, by: Operator, proof: Proof | None = None) -> Grant:
        """Stand behind a grant that another approver made, for requests that need several; the grant then.

        Raises:
            NotOpenError: there is no such grant that is alive.
            NotEntitledError: this approver may not.
            NotProvenError: there is a proof, and it proves nothing.
            Refused: the receipt cannot be written; nothing is changed.
        """
        found = await self._grant(grant_id, by)
        await self._entitled(grant_id, by, found.scope)
        factor = None
        if proof is not None:
            text = partial(seconding, grant=grant_id, scope=found.scope, terms=found.terms, approver=by.name)
            factor = await self._proofs.by(by, proof, text)
        await self._record(by, "grant_second", grant_id, tenant=found.scope.tenant, factor=factor)
        vote = Vote(by.name, yes=True, factor=factor, also=await in_thread(self._also, by))
        if not await in_thread(self._approvals.grants.second, grant_id, vote):
            raise NotOpenError("This grant has ended.")
        return await self._grant(grant_id, by)

    async def revoke(self, grant_id: str, by: Operator) -> None:
        """End a grant at once.

        Raises:
            NotOpenError: there is none to end.
            Refused: the receipt cannot be written; nothing is changed.
        """
        found = await self._grant(grant_id, by)
        await self._record(by, "grant_revoke", grant_id, tenant=found.scope.tenant)
        if not await in_thread(self._approvals.grants.revoke, grant_id, by=by.name):
            raise NotOpenError("This grant was revoked before.")

    async def _open(self, id_: str, by: Operator) -> tuple[Approval, Mapping[str, object]]:
        store = self._approvals.store
        approval, card = await in_thread(store.get, id_), await in_thread(store.card, id_)
        if approval is None or card is None or not by.may_see(approval.tenant):
            raise NotThereError("there is no such approval")
        if (standing := approval.standing(store.now())) is not State.PENDING:
            raise NotOpenError(_over(standing))
        return approval, card

    async def _grant(self, grant_id: str, by: Operator) -> Grant:
        found = await in_thread(self._approvals.grants.get, grant_id)
        if found is None or not by.may_see(found.scope.tenant):
            raise NotThereError("there is no such grant")
        return found

    async def _factor(self, approval: Approval, card: Mapping[str, object], ballot: Ballot) -> str | None:
        """The id of the key that proves the answer; None where no proof is needed."""
        if ballot.proof is None:
            if ballot.yes and approval.strength is Strength.STRONG:
                raise UnsignedError("a vote without a signature does not count here")
            return None
        text = partial(
            statement,
            approval=approval.id,
            fingerprint=approval.fingerprint,
            card=card,
            yes=ballot.yes,
            approver=ballot.by.name,
            grant=ballot.grant,
        )
        return await self._proofs.by(ballot.by, ballot.proof, text)

    async def _entitled(self, grant_id: str, by: Operator, scope: Scope) -> None:
        try:
            _entitled(by, scope.tenant, scope.agent, scope.user)
        except NotEntitledError as error:
            await self._record(by, "grant_refused", grant_id, tenant=scope.tenant, refused=error.slug)
            raise


def _entitled(by: Operator, tenant: str, agent: str, user: str | None) -> None:
    if (why := unfit(by, tenant=tenant, agent=agent, user=user)) is not None:
        raise NotEntitledError(str(why))


def _over(state: State) -> str:
    return f"This approval is {state.value}."


def _terms(wish: Wish | None) -> dict[str, Said]:
    """What a receipt says of a grant."""
    if wish is None:
        return {}
    return {"path": wish.path, "for_s": wish.terms.for_s, "max_uses": wish.terms.max_uses}


def _scope(approval: Approval, card: Mapping[str, object], ballot: Ballot) -> Scope | None:
    """What a grant made from `approval` covers; None where none is wished for. Raises `BadTermsError`."""
    if ballot.grant is None:
        return None
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
        life=int(str(card.get("agent_life", 0))),  # cards of before it was told
    )
