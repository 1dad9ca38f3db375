"""Whether a verifier can read what we hold: its `vp_formats_supported`. Pure.

Source: OpenID for Verifiable Presentations 1.0, section 11.1 and appendices B.1.3.1 and B.3.4; RFC 9864 (`EdDSA`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.credentials.vc.dcql import FORMATS
from proxy.credentials.vc.held import SD_JWT
from proxy.credentials.vc.jose import BadTokenError

if TYPE_CHECKING:
    from proxy.credentials.vc.held import Held
    from proxy.keys.public import PublicKey

_SAME: Final = frozenset({"EdDSA", "Ed25519"})
"""Two names of the same signatures, where the curve is Ed25519."""


def demand_readable(metadata: object, held: Held, key: PublicKey | None) -> None:
    """That the verifier's `client_metadata` leaves room for `held` and for a proof by `key`.

    One that does not say what it reads is taken at its query's word.

    Raises:
        BadTokenError: it reads another format, or takes other algorithms.
    """
    formats = metadata.get("vp_formats_supported") if isinstance(metadata, dict) else None
    if formats is None:
        return
    if not isinstance(formats, dict):
        raise BadTokenError("the formats that the verifier reads are malformed")
    said = next((formats[name] for name in FORMATS[held.form] if name in formats), None)
    if not isinstance(said, dict):
        raise BadTokenError(f"the verifier does not read credentials of the format {held.form}")
    issued, proved = ("sd-jwt_alg_values", "kb-jwt_alg_values") if held.form == SD_JWT else ("alg_values",) * 2
    if not _takes(said.get(issued), str(held.token.header["alg"])):
        raise BadTokenError("the verifier does not take the algorithm that the credential is signed with")
    if key is not None and not _takes(said.get(proved), key.algorithm):
        raise BadTokenError("the verifier does not take the algorithm of the account's holder key")


def _takes(listed: object, algorithm: str) -> bool:
    """Whether `algorithm` is among `listed`; None there is no restriction."""
    if listed is None:
        return True
    if not isinstance(listed, list):
        raise BadTokenError("the formats that the verifier reads are malformed")
    return algorithm in listed or (algorithm in _SAME and any(name in listed for name in _SAME))
