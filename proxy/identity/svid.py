"""What an X.509-SVID says, once its chain was verified; and what an agent's connection rests on then. Pure.

Source: the standard X509-SVID, sections 2, 3.1, 4 and 5.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509

from proxy.canonical import SpiffeId, parse_spiffe_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from proxy.identity.directory import Directory


@dataclass(frozen=True, slots=True)
class Svid:
    """A certificate of a workload.

    Attributes:
        anchor: SHA-256 (hexadecimal) of the CA certificate that its chain ends in.
        until_ms: when it ends, or the first certificate of its chain.
    """

    id: SpiffeId
    anchor: str
    until_ms: int


def read_svid(leaf: bytes, anchor: str, above: Sequence[bytes] = ()) -> Svid | str:
    """The SVID that `leaf` (DER) is, or why it is none. Whether the chain holds was asked before.

    `above` are the certificates that it rests on: it is worth nothing once one of them has ended.
    """
    try:
        certificate = x509.load_der_x509_certificate(leaf)
        ends = [x509.load_der_x509_certificate(one).not_valid_after_utc for one in above]
        extensions = certificate.extensions
    except (ValueError, x509.DuplicateExtension):
        return "the certificate is not well-formed"
    problem = _usage(extensions)
    if problem is not None:
        return problem
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "the certificate has no SPIFFE ID"
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        return f"the certificate has {len(uris)} URIs; an SVID has exactly one"
    found = parse_spiffe_id(uris[0])
    if found is None:
        return "the URI of the certificate is not the SPIFFE ID of a workload"
    until = min((certificate.not_valid_after_utc, *ends))
    return Svid(found, anchor, int(until.timestamp() * 1000))


def _usage(extensions: x509.Extensions) -> str | None:
    """Why this is not the certificate of a workload."""
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return "the certificate is a CA's"
    except x509.ExtensionNotFound:
        pass
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound:
        return "the certificate does not say its key usage"
    if usage.value.key_cert_sign or usage.value.crl_sign:
        return "the key of the certificate may sign certificates"
    if not usage.critical or not usage.value.digital_signature:
        return "the key usage of the certificate is not critical, or not for signatures"
    return None


@dataclass(frozen=True, slots=True, eq=False)
class SvidProof:
    """A `Proof`: the SVID of a connection is in time, its CA still its trust domain's, its ID still the agent's."""

    svid: Svid
    agent: str
    directory: Callable[[], Directory]
    trusted: Callable[[Svid], bool]

    def holds(self, now_ms: int) -> bool:
        """See `Proof`."""
        if now_ms >= self.svid.until_ms or not self.trusted(self.svid):
            return False
        return self.directory().spiffe.get(str(self.svid.id)) == self.agent
