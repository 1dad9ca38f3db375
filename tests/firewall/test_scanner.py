"""The scanner against a slow reference, over every way of cutting a text into chunks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.firewall import Needle, Scanner, Vocabulary, WithheldError, open_scanner
from proxy.firewall.variants import variants

SECRET = b"tok_9f8/Zq+7Lw=~Kx"
STAND_IN = b"tok_standin0000000"
VARIANTS = variants(SECRET, STAND_IN)
VOCABULARY = Vocabulary([Needle(SECRET, STAND_IN)])
OVERLAPPING = {b"abaab": b"[1]", b"baba": b"[2]", b"aabaaab": b"[3]", b"bb": b"[4]"}


def run(vocabulary: Vocabulary, chunks: list[bytes]) -> tuple[bytes, int]:
    scanner = Scanner(vocabulary)
    out = b"".join(scanner.feed(chunk) for chunk in chunks if chunk) + scanner.feed(b"")
    return out, scanner.hits


def reference(text: bytes, table: dict[bytes, bytes]) -> tuple[bytes, int]:
    """Every occurrence marked, touching marks of one cluster joined, the longest of the first replaced."""
    found = sorted(
        (at, -len(pattern), pattern) for pattern in table for at in range(len(text)) if text.startswith(pattern, at)
    )
    out, at, hits = b"", 0, 0
    for start, negative, pattern in found:
        if start >= at:
            out += text[at:start] + table[pattern]
            hits += 1
        at = max(at, start - negative)
    return out + text[at:], hits


@pytest.mark.parametrize("variant", sorted(VARIANTS), ids=lambda v: v.decode()[:40])
def test_p1_every_variant_is_found_at_every_split(variant):
    text = b'{"echo":"' + variant + b'"}\n\n'
    whole, hits = run(VOCABULARY, [text])
    assert hits == 1
    assert variant not in whole
    for at in range(len(text) + 1):
        assert run(VOCABULARY, [text[:at], text[at:]]) == (whole, 1)
    assert run(VOCABULARY, [text[i : i + 1] for i in range(len(text))]) == (whole, 1)


@given(
    parts=st.lists(st.sampled_from([*VARIANTS, b"data: ", b"\n\n", b"tok_", b"VG9r", SECRET[:9], b"A"]), max_size=8),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_p1_cutting_changes_nothing(parts, cuts):
    text = b"".join(parts)
    at = [0, *sorted(cuts), len(text)]
    chunks = [text[a:b] for a, b in pairwise(at)]
    got = run(VOCABULARY, chunks)
    assert got == run(VOCABULARY, [text]) == reference(text, VARIANTS)
    assert not VOCABULARY.find(got[0]) or b"tok_standin" in got[0]


@given(text=st.text("ab", max_size=60).map(str.encode), size=st.integers(1, 7))
def test_p1_no_byte_of_overlapping_occurrences_leaves(text, size):
    vocabulary = Vocabulary([Needle(value, stand_in) for value, stand_in in OVERLAPPING.items()])
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    assert run(vocabulary, chunks) == reference(text, OVERLAPPING)


@given(text=st.text("ab\n", max_size=40).map(str.encode))
def test_what_waits_is_exactly_the_longest_proper_prefix(text):
    vocabulary = Vocabulary([Needle(value, b"") for value in OVERLAPPING])
    prefixes = {p[:n] for value in OVERLAPPING for p in variants(value, b"") for n in range(1, len(p))}
    expected = next((at for at in range(len(text)) if text[at:] in prefixes), len(text))
    assert vocabulary.held_from(text) == expected


@given(st.sampled_from(sorted(VARIANTS)), st.data())
def test_a_long_prefix_waits_from_its_first_byte(variant, data):
    size = data.draw(st.integers(1, len(variant) - 1))
    text = b"data: \n" + variant[:size]
    assert VOCABULARY.held_from(text) == len(text) - size


@pytest.mark.parametrize("size", range(8, 13))
def test_p1_short_values_are_found_at_every_split(size):
    value = b"Qx7-Zp9_Lm2+"[:size]
    vocabulary = Vocabulary([Needle(value, b"-")])
    for at in range(size + 1):
        assert run(vocabulary, [b"<" + value[:at], value[at:] + b">"]) == (b"<->", 1)


@pytest.mark.parametrize(
    "event", [b"data: {}\n\n", b'data: {"delta":"tok_"}\n\n', b'{"a":"' + SECRET[:-1] + b'"}', b"event: ping\r\n\r\n"]
)
def test_an_event_leaves_at_once(event):
    scanner = Scanner(VOCABULARY)
    for _ in range(3):
        assert scanner.feed(event) == event


def test_a_replacement_leaves_with_its_event():
    scanner = Scanner(VOCABULARY)
    assert scanner.feed(b"data: " + SECRET + b"\n\n") == b"data: " + STAND_IN + b"\n\n"
    assert scanner.hits == 1


def test_only_the_prefix_waits_and_leaves_when_it_fails():
    scanner = Scanner(VOCABULARY)
    assert scanner.feed(b"see " + SECRET[:6]) == b"see "
    assert scanner.feed(b"#") == SECRET[:6] + b"#"
    assert scanner.feed(SECRET[:3]) == b""
    assert scanner.feed(b"") == SECRET[:3]
    assert scanner.hits == 0


def test_p1_bytes_after_the_end_are_withheld():
    scanner = Scanner(VOCABULARY)
    scanner.feed(SECRET[:4])
    assert scanner.feed(b"") == SECRET[:4]
    assert scanner.feed(b"") == b""
    with pytest.raises(WithheldError):
        scanner.feed(SECRET[4:])


def test_memory_stays_below_the_longest_variant():
    scanner = Scanner(Vocabulary([Needle(b"aaaaaaaab", b"-")]))
    out = b"".join(scanner.feed(b"a" * 1000) for _ in range(200))
    assert len(scanner._tail) < max(map(len, variants(b"aaaaaaaab", b"-")))
    assert out + scanner.feed(b"") == b"a" * 200_000


def test_nothing_to_look_for_passes_everything():
    scanner = open_scanner(Vocabulary([]))
    assert not Vocabulary([])
    assert scanner.feed(b"") + scanner.feed(SECRET) + scanner.feed(b"") == SECRET
    assert scanner.hits == 0
