"""`secret_stores:` of `briefcased.yaml`: how each store is asked. What it logs in with are refs of stores at hand."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from proxy.documents import Strict

Https = Annotated[str, Field(pattern=r"^https://[^\s?#@]+$", max_length=512)]
Segment = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")]


def _with[M: Strict](model: M, chosen: str, needed: Mapping[str, tuple[str, ...]]) -> M:
    """`model`, where it has what the chosen way needs. Raises ValueError."""
    missing = [name for name in needed[chosen] if getattr(model, name) is None]
    if missing:
        raise ValueError(f"{chosen} needs {' and '.join(missing)}")
    return model


class Keeping(Strict):
    """What all stores that have to be asked have."""

    ttl_s: Annotated[float, Field(ge=0, le=86_400)] = 300.0
    stale_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=0.0, description="How long beyond its time a value serves while the store cannot be asked; 0: not."
    )


class Asked(Keeping):
    """What all stores that are asked over HTTPS have."""

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
        return _with(self, self.method, needed)


class VaultSettings(Asked):
    """HashiCorp Vault or OpenBao."""

    address: Https = Field(description="https://HOST[:PORT]")
    namespace: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._/-]{1,256}$")
    auth: VaultAuth
    mounts: dict[str, Literal["kv1", "kv2", "dynamic"]] = Field(
        default={}, description="What is mounted where; a mount that is not named is one segment and KV version 2."
    )


class GoogleAuth(Strict):
    """How to log in to Google Cloud."""

    method: Literal["metadata", "service_account", "federation"] = "metadata"
    key: str | None = Field(default=None, description="Secret ref: the JSON key file (service_account).")
    audience: str | None = Field(default=None, description="Of the workload identity provider (federation).")
    subject_token: str | None = Field(default=None, description="Secret ref: the token to exchange (federation).")
    subject_token_type: Literal["jwt", "id_token"] = "jwt"  # noqa: S105
    impersonate: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9.-]+@[A-Za-z0-9.-]+$", description="Service account to act as (federation)."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {"metadata": (), "service_account": ("key",), "federation": ("audience", "subject_token")}
        return _with(self, self.method, needed)


class GoogleSettings(Asked):
    """Google Secret Manager. The addresses are for private access."""

    address: Https = "https://secretmanager.googleapis.com"
    token_address: Https = "https://oauth2.googleapis.com"  # noqa: S105
    sts_address: Https = "https://sts.googleapis.com"
    iam_address: Https = "https://iamcredentials.googleapis.com"
    location: Segment | None = Field(default=None, description="Of regional secrets; their address is needed too.")
    auth: GoogleAuth = GoogleAuth()


class AwsAuth(Strict):
    """Where the keys for AWS come from."""

    method: Literal["environment", "keys", "profile", "web_identity", "container"] = "environment"
    access_key_id: str | None = Field(default=None, description="Secret ref (keys).")
    secret_access_key: str | None = Field(default=None, description="Secret ref (keys).")
    session_token: str | None = Field(default=None, description="Secret ref, where the keys are temporary (keys).")
    profile: str = Field(default="default", min_length=1, description="Section of the credentials file (profile).")
    file: str | None = Field(default=None, pattern=r"^/", description="None: ~/.aws/credentials (profile).")
    role_arn: str | None = Field(default=None, description="The role to assume (web_identity).")
    token: str | None = Field(default=None, description="Secret ref: the token to show (web_identity).")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        keys = {"keys": ("access_key_id", "secret_access_key"), "web_identity": ("role_arn", "token")}
        return _with(self, self.method, {"environment": (), "profile": (), "container": (), **keys})


class AwsStoreSettings(Asked):
    """A store of AWS. The addresses are for private access."""

    region: Segment | None = Field(default=None, description="None: AWS_REGION, or what an ARN says.")
    address: Https | None = None
    sts_address: Https | None = None
    auth: AwsAuth = AwsAuth()


class AzureAuth(Strict):
    """How to log in to Microsoft Entra."""

    method: Literal["managed_identity", "client_secret", "federated"] = "managed_identity"
    tenant: Segment | None = None
    client_id: Segment | None = Field(default=None, description="With managed_identity: of a user-assigned identity.")
    client_secret: str | None = Field(default=None, description="Secret ref (client_secret).")
    token: str | None = Field(default=None, description="Secret ref: the token to show (federated).")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        both = ("tenant", "client_id")
        needed = {"managed_identity": (), "client_secret": (*both, "client_secret"), "federated": (*both, "token")}
        return _with(self, self.method, needed)


class AzureSettings(Asked):
    """Azure Key Vault."""

    suffix: Annotated[str, Field(pattern=r"^[a-z0-9.-]{1,200}(:\d{1,5})?$")] = Field(
        default="vault.azure.net", description="What follows the name of a vault in its host."
    )
    resource: Https = "https://vault.azure.net"
    login_address: Https = "https://login.microsoftonline.com"
    auth: AzureAuth = AzureAuth()


class OnePasswordSettings(Asked):
    """1Password: a Connect server, or the command."""

    address: Https | None = Field(default=None, description="Of a Connect server; none: the command is run.")
    token: str | None = Field(default=None, description="Secret ref: of Connect, or of a service account.")
    command: str = Field(default="op", min_length=1)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        return _with(self, "address", {"address": ("token",) if self.address is not None else ()})


class BitwardenSettings(Keeping):
    """Bitwarden: its Secrets Manager (`bws`), or its password manager (`bw`, unlocked)."""

    product: Literal["secrets_manager", "password_manager"] = "secrets_manager"
    token: str | None = Field(default=None, description="Secret ref: access token (secrets_manager).")
    session: str | None = Field(default=None, description="Secret ref: session key (password_manager).")
    server: Https | None = Field(default=None, description="Of a server of your own (secrets_manager).")
    command: str | None = Field(default=None, min_length=1, description="None: bws or bw.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        return _with(self, self.product, {"secrets_manager": ("token",), "password_manager": ("session",)})


class InfisicalAuth(Strict):
    """How to log in to Infisical."""

    method: Literal["universal", "kubernetes", "oidc"] = "universal"
    client_id: str | None = Field(default=None, description="Secret ref (universal).")
    client_secret: str | None = Field(default=None, description="Secret ref (universal).")
    identity: Segment | None = Field(default=None, description="Id of the machine identity (kubernetes, oidc).")
    jwt: str | None = Field(default=None, description="Secret ref: the token to show (kubernetes, oidc).")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {"universal": ("client_id", "client_secret"), "kubernetes": ("identity",), "oidc": ("identity", "jwt")}
        return _with(self, self.method, needed)


class InfisicalSettings(Asked):
    """Infisical, in the cloud or of your own."""

    address: Https = "https://app.infisical.com"
    project: Segment
    auth: InfisicalAuth


class KeyringSettings(Keeping):
    """The operating system's keyring."""


class SopsSettings(Keeping):
    """Files that SOPS has encrypted."""

    command: str = Field(default="sops", min_length=1)
    age_key: str | None = Field(default=None, description="Secret ref: an age identity; none: as SOPS finds it.")


class SpiffeSettings(Asked):
    """The SPIFFE Workload API, for JWT-SVIDs."""

    socket: str | None = Field(
        default=None, pattern=r"^unix:/.{1,200}$", description="unix:/PATH; none: what SPIFFE_ENDPOINT_SOCKET says."
    )
    trust_domain: str | None = Field(
        default=None, pattern=r"^[a-z0-9._-]{1,255}$", description="No identity of another one is used; none: any."
    )


class ActionsSettings(Asked):
    """The identity tokens of a job of GitHub Actions."""


class MountedSettings(Strict):
    """Secrets that Kubernetes mounts."""

    directory: Path = Field(default=Path("/var/run/secrets/briefcased"), strict=False)


class SecretStoreSettings(Strict):
    """How secret stores are asked."""

    exec_ttl_s: Annotated[float, Field(ge=0, le=86_400)] = 300.0
    exec_timeout_s: Annotated[float, Field(gt=0, le=120)] = 10.0
    timeout_s: Annotated[float, Field(gt=0, le=120)] = Field(default=10.0, description="For one call to a store.")
    failed_s: Annotated[float, Field(ge=0, le=300)] = Field(
        default=5.0, description="After a failure a store is not asked for that secret again before."
    )
    k8s: MountedSettings = MountedSettings()
    keyring: KeyringSettings = KeyringSettings()
    sops: SopsSettings = SopsSettings()
    spiffe: SpiffeSettings = SpiffeSettings()
    ghactions: ActionsSettings = ActionsSettings()
    vault: VaultSettings | None = None
    gcpsm: GoogleSettings | None = None
    azurekv: AzureSettings | None = None
    awssm: AwsStoreSettings | None = None
    awsssm: AwsStoreSettings | None = None
    op: OnePasswordSettings | None = None
    bw: BitwardenSettings | None = None
    infisical: InfisicalSettings | None = None
