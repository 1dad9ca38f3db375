"""C-09, C-18: forms and multipart bodies with one reading."""

from __future__ import annotations

import email
import email.policy
import io
import random

import pytest
from werkzeug.formparser import parse_form_data

from proxy.catalog.validation.forms import read_form
from proxy.catalog.validation.multipart import boundary_of, read_multipart
from proxy.catalog.validation.unclear import UnclearError
from tests.validation.calls import checked, head, operation

FORM = "application/x-www-form-urlencoded"
PAY = operation(
    body={
        "format": "form",
        "schema": {"required": ["amount"], "properties": {"amount": {"pattern": "^[0-9]+$"}, "tag": {"type": "array"}}},
    },
    fields={"amount": {"pointer": "/amount", "type": "Long"}, "tag": {"pointer": "/label", "type": "String"}},
)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"amount=12&label=a+b%26", {"amount": 12, "tag": "a b&"}),
        (b"amount=12&tag=a&tag=b", {"amount": 12}),
        (b"amount=12&amount=13", "ambiguous_request"),
        (b"amount=12;amount=13", "ambiguous_request"),
        (b"amount=12&Amount=13", "ambiguous_request"),
        (b"amount=12&amount%5B%5D=13", "ambiguous_request"),
        (b"amount=12&+amount=13", "ambiguous_request"),
        (b"amount=x", ("invalid_request", ["/body/amount"])),
        (b"label=x", ("invalid_request", ["/body/amount"])),
        (b"amount=1%2", "ambiguous_request"),
        (b"amount=12&x=%00", "ambiguous_request"),
        (b"amount=12\r\n", "ambiguous_request"),
        (b"amount=\xe9", "ambiguous_request"),
    ],
)
def test_c09_a_form_is_what_its_schema_says(body, wanted):
    assert checked(PAY, body, head(type_=FORM)) == wanted


def test_c09_a_value_that_counts_does_not_stand_in_the_url_either():
    of = PAY.model_copy(update={"body": PAY.body.model_copy(update={"required": False})})
    for query in ("amount=13", "amount[]=13", "Amount=13"):
        for body in (b"amount=12", b""):
            assert checked(of, body, head(type_=FORM, query=query)) == "ambiguous_request"


def test_c09_a_form_says_only_utf8():
    assert checked(PAY, b"amount=1", head(type_=f"{FORM}; charset=latin-1")) == "ambiguous_request"


def test_too_many_parameters():
    with pytest.raises(UnclearError):
        read_form("&".join(["a=1"] * 1001))


def part(name: str, value: str, more: str = "") -> str:
    return f'--B\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{value}\r\n'


FILE = '; filename="a.txt"\r\nContent-Type: text/plain'


def test_a_multipart_body_is_read():
    body = (
        part("title", "h\u00e9llo") + part("tag", "1") + part("tag", "2") + part("file", "abc\r\n-", FILE) + "--B--\r\n"
    ).encode()
    assert read_multipart(body, b"B") == {
        "title": "h\u00e9llo",
        "tag": ["1", "2"],
        "file": {"filename": "a.txt", "content_type": "text/plain", "bytes": 6},
    }


@pytest.mark.parametrize(
    "body",
    [
        "",
        "--B--",
        "x" + part("a", "1") + "--B--",  # a preamble
        part("a", "1") + "--B--x",
        part("a", "1") + "--B--\r\nmore",
        part("a", "1"),
        part("a", "1") + "--B --",
        part("a", '1\n--B\nContent-Disposition: form-data; name="b"\n\n2') + "--B--",  # line ends of another kind
        part("a", "1--B") + "--B--",
        part("a", "1").replace("\r\n\r\n", "\n\n") + "--B--",
        part("a", "1").replace('name="a"', "name=a") + "--B--",
        part("a", "1", '; name="b"') + "--B--",
        part("a", "1", "; filename*=utf-8''x") + "--B--",
        part("a", "1", '; filename="x"; filename="y"') + "--B--",
        part('a\\"', "1") + "--B--",
        part("a%22", "1") + "--B--",
        part("", "1") + "--B--",
        part("_charset_", "utf-7") + "--B--",
        part("a", "1", "\r\nContent-Type: text/plain; charset=utf-7") + "--B--",
        part("a", "1", "\r\nContent-Type: multipart/mixed; boundary=c") + "--B--",
        part("a", "1", "\r\nContent-Transfer-Encoding: base64") + "--B--",
        part("a", "1", '\r\nContent-Disposition: form-data; name="b"') + "--B--",
        part("a", "1", "\r\n folded: x") + "--B--",
        "".join(part(str(i), "1") for i in range(201)) + "--B--",
    ],
    ids=range(24),
)  # fmt: skip
def test_c18_what_parsers_of_multipart_disagree_about_is_refused(body):
    with pytest.raises(UnclearError):
        read_multipart(body.encode(), b"B")


@pytest.mark.parametrize("type_", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=a; boundary=b", 'multipart/form-data; boundary="a b"',
                                   "multipart/form-data; charset=utf-8; boundary=a", "multipart/form-data; boundary*=a", f"multipart/form-data; boundary={'a' * 71}"])  # fmt: skip
def test_c18_a_boundary_is_one_and_plain(type_):
    with pytest.raises(UnclearError):
        boundary_of(type_)


@pytest.mark.parametrize("runs", [400, pytest.param(6000, marks=pytest.mark.slow)])
def test_c18_what_is_read_of_a_multipart_body_is_read_alike_by_others(runs):
    """Random damage to a body: whatever is still accepted has the same fields for three other parsers."""
    drawn = random.Random(11)
    whole = (
        part("title", "one") + part("tag", "1") + part("tag", "2") + part("file", "abc\r\n-", FILE) + "--B--\r\n"
    ).encode()
    accepted = 0
    for _ in range(runs):
        text = bytearray(whole)
        for _ in range(drawn.randint(1, 2)):
            at = drawn.randrange(len(text))
            text[at : at + drawn.randint(0, 2)] = drawn.choice(
                [b"", b"\r\n", b"\n", b"-", b"--B", b'"', b";", b"=", b" ", b"\t", b"x", b"\r\n--B\r\n", b"\\", b"%22"]
            )
        try:
            found = read_multipart(bytes(text), b"B")
        except UnclearError:
            continue
        accepted += 1
        texts = sorted(
            (name, one)
            for name, value in found.items()
            for one in (value if isinstance(value, list) else [value])
            if isinstance(one, str)
        )
        environ = {
            "REQUEST_METHOD": "POST",
            "CONTENT_TYPE": "multipart/form-data; boundary=B",
            "CONTENT_LENGTH": str(len(text)),
            "wsgi.input": io.BytesIO(text),
        }
        _, form, _ = parse_form_data(environ)
        assert sorted(form.items(multi=True)) == texts, bytes(text)
        message = email.message_from_bytes(
            b"Content-Type: multipart/form-data; boundary=B\r\n\r\n" + text, policy=email.policy.HTTP
        )
        named = [(one.get_param("name", header="content-disposition"), one) for one in message.iter_parts()]
        assert (
            sorted((n, o.get_payload(decode=True).decode()) for n, o in named if o.get_filename() is None) == texts
        ), bytes(text)
    assert accepted > runs / 20


def test_multipart_fields_are_what_their_schema_says():
    of = operation(
        body={"format": "multipart", "schema": {"properties": {"file": {"properties": {"bytes": {"maximum": 3}}}}}},
        fields={
            "title": {"pointer": "/title", "type": "String"},
            "file_name": {"pointer": "/file/filename", "type": "String"},
        },
    )
    sent = head(type_='multipart/form-data; boundary="B"')
    assert checked(of, (part("title", "x") + part("file", "abc", FILE) + "--B--").encode(), sent) == {
        "title": "x",
        "file_name": "a.txt",
    }
    assert checked(of, (part("file", "abcd", FILE) + "--B--").encode(), sent) == (
        "invalid_request",
        ["/body/file/bytes"],
    )
    assert checked(of, (part("title", "x") + part("title", "y") + "--B--").encode(), sent) == "ambiguous_request"
