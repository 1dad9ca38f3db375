"""The block `tls:` of a listener in `briefcased.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from proxy.documents import Strict

PemFile = Annotated[Path, Field(strict=False)]


class ListenerTls(Strict):
    """The certificate of a listener, and whose X.509-SVIDs it takes. Files are read again when they change."""

    certificate: PemFile = Field(description="PEM: the listener's own certificate, then its chain.")
    key: PemFile = Field(description="PEM: its private key, not encrypted.")
    trust_bundles: dict[str, PemFile] = Field(
        default={},
        description="Trust domain to PEM file of its CAs; a client then needs an X.509-SVID of one of them.",
    )
