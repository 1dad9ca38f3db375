"""One bench for each store that has to be asked: its fake server, its settings, and how a secret gets into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import orjson

from proxy.clock import SystemClock
from proxy.services import secret_stores
from proxy.settings import Settings
from tests.fakes.stores import aws, azure, connect, infisical
from tests.fakes.stores.aws import FakeAws
from tests.fakes.stores.azure import FakeAzure
from tests.fakes.stores.connect import FakeConnect
from tests.fakes.stores.google import FakeGoogle
from tests.fakes.stores.infisical import FakeInfisical
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


class GoogleBench:
    scheme = "gcpsm"

    def __init__(self, folder: Path) -> None:
        self.server = FakeGoogle(folder)

    def settings(self) -> dict[str, Any]:
        names = ("address", "token_address", "sts_address", "iam_address")
        return {**dict.fromkeys(names, self.server.address), "auth": {"method": "service_account", "key": "env:KEY"}}

    def environment(self) -> dict[str, str]:
        return {"KEY": self.server.key_file()}

    def ref(self, name: str) -> str:
        return f"gcpsm:my-project/{name}"

    def put(self, name: str, value: str) -> None:
        self.server.values[f"/v1/projects/my-project/secrets/{name}/versions/latest:access"] = value


class AzureBench:
    scheme = "azurekv"

    def __init__(self, folder: Path) -> None:
        self.server = FakeAzure(folder)

    def settings(self) -> dict[str, Any]:
        auth = {
            "method": "client_secret",
            "tenant": azure.TENANT,
            "client_id": azure.CLIENT,
            "client_secret": "env:SECRET",
        }
        suffix = self.server.address.partition(".")[2]
        return {"suffix": suffix, "login_address": self.server.address, "auth": auth}

    def environment(self) -> dict[str, str]:
        return {"SECRET": azure.CLIENT_SECRET}

    def ref(self, name: str) -> str:
        return f"azurekv:team-vault/{name}"

    def put(self, name: str, value: str) -> None:
        self.server.values[name] = value


class ConnectBench:
    scheme = "op"

    def __init__(self, folder: Path) -> None:
        self.server = FakeConnect(folder)

    def settings(self) -> dict[str, Any]:
        return {"address": self.server.address, "token": "env:OP_CONNECT_TOKEN"}

    def environment(self) -> dict[str, str]:
        return {"OP_CONNECT_TOKEN": connect.TOKEN}

    def ref(self, name: str) -> str:
        return f"op:Agents/{name}/token"

    def put(self, name: str, value: str) -> None:
        self.server.values[f"{name}/token"] = value


class InfisicalBench:
    scheme = "infisical"

    def __init__(self, folder: Path) -> None:
        self.server = FakeInfisical(folder)

    def settings(self) -> dict[str, Any]:
        auth = {"client_id": "env:CLIENT_ID", "client_secret": "env:CLIENT_SECRET"}
        return {"address": self.server.address, "project": infisical.PROJECT, "auth": auth}

    def environment(self) -> dict[str, str]:
        return {"CLIENT_ID": infisical.CLIENT["clientId"], "CLIENT_SECRET": infisical.CLIENT["clientSecret"]}

    def ref(self, name: str) -> str:
        return f"infisical:prod/agents/{name}"

    def put(self, name: str, value: str) -> None:
        self.server.values[f"prod/agents/{name}"] = value


class SecretsManagerBench:
    scheme = "awssm"

    def __init__(self, folder: Path) -> None:
        self.server = FakeAws(folder)

    def settings(self) -> dict[str, Any]:
        return {"address": self.server.address, "region": "us-east-1"}

    def environment(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": aws.KEY_ID, "AWS_SECRET_ACCESS_KEY": aws.KEY}

    def ref(self, name: str) -> str:
        return f"awssm:{name}#token"

    def put(self, name: str, value: str) -> None:
        self.server.values[name] = orjson.dumps({"token": value}).decode()


class ParameterBench(SecretsManagerBench):
    scheme = "awsssm"

    def __init__(self, folder: Path) -> None:
        self.server = FakeAws(folder, "ssm.us-east-1.amazonaws.com")

    def ref(self, name: str) -> str:
        return f"awsssm:/agents/{name}"

    def put(self, name: str, value: str) -> None:
        self.server.values[f"/agents/{name}"] = value


BENCHES: dict[str, type[Any]] = {
    "vault": VaultBench,
    "gcpsm": GoogleBench,
    "azurekv": AzureBench,
    "op": ConnectBench,
    "infisical": InfisicalBench,
    "awssm": SecretsManagerBench,
    "awsssm": ParameterBench,
}


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
