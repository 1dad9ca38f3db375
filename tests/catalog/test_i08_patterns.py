"""I-08: patterns of profiles and of their schemas, and our detectors, take linear time whatever they read."""

from __future__ import annotations

import time

import pytest

from proxy.catalog.patterns import BadPatternError, fits
from proxy.catalog.validation.schemas import compiled
from proxy.firewall import Needle, Vocabulary, open_scanner
from tests.catalog.redos import EVIL

BUDGET_S = 0.5


def spent_s(work):
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


@pytest.mark.parametrize("pattern", EVIL)
def test_a_pattern_of_a_profile_is_matched_in_linear_time(pattern):
    for value in ("a" * 5_000 + "!", "aA1" * 2_000 + "\n", "x" * 5_000):
        assert spent_s(lambda value=value: fits(pattern, value)) < BUDGET_S


@pytest.mark.parametrize("pattern", EVIL)
def test_a_pattern_of_a_schema_is_matched_in_linear_time(pattern):
    schema = compiled({"type": "string", "pattern": pattern})
    for value in ("a" * 50_000 + "!", "aA1" * 20_000 + "\n"):
        assert spent_s(lambda value=value: schema.is_valid(value)) < BUDGET_S


@pytest.mark.parametrize(
    "pattern", [r"(a+)\1", r"(?=a)b", r"(?<!x)a", r"(?>a+)b", "(", "a{1,99999}{1,99999}", "a" * 2000]
)
def test_what_such_an_engine_cannot_do_is_refused_when_it_is_loaded(pattern):
    with pytest.raises(BadPatternError):
        fits(pattern, "a")


def test_the_whole_value_must_match():
    assert fits("[a-z]+", "abc")
    assert not any(fits("[a-z]+", value) for value in ("abc\n", "abc1", "1abc", "", "ABC"))
    assert not fits("a|b", "ab")


SECRET = b"tok_9f8/Zq+7Lw=~Kx"
NEARLY = {
    "beginnings": SECRET[:-1] * 12_000,
    "first letters": b"t" * 200_000,
    "escapes": b"\\u0074\\u006f\\u006b" * 11_000,
    "percents": b"%74%6f%6b" * 22_000,
    "secrets": SECRET * 11_000,
}


@pytest.mark.parametrize("name", NEARLY)
def test_what_looks_for_secrets_in_answers_takes_linear_time(name):
    """The rules about what agents send are held to the same in `tests/risk/test_rules.py`."""
    vocabulary = Vocabulary([Needle(SECRET, b"tok_standin0000000")])

    def scan(text):
        scanner = open_scanner(vocabulary)
        for start in range(0, len(text), 4096):
            scanner.feed(text[start : start + 4096])
        scanner.feed(b"")

    text = NEARLY[name]
    short, long = spent_s(lambda: scan(text[: len(text) // 8])), spent_s(lambda: scan(text))
    assert long < 16 * max(short, 0.004)
