"""Documents of discovery that are kept: for how long, how many, for whom."""

from __future__ import annotations

import pytest

from proxy.credentials.documents import MAX_DOCUMENTS, Documents, fresh_s
from proxy.credentials.kind import Reply


class Clock:
    """A clock that stands still until it is moved."""

    now_s = 1000.0

    def wall_ms(self):
        return int(self.now_s * 1000)

    def monotonic_s(self):
        return self.now_s


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 600), ({"cache-control": "public"}, 600), ({"cache-control": "max-age=60"}, 60), ({"cache-control": 'Max-Age="60"'}, 60),
        ({"cache-control": "public, max-age=60, max-age=30"}, 30), ({"cache-control": "max-age=60", "age": "20"}, 40),
        ({"cache-control": "max-age=60", "age": "90"}, 0), ({"cache-control": "max-age=60", "age": "x"}, 60),
        ({"cache-control": "max-age=9999999999"}, 86400), ({"cache-control": "max-age=99999999999"}, 600),
        ({"cache-control": "max-age=60, no-store"}, 0), ({"cache-control": "No-Cache"}, 0), ({"cache-control": "max-age=-1"}, 600),
    ],
)  # fmt: skip
def test_a_document_is_kept_as_long_as_it_says_within_limits(headers, seconds):
    # RFC 9111, sections 4.2.1 and 5.2.2.
    assert fresh_s(Reply(200, headers, b"")) == seconds
    clock = Clock()
    documents, place = Documents(clock), ("acme", "https://as.example/x")
    documents.put(place, reply := Reply(200, headers, b"x"))
    assert documents.get(place) == (reply if seconds else None)
    clock.now_s += seconds
    assert documents.get(place) is None


def test_that_nothing_is_there_is_not_believed_for_long():
    assert fresh_s(Reply(404, {"cache-control": "max-age=86400"}, b"")) == 600
    assert fresh_s(Reply(410, {"cache-control": "max-age=5"}, b"")) == 5


def test_p6_p7_documents_are_bounded_and_of_one_provider_and_url():
    documents = Documents(Clock())
    for number in range(MAX_DOCUMENTS + 3):
        documents.put(("acme", f"https://as.example/{number}"), Reply(200, {}, b"%d" % number))
    assert documents.get(("acme", "https://as.example/2")) is None
    assert documents.get(("acme", "https://as.example/3")).body == b"3"
    assert documents.get(("other", "https://as.example/3")) is None
    documents.put(("other", "https://as.example/3"), Reply(200, {}, b"other"))
    documents.drop([("acme", "https://as.example/5"), ("acme", "https://nobody.example/")])
    assert documents.get(("acme", "https://as.example/5")) is None
    documents.drop_all_of("acme")
    assert documents.get(("acme", "https://as.example/6")) is None
    assert documents.get(("other", "https://as.example/3")).body == b"other"
