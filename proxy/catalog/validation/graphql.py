"""What GraphQL documents would do: kinds, fields at the top, depth, aliases (C-15). Pure.

Source: https://spec.graphql.org/September2025/ and https://graphql.github.io/graphql-over-http/draft/
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from proxy.catalog.validation.json_text import member, read_json
from proxy.catalog.validation.spec import MAX_BATCH
from proxy.catalog.validation.unclear import UnclearError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.catalog.validation.json_text import Json
    from proxy.catalog.validation.received import Received
    from proxy.catalog.validation.spec import GraphqlSpec

MAX_TOKENS: Final = 10_000
"""Of all documents of a request: they are parsed in between other requests."""
TYPENAME: Final = "__typename"
ENVELOPE: Final = frozenset({"query", "operationName", "variables", "extensions"})
PERSISTED: Final = frozenset({"id", "documentid", "doc_id", "docid", "queryid", "query_id", "hash", "operationid"})
"""Names by which servers look documents up, in lower case."""


@dataclass(frozen=True, slots=True)
class Document:
    """One request's document, every operation in it counted.

    Attributes:
        kinds: `query`, `mutation`, `subscription`.
        fields: what stands at the top, aliases and fragments resolved; `__typename` is not counted.
        calls: of the operation that the request means: how often each field stands at its top.
        changes: that operation is a mutation.
        sha256: of a document that was named and not sent; None where it was sent.
    """

    kinds: frozenset[str]
    fields: frozenset[str]
    depth: int
    aliases: int
    calls: Mapping[str, int] = field(default_factory=dict)
    changes: bool = False
    sha256: str | None = None


def read_graphql(received: Received) -> tuple[Document, ...]:
    """The documents of a request: one, or those of a batch. Raises `UnclearError`."""
    head = received.head
    if head.method in ("GET", "HEAD"):
        if head.has_body:
            raise UnclearError("A GraphQL query in the URL has no body.")
        return (_document(_from_query(received.query()), 1),)
    parameters = {name.partition("=")[0].lower() for name in (head.query or "").split("&")}
    if "%" in "".join(parameters) or parameters & ({name.lower() for name in ENVELOPE} | PERSISTED):
        raise UnclearError("A GraphQL document stands in the body or in the URL, not in both.")
    content = received.content()
    entries = content if isinstance(content, list) else [content]
    if not 0 < len(entries) <= MAX_BATCH:
        raise UnclearError("A GraphQL batch holds nothing, or too much.")
    return tuple(_document(_envelope(entry), len(entries)) for entry in entries)


def fits(spec: GraphqlSpec, document: Document) -> bool:
    """Whether it is what `spec` speaks of."""
    if document.sha256 is not None:
        return document.sha256 in spec.persisted
    return document.kinds <= set(spec.operations) and (not spec.fields or document.fields <= set(spec.fields))


def excess(spec: GraphqlSpec, document: Document) -> str | None:
    """Which limit of `spec` it exceeds."""
    if document.depth > spec.max_depth:
        return "The document is nested more deeply than this operation takes."
    if document.aliases > spec.max_aliases:
        return "The document has more aliases than this operation takes."
    return None


def times(spec: GraphqlSpec | None, document: Document) -> int:
    """As how many calls it counts (K-11): fields at the top that `spec` says cost; else every one of a mutation.

    What was named and not sent counts as one: whoever listed it knows what it does.
    """
    costs = spec.costs if spec is not None else ()
    if not costs and not document.changes:
        return 1
    return max(1, sum(count for name, count in document.calls.items() if not costs or name in costs))


def _from_query(parameters: Mapping[str, Json]) -> dict[str, Json]:
    """The envelope of a document in a URL: `variables` and `extensions` are JSON there."""
    found: dict[str, Json] = {}
    folded = {name.lower() for name in ENVELOPE}
    for name, value in parameters.items():
        if name.lower() in PERSISTED or (name.lower() in folded and name not in ENVELOPE) or isinstance(value, list):
            raise UnclearError("The URL names a GraphQL document in more than one way.")
        if name in ("variables", "extensions"):
            found[name] = read_json(str(value).encode()) if value else None
        elif name in ENVELOPE:
            found[name] = value
    return found


def _envelope(entry: Json) -> dict[str, Json]:
    if not isinstance(entry, dict) or not entry.keys() <= ENVELOPE:
        raise UnclearError("A GraphQL request has query, operationName, variables and extensions, and nothing else.")
    return entry


def _document(envelope: Mapping[str, Json], among: int) -> Document:
    """What the document of `envelope` does; `among` so many that share what may be parsed for one request."""
    for name in ("variables", "extensions"):
        if not isinstance(envelope.get(name), dict | None):
            raise UnclearError("GraphQL variables and extensions are objects.")
    digest = _digest(envelope.get("extensions"))
    text, chosen = envelope.get("query"), envelope.get("operationName")
    if not isinstance(chosen, str | None):
        raise UnclearError("A GraphQL operationName is a text.")
    if text is None and digest is not None:
        return Document(frozenset(), frozenset(), 0, 0, sha256=digest)
    if not isinstance(text, str) or not text:
        raise UnclearError("A GraphQL request has a document.")
    if digest is not None and digest != hashlib.sha256(text.encode()).hexdigest():
        raise UnclearError("A GraphQL request has a document and the hash of another one.")
    from proxy.catalog.validation.selections import counted  # noqa: PLC0415  # its library takes half a second to load

    count = counted(text, chosen or None, max_tokens=MAX_TOKENS // among)
    calls = {name: often for name, often in count.calls.items() if name != TYPENAME}
    return Document(count.kinds, count.fields - {TYPENAME}, count.depth, count.aliases, calls, count.changes)


def _digest(extensions: Json) -> str | None:
    """The hash by which a document is named (the persisted queries of Apollo)."""
    named = member(extensions, "persistedQuery") if isinstance(extensions, dict) else None
    if named is None:
        return None
    digest = member(named, "sha256Hash") if isinstance(named, dict) else None
    if not isinstance(digest, str):
        raise UnclearError("A persisted GraphQL query is named by its SHA-256.")
    return digest
