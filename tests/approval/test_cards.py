"""What an approver sees is what is sent (J-03, J-04, J-12)."""

from __future__ import annotations

import unicodedata
from dataclasses import asdict, replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.approval.card import MAX_REVIEW_BYTES, Card, card_of, reviewable
from proxy.approval.channels.slack_message import by_click
from proxy.approval.visible import visible, visible_bytes
from tests.approval.requests import HEAD, asked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, 100 %", "plain text, 100 %"),
        ("line\nnext\ttab", "line\nnext\ttab"),
        ("a\u202eb", "a\\u{202e}b"),  # right-to-left override
        ("a\u2066b\u2069", "a\\u{2066}b\\u{2069}"),
        ("a\u200bb\u200db\ufeff", "a\\u{200b}b\\u{200d}b\\u{feff}"),
        ("a\x1b[2Jb\x07\r", "a\\u{1b}[2Jb\\u{7}\\u{d}"),
        ("a\u00a0b\u3000", "a\\u{a0}b\\u{3000}"),
        ("p\u0430ypal", "p\\u{430}ypal"),  # Cyrillic a
        ("\u03bfpenai", "\\u{3bf}penai"),  # Greek omicron
        ("\uff47ithub", "\\u{ff47}ithub"),  # full width
        ("\U0001d5c0ithub", "\\u{1d5c0}ithub"),  # mathematical
        ("\u0261ithub", "\\u{261}ithub"),  # phonetic g
        ("Привет", "Привет"),
        ("日本語 and text", "日本語 and text"),
        ("Zoë, naïve, Łódź", "Zoë, naïve, Łódź"),
        ("e\u0301", "e\\u{301}"),
        ("forged \\u{202e}", "forged \\u{5c}u{202e}"),
        ("C:\\temp \\n", "C:\\temp \\n"),
        ("x" + " " * 17 + "y", "x" + " " * 16 + "\\u{20}y"),
        ("\n" * 18, "\n" * 16 + "\\u{a}\\u{a}"),
        ("\ud800", "\\u{d800}"),
        ("", ""),
    ],
)
def test_j_04_what_cannot_be_seen_is_spelt_out(text: str, shown: str) -> None:
    assert visible(text).text == shown
    assert visible(text).escaped == shown.count("\\u{")


@given(st.text(max_size=60))
def test_j_04_what_is_shown_shows_everything(text: str) -> None:
    shown = visible(text).text
    assert all(unicodedata.category(char)[0] != "C" or char in "\n\t" for char in shown)
    assert _read(shown) == text


def _read(shown: str) -> str:
    """The text that `shown` stands for."""
    pieces = shown.split("\\u{")
    return pieces[0] + "".join(chr(int(code, 16)) + rest for code, _, rest in (p.partition("}") for p in pieces[1:]))


@given(st.text(max_size=30), st.text(max_size=30))
def test_two_texts_never_look_the_same(one: str, other: str) -> None:
    assert (visible(one).text == visible(other).text) is (one == other)


@given(st.binary(max_size=40))
def test_bytes_are_printable(data: bytes) -> None:
    assert visible_bytes(b"\xff" + data).text.isascii()


@pytest.mark.parametrize("offset", [0, 1, 1000, 65_536, 200_000])
def test_j_03_what_matters_is_on_the_card_wherever_it_stands(offset: int) -> None:
    body = b"a" * offset + b"DROP TABLE users" + b"b" * (200_000 - offset)
    card = card_of(asked(body=body), "Run SQL")
    assert card.body is not None
    assert "DROP TABLE users" in card.body
    assert card.body_bytes == len(body)


@pytest.mark.parametrize(("size", "good"), [(0, True), (MAX_REVIEW_BYTES - 1000, True), (MAX_REVIEW_BYTES, False)])
def test_j_03_what_nobody_can_look_at_whole_cannot_be_approved(size: int, good: bool) -> None:
    assert reviewable(asked(body=b"a" * size)) is good


def test_a_long_url_counts_too() -> None:
    assert not reviewable(asked(head=replace(HEAD, query="a" * MAX_REVIEW_BYTES), body=None))


def test_j_12_the_title_is_never_the_agents() -> None:
    body = b'{"title":"Approve this, it is safe"}'
    card = card_of(asked(body=body), "Open an issue")
    assert card.title == "Open an issue"
    assert card.domain == "github.test"
    assert (card.method, card.url) == ("POST", "https://api.github.test:443/repos/acme/site/issues?draft=1&x=%20")
    assert card.reasons == ({"code": "policy", "text": "Writes need an approval.", "by": "policy"},)
    assert card.escaped == 0


def test_headers_are_shown_whole_and_escaped() -> None:
    card = card_of(asked(head=replace(HEAD, headers=(("x-note", "caf\xe9\x85"),))), "Open an issue")
    assert card.headers == (("x-note", "caf\xe9\\u{85}"),)
    assert card.escaped == 1


def test_a_body_that_is_no_text_is_shown_byte_by_byte() -> None:
    card = card_of(asked(body=b"\x89PNG\x00\\x00"), "Upload")
    assert (card.body_kind, card.body) == ("bytes", "\\x89PNG\\x00\\x5cx00")


@pytest.mark.parametrize(("calls", "title"), [(50, "x"), (1, "x" * 151)])
def test_j_03_a_batch_whose_operations_do_not_fit_is_not_approved_by_a_click(calls: int, title: str) -> None:
    few = jsonable(card_of(asked(operation="2 times issues.create, issues.list"), "2 times Open an issue, List"))
    many = jsonable(card_of(asked(operation=", ".join(f"issues.operation.{n}" for n in range(calls))), title))
    assert by_click(few)
    assert not by_click(many)


def jsonable(card: Card) -> dict[str, object]:
    shown: dict[str, object] = orjson.loads(orjson.dumps(asdict(card)))
    return shown
