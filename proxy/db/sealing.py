"""Values that rest encrypted in the database: AES-256-GCM under one key, bound to the place where they stand."""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from proxy.errors import BriefcaseError

NONCE_BYTES: Final = 12
KEY_BYTES: Final = 32


class UnsealError(BriefcaseError):
    """The value was sealed with another key, for another place, or was changed."""


class Seal:
    """Seals with a key derived from `key` (any length from 16 bytes; HKDF-SHA256, RFC 5869)."""

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:  # noqa: PLR2004
            raise BriefcaseError("the key that seals the database has at least 16 bytes")
        self._key: Final = key
        self._box: Final = AESGCM(self.derived("database seal"))

    def derived(self, purpose: str) -> bytes:
        """32 bytes for another purpose, from the same key."""
        info = f"credential-briefcase {purpose}".encode()
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(self._key)

    def seal(self, place: str, value: bytes) -> bytes:
        """`value` for `place`: only a reader that names the same place opens it."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._box.encrypt(nonce, value, place.encode())

    def unseal(self, place: str, sealed: bytes) -> bytes:
        """The value. Raises `UnsealError`."""
        try:
            return self._box.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place.encode())
        except (InvalidTag, ValueError):
            raise UnsealError(f"{place}: the database was sealed with another key, or was changed") from None
