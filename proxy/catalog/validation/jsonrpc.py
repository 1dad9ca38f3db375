"""What JSON-RPC messages ask for, MCP's too: methods and tools. Pure.

Source: https://www.jsonrpc.org/specification and https://modelcontextprotocol.io/specification
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.catalog.validation.json_text import member
from proxy.catalog.validation.spec import MAX_BATCH
from proxy.catalog.validation.unclear import UnclearError

if TYPE_CHECKING:
    from proxy.catalog.validation.json_text import Json
    from proxy.catalog.validation.received import Received
    from proxy.catalog.validation.spec import JsonRpcSpec
    from proxy.model import RequestHead

TOOL_CALL: Final = "tools/call"
MEMBERS: Final = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_ENCODED: Final = re.compile(r"=\?base64\?([A-Za-z0-9+/]*={0,2})\?=")


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        method: None for an answer to what the server asked.
        target: what the method is about: the tool or prompt by its name, or the resource by its URI.
    """

    method: str | None
    target: str | None = None


def read_jsonrpc(received: Received) -> tuple[Message, ...]:
    """The messages of a request: one, or those of a batch. Raises `UnclearError`."""
    content = received.content()
    entries = content if isinstance(content, list) else [content]
    if not 0 < len(entries) <= MAX_BATCH:
        raise UnclearError("A JSON-RPC batch holds nothing, or too much.")
    messages = tuple(_message(entry) for entry in entries)
    _same_as_headers(received.head, messages)
    return messages


def fits(spec: JsonRpcSpec, message: Message) -> bool:
    """Whether it is what `spec` speaks of."""
    if message.method is None:
        return spec.responses
    if not any(covers(pattern, message.method) for pattern in spec.methods):
        return False
    return not spec.tools or message.method != TOOL_CALL or message.target in spec.tools


def covers(pattern: str, method: str) -> bool:
    """Whether `method` is, or begins as, `pattern` says."""
    if pattern.endswith("*"):
        return method.startswith(pattern[:-1])
    return pattern == method


def _message(entry: Json) -> Message:
    if not isinstance(entry, dict) or not entry.keys() <= MEMBERS or entry.get("jsonrpc") != "2.0":
        raise UnclearError("A JSON-RPC 2.0 message has its own members and no others.")
    method, params = entry.get("method"), entry.get("params")
    if "method" not in entry:
        if ("result" in entry) == ("error" in entry):
            raise UnclearError("A JSON-RPC message is a call or an answer.")
        return Message(None)
    if not isinstance(method, str) or not method or "result" in entry or "error" in entry:
        raise UnclearError("A JSON-RPC message is a call or an answer.")
    if not isinstance(params, dict | list | None):
        raise UnclearError("JSON-RPC params are an object or a list.")
    return Message(method, _target(params if isinstance(params, dict) else {}, method))


def _target(params: dict[str, Json], method: str) -> str | None:
    target = member(params, "uri" if method.startswith("resources/") else "name")
    if method == TOOL_CALL and not isinstance(target, str):
        raise UnclearError("A call of a tool names it.")
    return target if isinstance(target, str) else None


def _same_as_headers(head: RequestHead, messages: tuple[Message, ...]) -> None:
    """What MCP repeats in headers is the same there (revision 2026-07-28): somebody may go by these alone."""
    for name in ("mcp-method", "mcp-name"):
        given = [_plain(value) for key, value in head.headers if key == name]
        if not given:
            continue
        meant = messages[0].method if name == "mcp-method" else messages[0].target
        if len(messages) > 1 or given != [meant]:
            raise UnclearError("The headers name another MCP method or target than the body.")


def _plain(value: str) -> str:
    """A value of an MCP header; what is not plain ASCII is in base64 there."""
    encoded = _ENCODED.fullmatch(value)
    if encoded is None:
        return value
    try:
        return base64.b64decode(encoded[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise UnclearError("An MCP header cannot be read.") from None
