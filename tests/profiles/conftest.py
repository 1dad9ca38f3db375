"""The shipped profiles, and an oracle that resolves a call without the product's own matcher."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import orjson
import pytest
import yaml

from proxy.catalog.schema import HostRule, Operation, Profile

FOLDER = Path(__file__).parents[2] / "profiles"
FILES = tuple(sorted(FOLDER.glob("*.yaml")))


def load(path: Path) -> Profile:
    """A profile by the schema alone."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # tens of times as fast, where libyaml is
    return Profile.model_validate_json(orjson.dumps(yaml.load(path.read_text(), Loader=loader)))


PROFILES = {path.stem: load(path) for path in FILES}


@dataclass(frozen=True)
class Call:
    """One call, as far as it decides which operation it is."""

    method: str
    host: str
    segments: tuple[str, ...]
    query: dict[str, str]
    websocket: bool = False
    body: str | None = None

    @classmethod
    def of(cls, method: str, url: str, *, websocket: bool = False, body: str | None = None) -> Call:
        parts = urlsplit(url)
        segments = tuple(unquote(segment) for segment in parts.path.split("/")[1:])
        query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return cls(method, parts.hostname or "", segments, query, websocket, body)


def pieces(template: str) -> tuple[str, ...]:
    return tuple(template.split("/")[1:])


def host_of(rule: HostRule, profile: Profile) -> str:
    """A host that the rule covers: of a wildcard, the one of an account with the variables' examples."""
    values = {name: variable.example for name, variable in profile.variables.items()}
    return rule.host if rule.account_host is None else rule.account_host.format(**values)


def is_name(piece: str) -> bool:
    return piece.startswith("{") and piece.endswith("}")


def covers(template: str, segments: tuple[str, ...]) -> bool:
    parts = pieces(template)
    if parts[-1] == "**":
        parts, segments = parts[:-1], segments[: len(parts) - 1] if len(segments) >= len(parts) - 1 else ("\0",)
    if len(parts) != len(segments):
        return False
    return all(
        (is_name(part) and segment != "") or part == segment for part, segment in zip(parts, segments, strict=True)
    )


def rank(operation: Operation) -> tuple[object, ...]:
    """The leftmost more literal segment wins, then the number of discriminators."""
    weight = tuple(0 if piece == "**" else 1 if is_name(piece) else 2 for piece in pieces(operation.path))
    graphql, jsonrpc = operation.graphql, operation.jsonrpc
    told = (graphql is not None) + (jsonrpc is not None)
    told += bool(graphql and graphql.fields) + bool(jsonrpc and jsonrpc.tools)
    return (weight if weight[-1] == 0 else (*weight, 3), len(operation.query) + len(operation.headers) + told)


def told_by(operation: Operation, body: str | None) -> bool:
    """Whether a plain body is the operation's: one document with one operation, or one message."""
    if operation.graphql is None and operation.jsonrpc is None:
        return True
    sent = orjson.loads(body or "{}")
    if operation.graphql is not None:
        kind, _, rest = re.sub(r"\(.*?\)|\w+:(?= \w)", "", sent.get("query", "")).partition("{")
        top = set(re.findall(r"\w+", re.sub(r"\{[^{}]*\}", "", rest.rpartition("}")[0])))
        allowed = operation.graphql.fields
        return (kind.strip() or "query") in operation.graphql.operations and (not allowed or top <= set(allowed))
    method, jsonrpc = sent.get("method", ""), operation.jsonrpc
    assert jsonrpc is not None
    known = any(method == one or (one.endswith("*") and method.startswith(one[:-1])) for one in jsonrpc.methods)
    return known and (not jsonrpc.tools or sent["params"]["name"] in jsonrpc.tools)


def resolve(profile: Profile, call: Call) -> Operation | None:
    """The operation that `call` is, or None."""
    hosts = {host_of(rule, profile) for rule in profile.hosts if not rule.token_host}
    found = [
        operation
        for operation in profile.operations
        if call.method in operation.methods
        and call.host in (operation.hosts or hosts)
        and operation.websocket == call.websocket
        and covers(operation.path, call.segments)
        and all(call.query.get(name) == value for name, value in operation.query.items())
        and told_by(operation, call.body)
    ]
    return max(found, key=rank, default=None)


def operation_of(profile: Profile, operation_id: str) -> Operation:
    return next(operation for operation in profile.operations if operation.id == operation_id)


def call_of(method: str, url: str, body: str | None = None) -> Call:
    plain = re.sub(r"\{(?:stand_in|secret):([a-z_]+)\}", r"\1", url)
    return Call.of(method, plain, body=body)


@pytest.fixture(params=sorted(PROFILES))
def profile(request: pytest.FixtureRequest) -> Profile:
    return PROFILES[request.param]
