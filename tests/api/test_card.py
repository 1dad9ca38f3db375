"""What a terminal gets to see of an approval, also where the API itself were not to be trusted (O-15, J-03, J-04)."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from proxy.cli.approval_card import card, line, safe

HOSTILE = [
    "\x1b[2J\x1b[31mred",
    "\x1b]0;title\x07",
    "\x9b31m",
    "over\rwritten",
    "bell\x07\x08\x08",
    "\u202egpj.exe",
    "zero\u200bwidth\u2060\ufeff",
    "line\u2028two\u2029",
    "[bold red]x[/] [link=http://evil.test]y[/link] :bomb:",
    "\ud800",
    "tab\tand\nnewline",
]


def shown(text: object) -> str:
    out = io.StringIO()
    Console(file=out, force_terminal=True, highlight=False, markup=False, emoji=False, soft_wrap=True).print(
        text, end=""
    )
    return out.getvalue()


def detail(text: str) -> dict[str, object]:
    approval = {"id": text, "tenant": text, "agent": text, "user": text, "account": text, "profile": text, "operation": text,
                "state": "pending", "strength": "approval", "needs": 1, "approvers": [], "until_ms": 0}  # fmt: skip
    whole = {**approval, "title": text, "action": text, "host": text, "domain": text, "cost_microusd": 1_500_000, "escaped": 3,
             "reasons": [{"code": text, "text": text, "by": text}], "method": text, "url": text, "headers": [[text, text]],
             "body": text, "body_kind": "text", "body_bytes": 3, "body_sha256": text}  # fmt: skip
    return {"approval": approval, "votes": [], "card": whole}


@pytest.mark.parametrize("text", HOSTILE)
def test_o15_nothing_of_it_acts_on_the_terminal(text: str) -> None:
    value = detail(text)
    seen = shown(card(value)) + line(value["approval"])  # type: ignore[arg-type]
    plain = seen.replace("\x1b[0m", "")
    for style in ("\x1b[1m", "\x1b[2m", "\x1b[1;7m", "\x1b[1;31m"):  # ours
        plain = plain.replace(style, "")
    assert all(char == "\n" or char.isprintable() for char in plain), plain
    assert safe(text) in plain or "\n" in text


def test_j03_the_whole_body_is_shown() -> None:
    body = "\n".join(f"line {number} " + "x" * 500 for number in range(300))
    seen = shown(card(detail(body)))
    assert all(f"line {number} " + "x" * 500 in seen for number in range(300))


def test_facts_stand_before_what_the_agent_wrote() -> None:
    seen = shown(card(detail("word")))
    assert seen.index("1.50 US dollars") < seen.index("sent by the agent, whole:") < seen.index("SHA-256")
    assert "look twice: 3 characters" in seen
