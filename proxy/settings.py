"""`briefcased.yaml` and the environment: every knob of the sidecar, typed.

Secret values never stand in the file, only secret refs (`env:NAME`, `file:/path`, `local:name`, `vault:…`).
The environment is read here and nowhere else.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from proxy.approval_settings import ApprovalSettings
from proxy.budget_settings import Budget, Price, Rate  # noqa: TC001  # pydantic needs them at run time
from proxy.documents import Strict
from proxy.identity_settings import Grant, Identity, Name, UserEntry
from proxy.model import Action, Mode
from proxy.operator_settings import OperatorSettings
from proxy.policy_settings import PolicySettings
from proxy.risk_settings import RiskSettings
from proxy.store_settings import SecretStoreSettings
from proxy.tls_settings import ListenerTls  # noqa: TC001  # pydantic needs it at run time

FIRST_ACTIVATED: Final = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""
Listen = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:.]+\]|[0-9A-Za-z.-]+):\d{1,5}$")]
ListenAt = Annotated[
    str,
    Field(
        pattern=r"^((\[[0-9a-fA-F:.]+\]|[0-9A-Za-z.-]+):\d{1,5}|unix:/.{1,106}|fd:\d{1,5}|systemd:[0-9A-Za-z_.-]{1,64})$",
        description="HOST:PORT, unix:/PATH, fd:NUMBER (inherited) or systemd:NAME (socket activation).",
    ),
]


class Listener(Strict):
    """A further place where agents connect, for clients that cannot be told of a proxy."""

    at: ListenAt
    kind: Literal["proxy", "base_url", "transparent"] = Field(
        default="proxy", description="What the first bytes of a connection are; see docs/listeners.md."
    )
    agent: Name | None = Field(
        default=None, description="Whatever arrives here is this agent's, and no token is asked for."
    )
    uids: tuple[int, ...] = Field(
        default=(), strict=False, description="User ids that may connect to a unix socket; empty: the sidecar's own."
    )
    proxy_protocol: bool = Field(
        default=False, description="A PROXY protocol (version 2) header tells the destination, in place of the kernel."
    )
    tls: ListenerTls | None = Field(default=None, description="Agents connect over TLS: docs/spiffe.md.")

    @property
    def allowed_uids(self) -> tuple[int, ...]:
        """User ids that may connect to a unix socket."""
        return self.uids or (os.geteuid(),)


class Listeners(Strict):
    """Addresses; port 0 picks a free one."""

    proxy: ListenAt = "127.0.0.1:8080"
    control: Listen = "127.0.0.1:8081"
    dns: Listen | None = Field(
        default=None, description="Where redirected clients ask for names: a stub that gives every name an own address."
    )
    api: Listen | None = Field(
        default=None, description="Where operators with a token reach the control API: loopback."
    )
    admin: Annotated[str, Field(pattern=r"^unix:/.{1,106}$")] | None = Field(
        default=None, description="Where users of this machine reach it without a token: unix:/PATH."
    )
    more: tuple[Listener, ...] = ()


class Account(Strict):
    """One set of credentials: secret refs by slot name, and what may be done with them."""

    secrets: dict[Name, str] = {}
    tenant: Name | None = None
    variables: dict[Name, str] = Field(default={}, description="Plain values that the profile asks for, as a tenant.")
    keys: dict[Name, str] = Field(
        default={},
        description="Signing keys by slot name: a secret ref to PEM or JWK, or a key ref; absent ones are made by us.",
    )
    credentials: tuple[Name, ...] = Field(
        default=(), description="Names of the profile's credentials in order of preference; empty: the profile's order."
    )
    actions: tuple[Action, ...] = Field(
        default=(Action.READ, Action.WRITE), description="Actions allowed; `admin` must be named.", strict=False
    )
    default: bool = False
    headers: dict[str, str] = Field(default={}, description="Values for the profile's owned headers.")
    query: dict[str, str] = {}


class UpstreamProxyEntry(Strict):
    """A proxy of yours through which providers are reached. It resolves their names; their TLS goes through it."""

    url: str = Field(description="http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT, without credentials.")
    username: str | None = Field(default=None, description="Secret ref.")
    password: str | None = Field(default=None, description="Secret ref.")
    no_proxy: tuple[str, ...] = Field(
        default=(), description="Hosts, .hosts, addresses or CIDR blocks reached directly."
    )
    ca_bundle: Path | None = Field(default=None, strict=False, description="Trust roots for an https:// proxy, PEM.")
    timeout_s: Annotated[float, Field(gt=0, le=120)] = 15.0


class Provider(Strict):
    """Enables the profile of this name, with at least one account."""

    accounts: Annotated[dict[Name, Account], Field(min_length=1)]
    ca_bundle: Path | None = Field(default=None, strict=False, description="Trust roots for this provider, PEM.")
    upstream_proxy: UpstreamProxyEntry | Literal["direct"] | None = Field(
        default=None, description="In place of egress.upstream_proxy; direct for none."
    )


class PrivateTarget(Strict):
    """A private address that a named host may resolve to."""

    host: str
    addresses: Annotated[tuple[str, ...], Field(min_length=1, description="Addresses or CIDR blocks.")]


class Egress(Strict):
    """How the sidecar reaches providers."""

    allow_private: tuple[PrivateTarget, ...] = ()
    ca_bundle: Path | None = Field(default=None, strict=False, description="Trust roots for all providers, PEM.")
    connect_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    resolver: Literal["system"] = "system"
    upstream_proxy: UpstreamProxyEntry | None = Field(default=None, description="What providers are reached through.")


class HandOver(Strict):
    """Where `briefcased up` puts what an agent in another container needs. See docs/docker.md."""

    directory: Annotated[Path, Field(strict=False, description="Shared with the agent, at the same path.")]
    proxy: Annotated[Listen, Field(description="HOST:PORT at which the agent reaches the sidecar.")]


class AgentEntry(Strict):
    """What an agent may use. Its token is made by `briefcased agents add`, or at the start where it is handed over."""

    accounts: tuple[Grant, ...] = ()
    tenant: Name | None = None
    groups: tuple[Name, ...] = ()
    users: tuple[Name, ...] = Field(default=(), description="On whose behalf it may act.")
    spiffe: str | None = Field(
        default=None, description="spiffe://TRUST-DOMAIN/PATH: who connects with this X.509-SVID is this agent."
    )
    hand_over: HandOver | None = None


class Limits(Strict):
    """Ceilings for everything an agent can make grow (P7)."""

    max_connections: Annotated[int, Field(ge=1)] = 1024
    max_connections_per_agent: Annotated[int, Field(ge=1)] = 256
    max_header_bytes: Annotated[int, Field(ge=1024, le=1024 * 1024)] = 64 * 1024
    max_headers: Annotated[int, Field(ge=8, le=1024)] = 128
    max_uri_bytes: Annotated[int, Field(ge=256, le=65_536)] = 16 * 1024
    header_timeout_s: Annotated[float, Field(gt=0, le=120)] = 10.0
    idle_timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    held_body_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    max_upstreams_per_host: Annotated[int, Field(ge=1, le=4096)] = 256
    max_body_bytes: Annotated[int, Field(ge=0)] = 16 * 1024 * 1024 * 1024
    max_message_bytes: Annotated[
        int, Field(ge=1024, le=256 * 1024 * 1024, description="One WebSocket message, decoded.")
    ] = 16 * 1024 * 1024
    max_socket_bytes: Annotated[int, Field(ge=1024, description="All messages of a WebSocket, both ways.")] = (
        16 * 1024 * 1024 * 1024
    )
    drain_s: Annotated[float, Field(ge=0, le=3600)] = 10.0


class SharedDatabase(Strict):
    """PostgreSQL for what several sidecars share: grants and keys of accounts."""

    host: Annotated[
        str, Field(min_length=1, max_length=253, description="A name, an address, or a socket's directory.")
    ]
    port: Annotated[int, Field(ge=1, le=65535)] = 5432
    database: Annotated[str, Field(min_length=1, max_length=63)] = "briefcased"
    user: Annotated[str, Field(min_length=1, max_length=63)] = "briefcased"
    password: str | None = Field(default=None, description="Secret ref.")
    tls: Literal["verify", "off"] = Field(default="verify", description="`off` for a socket of the same machine.")
    ca_bundle: Path | None = Field(default=None, strict=False, description="Trust roots of its server, PEM.")


class State(Strict):
    """Where state rests, and under which key."""

    shared: SharedDatabase | None = None

    seal_key: str | None = Field(
        default=None,
        description="Secret ref of the key that seals tokens and keys in the database; none: a key file beside it.",
    )


class Certificates(Strict):
    """The interception CA. `issuer_*` bring an operator's own issuing CA with its chain."""

    issuer_certificate: Path | None = Field(default=None, strict=False, description="PEM: issuing CA, then its chain.")
    issuer_key: str | None = Field(default=None, description="Secret ref of its private key, PEM.")

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.issuer_certificate is None) != (self.issuer_key is None):
            raise ValueError("issuer_certificate and issuer_key go together")
        return self


class Logs(Strict):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    style: Literal["text", "json"] = "text"


class Confinement(Strict):
    """How it is shown that agents have no way out but the sidecar: docs/confinement-check.md."""

    report: Path | None = Field(
        default=None,
        strict=False,
        description="What `briefcased doctor --confinement --write` wrote on the agent's side.",
    )
    max_age_s: Annotated[float, Field(gt=0, le=31_536_000)] = 86_400.0
    accept: tuple[str, ...] = Field(default=(), description="Ways that are known to be open.")
    required: bool = Field(default=True, description="Mode `ga` starts only with a report that says closed.")


class Pkcs11(Strict):
    """The module behind pkcs11: key refs, and the PIN of its tokens."""

    module: Path | None = Field(default=None, strict=False, description="The shared library of the token's maker.")
    pin: str | None = Field(default=None, description="Secret ref of the user PIN.")


class RemoteSigner(Strict):
    """A signer over HTTPS behind signer: key refs, and how we show who we are."""

    url: Annotated[str, Field(pattern=r"^https://[^#?\s]+$", description="Its base, as key refs name it.")]
    token: str | None = Field(default=None, description="Secret ref of a bearer token.")
    certificate: str | None = Field(default=None, description="Secret ref of PEM with our key and client certificate.")
    ca_bundle: Path | None = Field(default=None, strict=False, description="Trust roots for it, PEM.")


class Keys(Strict):
    """Keys that never come into the sidecar. See docs/keys.md."""

    pkcs11: Pkcs11 = Pkcs11()
    signers: tuple[RemoteSigner, ...] = ()


class Settings(Strict):
    """The whole file."""

    version: Literal[1]
    mode: Annotated[Mode, Field(strict=False)] = Mode.REFERENCE
    listeners: Listeners = Listeners()
    providers: dict[Name, Provider] = {}
    tenants: tuple[Name, ...] = Field(
        default=(), description="Where there are any, every account, agent and user names its own."
    )
    users: dict[Name, UserEntry] = {}
    agents: dict[Name, AgentEntry] = {}
    profiles: tuple[Path, ...] = Field(default=(), strict=False, description="Directories with further profiles.")
    profiles_digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = Field(
        default=None, description="Of all their files, as `briefcased check` prints it; others are then refused."
    )
    unmatched: Literal["refuse", "pass"] = Field(
        default="refuse", description="Hosts without a profile: refused, or passed through unread."
    )
    passthrough_hosts: tuple[str, ...] = Field(
        default=(),
        description="HOST or HOST:PORT, exact, whose TLS is passed through unread; metered and receipted.",
    )
    egress: Egress = Egress()
    identity: Identity = Identity()
    policies: PolicySettings = PolicySettings()
    risk: RiskSettings = RiskSettings()
    approvals: ApprovalSettings = ApprovalSettings()
    operators: OperatorSettings = OperatorSettings()
    budgets: tuple[Budget, ...] = Field(default=(), description="Amounts that are not overshot: docs/budgets.md.")
    rates: tuple[Rate, ...] = Field(default=(), description="How fast calls may follow each other.")
    prices: dict[Name, tuple[Price, ...]] = Field(
        default={}, description="By profile: prices of yours, before the profile's own."
    )
    limits: Limits = Limits()
    certificates: Certificates = Certificates()
    secret_stores: SecretStoreSettings = SecretStoreSettings()
    keys: Keys = Keys()
    state: State = State()
    confinement: Confinement = Confinement()
    logs: Logs = Logs()


def home() -> Path:
    """Where state lives: `$BRIEFCASED_HOME`, else the platform's state directory. Not created here."""
    if set_ := os.environ.get("BRIEFCASED_HOME"):
        return Path(set_).absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "briefcased"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "briefcased"


def boot_id() -> str:
    """What tells one boot of this machine from another (random(4)); where there is none, one run of this process."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return f"{os.getpid()}-{time.monotonic_ns()}"


def activated_sockets() -> dict[str, tuple[int, ...]]:
    """File descriptors that a service manager has opened for us, by name (sd_listen_fds(3)); empty where it has not."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    try:
        count = int(os.environ.get("LISTEN_FDS", ""))
    except ValueError:
        return {}
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, tuple[int, ...]] = {}
    for index in range(count):
        name = names[index] if index < len(names) and names[index] else "unknown"
        found[name] = (*found.get(name, ()), FIRST_ACTIVATED + index)
    return found


def service_manager() -> tuple[str | None, int | None]:
    """Its socket, and the microseconds within which it wants a sign of life; None each where it wants none.

    Source: sd_notify(3), sd_watchdog_enabled(3).
    """
    ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    every = os.environ.get("WATCHDOG_USEC", "")
    return os.environ.get("NOTIFY_SOCKET"), int(every) if ours and every.isascii() and every.isdigit() else None


def environment() -> dict[str, str]:
    """A copy of the process environment, for `run` and the `env:` store."""
    return dict(os.environ)
