"""JSON-RPC and MCP: which method and tool decide, and every message of a batch counts."""

from __future__ import annotations

import base64
import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.catalog.validation import Received, chosen
from proxy.catalog.validation.json_text import entries_of
from tests.validation.calls import head, operation, told

READ = operation(
    "read",
    jsonrpc={
        "methods": ["initialize", "ping", "tools/list", "resources/*", "notifications/*"],
        "max_batch": 3,
        "responses": True,
    },
)
TOOLS = operation("tools", jsonrpc={"methods": ["tools/call"], "tools": ["list_issues", "get_issue"]})
ALL = [TOOLS, READ, operation("rest", action="admin")]


def message(method: str, params: object = None, **more: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, **({} if params is None else {"params": params}), **more}


def call(name: object) -> dict[str, object]:
    return message("tools/call", {"name": name, "arguments": {"name": "x", "Name": "y"}})


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (message("initialize"), "read"),
        (message("notifications/cancelled"), "read"),
        (message("resources/read", {"uri": "file:///x"}), "read"),
        (message("resource"), "rest"),
        (message("tools/listing"), "rest"),
        (call("list_issues"), "tools"),
        (call("delete_repository"), "rest"),
        (call("list_issues "), "rest"),
        (call(None), "ambiguous_request"),
        (call(["list_issues"]), "ambiguous_request"),
        (message("tools/call"), "ambiguous_request"),
        (message("tools/call", [1]), "ambiguous_request"),
        (message("tools/call", {"name": "list_issues", "Name": "delete_repository"}), "ambiguous_request"),
        ({**message("ping"), "Method": "tools/call"}, "ambiguous_request"),
        ({**message("ping"), "extra": 1}, "ambiguous_request"),
        ({**message("ping"), "jsonrpc": "1.0"}, "ambiguous_request"),
        ({"id": 1, "method": "ping"}, "ambiguous_request"),
        ({"jsonrpc": "2.0", "id": 1, "method": None}, "ambiguous_request"),
        ({"jsonrpc": "2.0", "id": 1, "method": "ping", "result": {}}, "ambiguous_request"),
        ({"jsonrpc": "2.0", "id": 1, "result": {}}, "read"),
        ({"jsonrpc": "2.0", "id": 1}, "ambiguous_request"),
        ([message("ping"), message("tools/list")], "read read"),
        ([message("ping"), call("delete_repository")], "invalid_request"),  # what takes the rest takes no batch
        ([message("ping"), call("list_issues")], "invalid_request"),
        ([call("list_issues")], "tools"),
        ([call("list_issues"), call("get_issue")], "invalid_request"),
        ([message("ping")] * 4, "invalid_request"),
        ([], "ambiguous_request"),
        ("ping", "ambiguous_request"),
    ],
)  # fmt: skip
def test_c15_methods_tools_and_batches(sent, wanted):
    assert told(ALL, orjson.dumps(sent)) == wanted


def test_k11_the_messages_of_a_batch_may_be_of_several_operations():
    tools = operation("tools", jsonrpc={"methods": ["tools/call"], "max_batch": 100})
    of = [tools, READ]
    assert told(of, orjson.dumps([message("ping"), call("a"), message("ping")])) == "read tools read"
    assert told(of, orjson.dumps([call("a")] * 100)) == " ".join(["tools"] * 100)
    assert told(of, orjson.dumps([call("a")] * 101)) == "ambiguous_request"
    assert told(of, orjson.dumps([call("a"), message("delete")])) is None


def test_p8_each_message_is_looked_at_as_it_stands_in_the_body():
    texts = [
        b'{"jsonrpc": "2.0", "method" :"ping","params":{"a":"],[\\",{"}}',
        '{"jsonrpc":"2.0","method":"ping","id":"\u00e9 é"}'.encode(),
    ]
    found = chosen([READ], Received(head(), b" [ " + texts[0] + b"\r\n ,\t" + texts[1] + b" ]\n"))
    assert isinstance(found, tuple)
    assert [one.body for one in found] == texts


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
GAPS = st.text(alphabet=" \t\r\n", max_size=3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(JSON, GAPS, GAPS), max_size=5), GAPS, st.booleans())
def test_p8_the_entries_of_any_array_are_its_entries(entries, gap, ascii_only):
    texts = [json.dumps(value, ensure_ascii=ascii_only) for value, _, _ in entries]
    inside = ",".join(before + text + after for text, (_, before, after) in zip(texts, entries, strict=True))
    whole = f"{gap}[{inside}{gap}]{gap}".encode()
    assert entries_of(whole) == tuple(text.encode() for text in texts)


def test_c12_a_method_twice_is_refused():
    assert told(ALL, b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}') == "ambiguous_request"


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"mcp_method": "tools/call", "mcp_name": "get_issue"}, "tools"),
        ({"mcp_method": "tools/call", "mcp_name": f"=?base64?{base64.b64encode(b'get_issue').decode()}?="}, "tools"),
        ({"mcp_method": "tools/list"}, "ambiguous_request"),
        ({"mcp_name": "delete_repository"}, "ambiguous_request"),
        ({"mcp_name": "=?base64?/w==?="}, "ambiguous_request"),
    ],
)  # fmt: skip
def test_mcp_headers_say_what_the_body_says(headers, wanted):
    assert told(ALL, orjson.dumps(call("get_issue")), head(**headers)) == wanted
