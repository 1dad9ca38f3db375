"""I-11: permits that rest only on what the agent says are told by `briefcased policy check`."""

from __future__ import annotations

import pytest

from proxy.policy.claims import claims
from proxy.policy.presets import PRESETS
from tests.policy.questions import policies

ANY = "principal, action, resource"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f'permit({ANY}) when {{ context.path like "/public/*" }};', "path"),
        (f"permit({ANY}) when {{ context.fields has amount && context.fields.amount < 5 }};", "fields"),
        (f'permit({ANY}) when {{ context.method == "GET" }} unless {{ context.params has owner }};', "method, params"),
        (f'permit({ANY}) when {{ ["GET"].contains(context["method"]) || context.websocket }};', "method, websocket"),
        (f"permit({ANY});", None),
        (f'forbid({ANY}) when {{ context.path like "/public/*" }};', None),
        (f'permit({ANY}) when {{ context.path like "/x" && context.account == "github/work" }};', None),
        (f'permit({ANY}) when {{ context.path like "/x" && principal.name == "coder" }};', None),
        (f'permit({ANY}) when {{ context.path like "/x" && resource.action == "read" }};', None),
        (f'permit({ANY}) when {{ context.path like "/x" && context.hour < 5 }};', None),
        ('permit(principal, action == Action::"read", resource) when { context.path like "/x" };', None),
        ('permit(principal, action, resource in Provider::"github") when { context.path like "/x" };', None),
        ('permit(principal is User, action, resource) when { context.path like "/x" };', None),
    ],
)  # fmt: skip
def test_what_rests_only_on_claims_is_told(text: str, told: str | None) -> None:
    found = [finding.message for finding in claims(policies(text).policies.values())]
    message = f"rests only on what the agent says ({told}): name the principal, action or resource too"
    assert found == ([] if told is None else [message])


@pytest.mark.parametrize("name", PRESETS)
def test_no_preset_does(name: str) -> None:
    assert list(claims(policies("", name=name).policies.values())) == []
