"""`kind: aws`: SigV4 and SigV4A with the account's own access key. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from proxy.credentials.aws_signing import AwsSigning
from proxy.credentials.kind import Credential

if TYPE_CHECKING:
    from proxy.credentials.kind import Ingredients, Minting


class AwsCredential(AwsSigning):
    """Every signature of the agent's is replaced by one of the account's."""

    mints: ClassVar[bool] = True

    kind: Literal["aws"]

    def secret_names(self) -> frozenset[str]:
        """The key pair."""
        return frozenset({self.access_key_id, self.secret_access_key})

    def optional_secret_names(self) -> frozenset[str]:
        """A pair that is temporary has a session token too."""
        return frozenset({self.session_token})

    def mint(self, given: Ingredients) -> Minting[Credential]:
        """Nothing is obtained; the access key id names the credential in receipts."""
        yield from ()
        return Credential(given.secrets, facts=given.variables, token=self.access_key_id)
