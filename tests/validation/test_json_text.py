"""C-12, N-10: a JSON body has one reading, or none."""

from __future__ import annotations

import json
import random
import time

import orjson
import pytest

from proxy.catalog.validation.json_text import MAX_KEYS, member, read_json
from proxy.catalog.validation.unclear import UnclearError


@pytest.mark.parametrize(
    "text",
    [b"{}", b"[]", b'"x"', b"1", b"-1", b"1.5", b"1e3", b"true", b"null", b'{"a":{"b":[1,2,{"c":null}]}}', b'{"\xc3\xa9":"\\ud83d\\ude00"}', b'{"A":1,"a":2}',
     b"9007199254740991"],
)  # fmt: skip
def test_plain_json_is_read(text):
    assert read_json(text) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b'{"a":1,"a":2}', b'{"a":1,"\\u0061":2}', b'[{"b":[{"a":1,"a":1}]}]', b"NaN", b"[Infinity]", b"-Infinity", b"1e999", b"9007199254740993",
     b"[-9007199254740992]", b"1" * 5000, b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b"{} {}", b"{}x", b"{'a':1}", b'{"a":1,}', b"/**/{}", b"[01]", b"[+1]", b"[.5]",
     b'"\xff"', b'"\\ud800"', b'"\x01"', b"[" * 65 + b"]" * 65, b"[" * 100_000, b'{"a":' * 70 + b"1" + b"}" * 70,
     b"{" + b",".join(b'"%d":1' % i for i in range(MAX_KEYS + 1)) + b"}", b"[" + b",".join([b"0"] * 100_001) + b"]"],
    ids=range(30),
)  # fmt: skip
def test_c12_what_parsers_disagree_about_is_refused(text):
    with pytest.raises(UnclearError):
        read_json(text)


@pytest.mark.parametrize("runs", [3000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_c12_what_is_read_is_read_alike_by_others(runs):
    """Random damage to a document: whatever is still accepted means the same to two parsers."""
    drawn = random.Random(7)
    whole = b'{"amount":100,"to":"acct","list":[1,2.5,true,null,{"x":"\\u00e9"}],"n":-3e2}'
    accepted = 0
    for _ in range(runs):
        text = bytearray(whole)
        for _ in range(drawn.randint(1, 3)):
            text[drawn.randrange(len(text))] = drawn.choice(b'"{}[]:,0123456789.eE+-\\ntrufals a\x00\xff')
        try:
            value = read_json(bytes(text))
        except UnclearError:
            continue
        accepted += 1
        assert value == orjson.loads(text) == json.loads(text)
    assert accepted > runs / 50


@pytest.mark.parametrize("name", ["AMOUNT", "Amount", "amounT"])
def test_c12_a_name_in_other_capitals_is_a_second_reading(name):
    with pytest.raises(UnclearError):
        member({name: 1}, "amount")
    assert member({"amount": 1, "other": 2}, "amount") == 1
    with pytest.raises(UnclearError):
        member({"ta\u017fk": 1}, "task")


def test_n10_many_values_are_refused_before_they_are_made():
    begun = time.process_time()
    with pytest.raises(UnclearError):
        read_json(b"[" + b"[]," * 2_000_000 + b"[]]")
    assert time.process_time() - begun < 0.5
    text = 'a, [b] {c} \\" ' * 50_000
    assert read_json(orjson.dumps({"text": text})) == {"text": text}
