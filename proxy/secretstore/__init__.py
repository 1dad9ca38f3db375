"""One file per secret store; a ref's scheme names it: `env:NAME`, `file:/path`, `exec:[…]`, `local:name`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.secretstore.env import EnvStore
from proxy.secretstore.exec import ExecStore
from proxy.secretstore.file import FileStore
from proxy.secretstore.local import LocalStore
from proxy.secretstore.store import SecretStore, SecretUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.secret import Secret

STORES: Final[Mapping[str, type[SecretStore]]] = {
    "env": EnvStore,
    "file": FileStore,
    "exec": ExecStore,
    "local": LocalStore,
}
MIN_SECRET_BYTES: Final = 8
_REF: Final = re.compile(r"([a-z]+):(.+)", re.DOTALL)

__all__ = ["STORES", "SecretStore", "SecretStores", "SecretUnavailableError", "bad_ref"]


def bad_ref(ref: str) -> str | None:
    """What is wrong with a secret ref, or None. Never repeats the ref: someone may have pasted a secret there."""
    found = _REF.fullmatch(ref)
    if found is None or found[1] not in STORES:
        return f"a secret ref starts with one of {', '.join(f'{name}:' for name in STORES)}; values never stand here"
    return STORES[found[1]].bad_place(found[2])


@dataclass(frozen=True, slots=True)
class SecretStores:
    """The stores of one process, by scheme."""

    by_scheme: Mapping[str, SecretStore]

    async def get(self, ref: str, *, at_least: int = MIN_SECRET_BYTES) -> Secret:
        """The secret that `ref` names, as it is now, of `at_least` so many bytes.

        Raises:
            SecretUnavailableError: it is missing, unreadable, or too short to be looked for in answers.
        """
        scheme, _, place = ref.partition(":")
        store = self.by_scheme.get(scheme)
        if store is None:
            raise SecretUnavailableError(scheme, "no such store")
        secret = await store.get(place)
        if len(secret) < at_least:
            raise SecretUnavailableError(scheme, f"shorter than {at_least} bytes")
        return secret
