"""A provider that makes keys, and how its reply is written."""

from __future__ import annotations

import gzip
import json

import brotli

ADMIN = "ad-REAL-0123456789abcdefghijklmnop"
FRESH = "wk-FRESH-9f8e7d6c5b4a39281706abcdef"
API, OTHER = "api.widgets.test", "other.example.test"
WIDGETS = """\
schema: 1
name: widgets
title: Widgets
docs: https://widgets.test/
checked: "2026-11-25"
hosts: [{{host: api.widgets.test, port: {port}}}]
secrets:
  admin: {{stand_in: {{template: "ad-{{base62:28}}"}}}}
  key: {{stand_in: {{template: "wk-{{base62:28}}"}}}}
credentials:
  key: {{kind: header, header: X-Widgets-Key, secret: key}}
  admin: {{kind: header, header: Authorization, prefix: "Bearer ", secret: admin}}
operations:
  - {{id: read, methods: [GET, POST], path: "/v1/**", action: read, credentials: [key, admin]}}
  - {{id: manage, methods: [GET], path: "/admin/**", action: read, credentials: [admin]}}
  - id: keys.create
    methods: [POST, HEAD]
    path: /admin/keys
    action: write
    credentials: [admin]
    capture: {{secrets: {{/data/key: key}}, unless: /error}}
  - id: keys.form
    methods: [POST]
    path: /admin/form
    action: write
    credentials: [admin]
    capture: {{secrets: {{/key: key}}, content_types: [application/x-www-form-urlencoded]}}
  - id: keys.both
    methods: [POST]
    path: /admin/both
    action: write
    credentials: [admin]
    capture: {{secrets: {{/keys/0: key, /admin: admin}}, optional: [/admin]}}
"""
OTHER_PROFILE = """\
schema: 1
name: other
title: Other
docs: https://other.test/
checked: "2026-11-25"
hosts: [{{host: other.example.test, port: {port}}}]
secrets: {{token: {{stand_in: {{template: "tok-{{base62:24}}"}}}}}}
credentials: {{header: {{kind: header, header: X-Token, secret: token}}}}
operations: [{{id: any, methods: [GET, POST], path: "/**", action: write}}]
"""
SETTINGS = {
    "providers": {
        "widgets": {
            "accounts": {
                "main": {"secrets": {"admin": "env:ADMIN"}, "default": True},
                "second": {"secrets": {"admin": "env:ADMIN"}},
            }
        },
        "other": {"accounts": {"main": {"secrets": {"token": "env:OTHER_TOKEN"}}}},
    }
}
ENVIRONMENT = {"ADMIN": ADMIN}
AGENTS = {"tester": ("*",), "rival": ("*",)}
RIG = {
    "profiles": {"widgets": WIDGETS, "other": OTHER_PROFILE},
    "settings": SETTINGS,
    "environment": ENVIRONMENT,
    "agents": AGENTS,
    "hosts": (API, OTHER),
}
CODERS = {"identity": lambda body: body, "gzip": gzip.compress, "br": brotli.compress}


def reply(body, *, status="200 OK", kind="application/json", coding="identity", extra="") -> bytes:
    """A reply as bytes; `body` is JSON unless it is bytes."""
    content = CODERS[coding](body if isinstance(body, bytes) else json.dumps(body).encode())
    coded = f"Content-Encoding: {coding}\r\n" if coding != "identity" else ""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{coded}{extra}Content-Length: {len(content)}\r\n\r\n".encode()
        + content
    )


def created(value=FRESH, **more):
    return {"id": "key_1", "data": {"key": value, "name": "mine"}, **more}
