"""What a profile may say about validation, and what is refused when it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from proxy.catalog.checks import profile_mistakes
from proxy.catalog.loader import load_profile
from proxy.catalog.policies import load_policies, vocabulary
from proxy.catalog.schema import Profile
from proxy.documents import Document
from proxy.errors import ConfigError
from proxy.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

BASE = """\
schema: 1
name: NAME
title: Example
docs: https://example.test/
checked: "2026-11-26"
hosts: [{host: NAME.example.test}]
secrets: {key: {}}
credentials: {bearer: {kind: header, prefix: "Bearer ", secret: key}}
operations:
"""


def text(*operations: str, name: str = "example") -> str:
    return BASE.replace("NAME", name) + "".join(f"  - {{{one}}}\n" for one in operations)


def one(fields: str, id_: str = "one", method: str = "POST") -> str:
    return f"id: {id_}, methods: [{method}], path: /x, action: read, {fields}"


def profile(*operations: str, name: str = "example") -> Profile:
    return Document("example.yaml", text(*operations, name=name)).validated(Profile)


GRAPHQL = "graphql: {operations: [%s]}"


@pytest.mark.parametrize(
    ("operations", "place"),
    [
        ([one("body: {schema: {type: nothing}}")], "body"),
        ([one('body: {schema: {$ref: "https://x.test/"}}')], "body"),
        ([one("query_schema: {type: nothing}")], "body"),
        ([one("fields: {a: {pointer: /a, type: Long}}")], "a"),
        ([one("body: {}, fields: {a: {type: Long}}")], "a"),
        ([one("body: {}, fields: {a: {pointer: /a, query: a, type: Long}}")], "a"),
        ([one("body: {}, fields: {a: {pointer: /a, type: Long}}"), one("body: {}, fields: {a: {pointer: /a, type: Bool}}", "two", "PUT")], "a"),
        ([one("body: {}", method="GET")], "methods"),
        ([one("jsonrpc: {methods: [a]}", method="GET")], "methods"),
        ([one("jsonrpc: {methods: [a]}, graphql: {operations: [query]}")], "jsonrpc"),
        ([one("body: {format: form}, graphql: {operations: [query]}")], "format"),
        ([one("body: {}, websocket: true", method="GET")], "body"),
        ([one(GRAPHQL % "query"), one(GRAPHQL % "query, mutation", "two")], "path"),
        ([one("jsonrpc: {methods: [a/*]}"), one("jsonrpc: {methods: [a/b]}", "two")], "path"),
        ([one('jsonrpc: {methods: ["*"], tools: [a]}'), one("jsonrpc: {methods: [tools/call], tools: [a, b]}", "two")], "path"),
        ([one("graphql: {operations: [query], fields: [a, b]}"), one("graphql: {operations: [query], fields: [b]}", "two")], "path"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(operations, place):
    found = list(profile_mistakes(profile(*operations)))
    assert any(where[-1] == place for where, _ in found), found


@pytest.mark.parametrize(
    "operations",
    [
        [one(GRAPHQL % "query"), one(GRAPHQL % "mutation", "two"), one("batch: refused", "three")],
        [one("jsonrpc: {methods: [a/*]}"), one("jsonrpc: {methods: [b/c]}", "two"), one("websocket: true", "three", "GET")],
        [one("jsonrpc: {methods: [tools/call], tools: [a]}"), one("jsonrpc: {methods: [tools/call], tools: [b]}", "two"), one("jsonrpc: {methods: [tools/call]}", "three")],
        [one("graphql: {operations: [mutation], fields: [a]}"), one("graphql: {operations: [mutation], fields: [b]}", "two"), one(GRAPHQL % "mutation", "three")],
    ],
)  # fmt: skip
def test_what_tells_calls_apart_is_taken(operations):
    assert list(profile_mistakes(profile(*operations))) == []


@pytest.mark.parametrize("block", ["body: {shema: {}}", "graphql: {}", "graphql: {operations: []}", "graphql: {operations: [Query]}", "jsonrpc: {tools: [a]}", 'jsonrpc: {methods: ["a*"]}',
                                   "fields: {A: {pointer: /a, type: Long}}", "fields: {a: {pointer: a, type: Long}}", "body: {file: ../a.json}", "body: {file: /a.json}", "batch: allowed"])  # fmt: skip
def test_i09_unknown_keys_and_empty_lists_are_refused(block):
    with pytest.raises(ConfigError):
        profile(one(block))


def test_a_schema_may_lie_in_a_file_beside_the_profile(tmp_path: Path) -> None:
    path, schema = tmp_path / "example.yaml", tmp_path / "pay.json"
    path.write_text(text(one("body: {file: pay.json}")))
    for content, message in (
        (None, "cannot be read"),
        (b"{", "not a JSON file"),
        (b'{"type":"nothing"}', "not a JSON Schema"),
    ):
        if content is not None:
            schema.write_bytes(content)
        with pytest.raises(ConfigError) as refused:
            load_profile(path)
        assert str(refused.value).startswith(f"{path}:10: operations[0].body")
        assert message in str(refused.value)
    schema.write_bytes(b'{"type":"object"}')
    body = load_profile(path).operations[0].body
    assert body is not None
    assert body.schema_ == {"type": "object"}


def test_policies_may_speak_of_fields_and_two_profiles_may_not_contradict_each_other(tmp_path: Path) -> None:
    fields = one("body: {}, fields: {amount: {pointer: /amount, type: TYPE}}")
    first, second = profile(fields.replace("TYPE", "Long")), profile(fields.replace("TYPE", "String"), name="second")
    assert vocabulary([first]).fields == {"amount": "Long"}
    raw = {
        "version": 1,
        "providers": {name: {"accounts": {"main": {"secrets": {"key": "file:/k"}}}} for name in ("example", "second")},
    }
    settings = Settings.model_validate_json(orjson.dumps(raw))
    with pytest.raises(ConfigError, match=r"second.yaml:1: operations.one.fields.amount: profile example"):
        load_policies(settings, {"example": first, "second": second})
    assert load_policies(settings, {"example": first, "second": first.model_copy(update={"name": "second"})})
