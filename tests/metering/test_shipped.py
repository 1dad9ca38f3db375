"""The shipped profiles read the answers of their providers, and price their models. Shapes: each profile's `docs`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.budget.meters.estimate import estimate
from proxy.budget.meters.meter import Meter
from proxy.budget.meters.tap import Tap
from proxy.catalog.loader import Shelf

SHELF = Shelf()
JSON = (("content-type", "application/json"),)
EVENTS = (("content-type", "text/event-stream; charset=utf-8"),)
GENERATED = {
    "usageMetadata": {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 40,
        "candidatesTokenCount": 10,
        "thoughtsTokenCount": 5,
    }
}
MESSAGE = {"input_tokens": 100, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 20, "output_tokens": 10}
CHAT = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 40}}
RESPONSE = {"input_tokens": 100, "output_tokens": 10, "input_tokens_details": {"cached_tokens": 40}}


def events(*values: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values) + b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("profile", "usage", "model", "headers", "answer", "cost_microusd"),
    [
        ("openai", "chat", "gpt-5.2", JSON, json.dumps({"usage": CHAT}).encode(), (60 * 175 + 40 * 17.5 + 10 * 1400) / 100),
        ("openai", "chat", "gpt-5.2-2025-12-11", EVENTS, events({"usage": None}, {"usage": CHAT}), 252),
        ("openai", "responses", "gpt-5.2", JSON, json.dumps({"usage": RESPONSE}).encode(), 252),
        (
            "openai", "responses", "gpt-5.2", EVENTS,
            events({"response": {"usage": None}}, {"type": "response.completed", "response": {"usage": RESPONSE}}), 252,
        ),
        ("openai", "embeddings", "text-embedding-3-large", JSON, b'{"usage":{"prompt_tokens":100}}', 13),
        ("anthropic", "messages", "claude-sonnet-5", JSON, json.dumps({"usage": MESSAGE}).encode(), 200 + 8 + 80 + 100),
        (
            "anthropic", "messages", "claude-haiku-4-5-20251001", EVENTS,
            events({"message": {"usage": {**MESSAGE, "output_tokens": 1}}}, {"usage": {"output_tokens": 10}}), 100 + 4 + 40 + 50,
        ),
        (
            "gemini", "generate", "gemini-2.5-pro:generateContent", EVENTS,
            events({"usageMetadata": {"promptTokenCount": 100}}, GENERATED), (60 * 125 + 40 * 12.5 + 15 * 1000) / 100,
        ),
        ("gemini", "generate", "gemini-2.5-pro:generateContent", JSON, json.dumps([{}, GENERATED]).encode(), 230),
    ],
)  # fmt: skip
def test_what_an_answer_costs(
    profile: str, usage: str, model: str, headers: Any, answer: bytes, cost_microusd: float
) -> None:
    described = SHELF[profile].usage[usage]
    body = json.dumps({"model": model, "input": "x" * 500, "max_tokens": 50, "max_output_tokens": 50}).encode()
    found = estimate(described, SHELF[profile].prices, body, {"call": model}, today="2026-11-26")
    assert found.priced_as is not None
    assert found.priced_as.rstrip("*") in model
    meter = Meter("h", dict(found.most), found, described, Tap(described))
    meter.head(200, headers)
    for piece in (answer[:50], answer[50:90], answer[90:]):
        assert meter.came(len(piece), piece, request_bytes=0)
    used = meter.used(0, 0, whole_answer=True)
    assert used["usd"] == -(-cost_microusd // 1)
    assert used["usd"] <= found.most["usd"]
    assert meter.over == set()


def test_long_prompts_and_days_have_their_own_prices() -> None:
    gemini = SHELF["gemini"]
    usage = gemini.usage["generate"]

    def most(model: str, length: int, today: str) -> int:
        body = json.dumps({"contents": "x" * length, "generationConfig": {"maxOutputTokens": 1000}}).encode()
        return estimate(usage, gemini.prices, body, {"call": model}, today=today).most["usd"]

    openai = SHELF["openai"]
    sent = json.dumps({"model": "gpt-5.4", "input": "x" * 280_000, "max_output_tokens": 0}).encode()
    assert estimate(openai.usage["responses"], openai.prices, sent, {}, today="2026-11-26").most["usd"] > 5 * 280_000
    assert most("gemini-2.5-pro", 100_000, "2026-11-26") < 150_000
    assert most("gemini-2.5-pro", 250_000, "2026-11-26") > 600_000
    assert most("gemini-3.8-flash", 100_000, "2027-01-01") == pytest.approx(
        2 * most("gemini-3.8-flash", 100_000, "2026-12-31"), abs=1
    )


@pytest.mark.parametrize("profile", ["anthropic", "gemini", "openai"])
def test_a_model_that_nobody_knows_costs_as_much_as_the_dearest(profile: str) -> None:
    shipped = SHELF[profile]
    usage = next(iter(shipped.usage.values()))
    found = estimate(usage, shipped.prices, b'{"model":"new"}', {"call": "new"}, today="2026-11-26")
    assert found.priced_as == "dearest"
    for price in shipped.prices:
        known = estimate(usage, [price], b'{"model":"new"}', {"call": "new"}, today="2027-11-26")
        assert known.most.get("usd", 0) <= found.most["usd"]
