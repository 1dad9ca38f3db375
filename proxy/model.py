"""The values that travel between the parts. No behaviour beyond reading them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from pathlib import Path

HTTPS_PORT: Final = 443
"""Of `https` URLs (RFC 9110, section 4.2.2)."""


INTERNAL: Final = "briefcased.internal"
"""Where the sidecar itself answers its agents, over plain HTTP; the name is never resolved or dialled."""


PERSON: Final = r"[A-Za-z0-9][A-Za-z0-9._@+|:=~-]{0,126}"
"""How a person of an OpenID provider is called. Names of our own operators, agents and users have no slash: none is
like another."""
OPERATOR: Final = rf"[a-z][a-z0-9_-]{{0,62}}(/{PERSON})?"
"""The name of an operator: one of ours, or `LABEL/PERSON`."""


class Action(StrEnum):
    """What an operation does at the provider."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class Strength(IntEnum):
    """What must happen before a call that is allowed may leave; a higher one covers the lower ones."""

    NONE = 0
    APPROVAL = 1  # a person says yes
    STRONG = 2  # and proves who they are with a key of theirs


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a person is asked: a stable code, one sentence of ours, and the step that wants it."""

    code: str
    text: str
    by: str


class Role(StrEnum):
    """What an operator may do; which routes each may use is written at `proxy/api/routes.py`."""

    VIEWER = "viewer"  # look
    APPROVER = "approver"  # and decide about approvals
    OPERATOR = "operator"  # look, and change agents and locks; not approve
    ADMIN = "admin"  # everything, operators as well


@dataclass(frozen=True, slots=True)
class Operator:
    """A person, or a program of theirs, that administers the sidecar. Never an agent.

    Attributes:
        tenant: the only one that they see and change; None: all.
        via: how they were known, for receipts: `token:ID`, `session:ID` or `uid:1000`.
        ceiling: the role of the token, which may be a lesser one; both must allow what is done.
        user: whom of `users:` they are, where that is not the name.
        anybody: nobody has said which user they are, so they may be any.
    """

    name: str
    role: Role
    ceiling: Role
    tenant: str | None
    via: str
    user: str | None = None
    anybody: bool = False

    def may_see(self, tenant: str) -> bool:
        """Whether what belongs to `tenant` is there for them."""
        return self.tenant is None or self.tenant == tenant

    @property
    def is_admin(self) -> bool:
        """Whether they are one, and this token lets them be."""
        return self.role is Role.ADMIN and self.ceiling is Role.ADMIN

    def is_named(self, name: str) -> bool:
        """Whether what is called `name` is, or may be, themselves."""
        return name in (self.name, self.user)

    def may_be(self, user: str | None) -> bool:
        """Whether they are this user, or may be."""
        return user is not None and (self.anybody or self.is_named(user))


class Mode(StrEnum):
    """How strict a deployment is; see `docs/modes.md`."""

    REFERENCE = "reference"
    STAGING = "staging"
    GA = "ga"


@dataclass(frozen=True, slots=True)
class Authority:
    """A destination.

    Attributes:
        host: a lower-case ASCII DNS name without a trailing dot, or a canonical IP literal without brackets.
        port: 1 to 65535.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UpstreamProxy:
    """A proxy of the operator's through which a provider is reached.

    Attributes:
        scheme: how it is spoken to: HTTP CONNECT, the same inside TLS, or SOCKS 5.
        username: secret ref; None where it wants no credentials.
        password: secret ref; None counts as an empty one.
        trust: PEM bundle of roots for a proxy that is spoken to over TLS; None is the default bundle.
        timeout_s: for its TLS handshake and its answer, together.
    """

    scheme: Literal["http", "https", "socks5"]
    authority: Authority
    username: str | None = None
    password: str | None = None
    trust: Path | None = None
    timeout_s: float = 15.0


@dataclass(frozen=True, slots=True)
class AccountId:
    """One set of credentials at a provider: `github/work`."""

    provider: str
    name: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.name}"


BY_NAME: Final = "@"
"""Begins the `token_id` of an agent known by its listener (`@listener`, `@uid:1000`), its stand-in or its SPIFFE ID."""


TENANT: Final = "main"
"""Of everything, where the configuration declares no tenants."""


@dataclass(frozen=True, slots=True)
class User:
    """A person on whose behalf an agent acts.

    Attributes:
        name: unique among the users of this sidecar.
        accounts: the accounts that may be used for them, as an agent's. Empty means none.
    """

    name: str
    accounts: tuple[str, ...]
    tenant: str = TENANT
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Called:
    """A call as a task token sees it; what is not known of it (None) covers no limit about it.

    Attributes:
        account: `provider/name`.
        operation: `profile:operation`.
        path: origin-form, without its query.
    """

    now_ms: int
    host: str
    method: str | None = None
    path: str | None = None
    account: str | None = None
    provider: str | None = None
    operation: str | None = None
    action: Action | None = None


class Session(Protocol):
    """A token that was minted for a task: it can only make narrower what its agent may do."""

    def permits(self, call: Called) -> bool:
        """Whether the call is within every limit of the token. Pure."""
        ...


class Proof(Protocol):
    """What an agent's connection rests on, where that may end before the connection does."""

    def holds(self, now_ms: int) -> bool:
        """Whether it still holds."""
        ...


type Identity = tuple[str, str, str | None]
"""Tenant, agent, and the user on whose behalf it acts, or None."""


@dataclass(frozen=True, slots=True)
class Agent:
    """Who is calling.

    Attributes:
        name: unique among the agents of this sidecar.
        accounts: the accounts it may use, as `provider/name`, `provider/*` or `*`. Empty means none.
        token_id: the public part of the token it authenticated with, for receipts and revocation.
        user: on whose behalf it acts; then both must be allowed.
        task: the id of the task that its token was minted for.
        users: on whose behalf it may act.
        session: the limits of a token that was minted for a task.
        proof: what its connection rests on: an SVID, a process.
        life: how often an agent of this name was revoked; task tokens of an earlier life are worth nothing.
    """

    name: str
    accounts: tuple[str, ...]
    token_id: str
    tenant: str = TENANT
    groups: tuple[str, ...] = ()
    user: User | None = None
    task: str | None = None
    users: tuple[str, ...] = ()
    session: Session | None = None
    proof: Proof | None = field(default=None, compare=False)
    life: int = 0

    @property
    def by_name(self) -> bool:
        """Whether no token stands behind it: a listener or a stand-in said who it is."""
        return self.token_id.startswith(BY_NAME)

    @property
    def identity(self) -> Identity:
        """Whose a call is: what one asked for is nothing to another."""
        return self.tenant, self.name, self.user.name if self.user is not None else None

    def may_use(self, account: AccountId, tenant: str) -> bool:
        """Whether the grants cover `account`, which is `tenant`'s: its own, and those of whom it acts for (P6)."""
        parties: tuple[Agent | User, ...] = (self,) if self.user is None else (self, self.user)
        return all(party.tenant == tenant and _cover(party.accounts, account) for party in parties)


def _cover(grants: tuple[str, ...], account: AccountId) -> bool:
    return any(grant in ("*", f"{account.provider}/*", str(account)) for grant in grants)


ANONYMOUS: Final = Agent("-", (), "-")
"""Stands for whoever has not said who it is, also in receipts."""

type Headers = tuple[tuple[str, str], ...]
"""Lower-case names and their values, in order; values are latin-1 text without control characters."""


@dataclass(frozen=True, slots=True)
class RawHead:
    """A request head as a lane parsed it, before anything was believed.

    Attributes:
        target: HTTP/1 request target as received (origin- or absolute-form), or the HTTP/2 `:path`.
        authority: HTTP/2 `:authority`; empty for HTTP/1.
        scheme: HTTP/2 `:scheme`; empty for HTTP/1.
        http_version: `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
        end_stream: no body follows.
    """

    method: bytes
    target: bytes
    authority: bytes
    scheme: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    http_version: str
    end_stream: bool


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The one canonical form of a request head: what is decided on is what leaves (P8).

    Attributes:
        path: origin-form path, starts with `/`, as it leaves.
        segments: the path's segments, percent-decoded, without the leading empty one: `/a/b%20c` is `("a", "b c")`.
            A trailing slash gives a last empty segment.
        query: without the `?`, as it leaves; None when there is no `?` at all.
        headers: end-to-end headers only; `host` is not among them, the authority is.
        content_length: None when unknown (chunked, HTTP/2 without it) or when there is no body.
        websocket: a well-formed WebSocket upgrade (RFC 6455, section 4.1).
    """

    method: str
    scheme: str
    authority: Authority
    path: str
    segments: tuple[str, ...]
    query: str | None
    headers: Headers
    has_body: bool
    content_length: int | None = None
    websocket: bool = False

    def header(self, name: str) -> str | None:
        """The first value of the header `name` (lower-case), or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A response head as the upstream sent it; names are lower-case."""

    status: int
    headers: Headers
    end_stream: bool = False
