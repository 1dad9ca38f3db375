"""Coding agents, towards a model server of another address, with one prompt."""

from __future__ import annotations

from typing import Final

from proxy.cli.doctor.client import Client, Way

CODEX: Final = (
    "-c", 'model_provider="sample"',
    "-c", 'model_providers.sample={name="sample",base_url="$url/v1",env_key="SAMPLE_API_KEY",wire_api="responses"}',
)  # fmt: skip
OPENCODE: Final = (
    '{"provider": {"openai": {"options": {"baseURL": "$url/v1", "apiKey": "$key"}}}, "model": "openai/gpt-4o-mini"}'
)

GEMINI: Final = '{"security": {"auth": {"selectedType": "gemini-api-key"}}}'

CLIENTS: Final = (
    Client(
        "claude", "claude",
        (Way(("claude", "-p", "hello"),
             variables={"ANTHROPIC_BASE_URL": "$url", "ANTHROPIC_API_KEY": "$key",
                        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}),),
        ("claude", "--version"), patience=2,
    ),
    Client(
        "codex", "codex",
        (Way(("codex", "exec", "--skip-git-repo-check", *CODEX, "hello")),),
        ("codex", "--version"), patience=2,
    ),
    Client(
        "gemini", "gemini",
        (Way(("gemini", "-p", "hello"),
             variables={"GOOGLE_GEMINI_BASE_URL": "$url", "GEMINI_API_KEY": "$key",
                        "GEMINI_CLI_TRUST_WORKSPACE": "true"}),),
        ("gemini", "--version"), {".gemini/settings.json": GEMINI}, patience=3,
    ),
    Client(
        "opencode", "opencode",
        (Way(("opencode", "run", "hello")),),
        ("opencode", "--version"), {"opencode.json": OPENCODE}, patience=3,
    ),
    Client(
        "aider", "aider",
        (Way(("aider", "--no-git", "--yes-always", "--no-check-update", "--no-show-model-warnings",
              "--analytics-disable", "--model=openai/sample", "--message=hello"),
             variables={"OPENAI_API_BASE": "$url/v1", "OPENAI_API_KEY": "$key"}),),
        ("aider", "--version"), patience=4,
    ),
    Client(
        "cursor-agent", "cursor-agent", (), ("cursor-agent", "--version"),
        untried="it speaks to its own service only, and has no setting for another address",
    ),
)  # fmt: skip
