"""/approver-keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.approval_models import KeyConfirmation, Keys, KeyView, NewKey, RevokedKey
from proxy.api.approval_views import deciding, proof_of, signature_of
from proxy.approval.statement import Proof

if TYPE_CHECKING:
    from proxy.api.call import Call
    from proxy.approval.key_store import ApproverKey


async def list_(call: Call) -> Keys:
    """Those of the caller's tenant, revoked ones too."""
    return Keys(keys=[_view(one) for one in await call.services.registrar.listed(call.operator)])


async def add(call: Call) -> KeyView:
    """Register a key of the caller's own."""
    new = call.sent(NewKey)
    with deciding():
        proof = Proof("", new.proof.at_ms, new.proof.nonce, signature_of(new.proof.signature))
        registrar = call.services.registrar
        return _view(await registrar.register(call.operator, new.jwk, proof, label=new.label))


async def confirm(call: Call) -> KeyView:
    """Let a key count."""
    asked = call.sent(KeyConfirmation)
    with deciding():
        proof = proof_of(asked.proof)
        registrar = call.services.registrar
        return _view(await registrar.confirm(call.operator, call.names["id"], asked.approver, proof))


async def revoke(call: Call) -> RevokedKey:
    """Revoke a key of one's own, or, as an admin, anybody's; grants made with it end."""
    id_ = call.names["id"]
    with deciding():
        return RevokedKey(id=id_, grants_ended=await call.services.registrar.revoke(call.operator, id_))


def _view(key: ApproverKey) -> KeyView:
    return KeyView(
        id=key.id,
        approver=key.approver,
        tenant=key.tenant,
        label=key.label,
        state="revoked" if key.revoked_at_ms is not None else "counts" if key.counts else "waiting",
        jwk=dict(key.public.jwk),
        created_at_ms=key.created_at_ms,
        confirmed_by=key.confirmed_by,
    )
