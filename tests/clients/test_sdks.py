"""The vendors' SDKs, with the shipped profiles, told a base URL only because the rig's provider has a port of its own."""

from __future__ import annotations

import pytest

from tests.clients.conftest import REAL
from tests.fakes.demands import answering, demanding, streaming

CHAT = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-5.2",
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": f"Your key is {REAL}."}}],
}  # fmt: skip
MODELS = {"object": "list", "data": [{"id": "gpt-5.2", "object": "model", "created": 1, "owned_by": "openai"}]}


def chat_events():
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5.2"}
    for text in ("Your ", f"key is {REAL}", "."):
        yield "", {**chunk, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    yield "", {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    yield "", "[DONE]"


MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5", "stop_reason": "end_turn",
    "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
    "content": [{"type": "text", "text": f"Your key is {REAL}."}],
}  # fmt: skip


def message_events():
    yield "message_start", {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}}
    yield (
        "content_block_start",
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    )
    for text in ("Your ", f"key is {REAL}", "."):
        delta = {"type": "text_delta", "text": text}
        yield "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}
    yield "content_block_stop", {"type": "content_block_stop", "index": 0}
    ending = {"stop_reason": "end_turn", "stop_sequence": None}
    yield "message_delta", {"type": "message_delta", "delta": ending, "usage": {"output_tokens": 1}}
    yield "message_stop", {"type": "message_stop"}


def streamed_where_asked(plain, events):
    """One path, two kinds of answer, by what the body asks for."""

    async def handler(seen, reader, writer):
        wanted = events if b'"stream":true' in seen.body.replace(b" ", b"") else plain
        await wanted(seen, reader, writer)

    return handler


@pytest.mark.slow
async def test_p1_openai(shipped_client):
    async with shipped_client("openai", "api_key", "api.openai.com") as client:
        provider, right = client.rig.provider, f"Bearer {REAL}"
        chat = streamed_where_asked(answering(CHAT), streaming(list(chat_events())))
        provider.on("/v1/chat/completions", demanding("authorization", right, chat))
        provider.on("/v1/models", demanding("authorization", right, answering(MODELS)))
        stand_in = client.rig.stand_in("openai")
        ended = await client.python("openai_chat.py", f"{client.rig.base}/v1", OPENAI_API_KEY=stand_in)
        assert ended.code == 0, ended.err
        assert ended.lines == ["gpt-5.2", *[f"Your key is {stand_in}."] * 2]
        assert [seen.all("authorization") for seen in provider.requests] == [[right]] * 3
        calls = await client.rig.settled(3)
        assert [call.decision["operation"] for call in calls] == ["models.list", "chat.create", "chat.create"]


@pytest.mark.parametrize(
    ("slot", "variable", "header", "value", "absent"),
    [
        ("api_key", "ANTHROPIC_API_KEY", "x-api-key", REAL, "authorization"),
        pytest.param(
            "auth_token", "ANTHROPIC_AUTH_TOKEN", "authorization", f"Bearer {REAL}", "x-api-key", marks=pytest.mark.slow
        ),
    ],
    ids=["api_key", "auth_token"],
)
async def test_p1_anthropic(shipped_client, slot, variable, header, value, absent):
    async with shipped_client("anthropic", slot, "api.anthropic.com") as client:
        provider = client.rig.provider
        answers = streamed_where_asked(answering(MESSAGE), streaming(list(message_events())))
        provider.on("/v1/messages", demanding(header, value, answers, absent=[absent]))
        stand_in = client.rig.stand_in("anthropic")
        ended = await client.python("anthropic_message.py", client.rig.base, **{variable: stand_in})
        assert ended.code == 0, ended.err
        assert ended.lines == [f"Your key is {stand_in}."] * 2
        assert [seen.all(header) for seen in provider.requests] == [[value]] * 2
        beta = [seen.one("anthropic-beta") for seen in provider.requests]
        assert all("oauth-2025-04-20" in (named or "") for named in beta) == (slot == "auth_token")
