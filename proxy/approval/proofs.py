"""Whether a signature proves who said something: by a key of theirs that counts, a moment ago, for the first time."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from proxy.db.threads import in_thread
from proxy.errors import BriefcaseError
from proxy.keys.signer import KeyUnavailableError
from proxy.keys.verification import verified

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.approval.key_store import ApproverKeys
    from proxy.approval.statement import Proof, Text
    from proxy.keys.public import PublicKey
    from proxy.model import Operator


class NotProvenError(BriefcaseError):
    """The signature does not prove who answered: forged, late, used before, or of a key that does not count."""

    slug: ClassVar[str] = "not_proven"


class Proofs:
    """One instance per process. Each proof is good once, in whatever process."""

    def __init__(self, keys: ApproverKeys, wall_ms: Callable[[], int]) -> None:
        self._keys: Final = keys
        self._wall_ms: Final = wall_ms

    async def by(self, operator: Operator, proof: Proof, text: Text) -> str:
        """The id of the operator's key that signed `text`. Raises `NotProvenError`."""
        known = await in_thread(self._keys.counting, proof.key, operator.name, tenant=operator.tenant)
        if known is None:
            raise NotProvenError("the key is none of this approver's that counts")
        await self.of(known.public, proof, text)
        return known.id

    async def of(self, public: PublicKey, proof: Proof, text: Text) -> None:
        """Return if the holder of `public` signed `text`. Raises `NotProvenError`."""
        if not proof.fresh(self._wall_ms()):
            raise NotProvenError("the signature is not from the last five minutes, or its nonce is too short")
        try:
            verified(public, text(at_ms=proof.at_ms, nonce=proof.nonce), proof.signature)
        except KeyUnavailableError:
            raise NotProvenError("the signature is not one of this key over what was shown") from None
        if not await in_thread(self._keys.once, f"proof:{public.thumbprint}:{proof.nonce}"):
            raise NotProvenError("this signature was used before")
