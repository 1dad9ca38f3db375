"""One bench for each store that has to be asked: its fake server, its settings, and how a secret gets into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import orjson

from proxy.clock import SystemClock
from proxy.services import secret_stores
from proxy.settings import Settings
from tests.fakes.stores.vault import FakeVault

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.secretstore import SecretStores
    from tests.fakes.stores.server import StoreServer

LOGIN = "the-login-of-the-sidecar-0123456789"


class SetClock(SystemClock):
    now_s = 1000.0

    def monotonic_s(self) -> float:
        return self.now_s


class Bench(Protocol):
    """A store under test. `settings` is its section; `environment` the sidecar's."""

    scheme: str
    server: StoreServer

    def settings(self) -> dict[str, Any]: ...
    def ref(self, name: str) -> str: ...
    def put(self, name: str, value: str) -> None: ...
    def environment(self) -> dict[str, str]: ...


class VaultBench:
    scheme = "vault"

    def __init__(self, folder: Path) -> None:
        self.server = FakeVault(folder)

    def settings(self) -> dict[str, Any]:
        return {"address": self.server.address, "auth": {"token": "env:VAULT_TOKEN"}}

    def environment(self) -> dict[str, str]:
        return {"VAULT_TOKEN": next(iter(self.server.tokens))}

    def ref(self, name: str) -> str:
        return f"vault:secret/apps/{name}#token"

    def put(self, name: str, value: str) -> None:
        self.server.values[f"apps/{name}#token"] = value


BENCHES: dict[str, type[Any]] = {"vault": VaultBench}


def stores_for(bench: Any, clock: SystemClock, *, trusted: bool = True, **changed: Any) -> SecretStores:
    """The stores as the sidecar makes them, with the bench's server at its name."""
    section = bench.settings() | {name: value for name, value in changed.items() if name in ("ttl_s", "stale_s")}
    if trusted:
        section |= {"ca_file": str(bench.server.provider.root)}
    whole = {
        "timeout_s": changed.get("timeout_s", 5.0),
        "failed_s": changed.get("failed_s", 5.0),
        bench.scheme: section,
    }
    settings = Settings.model_validate_json(orjson.dumps({"version": 1, "secret_stores": whole}))
    return secret_stores(
        settings,
        home=bench.server.provider.folder,
        environment=bench.environment(),
        clock=clock,
        passphrase=None,
        hosts={bench.server.host: ("127.0.0.1",)},
    )
