"""The places of keys that never come here, put together from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.keys.pkcs11 import Pkcs11Backend
from proxy.keys.remote import RemoteBackend

if TYPE_CHECKING:
    from proxy.clock import Clock
    from proxy.egress.http import HttpClient
    from proxy.keys.ring import KeyBackend
    from proxy.secretstore import SecretStores
    from proxy.settings import Keys


def backends(settings: Keys, *, stores: SecretStores, http: HttpClient, clock: Clock) -> dict[str, KeyBackend]:
    """By the scheme of a key ref."""
    return {
        "pkcs11": Pkcs11Backend(settings.pkcs11, stores=stores),
        "signer": RemoteBackend(settings.signers, stores=stores, http=http, clock=clock),
    }
