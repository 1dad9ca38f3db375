"""What real encoders write is found, and what takes its place is harmless and still decodes."""

from __future__ import annotations

import base64
import json
import pickle
from urllib.parse import parse_qs, quote, quote_plus, unquote, urlencode

import pytest

from proxy.firewall import Needle, Vocabulary
from proxy.firewall.scanner import scrub
from proxy.firewall.variants import variants

SECRETS = {
    "token": b"ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "base64": b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY==",
    "signs": b"p&ss<w>rd \"q' \\/`~!*()%",
    "utf8": "clé-secrète-😀-ok".encode(),
    "latin1": b"caf\xe9-au-lait-\xff\xfe",
    "pem": b"-----BEGIN KEY-----\nMIIEvQIBADANBg/kq+hk\r\niG9w0\t=\n-----END KEY-----\n",
    "shortest": b"a1B2c3D4",
}
STAND_IN = b"STANDIN-STANDIN-STANDIN"


def text(secret: bytes) -> str:
    try:
        return secret.decode()
    except UnicodeDecodeError:
        return secret.decode("latin-1")


def hex_form(secret: str, form: str) -> str:
    raw = secret.encode("utf-16-be")
    return "".join(form % int.from_bytes(raw[i : i + 2]) for i in range(0, len(raw), 2))


ENCODERS = {
    "plain": lambda s: s,
    "hex": lambda s: s.hex().encode(),
    "HEX": lambda s: s.hex().upper().encode(),
    "quote": lambda s: quote(s).encode(),
    "quote_all": lambda s: quote(s, safe="").encode(),
    "quote_lower": lambda s: "".join(c if c.isascii() and (c.isalnum() or c in "-._~") else f"%{ord(c):02x}" for c in s.decode("latin-1")).encode(),
    "quote_plus": lambda s: quote_plus(s).encode(),
    "encodeURIComponent": lambda s: quote(s, safe="!~*'()").encode(),
    "encodeURI": lambda s: quote(s, safe="!~*'();,/?:@&=+$#").encode(),
    "percent_every_byte": lambda s: "".join(f"%{b:02X}" for b in s).encode(),
    "percent_every_byte_lower": lambda s: "".join(f"%{b:02x}" for b in s).encode(),
    "json": lambda s: json.dumps(text(s))[1:-1].encode(),
    "json_utf8": lambda s: json.dumps(text(s), ensure_ascii=False)[1:-1].encode(),
    "json_slash": lambda s: json.dumps(text(s))[1:-1].replace("/", "\\/").encode(),
    "json_go": lambda s: json.dumps(text(s))[1:-1].replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode(),
    "json_every_character": lambda s: hex_form(text(s), "\\u%04x").encode(),
    "json_every_character_upper": lambda s: hex_form(text(s), "\\u%04X").encode(),
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
    "base64url_bare": lambda s: base64.urlsafe_b64encode(s).rstrip(b"="),
    "basic_user": lambda s: base64.b64encode(b"user:" + s),
    "basic_x": lambda s: base64.b64encode(b"x:" + s),
    "basic_user_only": lambda s: base64.b64encode(s + b":"),
    "basic_in_php_json": lambda s: base64.b64encode(b"api:" + s).replace(b"/", b"\\/"),
    "basic_in_dotnet_json": lambda s: base64.b64encode(b"api:" + s).replace(b"+", b"\\u002B"),
    "basic_in_query": lambda s: quote(base64.b64encode(b"api:" + s), safe="").encode(),
}  # fmt: skip


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("secret", SECRETS)
def test_p1_what_encoders_write_is_found(secret, encoder):
    value = SECRETS[secret]
    vocabulary = Vocabulary([Needle(value, STAND_IN)])
    encoded = ENCODERS[encoder](value)
    clean, hits = scrub(b"<" + encoded + b">", vocabulary)
    assert hits == 1
    assert encoded not in clean
    assert not vocabulary.find(clean)


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("before", range(7))
@pytest.mark.parametrize("after", range(4))
def test_p1_base64_at_every_alignment_still_decodes(secret, before, after):
    value = SECRETS[secret]
    vocabulary = Vocabulary([Needle(value, STAND_IN)])
    for encode, decode in ((base64.b64encode, base64.b64decode), (base64.urlsafe_b64encode, base64.urlsafe_b64decode)):
        encoded = encode(b"u" * before + value + b"v" * after)
        clean, hits = scrub(encoded, vocabulary)
        plain = decode(clean)
        assert hits == 1
        assert len(clean) == len(encoded)
        # At most the outermost bytes of the value share a character with what is around it.
        assert value[1:-1] not in plain
        if not after:  # then the last byte is known whole
            assert plain.endswith(STAND_IN[: len(value)].ljust(len(value), b"x")[1:])
        assert plain[:before][:-1] == b"u" * max(0, before - 1)


def test_every_replacement_decodes_to_the_stand_in():
    value, stand_in = b"0123456789abcdef/+", b"stand-in/0123+5678"
    cases = {
        base64.b64encode(value): base64.b64decode,
        value.hex().encode(): lambda b: bytes.fromhex(b.decode()),
        quote(value, safe="").encode(): lambda b: unquote(b.decode()).encode(),
        json.dumps(value.decode()).replace("/", "\\/").encode(): lambda b: json.loads(b).encode(),
        urlencode({"a": value}).encode(): lambda b: parse_qs(b.decode())["a"][0].encode(),
    }
    vocabulary = Vocabulary([Needle(value, stand_in)])
    for encoded, decode in cases.items():
        assert decode(scrub(encoded, vocabulary)[0]) == stand_in


def test_json_around_an_echo_stays_json():
    value = SECRETS["signs"]
    document = json.dumps({"a": text(value), "b": [base64.b64encode(value).decode()], "c": value.hex()}).encode()
    clean, hits = scrub(document, Vocabulary([Needle(value, b'new "quoted" \\ one')]))
    assert hits == 3
    assert json.loads(clean)["a"] == 'new "quoted" \\ one'


@pytest.mark.parametrize("size", [8, 9, 10, 11, 40])
def test_base64_patterns_are_never_short(size):
    value = bytes(range(65, 65 + size))
    assert all(len(pattern) >= 8 for pattern in variants(value, b"s"))


@pytest.mark.parametrize("stand_in", [b"secretsecret", b"<secretsecret>", base64.b64encode(b"secretsecret")])
def test_p1_a_stand_in_that_holds_the_value_is_left_out(stand_in):
    vocabulary = Vocabulary([Needle(b"secretsecret", stand_in)])
    assert scrub(b"a=secretsecret;", vocabulary) == (b"a=;", 1)


def test_p1_values_do_not_show():
    needle = Needle(b"secretsecret", b"stand-in")
    assert "secret" not in repr(needle)
    assert "secret" not in repr(Vocabulary([needle]))
    with pytest.raises(TypeError):
        pickle.dumps(Vocabulary([needle]))


def test_an_empty_value_is_refused():
    with pytest.raises(ValueError, match="empty"):
        Needle(b"", b"x")


@pytest.mark.parametrize(
    "echo",
    [
        lambda s: base64.b64encode(base64.b64encode(s)),
        lambda s: base64.encodebytes(b"u" * 40 + s),
        lambda s: json.dumps(json.dumps(text(s).replace("+", "\\u002b"))).encode(),
        lambda s: s.replace(b"/", b"&#x2F;"),
        lambda s: s.hex().replace("a", "A").encode(),
        lambda s: text(s).encode("utf-16-le"),
        lambda s: s[::-1],
        lambda s: s[:-1],
    ],
    ids=["twice", "lines", "nested", "html", "mixed", "utf16", "reversed", "slice"],
)
def test_the_limits_are_as_documented(echo):
    assert scrub(echo(SECRETS["base64"][:-2]), Vocabulary([Needle(SECRETS["base64"][:-2], STAND_IN)]))[1] == 0
