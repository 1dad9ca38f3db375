"""One file per secret store; a ref's scheme names it: `env:NAME`, `file:/path`, `local:name`, `vault:mount/path#field`.

`AT_HAND` are read at every use; `ASKED_HERE` are asked with what this machine has, `ASKED` with logins of their own,
and what both give is kept. The latter are logged in to with secrets of the others alone, so that nothing goes in
circles: the connection to a store may itself go through an upstream proxy that wants a password.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from proxy.secretstore.awssm import SecretsManagerStore
from proxy.secretstore.awsssm import ParameterStore
from proxy.secretstore.azurekv import AzureStore
from proxy.secretstore.bw import BitwardenStore
from proxy.secretstore.env import EnvStore
from proxy.secretstore.exec import ExecStore
from proxy.secretstore.file import FileStore
from proxy.secretstore.gcpsm import GoogleStore
from proxy.secretstore.ghactions import ActionsStore
from proxy.secretstore.infisical import InfisicalStore
from proxy.secretstore.k8s import MountedStore
from proxy.secretstore.keyring import KeyringStore
from proxy.secretstore.local import LocalStore
from proxy.secretstore.op import OnePasswordStore
from proxy.secretstore.sops import SopsStore
from proxy.secretstore.spiffe import SpiffeStore
from proxy.secretstore.store import AskedStore, SecretStore, SecretUnavailableError
from proxy.secretstore.vault import VaultStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.secret import Secret
    from proxy.secretstore.kept import Kept

AT_HAND: Final[Mapping[str, type[SecretStore]]] = {
    "env": EnvStore,
    "file": FileStore,
    "exec": ExecStore,
    "local": LocalStore,
    "k8s": MountedStore,
}
ASKED_HERE: Final[Mapping[str, type[AskedStore]]] = {
    "keyring": KeyringStore,
    "sops": SopsStore,
    "spiffe": SpiffeStore,
    "ghactions": ActionsStore,
}
ASKED: Final[Mapping[str, type[AskedStore]]] = {
    "vault": VaultStore,
    "gcpsm": GoogleStore,
    "azurekv": AzureStore,
    "awssm": SecretsManagerStore,
    "awsssm": ParameterStore,
    "op": OnePasswordStore,
    "bw": BitwardenStore,
    "infisical": InfisicalStore,
}
NEAR: Final = (*AT_HAND, *ASKED_HERE)
"""What the stores of `ASKED` may rest their own logins in."""
STORES: Final[Mapping[str, type[SecretStore | AskedStore]]] = {**AT_HAND, **ASKED_HERE, **ASKED}
MIN_SECRET_BYTES: Final = 8
CLOSE_S: Final = 5.0
_REF: Final = re.compile(r"([a-z][a-z0-9]*):(.+)", re.DOTALL)

__all__ = [
    "ASKED",
    "ASKED_HERE",
    "AT_HAND",
    "NEAR",
    "STORES",
    "SecretStore",
    "SecretStores",
    "SecretUnavailableError",
    "bad_ref",
]


def bad_ref(ref: str) -> str | None:
    """What is wrong with a secret ref, or None. Never repeats the ref: someone may have pasted a secret there."""
    found = _REF.fullmatch(ref)
    if found is None or found[1] not in STORES:
        return f"a secret ref starts with one of {', '.join(f'{name}:' for name in STORES)}; values never stand here"
    return STORES[found[1]].bad_place(found[2])


@dataclass(frozen=True, slots=True)
class SecretStores:
    """The stores of one process, by scheme: those at hand, and those that are asked, where they are configured."""

    by_scheme: Mapping[str, SecretStore]
    asked: Mapping[str, Kept] = field(default_factory=dict)

    async def get(self, ref: str, *, at_least: int = MIN_SECRET_BYTES) -> Secret:
        """The secret that `ref` names, as it is now, of `at_least` so many bytes.

        Raises:
            SecretUnavailableError: it is missing, unreadable, or too short to be looked for in answers.
        """
        scheme, _, place = ref.partition(":")
        store = self.by_scheme.get(scheme) or self.asked.get(scheme)
        if store is None:
            reason = f"secret_stores.{scheme} is not configured" if scheme in ASKED else "no such store"
            raise SecretUnavailableError(scheme, reason)
        secret = await store.get(place)
        if len(secret) < at_least:
            raise SecretUnavailableError(scheme, f"shorter than {at_least} bytes")
        return secret

    async def close(self) -> None:
        """Give back what stores have only lent; nobody waits for that longer than `CLOSE_S`."""
        try:
            async with asyncio.timeout(CLOSE_S):
                for store in self.asked.values():
                    await store.close()
        except TimeoutError:
            pass
