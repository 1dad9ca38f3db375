"""What GraphQL documents would do: kinds, fields at the top, depth, aliases (C-15). Pure.

Source: https://spec.graphql.org/September2025/ and https://graphql.github.io/graphql-over-http/draft/
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from graphql import GraphQLError, parse
from graphql.language import FragmentDefinitionNode, OperationDefinitionNode

from proxy.catalog.validation.json_text import member, read_json
from proxy.catalog.validation.selections import Fragments
from proxy.catalog.validation.unclear import UnclearError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphql import DocumentNode

    from proxy.catalog.validation.json_text import Json
    from proxy.catalog.validation.received import Received
    from proxy.catalog.validation.spec import GraphqlSpec

MAX_TOKENS: Final = 10_000
ENVELOPE: Final = frozenset({"query", "operationName", "variables", "extensions"})
PERSISTED: Final = frozenset({"id", "documentid", "doc_id", "docid", "queryid", "query_id", "hash", "operationid"})
"""Names by which servers look documents up, in lower case."""


@dataclass(frozen=True, slots=True)
class Document:
    """One request's document, every operation in it counted.

    Attributes:
        kinds: `query`, `mutation`, `subscription`.
        fields: what stands at the top, aliases and fragments resolved; `__typename` is not counted.
        sha256: of a document that was named and not sent; None where it was sent.
    """

    kinds: frozenset[str]
    fields: frozenset[str]
    depth: int
    aliases: int
    sha256: str | None = None


def read_graphql(received: Received) -> tuple[Document, ...]:
    """The documents of a request: one, or those of a batch. Raises `UnclearError`."""
    head = received.head
    if head.method in ("GET", "HEAD"):
        if head.has_body:
            raise UnclearError("A GraphQL query in the URL has no body.")
        return (_document(_from_query(received.query())),)
    parameters = {name.partition("=")[0].lower() for name in (head.query or "").split("&")}
    if "%" in "".join(parameters) or parameters & ({name.lower() for name in ENVELOPE} | PERSISTED):
        raise UnclearError("A GraphQL document stands in the body or in the URL, not in both.")
    content = received.content()
    entries = content if isinstance(content, list) else [content]
    if not entries:
        raise UnclearError("An empty GraphQL batch.")
    return tuple(_document(_envelope(entry)) for entry in entries)


def fits(spec: GraphqlSpec, documents: tuple[Document, ...]) -> bool:
    """Whether all of them are what `spec` speaks of."""
    return all(_fits(spec, document) for document in documents)


def _fits(spec: GraphqlSpec, document: Document) -> bool:
    if document.sha256 is not None:
        return document.sha256 in spec.persisted
    return document.kinds <= set(spec.operations) and (not spec.fields or document.fields <= set(spec.fields))


def excess(spec: GraphqlSpec, documents: tuple[Document, ...]) -> str | None:
    """Which limit of `spec` they exceed."""
    if len(documents) > spec.max_batch:
        return "The batch holds more documents than this operation takes."
    if any(document.depth > spec.max_depth for document in documents):
        return "The document is nested more deeply than this operation takes."
    if any(document.aliases > spec.max_aliases for document in documents):
        return "The document has more aliases than this operation takes."
    return None


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


def _document(envelope: Mapping[str, Json]) -> Document:
    for name in ("variables", "extensions"):
        if not isinstance(envelope.get(name), dict | None):
            raise UnclearError("GraphQL variables and extensions are objects.")
    digest = _digest(envelope.get("extensions"))
    text, chosen = envelope.get("query"), envelope.get("operationName")
    if not isinstance(chosen, str | None):
        raise UnclearError("A GraphQL operationName is a text.")
    if text is None and digest is not None:
        return Document(frozenset(), frozenset(), 0, 0, digest)
    if not isinstance(text, str) or not text:
        raise UnclearError("A GraphQL request has a document.")
    if digest is not None and digest != hashlib.sha256(text.encode()).hexdigest():
        raise UnclearError("A GraphQL request has a document and the hash of another one.")
    return read_document(text, chosen or None)


def _digest(extensions: Json) -> str | None:
    """The hash by which a document is named (the persisted queries of Apollo)."""
    named = member(extensions, "persistedQuery") if isinstance(extensions, dict) else None
    if named is None:
        return None
    digest = member(named, "sha256Hash") if isinstance(named, dict) else None
    if not isinstance(digest, str):
        raise UnclearError("A persisted GraphQL query is named by its SHA-256.")
    return digest


def read_document(text: str, chosen: str | None = None) -> Document:
    """What the document `text` does. `chosen` is the operation that the request names.

    Every operation counts, also one that is not chosen. Raises `UnclearError`.
    """
    try:
        document = parse(text, no_location=True, max_tokens=MAX_TOKENS, allow_empty_selection_sets=False)
        return _counted(document, chosen)
    except (GraphQLError, RecursionError):
        raise UnclearError("The GraphQL document cannot be read, or is too large.") from None


def _counted(document: DocumentNode, chosen: str | None) -> Document:
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    named = [one for one in document.definitions if isinstance(one, FragmentDefinitionNode)]
    if not operations or len(operations) + len(named) != len(document.definitions):
        raise UnclearError("A GraphQL document holds operations and fragments, and nothing else.")
    names = [one.name.value if one.name is not None else None for one in operations]
    if len(set(names)) != len(names) or (None in names and len(names) > 1):
        raise UnclearError("Two GraphQL operations of one document have the same name, or one has none.")
    if chosen not in names and (chosen is not None or len(names) > 1):
        raise UnclearError("The GraphQL request does not say which operation of its document is meant.")
    fragments = Fragments(named)
    counts = [fragments.count(one.selection_set) for one in operations]
    return Document(
        kinds=frozenset(one.operation.value for one in operations),
        fields=frozenset().union(*(count.fields for count in counts)) - {"__typename"},
        depth=max(count.depth for count in counts),
        aliases=sum(count.aliases for count in counts),
    )
