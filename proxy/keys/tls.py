"""A signer's key and certificate as a client certificate of our own calls (RFC 8705, section 2)."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from proxy.egress.trust import new_context
from proxy.keys.signer import KeyUnavailableError
from proxy.keys.software import SoftwareSigner

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from proxy.keys.signer import Signer


class TlsIdentity:
    """Presents the certificates of `signer`, whose key must be in memory: Python's TLS takes no other."""

    def __init__(self, signer: Signer) -> None:
        if not isinstance(signer, SoftwareSigner) or not signer.public.certificates:
            raise KeyUnavailableError("a client certificate needs PEM with certificate and private key together")
        self._signer: Final = signer
        self._contexts: Final[dict[tuple[Path | None, int], ssl.SSLContext]] = {}

    def context(self, bundle: Path | None) -> ssl.SSLContext:
        """See `ClientIdentity`."""
        key = (bundle, 0 if bundle is None else bundle.stat().st_mtime_ns)
        if key not in self._contexts:
            context = new_context(bundle)
            with _readable(self.pem()) as path:
                context.load_cert_chain(path)
            self._contexts.clear()
            self._contexts[key] = context
        return self._contexts[key]

    def pem(self) -> bytes:
        """Private key, then certificates, the leaf first."""
        chain = (x509.load_der_x509_certificate(der) for der in self._signer.public.certificates)
        return self._signer.pem() + b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)


@contextlib.contextmanager
def _readable(content: bytes) -> Iterator[str]:
    """`content` under a path, for a function that takes only paths; in memory where the system can."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("briefcased", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "identity.pem"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        yield str(path)
