"""C-15 and K-11: what a GraphQL document would do decides, however it is written."""

from __future__ import annotations

import hashlib
from urllib.parse import quote, urlencode

import orjson
import pytest

from tests.validation.calls import head, operation, told

HASH = hashlib.sha256(b"known").hexdigest()
READ = operation("read", graphql={"operations": ["query"], "max_depth": 5, "max_aliases": 3, "persisted": [HASH]})
ISSUES = operation(
    "issues",
    action="write",
    graphql={"operations": ["mutation"], "fields": ["issueCreate", "issueUpdate"], "max_batch": 2},
)
REST = operation("rest", action="admin")
ALL = [ISSUES, READ, REST]


def body(query: object, **more: object) -> bytes:
    return orjson.dumps({"query": query, **more})


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("{ viewer { id } }", "read"),
        ("query { a: viewer { id } }", "read"),
        ("query Q($x: ID! = 1) @d { node(id: $x) { ...F } } fragment F on N { id }", "read"),
        ("mutation { issueCreate(input: {}) { id } }", "issues"),
        ("mutation { query: issueCreate { id } __typename }", "issues"),
        ("mutation { issueCreate { id } issueUpdate { id } }", "issues*2"),
        ("mutation { issueCreate { id } webhookCreate { id } }", "rest*2"),
        ("mutation { issueCreate: webhookCreate { id } }", "rest"),
        ("mutation { ...F } fragment F on Mutation { ...G } fragment G on Mutation { webhookCreate { id } }", "rest"),
        ("mutation { ... on Mutation { ... { issueCreate { id } } } }", "issues"),
        ("mutation { ... @include(if: false) { webhookCreate { id } } issueCreate { id } }", "rest*2"),
        ("subscription { events { id } }", "rest"),
        ('{ viewer(x: "mutation { webhookCreate }") { id } } # mutation { x }', "read"),
        ('{ viewer(x: """\n mutation { x } """) { id } }', "read"),
        ("", "ambiguous_request"),
        ("{", "ambiguous_request"),
        ("{}", "ambiguous_request"),
        ("mutation {}", "ambiguous_request"),
        ("fragment F on X { id }", "ambiguous_request"),
        ("{ ...F }", "ambiguous_request"),
        ("{ ...F } fragment F on X { ...G } fragment G on X { ...F }", "ambiguous_request"),
        ("{ ...F } fragment F on X { a } fragment F on X { b }", "ambiguous_request"),
        ("query A { a } query A { b }", "ambiguous_request"),
        ("{ a } { b }", "ambiguous_request"),
        ("query A { a } query B { b }", "ambiguous_request"),
        ("type A { b: C } { a }", "ambiguous_request"),
        ("{ a { b { c { d { e } } } } }", "read"),
        ("{ a { b { c { d { e { f } } } } } }", "invalid_request"),
        ("{ ...F } fragment F on X { a { b { c { d { ...G } } } } } fragment G on X { e { f } }", "invalid_request"),
        ("{ a: x b: x c: x }", "read"),
        ("{ a: x b: x c: x d: x }", "invalid_request"),
        ("{ ...F ...F p { ...F } q { ...F } } fragment F on X { a: x }", "invalid_request"),
        ("{ a" * 3000, "ambiguous_request"),
        ("{" + " a" * 20_000 + "}", "ambiguous_request"),
    ],
)  # fmt: skip
def test_c15_the_document_says_which_operation_it_is(query, wanted):
    assert told(ALL, body(query)) == wanted


def test_c15_fragments_that_double_cost_nothing_and_exceed():
    laughs = "".join(f"fragment F{i} on X {{ ...F{i + 1} ...F{i + 1} }} " for i in range(60))
    assert told(ALL, body("{ ...F0 } " + laughs + "fragment F60 on X { a: b }")) == "invalid_request"


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        ({"query": "query A { a } mutation B { webhookCreate }", "operationName": "A"}, "rest"),  # every operation counts
        ({"query": "query A { a } query B { b }", "operationName": "B"}, "read"),
        ({"query": "query A { a }", "operationName": "B"}, "ambiguous_request"),
        ({"query": "query A { a }", "operationName": 1}, "ambiguous_request"),
        ({"query": "query A { a }", "operationName": None, "variables": None}, "read"),
        ({"query": "{ a }", "variables": {"x": 1}, "extensions": {}}, "read"),
        ({"query": "{ a }", "variables": "{}"}, "ambiguous_request"),
        ({"query": ["{ a }"]}, "ambiguous_request"),
        ({"query": "{ a }", "id": "x"}, "ambiguous_request"),
        ({"query": "{ a }", "Query": "mutation { x }"}, "ambiguous_request"),
        ({"variables": {}}, "ambiguous_request"),
        ({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": HASH}}}, "read"),
        ({"extensions": {"persistedQuery": {"sha256Hash": "0" * 64}}}, "rest"),
        ({"extensions": {"persistedQuery": {"sha256Hash": HASH}}, "query": "known"}, "ambiguous_request"),
        ({"extensions": {"persistedQuery": {"sha256Hash": HASH}}, "query": "{ a }"}, "ambiguous_request"),
        ({"extensions": {"persistedQuery": {"sha256hash": HASH, "sha256Hash": HASH}}}, "ambiguous_request"),
        ({"extensions": {"persistedQuery": HASH}}, "ambiguous_request"),
        ([{"query": "mutation { issueCreate }"}, {"query": "mutation { issueUpdate }"}], "issues issues"),
        ([{"query": "mutation { issueCreate }"}] * 3, "invalid_request"),
        ([{"query": "{ a }"}, {"query": "{ a }"}], "invalid_request"),
        ([{"query": "{ a }"}, {"query": "mutation { webhookCreate }"}], "invalid_request"),  # neither takes a batch
        ([{"query": "mutation { webhookCreate }"}], "rest"),
        ([{"query": "mutation { webhookCreate }"}] * 2, "invalid_request"),
        ([], "ambiguous_request"),
        ([[{"query": "{ a }"}]], "ambiguous_request"),
        ("{ a }", "ambiguous_request"),
        (None, "ambiguous_request"),
    ],
)  # fmt: skip
def test_c15_envelopes_batches_and_persisted_documents(sent, wanted):
    assert told(ALL, orjson.dumps(sent)) == wanted


COSTLY = operation("search", graphql={"operations": ["query"], "costs": ["search"], "max_batch": 100})
WRITES = operation("writes", graphql={"operations": ["mutation"], "max_batch": 100})


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        ({"query": "{ viewer search(q: 1) b: search(q: 2) }"}, "search*2"),
        ({"query": "{ viewer }"}, "search"),
        ({"query": "mutation { a: x b: x __typename }"}, "writes*2"),
        ({"query": "mutation { ...F ...F } fragment F on M { x ... { y } }"}, "writes*4"),
        ({"query": "mutation A { x } mutation B { x y z }", "operationName": "B"}, "writes*3"),
        ({"query": "mutation A { x } mutation B { x y z }", "operationName": "A"}, "writes"),
        ([{"query": "mutation { x y }"}, {"query": "{ search }"}], "writes*2 search"),
        ({"query": "mutation {" + " x" * 100 + "}"}, "writes*100"),
        ({"query": "mutation {" + " x" * 101 + "}"}, "invalid_request"),
        ([{"query": "mutation {" + " x" * 60 + "}"}] * 2, "invalid_request"),
    ],
)  # fmt: skip
def test_k11_what_costs_is_counted_in_the_operation_that_is_meant(sent, wanted):
    assert told([COSTLY, WRITES], orjson.dumps(sent)) == wanted


def test_k11_fragments_that_double_are_too_many_calls():
    laughs = "".join(f"fragment F{i} on X {{ ...F{i + 1} ...F{i + 1} }} " for i in range(60))
    assert told([WRITES], body("mutation { ...F0 } " + laughs + "fragment F60 on X { b }")) == "invalid_request"


def test_c15_a_persisted_document_that_nobody_allowed_is_none_of_the_listed():
    sent = orjson.dumps({"extensions": {"persistedQuery": {"sha256Hash": "0" * 64}}})
    assert told([READ], sent) is None


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (urlencode({"query": "{ a }"}), "read"),
        (urlencode({"query": "{ a }", "variables": '{"x":1}', "api": "2"}), "read"),
        (urlencode({"query": "mutation { webhookCreate { id } }"}), "rest"),
        (urlencode({"query": "{ a }", "variables": '{"x":1,"x":2}'}), "ambiguous_request"),
        (f"query={quote('{ a }')}&query={quote('mutation { x }')}", "ambiguous_request"),
        (f"query={quote('{ a }')}&Query={quote('mutation { x }')}", "ambiguous_request"),
        (f"query={quote('{ a }')};query={quote('mutation { x }')}", "ambiguous_request"),
        (urlencode({"query": "{ a }", "id": "persisted"}), "ambiguous_request"),
        (urlencode({"documentId": "x"}), "ambiguous_request"),
        (urlencode({"extensions": orjson.dumps({"persistedQuery": {"sha256Hash": HASH}})}), "read"),
        (None, "ambiguous_request"),
    ],
)  # fmt: skip
def test_c15_documents_in_the_url(query, wanted):
    assert told(ALL, sent=head("GET", query=query, type_=None)) == wanted


@pytest.mark.parametrize("query", ["query=%7Bx%7D", "operationName=B", "%71uery=x", "ID=x", "variables"])
def test_c15_a_document_stands_in_one_place(query):
    assert told(ALL, body("{ a }"), head(query=query)) == "ambiguous_request"


@pytest.mark.parametrize(
    "type_",
    ["application/graphql", "text/plain", "multipart/form-data; boundary=b", "application/x-www-form-urlencoded", None],
)
def test_c13_a_document_comes_as_json(type_):
    assert told(ALL, body("{ a }"), head(type_=type_)) == "ambiguous_request"


@pytest.mark.parametrize(
    "sent",
    [[{"query": "{ a }"}] * 101, [{"query": "{" + " a" * 150 + "}"}] * 90, {"query": "{ a }" + "#" * 200_000}],
    ids=range(3),
)
def test_n10_what_may_be_parsed_for_one_request_is_bounded(sent):
    assert told(ALL, orjson.dumps(sent)) == "ambiguous_request"
