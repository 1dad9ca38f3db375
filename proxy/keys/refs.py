"""What a key ref may look like: a secret ref (PEM or JWK), or the scheme of a backend. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.keys.pkcs11 import Pkcs11Backend
from proxy.keys.remote import RemoteBackend
from proxy.secretstore import bad_ref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.keys.ring import KeyBackend

BACKENDS: Final[Mapping[str, type[KeyBackend]]] = {"pkcs11": Pkcs11Backend, "signer": RemoteBackend}
"""One line for each place where keys rest that never leave it."""


def bad_key_ref(ref: str) -> str | None:
    """What is wrong with a key ref, or None. Never repeats the ref."""
    scheme, _, place = ref.partition(":")
    backend = BACKENDS.get(scheme)
    return bad_ref(ref) if backend is None else backend.bad_place(place)
