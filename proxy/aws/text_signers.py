"""What signs a text of AWS's: a key that is derived from the secret access key, for SigV4 and for SigV4A. Pure.

The AWS Common Runtime signs whole requests only; pieces of a body are signed with these.

Source: IAM user guide, "Create a signed AWS API request"; for the key of SigV4A: the key derivation function of NIST
SP 800-108 in counter mode, as aws-c-auth has it (`key_derivation.c`).
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.aws.scope import ASYMMETRIC, SYMMETRIC

if TYPE_CHECKING:
    from proxy.aws.signing import Keys, Scope

_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256 (FIPS 186-4, D.1.2.3)."""
_MAX_TRIALS: Final = 254


class TextSigner(Protocol):
    """Signs texts of one day, service and (SigV4) region.

    Attributes:
        algorithm: as it stands in `Authorization` and begins a text.
        place: the scope that a text names.
        width: characters of a signature in a body.
    """

    algorithm: ClassVar[str]
    width: ClassVar[int]
    place: str

    def sign(self, text: str) -> str:
        """Hexadecimal; SigV4A's is not always as wide as in a body: `*` follow it there."""
        ...


class HmacSigner:
    """SigV4."""

    algorithm: ClassVar[str] = SYMMETRIC
    width: ClassVar[int] = 64

    def __init__(self, keys: Keys, scope: Scope, day: str) -> None:
        self.place = f"{day}/{scope.region}/{scope.service}/aws4_request"
        key = b"AWS4" + keys.secret_access_key.encode()
        for part in self.place.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        self._key: Final = key

    def sign(self, text: str) -> str:
        """See `TextSigner`."""
        return hmac.digest(self._key, text.encode(), "sha256").hex()


class EcdsaSigner:
    """SigV4A. Its key is the same for every day, and a signature another one each time."""

    algorithm: ClassVar[str] = ASYMMETRIC
    width: ClassVar[int] = 144

    def __init__(self, keys: Keys, scope: Scope, day: str) -> None:
        self.place = f"{day}/{scope.service}/aws4_request"
        self._key: Final = ec.derive_private_key(_private_value(keys), ec.SECP256R1())

    def sign(self, text: str) -> str:
        """See `TextSigner`; the DER form."""
        return self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())).hex()


def _private_value(keys: Keys) -> int:
    """The first candidate that is a private key: almost always the first."""
    secret = b"AWS4A" + keys.secret_access_key.encode()
    for trial in range(1, _MAX_TRIALS):
        context = keys.access_key_id.encode() + bytes([trial])
        fixed = (1).to_bytes(4) + ASYMMETRIC.encode() + b"\0" + context + (256).to_bytes(4)
        candidate = int.from_bytes(hmac.digest(secret, fixed, "sha256"))
        if candidate <= _ORDER - 2:
            return candidate + 1
    raise AssertionError("254 candidates in a row were too large")


def text_signer(keys: Keys, scope: Scope, day: str) -> TextSigner:
    """What signs for `scope` on `day` (`20150830`)."""
    return EcdsaSigner(keys, scope, day) if scope.asymmetric else HmacSigner(keys, scope, day)
