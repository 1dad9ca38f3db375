"""What we ask upstream for."""

from __future__ import annotations

import pytest

from proxy.firewall import accept_encoding
from proxy.firewall.codings import codings_of


@pytest.mark.parametrize(
    ("offered", "asked"),
    [
        (None, "identity"),
        ("", "identity"),
        (" , ,", "identity"),
        ("identity", "identity"),
        ("compress, lzma", "identity"),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZip ; Q=0.5", "gzip"),
        ("zstd, br, deflate, gzip", "gzip, deflate, br, zstd"),
        ("gzip, deflate, br, dcb, dcz", "gzip, deflate, br"),
        ("gzip;q=0, br", "br"),
        ("gzip;q=0.000", "identity"),
        ("gzip;q=nan, br;q=inf, zstd;q=-1, deflate;q=x", "identity"),
        ("gzip;level=9", "identity"),
        ("*", "gzip, deflate, br, zstd"),
        ("*, br;q=0", "gzip, deflate, zstd"),
        ("gzip, *;q=0", "gzip"),
        ("*;q=0", "identity"),
    ],
)
def test_accept_encoding(offered, asked):
    assert accept_encoding(offered) == asked


@pytest.mark.parametrize(
    ("headers", "codings"),
    [
        ((), ()),
        ((("content-encoding", ""),), ()),
        ((("content-encoding", "identity"),), ()),
        ((("content-encoding", "X-GZIP"),), ("gzip",)),
        ((("content-encoding", "identity, gzip"),), ("gzip",)),
        ((("content-encoding", "gzip, br"),), ("gzip", "br")),
        ((("content-encoding", "gzip"), ("content-encoding", "gzip")), ("gzip", "gzip")),
    ],
)
def test_codings_of(headers, codings):
    assert codings_of(headers) == codings
