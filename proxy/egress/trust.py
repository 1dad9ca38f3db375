"""TLS client contexts of our own calls: verified, one per trust bundle."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

import certifi

if TYPE_CHECKING:
    from pathlib import Path

MAX_CONTEXTS: Final = 64


def new_context(bundle: Path | None) -> ssl.SSLContext:
    """Verifies chain and host against `bundle`, or the public roots; TLS 1.2 at least. Raises OSError."""
    context = ssl.create_default_context(cafile=str(bundle) if bundle is not None else certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["http/1.1"])
    return context


class TrustedContexts:
    """A bundle that is replaced under the same name counts as another one."""

    def __init__(self) -> None:
        self._contexts: Final[dict[tuple[Path | None, int], ssl.SSLContext]] = {}

    def context(self, bundle: Path | None) -> ssl.SSLContext:
        """See `new_context`; made once. Raises OSError."""
        key = (bundle, 0 if bundle is None else bundle.stat().st_mtime_ns)
        context = self._contexts.get(key)
        if context is None:
            context = new_context(bundle)
            while len(self._contexts) >= MAX_CONTEXTS:
                del self._contexts[next(iter(self._contexts))]
            self._contexts[key] = context
        return context
