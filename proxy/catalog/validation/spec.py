"""What a profile says of the bodies, queries and headers of an operation: the blocks of its YAML."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from proxy.documents import Strict
from proxy.policy.vocabulary import FieldType  # noqa: TC001  # pydantic needs it at run time

Pointer = Annotated[str, Field(pattern=r"^(/([^/~]|~[01])*)+$", max_length=512)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FieldName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
GraphqlName = Annotated[str, Field(pattern=r"^[_A-Za-z][_0-9A-Za-z]*$", max_length=256)]
GraphqlKind = Literal["query", "mutation", "subscription"]
RpcMethod = Annotated[str, Field(pattern=r"^(\*|[A-Za-z0-9_.$-]+(/[A-Za-z0-9_.$-]+)*(/\*)?)$", max_length=256)]
BodyFormat = Literal["json", "form", "multipart"]

MAX_BATCH = 100
"""Calls in one request; each is judged while others wait."""
USUAL_TYPES: dict[BodyFormat, tuple[str, ...]] = {
    "json": ("application/json",),
    "form": ("application/x-www-form-urlencoded",),
    "multipart": ("multipart/form-data",),
}


class BodySpec(Strict):
    """What the body must be. It is held and read before the decision; one that has two readings is refused."""

    format: BodyFormat = "json"
    content_types: tuple[Annotated[str, Field(pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+$")], ...] = Field(
        default=(), description="Media types it may have; none: the usual one of the format."
    )
    required: bool = True
    schema_: JsonValue = Field(
        default=None,
        alias="schema",
        description="JSON Schema 2020-12. A form is an object of texts; of a name that stands twice, of lists.",
    )
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.json$")] | None = Field(
        default=None, description="The schema is in this file, beside the profile."
    )

    def takes(self, media_type: str) -> bool:
        """Whether a body of this type may be sent."""
        return media_type in (self.content_types or USUAL_TYPES[self.format])


class FieldSpec(Strict):
    """A value of the request that policies may speak of, as `context.fields.NAME`."""

    type: FieldType
    pointer: Pointer | None = Field(
        default=None, description="Where it stands in the body (RFC 6901); a field of a form is `/name`."
    )
    query: Annotated[str, Field(min_length=1)] | None = Field(default=None, description="Name of a query parameter.")
    required: bool = Field(default=False, description="A call without it is refused.")


class GraphqlSpec(Strict):
    """GraphQL documents that are this operation. Every operation of a document must fit."""

    operations: Annotated[tuple[GraphqlKind, ...], Field(min_length=1)]
    fields: tuple[GraphqlName, ...] = Field(
        default=(), description="All that may stand at the top of a document, whatever its alias; none: any."
    )
    persisted: tuple[Sha256, ...] = Field(
        default=(), description="SHA-256 of documents that may be named instead of sent; the list is a person's word."
    )
    max_depth: Annotated[int, Field(ge=1, le=200)] = 25
    max_aliases: Annotated[int, Field(ge=0, le=10_000)] = 100
    costs: tuple[GraphqlName, ...] = Field(
        default=(),
        description="Fields at the top that count as a call each; none: every one of a mutation, and a query once.",
    )
    max_batch: Annotated[int, Field(ge=1, le=MAX_BATCH)] = Field(
        default=1, description="Documents in one array that has one of these; each is judged and counted by itself."
    )


class JsonRpcSpec(Strict):
    """JSON-RPC messages, MCP's too, that are this operation."""

    methods: Annotated[tuple[RpcMethod, ...], Field(min_length=1)] = Field(
        description="Names; `notifications/*` for all that begin so, `*` for all."
    )
    tools: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = Field(
        default=(), description="Of `tools/call`: only these; none: any."
    )
    responses: bool = Field(default=False, description="Also answers to what the server asked.")
    max_batch: Annotated[int, Field(ge=1, le=MAX_BATCH)] = Field(
        default=1, description="Messages in one array that has one of these; each is judged and counted by itself."
    )
