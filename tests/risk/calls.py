"""Calls that tests of the risk rules are written in."""

from __future__ import annotations

from proxy.model import Action, Authority, RequestHead
from proxy.risk import HOUR_MS, Call, Circumstances, Past, SecretShapes, Usage
from proxy.risk_settings import RiskSettings

NOW_MS = 1_764_151_200_000
"""Wednesday, 26 November 2025, 10:00 UTC."""
HOUR = NOW_MS // HOUR_MS
USE = ("github", "issues.create")
HOST = "api.github.test"
KNOWN = Circumstances(Past({USE: Usage(HOUR, 3, 10)}, frozenset({HOST})))
SHAPES = SecretShapes(("tok_live_",))


def call(body=None, *, query=None, path="/issues", headers=(), now_ms=NOW_MS, known=KNOWN, size=None, **more):
    """A usual call, unless the arguments say otherwise; nothing of it is risky by itself."""
    if isinstance(body, str):
        body = body.encode()
    head = RequestHead(
        method="POST",
        scheme="https",
        authority=Authority(more.pop("host", HOST), 443),
        path=path,
        segments=tuple(path.split("/")[1:]),
        query=query,
        headers=tuple(headers),
        has_body=body is not None or size is not None,
        content_length=len(body) if body is not None else size,
    )
    settings = RiskSettings.model_validate(more.pop("settings", {}))
    return Call(head, body, more.pop("use", USE), Action.WRITE, now_ms, known, settings, SHAPES, **more)
