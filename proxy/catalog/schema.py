"""The profile file: what one provider's API is, which operations it has, and where a credential goes.

One YAML file per provider under `profiles/`; the operator's own directory adds and overrides. Everything is frozen,
strict and refuses unknown keys; the JSON Schema in `docs/schema/profile.json` is generated from these classes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from proxy.budget.meters.spec import Usage  # noqa: TC001
from proxy.budget_settings import Price  # noqa: TC001
from proxy.catalog.validation.spec import (  # noqa: TC001
    BodySpec,
    FieldName,
    FieldSpec,
    GraphqlSpec,
    JsonRpcSpec,
)
from proxy.credentials import CredentialSpec  # noqa: TC001  # pydantic needs it at run time
from proxy.credentials.answers import AnswerSpec  # noqa: TC001
from proxy.credentials.captures.spec import CaptureSpec  # noqa: TC001
from proxy.credentials.kind import HeaderName  # noqa: TC001
from proxy.documents import Strict
from proxy.model import Action  # noqa: TC001

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
OperationId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$", max_length=64)]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
Method = Annotated[str, Field(pattern=r"^[A-Z]{3,16}$")]


class HostRule(Strict):
    """An authority this profile manages.

    `host` is an exact name, or `*.example.com` for exactly one more label; wildcards below a public suffix are
    refused at load. `paths` limits the profile to path prefixes of a shared host.
    """

    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 443
    scheme: Literal["https", "http"] = "https"
    paths: tuple[str, ...] = ("/",)
    token_host: bool = Field(
        default=False,
        description="Only operations that name this host apply to it, each answered here or captured. Several enabled "
        "profiles may have it: the stand-in in the call says whose it is.",
    )
    http_upgrade: bool = Field(
        default=False, description="A plain `http://` request of the agent for this host leaves over HTTPS."
    )
    account_host: str | None = Field(
        default=None,
        description="What the host must be for the account that is used, with {variable}: tenants behind a wildcard.",
    )


class StandInShape(Strict):
    """How a stand-in looks, so that SDKs that check the shape of a key accept it."""

    prefix: str = ""
    length: Annotated[int, Field(ge=16, le=256)] = 40
    alphabet: Literal["base32", "base62", "hex", "digits", "base64url"] = "base62"
    template: str | None = Field(
        default=None, description="For compound shapes: `{digits:10}:{base64url:35}`; replaces prefix and length."
    )


class Variable(Strict):
    """A plain value that an account of this provider has: a tenant, a region, a client id."""

    title: str = ""
    pattern: str = Field(
        default=r"[A-Za-z0-9._-]{1,128}", description="What it must match, whole; no look-around, no back-references."
    )
    default: str | None = None
    example: str = Field(default="", description="One value that fits, for pages and tests.")


class SecretSlot(Strict):
    """One long-lived secret that an account of this provider may have."""

    title: str = ""
    env: tuple[str, ...] = Field(default=(), description="Variables that usually hold it, most usual first.")
    prefixes: tuple[str, ...] = Field(default=(), description="Known beginnings of a real value, for detection.")
    stand_in: StandInShape = StandInShape()
    minted: bool = Field(
        default=False, description="No account is given it: it is minted or captured, and the agent holds a stand-in."
    )


class Limits(Strict):
    """Ceilings of one operation. None means the sidecar's own limit."""

    max_body_bytes: Annotated[int, Field(ge=0)] | None = None
    max_held_bytes: Annotated[int, Field(ge=0, le=64 * 1024 * 1024)] = 1024 * 1024
    response_timeout_s: Annotated[int, Field(ge=1, le=86_400)] = 600


class Operation(Strict):
    """One callable thing. All discriminators given must hold.

    `path` is a template over whole segments: literals, `{name}` for one segment, `{name=prefix*}` is not supported,
    `**` as the last segment for any rest (also none). `query` and `headers` map a name to the exact value, or to `*`
    for "present". Where two operations match, the more specific path wins; ties are refused at load.
    """

    id: OperationId
    title: str = ""
    methods: tuple[Method, ...]
    path: str
    hosts: tuple[str, ...] = Field(default=(), description="Only these of the profile's hosts; empty: all.")
    query: dict[str, str] = {}
    headers: dict[HeaderName, str] = {}
    graphql: GraphqlSpec | None = Field(default=None, description="The GraphQL documents that are this operation.")
    jsonrpc: JsonRpcSpec | None = Field(default=None, description="The JSON-RPC messages that are this operation.")
    action: Action
    data_class: Literal["public", "internal", "sensitive"] | None = Field(
        default=None, description="Of what the call sends or fetches; policies may ask for it."
    )
    body: BodySpec | None = Field(default=None, description="What the body must be; absent: whatever it is.")
    query_schema: dict[str, JsonValue] | None = Field(
        default=None, description="JSON Schema 2020-12 of the query: an object of texts."
    )
    header_schema: dict[str, JsonValue] | None = Field(
        default=None, description="JSON Schema 2020-12 of the headers: an object of texts, names in lower case."
    )
    fields: dict[FieldName, FieldSpec] = Field(default={}, description="Values of the call that policies may speak of.")
    batch: Literal["refused"] | None = Field(
        default=None, description="It makes several calls in one, which nobody would look at: always refused."
    )
    credentials: tuple[Name, ...] = Field(
        default=(), description="Names of credentials in order of preference; empty: the profile's order."
    )
    anonymous: bool = Field(default=False, description="Needs no credential; none is attached.")
    answer: AnswerSpec | None = Field(
        default=None, description="The sidecar answers the call itself, with stand-ins; nothing is dialled."
    )
    capture: CaptureSpec | None = Field(
        default=None, description="Fresh secrets in the reply are stored, and the agent gets stand-ins."
    )
    usage: Name | None = Field(default=None, description="Which of the profile's `usage` says what a call uses.")
    limits: Limits = Limits()
    websocket: bool = False
    allow_range: bool = Field(default=False, description="Let `Range` through; off because ranges defeat scrubbing.")

    def applies_to(self, rule: HostRule) -> bool:
        """Whether it covers calls to the host of `rule`."""
        return rule.host in self.hosts or not (self.hosts or rule.token_host)

    @property
    def reads_body(self) -> bool:
        """Whether the body's fields may say which account is meant."""
        return self.answer is not None or self.capture is not None

    @property
    def told_by_content(self) -> bool:
        """Whether its head alone does not say that a call is this operation."""
        return self.graphql is not None or self.jsonrpc is not None

    @property
    def is_checked(self) -> bool:
        """Whether its calls are held against schemas, or have fields."""
        return bool(self.body or self.query_schema is not None or self.header_schema is not None or self.fields)

    @property
    def needs_body(self) -> bool:
        """Whether a body must be read to tell what a call is, and whether it is what it should be."""
        return self.told_by_content or self.body is not None

    @property
    def may_leave(self) -> bool:
        """Whether a call may ever be sent to the provider."""
        return self.answer is None or self.answer.otherwise == "forward"


class ExampleRequest(Strict):
    """What the agent sends. `{stand_in:NAME}` in any value is replaced by the stand-in of that secret."""

    method: Method = "GET"
    url: str
    headers: dict[str, str] = {}
    body: str | None = None


class ExampleExpect(Strict):
    """What must be seen. In `upstream_*`, `{secret:NAME}` stands for the real value. `denied` is an error slug."""

    operation: OperationId | None = None
    denied: str | None = None
    answered: str | None = Field(default=None, description="Kind of the answer that the sidecar gives itself.")
    upstream_headers: dict[str, str] = {}
    upstream_absent_headers: tuple[str, ...] = ()
    upstream_path: str | None = Field(default=None, description="Path and query as the provider must see them.")
    upstream_body: str | None = None


class Example(Strict):
    """A runnable example; tests execute it through the real proxy against a sample server."""

    name: str
    request: ExampleRequest
    expect: ExampleExpect
    account_secrets: tuple[Name, ...] = Field(default=(), description="Secrets the account has; empty: the first.")


class SdkFile(Strict):
    """A file that an SDK is led to by a variable: JSON, with places as a variable's text has them."""

    file: JsonValue


class Profile(Strict):
    """One provider."""

    schema_version: Literal[1] = Field(alias="schema")
    name: Name
    title: str
    provider: Name | None = Field(
        default=None, description="Whose service it is, where one provider has several profiles; else the name."
    )
    docs: str
    checked: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="Date the facts were last checked.")]
    hosts: Annotated[tuple[HostRule, ...], Field(min_length=1)]
    secrets: dict[Name, SecretSlot] = {}
    variables: dict[Name, Variable] = {}
    credentials: dict[Name, CredentialSpec]
    skip_credential_when: tuple[Literal["not_connected", "credential_revoked", "credential_unavailable"], ...] = Field(
        default=("not_connected",),
        description="Refusals after which the account's next credential is tried; empty: the first one alone counts.",
    )
    operations: Annotated[tuple[Operation, ...], Field(min_length=1)]
    usage: dict[Name, Usage] = Field(default={}, description="What calls use, under names that operations refer to.")
    prices: tuple[Price, ...] = Field(default=(), description="What models cost; `checked` says as of when.")
    prices_checked: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = Field(
        default=None, description="Date the prices were last checked."
    )
    prices_docs: str | None = Field(default=None, description="Where the provider publishes them.")
    environment: dict[VariableName, str | SdkFile] = Field(
        default={},
        description="Variables by which SDKs find what is answered here: a text, or a file whose path the variable is. "
        "Places: {stand_in:SLOT}, {variable:NAME}, {base_url}. Not set where the account lacks one of them.",
    )
    examples: tuple[Example, ...] = ()
    strip_headers: tuple[HeaderName, ...] = Field(
        default=(), description="Further headers in which this API takes credentials; removed from the agent's request."
    )
    strip_query: tuple[str, ...] = Field(default=(), description="Query parameters in which it takes credentials.")
    owned_headers: tuple[HeaderName, ...] = Field(
        default=(), description="Headers that choose whose account is used; the agent's are removed, accounts set them."
    )
    owned_query: tuple[str, ...] = ()
    encoded_slash: bool = Field(
        default=False, description="The API takes `%2F` inside one path segment as data (GitLab project ids)."
    )
    notes: str = ""
