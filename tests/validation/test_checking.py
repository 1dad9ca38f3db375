"""Schemas and fields: 422 with paths, 400 for what has two readings."""

from __future__ import annotations

import orjson
import pytest

from proxy.catalog.validation.schemas import compiled
from tests.validation.calls import checked, head, operation

SCHEMA = {
    "type": "object",
    "required": ["title"],
    "additionalProperties": False,
    "properties": {
        "title": {"type": "string", "maxLength": 10},
        "labels": {"type": "array", "items": {"type": "string"}},
        "a/b": {"type": "integer"},
        "mail": {"format": "email"},
    },
}
OPEN = operation(body={"schema": SCHEMA})
TWO = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=b")


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"title":"x"}', {}),
        (b'{"title":"x","labels":["a"]}', {}),
        (b"{}", ("invalid_request", ["/body/title"])),
        (b'{"title":7,"labels":["a",1]}', ("invalid_request", ["/body/labels/1", "/body/title"])),
        (b'{"title":"x","more":1}', ("invalid_request", ["/body"])),
        (b'{"title":"x","a/b":"1"}', ("invalid_request", ["/body/a~1b"])),
        (b'{"title":"x","mail":"nobody"}', ("invalid_request", ["/body/mail"])),
        (b"[]", ("invalid_request", ["/body"])),
        (b"", ("invalid_request", ["/body"])),
        (b'{"title":"x","title":"y"}', "ambiguous_request"),
        (b"title=x", "ambiguous_request"),
    ],
)
def test_a_body_is_what_its_schema_says(body, wanted):
    found = checked(OPEN, body)
    assert (found[0], sorted(found[1])) == wanted if isinstance(found, tuple) else found == wanted


def test_p1_a_refusal_names_at_most_16_places_and_no_value():
    slug, paths = checked(OPEN, orjson.dumps({"title": "x", "labels": list(range(1000, 1100))}))
    assert (slug, len(paths)) == ("invalid_request", 16)
    assert not any("10" in path.removeprefix("/body/labels/") and len(path) > 20 for path in paths)


@pytest.mark.parametrize(
    ("type_", "more"),
    [(None, {}), ("text/plain", {}), (TWO[0], {}), (TWO[1], {}), ("application/json; charset=utf-7", {}), ("application/json; charset=utf-16", {}),
     ("application/json; boundary=x", {}), ("application/jsonp", {}), ("application/json", {"content_encoding": "gzip"}),
     ("application/json", {"content_encoding": "identity"}), ("application/json", {"Content_Encoding".lower(): "br, gzip"})],
)  # fmt: skip
def test_c13_c14_another_type_or_an_encoded_body_is_refused(type_, more):
    assert checked(OPEN, b'{"title":"x"}', head(type_=type_, **more)) == "ambiguous_request"


@pytest.mark.parametrize(
    "type_",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"'],
)
def test_the_usual_types_are_taken(type_):
    assert checked(OPEN, b'{"title":"x"}', head(type_=type_)) == {}


def test_two_content_types_are_refused():
    sent = head(type_="application/json")
    two = sent.__class__(
        **{**{n: getattr(sent, n) for n in sent.__slots__}, "headers": (*sent.headers, ("content-type", "text/plain"))}
    )
    assert checked(OPEN, b'{"title":"x"}', two) == "ambiguous_request"


def test_a_body_that_is_not_required_may_be_absent():
    assert checked(operation(body={"schema": SCHEMA, "required": False})) == {}


QUERY = operation(
    query_schema={
        "type": "object",
        "properties": {"page": {"type": "string", "pattern": "^[0-9]+$"}, "q": {"type": "array"}},
        "maxProperties": 3,
    }
)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (None, {}),
        ("page=1", {}),
        ("q=a&q=b", {}),
        ("page=x", ("invalid_request", ["/query/page"])),
        ("page=1&page=2", ("invalid_request", ["/query/page"])),
        ("a=1&b=2&c=3&d=4", ("invalid_request", ["/query"])),
        ("page=1;page=2", "ambiguous_request"),
        ("page=%ff", "ambiguous_request"),
        ("page", "ambiguous_request"),
        ("=1", "ambiguous_request"),
        ("page=1&", "ambiguous_request"),
    ],
)
def test_c09_a_query_is_what_its_schema_says(query, wanted):
    assert checked(QUERY, sent=head("GET", query=query, type_=None)) == wanted


def test_headers_are_what_their_schema_says():
    of = operation(header_schema={"required": ["x-api-version"], "properties": {"x-api-version": {"enum": ["1", "2"]}}})
    assert checked(of, sent=head("GET", x_api_version="2")) == {}
    assert checked(of, sent=head("GET", x_api_version="3")) == ("invalid_request", ["/headers/x-api-version"])
    assert checked(of, sent=head("GET")) == ("invalid_request", ["/headers/x-api-version"])


FIELDS = operation(
    body={},
    fields={
        "amount": {"pointer": "/transfer/amount", "type": "Long", "required": True},
        "to": {"pointer": "/to/0", "type": "String"},
        "live": {"pointer": "/live", "type": "Bool"},
        "dry": {"query": "dry", "type": "Bool"},
        "count": {"query": "count", "type": "Long"},
    },
)


@pytest.mark.parametrize(
    ("body", "query", "wanted"),
    [
        ({"transfer": {"amount": 7}, "to": ["bob"], "live": False}, "dry=true&count=-3", {"amount": 7, "to": "bob", "live": False, "dry": True, "count": -3}),
        ({"transfer": {"amount": 7}, "live": None}, None, {"amount": 7}),
        ({"transfer": {"amount": "7"}}, None, ("invalid_request", ["/body/transfer/amount"])),
        ({"transfer": {"amount": 7.0}}, None, ("invalid_request", ["/body/transfer/amount"])),
        ({"transfer": {"amount": True}}, None, ("invalid_request", ["/body/transfer/amount"])),
        ({"transfer": []}, None, ("invalid_request", ["/body/transfer/amount"])),
        ({}, None, ("invalid_request", ["/body/transfer/amount"])),
        ({"transfer": {"amount": 7, "AMOUNT": 9}}, None, "ambiguous_request"),
        ({"transfer": {"amount": 7}, "Transfer": {"amount": 9}}, None, "ambiguous_request"),
        ({"transfer": {"amount": 7}, "LIVE": True}, None, "ambiguous_request"),
        ({"transfer": {"amount": 7}}, "count=1&count=2", "ambiguous_request"),
        ({"transfer": {"amount": 7}}, "Count=2", "ambiguous_request"),
        ({"transfer": {"amount": 7}}, "count[]=2", "ambiguous_request"),
        ({"transfer": {"amount": 7}}, "count=07", ("invalid_request", ["/query/count"])),
        ({"transfer": {"amount": 7}}, "transfer[amount]=9", "ambiguous_request"),
        ({"transfer": {"amount": 7}}, "Live=true", "ambiguous_request"),
        ({"transfer": {"amount": 7}}, "dry=yes", ("invalid_request", ["/query/dry"])),
    ],
)  # fmt: skip
def test_i02_fields_have_one_reading_and_their_type(body, query, wanted):
    assert checked(FIELDS, orjson.dumps(body), head(query=query)) == wanted


@pytest.mark.parametrize(
    "schema",
    [{"$ref": "https://x.test/s.json"}, {"properties": {"a": {"$ref": "file:///etc/passwd"}}}, {"$dynamicRef": "other.json"}, {"$id": "https://x.test/"},
     {"$schema": "http://json-schema.org/draft-07/schema#"}, {"type": "strin"}, {"pattern": "(?=a)"}, {"pattern": "("}, {"$ref": "#/$defs/none"}, True, [],
     {"enum": list(range(30_000))}],
    ids=range(12),
)  # fmt: skip
def test_i07_i08_a_schema_is_bounded_and_refers_to_nothing_else(schema):
    with pytest.raises(ValueError):
        compiled(schema)


def test_a_schema_may_refer_to_itself():
    of = operation(
        body={"schema": {"$ref": "#/$defs/t", "$defs": {"t": {"type": "array", "items": {"$ref": "#/$defs/t"}}}}}
    )
    assert checked(of, b"[[],[[]]]") == {}
    assert checked(of, b"[[],[1]]") == ("invalid_request", ["/body/1/0"])
