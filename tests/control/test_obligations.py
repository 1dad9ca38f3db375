"""What a permit obliges to: `@limit` counts each agent's calls, `@redact` takes values out of answers."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from proxy.errors import ConfigError
from proxy.firewall import WithheldError, redacted
from proxy.model import Agent
from proxy.policy import Policies, Vocabulary
from proxy.trial.explain import Trial, explained
from tests.control.conftest import controlled

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
@id("people") @redact("/email /items/*/phone /~1a~0b") permit (principal, action == Action::"read", resource);
@id("few") @limit("2/h") permit (principal, action == Action::"write", resource);
@id("free") permit (principal, action in [Action::"callWithoutApproval", Action::"callWithoutStrongApproval"], resource);
"""
PERSON = {"name": "Ann", "email": "ann@example.test", "items": [{"phone": "1"}, {"phone": {"home": "2"}}, 3], "/a~b": 4}
CLEAN = {
    "name": "Ann",
    "email": "[redacted]",
    "items": [{"phone": "[redacted]"}, {"phone": "[redacted]"}, 3],
    "/a~b": "[redacted]",
}


def answer(body: bytes, media: str = "application/json", status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


async def test_values_are_taken_out_of_the_answer_or_it_is_withheld(tmp_path: Path) -> None:
    person = json.dumps(PERSON).encode()
    async with controlled(tmp_path, text=TEXT) as rig:
        rig.provider.answers("/plain", answer(person))
        rig.provider.answers("/packed", answer(gzip.compress(person), more="Content-Encoding: gzip\r\n"))
        rig.provider.answers("/problem", answer(person, "application/problem+json; charset=utf-8", "404 Not Found"))
        rig.provider.answers("/none", b"HTTP/1.1 204 No Content\r\n\r\n")
        rig.provider.answers("/page", answer(b"<p>ann@example.test", "text/html"))
        rig.provider.answers("/broken", answer(person[:-3]))
        rig.provider.answers("/piece", answer(b'"ann@example.test"', status="206 Partial Content"))
        rig.provider.answers("/large", answer(b'"' + b"x" * (4 * 1024 * 1024) + b'"'))
        for path, status in (("/plain", 200), ("/packed", 200), ("/problem", 404)):
            got = await rig.call("GET", path)
            assert (got.status, got.json()) == (status, CLEAN), path
        assert (await rig.call("GET", "/none")).status == 204
        for path in ("/page", "/broken", "/piece", "/large"):
            refused = await rig.call("GET", path)
            assert refused.problem == "response_withheld", path
            assert b"ann@example.test" not in refused.body
        outcomes = [call.outcome for call in await rig.settled(8)]
    assert sorted(outcome.get("redacted", 0) for outcome in outcomes if outcome is not None) == [0, 0, 0, 0, 0, 4, 4, 4]


async def test_an_agent_calls_as_often_as_the_permit_says(tmp_path: Path) -> None:
    async with controlled(tmp_path, text=TEXT, agents={"one": ("*",), "other": ("*",)}) as rig:
        assert [(await rig.call("POST", "/x", content=b"1", agent="one")).status for _ in range(2)] == [200, 200]
        refused = await rig.call("POST", "/y", content=b"1", agent="one")
        assert (refused.status, refused.problem) == (429, "budget_exceeded")
        assert refused.json()["budget"] == "policy:few"
        assert 3500 < int(refused.headers["retry-after"]) < 3700
        assert (await rig.call("POST", "/x", content=b"1", agent="other")).status == 200
        assert (await rig.call("GET", "/x", agent="one")).status == 200
        assert len(rig.provider.requests) == 4


async def test_a_websocket_cannot_be_redacted_and_is_refused(tmp_path: Path) -> None:
    text = TEXT.replace('action == Action::"read"', 'action in [Action::"read", Action::"write"]')
    profile = """\
schema: 1
name: example
title: Example
docs: https://example.test/
checked: "2026-11-24"
hosts: [{{host: api.example.test, port: {port}}}]
secrets:
  api_key: {{env: [EXAMPLE_API_KEY], stand_in: {{template: "sk-example-{{base62:24}}"}}}}
credentials:
  bearer: {{kind: header, header: Authorization, prefix: "Bearer ", secret: api_key}}
operations:
  - {{id: socket, methods: [GET], path: /socket, action: read, websocket: true}}
"""
    only = {"example": {"accounts": {"main": {"secrets": {"api_key": "env:EXAMPLE_API_KEY"}}}}}
    async with controlled(tmp_path, text=text, profiles={"example": profile}, providers=only) as rig:
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                   "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
        refused = await rig.call("GET", "/socket", headers=upgrade)
        assert refused.problem == "policy_denied"
        assert rig.provider.requests == []


async def test_an_explanation_says_what_a_permit_obliges_to(tmp_path: Path) -> None:
    async with controlled(tmp_path, text=TEXT) as rig:
        generation, agent = rig.sidecar.pipeline.generation, Agent("tester", ("*",), "-")

        def sentences(method: str) -> tuple[str, ...]:
            return explained(generation, Trial(method, f"{rig.base}/x", agent, 1_900_000_000_000)).sentences

        assert "Taken out of the answer: /email, /items/*/phone, /~1a~0b." in sentences("GET")
        assert "few lets each agent make 2 calls within 3600 s." in sentences("POST")


@pytest.mark.parametrize("name", ["approval", "limit", "redact"])
def test_only_a_permit_obliges(name: str) -> None:
    value = {"approval": "strong", "limit": "1/h", "redact": "/a"}[name]
    with pytest.raises(ConfigError, match=f"@{name}: only a permit can ask for it"):
        Policies.load(
            [("own", f'@{name}("{value}") forbid (principal, action, resource);')], Vocabulary(frozenset(), {}, {})
        )


@pytest.mark.parametrize(
    ("text", "pointers", "wanted", "count"),
    [
        ('{"a":1,"b":[{"a":2}]}', ["/b/0/a"], '{"a":1,"b":[{"a":"[redacted]"}]}', 1),
        ('{"a":{"b":1,"c":2}}', ["/a/*"], '{"a":{"b":"[redacted]","c":"[redacted]"}}', 2),
        ('{"a":1,"a":2}', ["/a"], '{"a":"[redacted]"}', 1),
        ('[1,"x"]', ["/a", "/0/b", "/7", "/-"], '[1,"x"]', 0),
        ('{"*":1}', ["/*"], '{"*":"[redacted]"}', 1),
        ('"\\ud800"', ["/a"], '"\\ud800"', 0),
        ("123456789012345678901234567890", ["/a"], "123456789012345678901234567890", 0),
    ],
)
def test_places(text: str, pointers: list[str], wanted: str, count: int) -> None:
    assert redacted("application/json", text.encode(), pointers) == (wanted.encode(), count)


@pytest.mark.parametrize("text", [b"", b"{", b"NaN", b"\xff", b"[" * 100_000, b"1 2", b"[1e400]", b'{"a":1}\n{"a":2}'])
def test_what_cannot_be_read_is_withheld(text: bytes) -> None:
    with pytest.raises(WithheldError):
        redacted("application/json", text, ["/a"])
