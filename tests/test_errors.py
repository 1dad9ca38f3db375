"""Every refusal: one table, one form, nothing of the request in it (RFC 9457, RFC 9209)."""

from __future__ import annotations

import ast
from pathlib import Path

import orjson
import pytest

from proxy.errors import KINDS, PROBLEM_BASE, ConfigError, Denial, Finding, Refused, render

ROOT = Path(__file__).parents[1]
PROXY_STATUS = {  # RFC 9209, section 2.3
    "destination_unavailable", "destination_ip_prohibited", "connection_read_timeout", "tls_certificate_error", "http_request_denied",
    "http_request_error", "tls_alert_received", "tls_protocol_error", "http_response_incomplete", "proxy_internal_error",
    "proxy_configuration_error", "connection_refused",
}  # fmt: skip


def denials():
    """Every `Denial(...)` in the product, with the place."""
    for package in ("proxy", "addons", "certs"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Denial":
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_every_refusal_in_the_code_stands_in_the_table():
    used = {node.args[0].value: place for place, node in denials() if isinstance(node.args[0], ast.Constant)}
    assert used.keys() - KINDS.keys() == set()
    assert len(used) > 15


def test_p1_no_detail_is_made_from_what_was_received():
    """A detail is a literal; of the three that are not, one names an action and two are looked up in tables of ours."""
    made = {}
    for place, node in denials():
        detail = node.args[1] if len(node.args) > 1 else next(k.value for k in node.keywords if k.arg == "detail")
        if isinstance(detail, ast.JoinedStr):
            values = [ast.unparse(part.value) for part in detail.values if isinstance(part, ast.FormattedValue)]
            made[place.partition(":")[0]] = ", ".join(values)
        elif not isinstance(detail, ast.Constant | ast.Name):
            made[place.partition(":")[0]] = ast.unparse(detail).partition("(")[0]
    assert made == {
        "proxy/decision.py": "operation.action",
        "proxy/egress/handshake.py": "_DETAIL[slug]",
        "proxy/engine/failure.py": "_DETAIL.get",
    }


@pytest.mark.parametrize("slug", KINDS)
def test_the_form_of_every_refusal(slug):
    answer = render(Denial(slug, "One sentence.", by="x"), receipt="rcp_1")
    kind, document, headers = KINDS[slug], orjson.loads(answer.body), dict(answer.headers)
    assert answer.status == document["status"] == kind.status
    assert document["type"] == PROBLEM_BASE + slug
    assert (document["title"], document["advice"], document["detail"], document["receipt"]) == (
        kind.title,
        kind.advice,
        "One sentence.",
        "rcp_1",
    )
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"content-length"] == str(len(answer.body)).encode()
    assert headers[b"briefcased-receipt"] == b"rcp_1"
    assert headers[b"proxy-status"] == f'briefcased; error={kind.proxy_status}; details="{slug}"'.encode()
    assert (b"proxy-authenticate" in headers) == (slug == "proxy_auth_required")
    assert all(name == name.lower() and value.isascii() and b"\n" not in value for name, value in answer.headers)


@pytest.mark.parametrize("slug", KINDS)
def test_a_refusal_never_starts_a_login_or_a_payment(slug):
    kind = KINDS[slug]
    assert 400 <= kind.status <= 504
    assert kind.status not in (401, 402)
    assert kind.proxy_status in PROXY_STATUS
    assert kind.advice.endswith(".")
    assert slug.replace("_", "").isalpha()


def test_a_refusal_without_receipt_or_wait_says_neither():
    plain = render(Denial("draining", "x", by="x"), receipt=None)
    assert not {b"briefcased-receipt", b"retry-after"} & dict(plain.headers).keys()
    assert "receipt" not in orjson.loads(plain.body)
    waiting = render(Denial("draining", "x", by="x", retry_after_s=0, extra={"left": 3}), receipt=None)
    assert dict(waiting.headers)[b"retry-after"] == b"0"
    assert orjson.loads(waiting.body)["left"] == 3


def test_p5_an_unknown_slug_is_an_error_not_an_answer():
    with pytest.raises(KeyError):
        render(Denial("no_such_slug", "x", by="x"), receipt=None)


def test_p1_what_is_raised_says_the_slug_only():
    refused = Refused(Denial("policy_denied", "The detail.", by="x"))
    assert str(refused) == "policy_denied"
    assert repr(refused) == "Refused('policy_denied')"


def test_a_configurations_mistakes_are_told_together():
    findings = [Finding("a.yaml", 3, "x.y", "wrong"), Finding("b.yaml", 1, "(file)", "empty")]
    assert str(ConfigError(findings)) == "a.yaml:3: x.y: wrong\nb.yaml:1: (file): empty"
