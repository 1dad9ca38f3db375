"""Trust bundles for agents: the public roots, what the operator already trusts, and ours."""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

import certifi

from certs.files import write_atomically
from certs.issue import ROOT_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VARIABLES: Final = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
"""Where an operator may already point at a bundle: OpenSSL's variable and that of Python's `requests`."""
BUNDLE_MODE: Final = 0o644
CERTIFICATE: Final = re.compile(
    rb"^-----BEGIN CERTIFICATE-----\s*$([A-Za-z0-9+/=\s]*)^-----END CERTIFICATE-----\s*?$", re.MULTILINE
)


def merged_bundle(extra: bytes, *, environment: Mapping[str, str]) -> bytes:
    """PEM of certifi's roots, of the files that `environment` points at, and of `extra`, each certificate once.

    An agent that gets this bundle through a variable loses nothing that it trusted before. Only certificates are
    taken: a key that stands in one of the files stays there. A file that cannot be read counts as empty.

    Roots of ours come from `extra` alone: the variables may point at a bundle that we wrote before a rotation, and a
    root that was dropped must not come back that way.
    """
    public = [Path(certifi.where()).read_bytes(), *_pointed_at(environment)]
    seen = dict.fromkeys(der for source in public for der in certificates(source) if ROOT_NAME.encode() not in der)
    seen.update(dict.fromkeys(certificates(extra)))
    return "".join(ssl.DER_cert_to_PEM_cert(der) for der in seen).encode()


def certificates(pem: bytes) -> Iterator[bytes]:
    """The DER form of each certificate block in `pem`; blocks that are not base64 are passed over."""
    for block in CERTIFICATE.finditer(pem):
        try:
            yield base64.b64decode(b"".join(block[1].split()), validate=True)
        except binascii.Error:
            continue


def write_bundle(path: Path, pem: bytes) -> None:
    """Replace the file at `path` as a whole, readable by everyone. Raises `BriefcaseError`."""
    write_atomically(path, pem, mode=BUNDLE_MODE)


def _pointed_at(environment: Mapping[str, str]) -> Iterator[bytes]:
    for variable in VARIABLES:
        if name := environment.get(variable):
            try:
                yield Path(name).read_bytes()
            except OSError:
                continue
