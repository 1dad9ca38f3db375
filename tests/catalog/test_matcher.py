"""Which profile and operation a call is; near misses are none (A-16, C-09, D-11)."""

from __future__ import annotations

import pytest

from proxy.canonical.path import canonical_path
from proxy.catalog.matcher import Catalog
from proxy.catalog.schema import Profile
from proxy.documents import Document
from proxy.model import Authority, RequestHead

TEXT = """\
schema: 1
name: sample
title: Sample
docs: https://example.com
checked: "2026-11-24"
hosts:
  - {host: api.example.com}
  - {host: "*.tenant.example.com"}
  - {host: shared.example.com, paths: [/ours]}
  - {host: plain.example.com, http_upgrade: true}
secrets: {key: {}}
credentials: {key: {kind: header, secret: key}}
operations:
  - {id: any, methods: [GET], path: "/**", action: read}
  - {id: thing, methods: [GET], path: "/things/{thing}", action: read}
  - {id: mine, methods: [GET], path: /things/mine, action: read}
  - {id: deep, methods: [GET], path: "/things/{thing}/**", action: read}
  - {id: upload, methods: [POST], path: /git/info, query: {service: upload}, action: read}
  - {id: receive, methods: [POST], path: /git/info, query: {service: receive}, action: write}
  - {id: versioned, methods: [POST], path: /v, headers: {X-Version: "*"}, action: write}
  - {id: socket, methods: [GET], path: /socket, action: write, websocket: true}
  - {id: here, methods: [PUT], path: /only, hosts: [api.example.com], action: write}
"""


@pytest.fixture(scope="module")
def catalog():
    return Catalog([Document("sample.yaml", TEXT).validated(Profile)])


def head(method="GET", host="api.example.com", target="/", port=443, scheme="https", headers=(), websocket=False):
    path, _, query = target.partition("?")
    normal = canonical_path(path, encoded_slash=False)
    assert isinstance(normal, tuple)
    return RequestHead(
        method, scheme, Authority(host, port), *normal, query or None, tuple(headers), False, None, websocket
    )


@pytest.mark.parametrize(
    ("call", "operation"),
    [
        ({"target": "/"}, "any"),
        ({"target": "/x/y/z"}, "any"),
        ({"target": "/things/1"}, "thing"),
        ({"target": "/things/mine"}, "mine"),
        ({"target": "/things/1/2/3"}, "deep"),
        ({"target": "/things/"}, "any"),
        ({"method": "POST", "target": "/git/info?service=upload"}, "upload"),
        ({"method": "POST", "target": "/git/info?service=receive&x=1"}, "receive"),
        ({"method": "POST", "target": "/git/info?service=other"}, None),
        ({"method": "POST", "target": "/git/info?service=upload&service=receive"}, None),
        ({"method": "POST", "target": "/git/info?service=upload;service=receive"}, None),
        ({"method": "POST", "target": "/git/info?%73ervice=upload"}, "upload"),
        ({"method": "POST", "target": "/v", "headers": [("x-version", "9")]}, "versioned"),
        ({"method": "POST", "target": "/v"}, None),
        ({"target": "/socket", "websocket": True}, "socket"),
        ({"target": "/socket"}, "any"),
        ({"target": "/x", "websocket": True}, None),
        ({"method": "PUT", "target": "/only"}, "here"),
        ({"method": "PUT", "target": "/only", "host": "a.tenant.example.com"}, None),
        ({"method": "DELETE", "target": "/"}, None),
        ({"host": "a.tenant.example.com"}, "any"),
        ({"host": "shared.example.com", "target": "/ours/x"}, "any"),
        ({"host": "plain.example.com", "scheme": "http", "port": 80}, "any"),
    ],
)
def test_operations(catalog, call, operation):
    match = catalog.match(head(**call))
    assert match is not None
    assert (match.operation.id if match.operation else None) == operation


@pytest.mark.parametrize(
    "call",
    [
        {"host": "example.com"},
        {"host": "xapi.example.com"},
        {"host": "api.example.com.evil.test"},
        {"host": "api-example.com"},
        {"host": "tenant.example.com"},
        {"host": "a.b.tenant.example.com"},
        {"host": "xtenant.example.com"},
        {"port": 8443},
        {"scheme": "http", "port": 80},
        {"scheme": "http", "port": 443},
        {"host": "shared.example.com", "target": "/oursx"},
        {"host": "shared.example.com", "target": "/"},
        {"host": "plain.example.com", "scheme": "http", "port": 8080},
    ],
)
def test_a16_near_misses_belong_to_no_profile(catalog, call):
    assert catalog.match(head(**call)) is None


def test_names_in_a_path_are_told(catalog):
    match = catalog.match(head(target="/things/a%20b"))
    assert match.params == {"thing": "a b"}


def test_the_cost_of_a_match_does_not_grow_with_the_profiles(catalog):
    profile = next(iter(catalog.profiles.values()))
    many = [
        profile.model_copy(
            update={"name": f"p{i}", "hosts": (profile.hosts[0].model_copy(update={"host": f"h{i}.test"}),)}
        )
        for i in range(300)
    ]
    large = Catalog([profile, *many])
    assert large.match(head(target="/things/1")).operation.id == "thing"
    entries = large.host("api.example.com", 443)
    assert len(entries) == 1
