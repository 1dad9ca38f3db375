"""`Registrar`: which keys speak for which approver.

A key that an approver's own token could register alone would be no second factor: whoever stole the token could sign.
So a new key counts once an admin has confirmed it who is at the machine itself, known by their user id, or another
admin whose own key counts and who signs for it. The first key of an installation therefore begins at the machine.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from proxy.approval.approvers import NotAdminError, NotEntitledError, NotOpenError, NotThereError, UnsignedError
from proxy.approval.key_statements import confirmation, registration
from proxy.approval.key_store import approvers_public
from proxy.approval.proofs import NotProvenError
from proxy.db.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.approval.key_store import ApproverKey, ApproverKeys
    from proxy.approval.proofs import Proofs
    from proxy.approval.recorder import Recorder
    from proxy.approval.statement import Proof
    from proxy.model import Operator


class Registrar:
    """One instance per process."""

    def __init__(self, keys: ApproverKeys, proofs: Proofs, record: Recorder) -> None:
        self._keys: Final = keys
        self._proofs: Final = proofs
        self._record: Final = record

    async def listed(self, by: Operator) -> tuple[ApproverKey, ...]:
        """Every key that `by` may see, revoked ones too."""
        return await in_thread(self._keys.listed, tenant=by.tenant)

    async def register(self, by: Operator, jwk: Mapping[str, object], proof: Proof, *, label: str) -> ApproverKey:
        """Register a key of one's own, which has signed `proof`; an admin's at the machine counts at once.

        Raises:
            BadKeyError: it cannot be an approver's, or was registered before.
            NotProvenError: whoever asks does not hold it.
            Refused: the receipt cannot be written; nothing is changed.
        """
        public = approvers_public(jwk)
        id_ = public.thumbprint
        try:
            await self._proofs.of(public, proof, partial(registration, key=id_, approver=by.name))
        except NotProvenError as error:
            await self._record(by, "approver_key_refused", id_, tenant=by.tenant, refused=error.slug)
            raise
        at_once = _local_admin(by)
        await self._record(by, "approver_key_add", id_, tenant=by.tenant, label=label or None, counts=at_once)
        await in_thread(self._keys.register, by.name, public, tenant=by.tenant, label=label)
        if at_once:
            await in_thread(self._keys.confirm, id_, by=by.name)
        return await self._visible(by, id_)

    async def confirm(self, by: Operator, id_: str, approver: str, proof: Proof | None) -> ApproverKey:
        """Let a key count that is `approver`'s, as the admin `by` has made sure.

        Raises:
            NotThereError: there is no such key of this approver.
            NotOpenError: it counts already, or was revoked.
            NotEntitledError: the key is the admin's own.
            UnsignedError: an admin from elsewhere has to sign.
            NotProvenError: the proof proves nothing.
            Refused: the receipt cannot be written; nothing is changed.
        """
        key = await self._visible(by, id_)
        if key.approver != approver:
            raise NotThereError("there is no such key of this approver")
        try:
            factor = await self._sure(by, key, proof)
        except (NotEntitledError, UnsignedError, NotProvenError) as error:
            await self._record(by, "approver_key_refused", id_, tenant=key.tenant, refused=error.slug)
            raise
        await self._record(by, "approver_key_confirm", id_, tenant=key.tenant, approver=approver, factor=factor)
        if not await in_thread(self._keys.confirm, id_, by=by.name):
            raise NotOpenError("This key counts already, or was revoked.")
        return await self._visible(by, id_)

    async def revoke(self, by: Operator, id_: str) -> int:
        """Let a key speak for nobody any more, and end what it has said; how many grants those were.

        Raises:
            NotOpenError: there is none to revoke.
            NotAdminError: it is another's, and `by` is no admin.
            Refused: the receipt cannot be written; nothing is changed.
        """
        key = await self._visible(by, id_)
        if key.approver != by.name and not by.is_admin:
            await self._record(by, "approver_key_refused", id_, tenant=key.tenant, refused=NotAdminError.slug)
            raise NotAdminError("only admins revoke keys of others")
        await self._record(by, "approver_key_revoke", id_, tenant=key.tenant, approver=key.approver)
        ended = await in_thread(self._keys.revoke, id_, by=by.name)
        if ended is None:
            raise NotOpenError("This key was revoked before.")
        return ended

    async def revoke_of(self, by: Operator, approver: str, *, tenant: str | None) -> bool:
        """Revoke every key of an approver who is one no longer, and end what they have said; whether there was any.

        The next of that name starts with nothing. `tenant` is the approver's own.
        """
        keys = await in_thread(self._keys.of, approver, tenant=tenant)
        for id_ in keys:
            await self.revoke(by, id_)
        said = await in_thread(self._keys.dismiss, approver, tenant=tenant, by=by.name)
        return said or bool(keys)

    async def _sure(self, by: Operator, key: ApproverKey, proof: Proof | None) -> str | None:
        """The key with which the admin proves to be who they are; None for one at the machine."""
        if _local_admin(by):
            return None
        if by.name == key.approver:
            raise NotEntitledError("nobody confirms a key of their own from elsewhere")
        if proof is None:
            raise UnsignedError("a key is confirmed at the machine itself, or with a signature")
        text = partial(confirmation, key=key.id, approver=key.approver, by=by.name)
        return await self._proofs.by(by, proof, text)

    async def _visible(self, by: Operator, id_: str) -> ApproverKey:
        key = await in_thread(self._keys.get, id_)
        if key is None or by.tenant not in (None, key.tenant):
            raise NotThereError("there is no such key")
        return key


def _local_admin(by: Operator) -> bool:
    return by.is_admin and by.via.startswith("uid:")
