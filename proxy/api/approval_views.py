"""Approvals in the form of the API, and what approvers send in the form of the approvals."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from proxy.api.approval_models import GrantView
from proxy.api.models import ApprovalView
from proxy.api.problems import ProblemError
from proxy.approval.approvers import NotEntitledError, NotOpenError, NotThereError, UnsignedError
from proxy.approval.grants import BadTermsError, Terms
from proxy.approval.key_store import BadKeyError
from proxy.approval.proofs import NotProvenError
from proxy.approval.statement import Proof, Wish
from proxy.keys.public import from_base64url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.api.approval_models import GrantWish, ProofForm
    from proxy.approval.grants import Grant
    from proxy.approval.states import Approval, Moment


def view(approval: Approval, now: Moment) -> ApprovalView:
    """`approval` as it stands at `now`."""
    return ApprovalView(
        id=approval.id,
        tenant=approval.tenant,
        agent=approval.agent,
        user=approval.user,
        account=approval.account,
        profile=approval.profile,
        operation=approval.operation,
        state=approval.standing(now).value,
        strength=("none", "approval", "strong")[approval.strength],
        needs=approval.needs,
        approvers=list(approval.approvers),
        created_at_ms=approval.created_at_ms,
        until_ms=approval.deadline.wall_ms,
        receipt=approval.receipt,
    )


def grant_view(grant: Grant, now: Moment) -> GrantView:
    """`grant` as it stands at `now`."""
    scope, terms = grant.scope, grant.terms
    state = "revoked" if grant.revoked_at_ms is not None else "alive" if grant.alive(now) else "ended"
    return GrantView(
        id=grant.id,
        state=state,  # type: ignore[arg-type]  # one of the three
        tenant=scope.tenant,
        agent=scope.agent,
        user=scope.user,
        account=scope.account,
        profile=scope.profile,
        profile_version=scope.profile_version,
        operation=scope.operation,
        policy_version=scope.policy_version,
        method=scope.method,
        origin=scope.origin,
        path=scope.path,
        life=scope.life,
        for_s=terms.for_s,
        max_uses=terms.max_uses,
        max_cost_microusd=terms.max_cost_microusd,
        uses=grant.uses,
        created_at_ms=grant.created_at_ms,
        until_ms=grant.deadline.wall_ms,
        approvers=list(grant.approvers),
        signed_by=[vote.approver for vote in grant.votes if vote.factor is not None],
        approval=grant.approval,
        reason=grant.reason,
        revoked_by=grant.revoked_by,
    )


def proof_of(form: ProofForm | None) -> Proof | None:
    """The signature that was sent. Raises `NotProvenError`: it is not base64url in its one right form."""
    if form is None:
        return None
    return Proof(form.key, form.at_ms, form.nonce, signature_of(form.signature))


def signature_of(text: str) -> bytes:
    """The bytes of a signature. Raises `NotProvenError`."""
    try:
        return from_base64url(text)
    except ValueError:
        raise NotProvenError("the signature is not base64url") from None


def wish_of(form: GrantWish | None) -> Wish | None:
    """The standing grant that is wished for."""
    if form is None:
        return None
    return Wish(Terms(form.for_s, form.max_uses, form.max_cost_microusd), form.path)


@contextmanager
def deciding() -> Iterator[None]:
    """Turns what approvals raise into problems."""
    try:
        yield
    except NotThereError:
        raise ProblemError("not_found") from None
    except (NotOpenError, BadTermsError, BadKeyError) as error:
        raise ProblemError("conflict", str(error)) from None
    except (NotEntitledError, UnsignedError, NotProvenError) as error:
        raise ProblemError(error.slug, str(error)) from None
