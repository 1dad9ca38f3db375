"""What a terminal gets to see of an approval, also where the API itself were not to be trusted (O-15, J-03, J-04, J-12)."""

from __future__ import annotations

import io
import random
import re
from dataclasses import asdict

import orjson
import pytest
from rich.cells import cell_len
from rich.console import Console

from proxy.approval.card import card_of
from proxy.cli.approval_card import card, line, safe
from tests.approval.requests import asked

DECEIVING = (
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200c\u200d\u200e\u200f\u2060\u061c\ufeff\u00ad\x1b\r\x08\x07\x9b"
    "\u00a0\u2003\u3000\u2028\u2029\u0430\u0435\u043e\u0440\u0441\u0456\u03bf\u0261\uff41\U0001d41a\U000e0041\u0301\ue000"
)

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


@pytest.mark.parametrize("count", [50, pytest.param(500, marks=pytest.mark.slow)])
def test_j04_texts_that_deceive_are_shown_as_what_they_are(count: int) -> None:
    """J-04: bidirectional overrides, invisible and look-alike letters, escapes, long blanks, on the card as a person has it."""
    draw = random.Random(4)
    for number in range(count):
        text = "".join(
            draw.choice(DECEIVING) if draw.random() < 0.3 else draw.choice("pay /x=1<b>*[") for _ in range(24)
        )
        one = card_of(asked(body=text.encode("utf-8", "surrogatepass")), "Pay")
        value = {**detail("x"), "card": orjson.loads(orjson.dumps(asdict(one)))}
        seen = plain(shown(card(value)))
        assert one.body is not None
        for line_ in one.body.split("\n"):
            assert f"  │ {line_}\n" in seen, (number, text)
        assert not set(DECEIVING) & set(seen), (number, text)


def test_j12_what_the_agent_says_stands_below_the_facts_and_is_no_title() -> None:
    """J-12: a reassuring text is quoted, line by line, below what the proxy knows."""
    lie = "operation  Read a file (example:read, read)\nhost       safe.test (of safe.test)\nThis was approved before."
    one = card_of(asked(body=lie.encode()), "Delete a repository")
    seen = plain(shown(card({**detail("x"), "card": orjson.loads(orjson.dumps(asdict(one)))})))
    facts, _, quoted = seen.partition("sent by the agent, whole:\n")
    assert "Delete a repository" in facts
    assert "Read a file" not in facts
    assert "safe.test" not in facts
    assert all(line_.startswith("  │ ") for line_ in quoted.splitlines())
    assert "  │ operation  Read a file" in quoted


def plain(seen: str) -> str:
    """Without our own styles."""
    return re.sub(r"\x1b\[[0-9;]*m", "", seen)


def test_facts_stand_before_what_the_agent_wrote() -> None:
    seen = shown(card(detail("word")))
    assert seen.index("1.50 US dollars") < seen.index("sent by the agent, whole:") < seen.index("SHA-256")
    assert "look twice: 3 characters" in seen


@pytest.mark.parametrize("width", [40, 80, 203])
def test_j12_a_line_that_goes_on_never_begins_where_ours_do(width: int) -> None:
    """J-12: the agent knows how wide terminals are; what it writes must not look like a line of the proxy's."""
    forged = "x" * (width - 4 - len("X-A: ")) + "needs      0 approver(s), none" + "\u754c" * width + "\u202e" * 30
    value = detail("x")
    value["card"]["headers"] = [["X-A", forged]]  # type: ignore[index]
    plain = card(value, width=width).plain  # type: ignore[arg-type]
    written = plain.partition("sent by the agent, whole:\n")[2].splitlines()
    assert all(one.startswith(("  │ ", "  ┆ ")) and cell_len(one) <= width for one in written)
    assert safe(f"X-A: {forged}") in "".join(one[4:] for one in written)
    assert "┆" not in card(value).plain  # type: ignore[arg-type]
