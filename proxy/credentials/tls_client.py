"""`kind: tls_client`: a client certificate on the connection to the provider. See docs/credentials/tls_client.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, override

from pydantic import Field

from proxy.credentials.kind import Kind, SecretName

if TYPE_CHECKING:
    from collections.abc import Mapping


class TlsClientCredential(Kind):
    """Changes nothing in the request: the connection says who we are (RFC 8446, section 4.4.2)."""

    kind: Literal["tls_client"]
    key: SecretName = Field(
        default="tls", description="Slot of the key; the account names PEM with key and certificate."
    )

    @override
    def key_names(self) -> Mapping[str, str]:
        return {self.key: "ES256"}

    @override
    def certificate_slot(self) -> str | None:
        return self.key
