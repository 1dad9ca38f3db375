"""I-05, I-09: by what another form of a profile may let more through; what is not known to be narrower is named."""

from __future__ import annotations

import pytest

from proxy.catalog.schema import Profile
from proxy.documents import Document
from proxy.trial.profile_changes import wider

TEXT = """\
schema: 1
name: sample
title: Sample
docs: https://sample.test/
checked: "2026-11-24"
hosts: [{host: api.sample.test, paths: [/v1, /v2]}, {host: files.sample.test}]
secrets: {key: {}}
credentials: {bearer: {kind: header, header: Authorization, prefix: "Bearer ", secret: key}}
operations:
  - {id: read, methods: [GET], path: "/**", action: read, data_class: internal}
  - {id: write, methods: [POST], path: "/**", action: write}
  - {id: drop, methods: [DELETE], path: "/**", action: admin}
"""


def profile(text: str) -> Profile:
    return Document("sample.yaml", text).validated(Profile)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("title: Sample", "title: Other", []),
        ("paths: [/v1, /v2]", "paths: [/v1/own]", []),
        (", {host: files.sample.test}", "", []),
        ("action: write}", "action: admin}", []),
        ("data_class: internal", "data_class: sensitive", []),
        ('  - {id: drop, methods: [DELETE], path: "/**", action: admin}\n', "", []),
        ("paths: [/v1, /v2]", "paths: [/v1, /v3]", ["sample: host api.sample.test:443 is new, or more of it"]),
        ("paths: [/v1, /v2]", "paths: [/v10]", ["sample: host api.sample.test:443 is new, or more of it"]),
        ("files.sample.test}", '"*.sample.test"}', ["sample: host *.sample.test:443 is new, or more of it"]),
        ("files.sample.test}", "files.sample.test, port: 8443}", ["sample: host files.sample.test:8443 is new, or more of it"]),
        ("action: admin", "action: read", ["sample:drop: admin became read"]),
        ("data_class: internal", "title: x", ["sample:read: data class internal became none"]),
        ("[DELETE]", "[DELETE, PUT]", ["sample:drop: methods changed"]),
        ('path: "/**", action: write', "path: /x, action: write", ["sample:write: path changed"]),
        ("header: Authorization", "header: X-Key", ["sample: credentials changed"]),
        ("methods: [DELETE]", "methods: [GET], query: {a: b}", ["sample:drop: methods changed", "sample:drop: query changed"]),
        ("id: drop", "id: remove", ["sample:remove is new", "sample:drop is gone, so its calls may be taken for others"]),
    ],
)  # fmt: skip
def test_what_may_let_more_through_is_named(old: str, new: str, named: list[str]) -> None:
    assert old in TEXT
    assert list(wider(profile(TEXT), profile(TEXT.replace(old, new)))) == named


def test_a_profile_that_was_not_there_lets_more_through() -> None:
    assert list(wider(None, profile(TEXT))) == ["sample: a new profile"]
