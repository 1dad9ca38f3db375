"""What a connection to a provider identifies itself with: certificate and key of an account, checked before use."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from proxy.credentials.kind import unusable
from proxy.errors import Refused
from proxy.exchange import ClientCertificate
from proxy.keys.signer import KeyUnavailableError
from proxy.keys.tls import TlsIdentity

if TYPE_CHECKING:
    from proxy.keys.signer import Signer

MAX_KNOWN: Final = 256


@dataclass(frozen=True, slots=True)
class _Known:
    certificate: ClientCertificate
    from_s: float
    until_s: float


class Certificates:
    """One per broker. A signer stands for its key and certificate: one that is replaced is another signer."""

    def __init__(self) -> None:
        self._known: Final[OrderedDict[Signer, _Known]] = OrderedDict()

    def of(self, signer: Signer, now_s: int) -> ClientCertificate:
        """The certificate of `signer`.

        Raises:
            Refused: `credential_unavailable`; there is none, it is not of this key, or it is not valid now.
        """
        known = self._known.get(signer)
        if known is None:
            known = self._known[signer] = _read(signer)
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        if not known.from_s <= now_s < known.until_s:
            raise Refused(unusable("The client certificate of this account is not valid now."))
        return known.certificate


def _read(signer: Signer) -> _Known:
    try:
        pem = TlsIdentity(signer).pem()
    except KeyUnavailableError:
        raise Refused(unusable("This account has no client certificate together with its key.")) from None
    leaf = x509.load_der_x509_certificate(signer.public.certificates[0])
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if leaf.public_key().public_bytes(*spki) != load_pem_private_key(pem, None).public_key().public_bytes(*spki):
        raise Refused(unusable("The first client certificate of this account is not one for its key."))
    return _Known(ClientCertificate(pem), leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp())
