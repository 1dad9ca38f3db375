"""A listener's TLS: its certificate, whose X.509-SVIDs it takes, the handshake. Changed files are read again.

TLS 1.3, or 1.2 with ephemeral keys and AEAD. Nothing is resumed, so every connection shows its certificate anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from proxy.db.threads import in_thread
from proxy.errors import BriefcaseError
from proxy.identity.svid import Svid, read_svid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from proxy.tls_settings import ListenerTls

_log: Final = logging.getLogger("proxy.front")
LOOK_S: Final = 1.0
SHUTDOWN_S: Final = 1.0
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
_OPTIONS: Final = ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
_DER: Final = 2
"""ENCODING_DER of the `ssl` module's C part."""

type Stamp = tuple[tuple[int, int, int] | None, ...]
"""What tells one version of the files from another: inode, size and nanoseconds of each; None where there is none."""


class NotAdmittedError(Exception):
    """The handshake failed, or the client's certificate is no SVID of a trust domain of ours; the text says why."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The files as they were read. `anchors`: SHA-256 of the CA certificates, by trust domain."""

    context: ssl.SSLContext
    anchors: Mapping[str, frozenset[str]]


class Door:
    """See the module. Raises `BriefcaseError`: a file cannot be read, or holds something else."""

    def __init__(self, settings: ListenerTls) -> None:
        self._settings: Final = settings
        self._seen = _stamp(settings)
        self._now = _load(settings)

    @property
    def asks(self) -> bool:
        """Whether clients must show an SVID."""
        return bool(self._settings.trust_bundles)

    async def refresh(self) -> None:
        """Read the files again if they changed. Where that fails, what was read before stays."""
        stamp = await in_thread(_stamp, self._settings)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._now = await in_thread(_load, self._settings)
        except BriefcaseError as error:
            _log.error("the listener's old certificate and trust bundles stay in use: %s", error)
        else:
            _log.info("read %s and its trust bundles again", self._settings.certificate)

    async def enter(self, writer: asyncio.StreamWriter, *, within_s: float) -> Svid | None:
        """Make the connection one over TLS; the client's SVID where it needs one.

        Raises:
            NotAdmittedError: the client speaks something else, or has no SVID of one of our trust domains.
            OSError: it went away, or was too slow.
        """
        loaded = self._now
        try:
            async with asyncio.timeout(within_s):
                await writer.start_tls(loaded.context, ssl_handshake_timeout=within_s, ssl_shutdown_timeout=SHUTDOWN_S)
        except ssl.SSLEOFError:
            raise
        except ssl.SSLError as error:
            raise NotAdmittedError(f"the handshake failed: {error.reason or 'no certificate that is valid'}") from None
        _close_once(writer.transport)
        return _svid(writer.get_extra_info("ssl_object"), loaded.anchors) if self.asks else None

    def trusts(self, svid: Svid) -> bool:
        """Whether the CA that an SVID came from is its trust domain's now."""
        return svid.anchor in self._now.anchors.get(svid.id.trust_domain, ())


def _close_once(transport: asyncio.WriteTransport) -> None:
    """Let `transport` be closed again and again, as any other may be.

    asyncio's over TLS forgets at the second time what it needs to answer anything (CPython 3.12 and 3.13).
    """
    close = transport.close

    def close_once() -> None:
        if not transport.is_closing():
            close()

    transport.close = close_once  # type: ignore[method-assign]


def _svid(tls: ssl.SSLObject, anchors: Mapping[str, frozenset[str]]) -> Svid:
    chain = _verified_chain(tls)
    leaf = tls.getpeercert(binary_form=True)
    if not chain or leaf is None or chain[0] != leaf:
        raise NotAdmittedError("the client's certificate was not verified")
    svid = read_svid(leaf, hashlib.sha256(chain[-1]).hexdigest(), chain[1:])
    if isinstance(svid, str):
        raise NotAdmittedError(svid)
    # The handshake takes a CA of any trust domain; each speaks for its own alone.
    if svid.anchor not in anchors.get(svid.id.trust_domain, ()):
        raise NotAdmittedError("the CA of the certificate is not one of its trust domain")
    return svid


def _verified_chain(tls: ssl.SSLObject) -> list[bytes]:
    """DER from the client's certificate to the CA certificate of ours that it ends in."""
    if sys.version_info >= (3, 13):
        return tls.get_verified_chain()
    inner: Any = tls._sslobj  # type: ignore[attr-defined]  # noqa: SLF001  # what 3.13 made public
    return [one.public_bytes(_DER) for one in inner.get_verified_chain() or ()]


def _files(settings: ListenerTls) -> tuple[Path, ...]:
    return settings.certificate, settings.key, *settings.trust_bundles.values()


def _stamp(settings: ListenerTls) -> Stamp:
    return tuple(_version(path) for path in _files(settings))


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _load(settings: ListenerTls) -> _Loaded:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= _OPTIONS
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.certificate, settings.key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise BriefcaseError(f"{settings.certificate}, {settings.key}: {_said(error)}") from None
    anchors = {domain: _bundle(path, context) for domain, path in settings.trust_bundles.items()}
    if anchors:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    return _Loaded(context, anchors)


def _bundle(path: Path, context: ssl.SSLContext) -> frozenset[str]:
    """Let `context` trust the CAs of a file; their digests."""
    try:
        found = [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(path.read_bytes())]
        for one in found:
            context.load_verify_locations(cadata=one)
    except (OSError, ValueError) as error:
        raise BriefcaseError(f"{path}: {_said(error)}") from None
    return frozenset(hashlib.sha256(one).hexdigest() for one in found)


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _said(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"not PEM, or a key that does not fit ({error.reason})"
    return error.strerror or "it cannot be read" if isinstance(error, OSError) else "no PEM of the kind that is needed"
