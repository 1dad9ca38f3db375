"""Agent tokens: form, digest, where a header may carry one, and that they are not written down (H-04)."""

from __future__ import annotations

import base64
import hashlib

import pytest

from proxy.identity.throttle import FAILURES, MAX_SOURCES, WINDOW_S, Throttle
from proxy.identity.tokens import TOKEN, new_token, token_in, without_tokens

TOKEN_ID, TEXT = "AbCdEfGhIj01", "bca_AbCdEfGhIj01_" + "x-_" * 14 + "y"  # parallel workers must name the same tests


def basic(pair):
    return "Basic " + base64.b64encode(pair.encode()).decode()


def test_p1_what_is_stored_is_a_digest():
    token_id, text, digest = new_token()
    assert TOKEN.fullmatch(text)[1] == token_id
    assert digest == hashlib.sha256(text.encode()).hexdigest()
    assert text[17:] not in digest


def test_tokens_differ():
    assert len({part for _ in range(200) for part in new_token()}) == 600


@pytest.mark.parametrize(
    "header",
    [
        f"Bearer {TEXT}",
        f"bearer {TEXT}",
        f"Bearer   {TEXT}",
        basic(f"agent:{TEXT}"),
        basic(f"x:{TEXT}"),
        basic(f":{TEXT}"),
        basic(f"{TEXT}:"),
        basic(f"{TEXT}:x"),
        basic(TEXT),
        "bAsIc " + basic(f"agent:{TEXT}")[6:],
    ],
)
def test_a_header_that_carries_a_token(header):
    assert token_in(header) == (TEXT, TOKEN_ID)


@pytest.mark.parametrize(
    "header",
    [
        "", "Basic", "Basic ", "Bearer", TEXT, f"Digest {TEXT}", f"Negotiate {TEXT}", f"Bearer {TEXT}x", f"Bearer {TEXT[:-1]}",
        f"Bearer {TEXT} {TEXT}", f"Basic {TEXT}", "Basic !!!!", "Basic YWdlbnQ", basic("agent:"), basic("a:b:c"),
        basic(f"agent:{TEXT}:"), "Basic " + base64.b64encode(b"\xff\xfe:" + TEXT.encode()).decode(),
        basic("x" * 2000 + f":{TEXT}"), f"Bearer {TEXT.replace('bca', 'BCA')}", "Bearer \ud800", "Basic \u00e9\u00e9\u00e9\u00e9",
    ],
)  # fmt: skip
def test_p5_a_header_that_carries_none(header):
    assert token_in(header) is None


def test_ten_failures_within_a_minute_close_the_door_and_time_opens_it():
    throttle = Throttle()
    for _ in range(FAILURES):
        assert throttle.wait_s("192.0.2.1", 0.0) == 0
        throttle.failed("192.0.2.1", 0.0)
    wait_s = throttle.wait_s("192.0.2.1", 0.0)
    assert 0 < wait_s <= WINDOW_S
    assert throttle.wait_s("192.0.2.1", wait_s + 1.0) == 0


def test_p6_one_source_does_not_close_the_door_for_another():
    throttle = Throttle()
    for _ in range(FAILURES * 2):
        throttle.failed("192.0.2.1", 0.0)
    assert throttle.wait_s("192.0.2.2", 0.0) == 0


def test_slow_failures_do_not_add_up():
    throttle = Throttle()
    for minute in range(50):
        throttle.failed("192.0.2.1", minute * WINDOW_S)
    assert throttle.wait_s("192.0.2.1", 50 * WINDOW_S) == 0


def test_p7_the_sources_that_are_remembered_are_bounded():
    throttle = Throttle()
    for number in range(MAX_SOURCES + 500):
        throttle.failed(f"source-{number}", 0.0)
    assert len(throttle._spent) == MAX_SOURCES


@pytest.mark.parametrize("prefix", ["bca", "bco", "bcs"])
def test_h_04_a_token_in_a_text_is_named_and_not_shown(prefix):
    token = new_token(prefix)[1]
    assert without_tokens(f"/a/{token}/b") == "/a/{token}/b"
    assert without_tokens(f"/x{token[:-3]}") == "/x{token}"
    assert without_tokens(f"/bct_{'A' * 43}_{'B' * 200}") == "/{token}"
    assert without_tokens("/bca_short/bca_/abca") == "/bca_short/bca_/abca"
