"""`secret_stores:` of `briefcased.yaml`: how each store is asked. What it logs in with are refs of stores at hand."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # pydantic needs it at run time
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from proxy.documents import Strict

Https = Annotated[str, Field(pattern=r"^https://[^\s?#@]+$", max_length=512)]
Segment = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")]


class Asked(Strict):
    """What all stores that have to be asked have."""

    ttl_s: Annotated[float, Field(ge=0, le=86_400)] = 300.0
    stale_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=0.0, description="How long beyond its time a value serves while the store cannot be asked; 0: not."
    )
    ca_file: Path | None = Field(default=None, strict=False, description="Trust roots for the store, PEM.")


class VaultAuth(Strict):
    """How to log in to Vault."""

    method: Literal["token", "approle", "kubernetes", "jwt"] = "token"
    mount: str | None = Field(default=None, description="Where the method is mounted; none: at its own name.")
    token: str | None = Field(default=None, description="Secret ref: of the token (method token).")
    role: str | None = Field(default=None, description="Name of the role (kubernetes, jwt).")
    role_id: str | None = Field(default=None, description="Secret ref (approle).")
    secret_id: str | None = Field(default=None, description="Secret ref (approle); none where the role needs none.")
    jwt: str | None = Field(default=None, description="Secret ref of the token to show (kubernetes, jwt).")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {"token": ("token",), "approle": ("role_id",), "kubernetes": ("role",), "jwt": ("role", "jwt")}
        missing = [name for name in needed[self.method] if getattr(self, name) is None]
        if missing:
            raise ValueError(f"method {self.method} needs {' and '.join(missing)}")
        return self


class VaultSettings(Asked):
    """HashiCorp Vault or OpenBao."""

    address: Https = Field(description="https://HOST[:PORT]")
    namespace: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._/-]{1,256}$")
    auth: VaultAuth
    mounts: dict[str, Literal["kv1", "kv2", "dynamic"]] = Field(
        default={}, description="What is mounted where; a mount that is not named is one segment and KV version 2."
    )


class SecretStoreSettings(Strict):
    """How secret stores are asked."""

    exec_ttl_s: Annotated[float, Field(ge=0, le=86_400)] = 300.0
    exec_timeout_s: Annotated[float, Field(gt=0, le=120)] = 10.0
    timeout_s: Annotated[float, Field(gt=0, le=120)] = Field(default=10.0, description="For one call to a store.")
    failed_s: Annotated[float, Field(ge=0, le=300)] = Field(
        default=5.0, description="After a failure a store is not asked for that secret again before."
    )
    vault: VaultSettings | None = None
