"""What is refused when policies are loaded, with its place."""

from __future__ import annotations

import pytest

from proxy.errors import ConfigError
from proxy.policy.text import statements
from tests.policy.questions import policies

ANYONE = "principal, action, resource"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("permit(principal = x);", "own.cedar:1: policy: not Cedar"),
        (f"permit({ANYONE})", "own.cedar:1: policy: not Cedar"),
        (f'\n// why\n\n@idd("x") permit({ANYONE});', "own.cedar:4: @idd: unknown; known are"),
        (f'@id("a b") permit({ANYONE});', "own.cedar:1: @id: letters, digits"),
        (f'@approval("two") permit({ANYONE});', "own.cedar:1: @approval:"),
        (f'@approval("strong") forbid({ANYONE});', "own.cedar:1: @approval: only a permit"),
        (f'@limit("10") permit({ANYONE});', "own.cedar:1: @limit:"),
        (f'@redact("email") permit({ANYONE});', "own.cedar:1: @redact:"),
        (f'@id("x") permit({ANYONE});\n\n@id("x") permit({ANYONE});', "own.cedar:3: @id: x is also at own.cedar:1"),
        ("permit(principal == ?principal, action, resource);", "own.cedar:1: policy: templates"),
        (
            f"permit({ANYONE})\nwhen {{ context.nope == 1 }};",
            "own.cedar:1: own.cedar#1: attribute `nope` in context not found",
        ),
        (f'permit({ANYONE}) when {{ context.params.owner == "x" }};', "own.cedar:1: own.cedar#1:"),
        (f'permit({ANYONE}) when {{ context.hour == "x" }};', "own.cedar:1: own.cedar#1:"),
        (
            'permit(principal == Agnt::"x", action, resource);',
            "own.cedar:1: own.cedar#1: unrecognized entity type `Agnt`",
        ),
        ('permit(principal, action == Action::"github:nope", resource);', "own.cedar:1: own.cedar#1:"),
        (
            f"permit({ANYONE}) when {{ context.risk > 3 }};",
            "own.cedar:1: context.risk: a higher risk must never allow more",
        ),
    ],
)
def test_mistakes_have_their_place(text: str, wanted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policies(text)
    assert str(caught.value).startswith(wanted)
    assert len(caught.value.findings) == 1


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        policies(f"@a permit({ANYONE});\n@b permit({ANYONE});\npermit(x);")
    assert [finding.line for finding in caught.value.findings] == [1, 2, 3]


def test_statements_are_cut_where_cedar_ends_them() -> None:
    text = """// one; two
permit(principal, action, resource) when { context.host == "a;//b\\";" }; // end;

  @id("x")
forbid(principal,
action, resource);
"""
    found = list(statements("f", text))
    assert [(one.line, one.text[:8]) for one in found] == [(2, "permit(p"), (4, '@id("x")')]
    assert '"a;//b\\";"' in found[0].text


def test_a_policy_without_an_id_is_known_by_its_file_and_number() -> None:
    found = policies(f"permit({ANYONE});\nforbid({ANYONE}) when {{ context.hour == 25 }};")
    assert list(found.policies) == ["own.cedar#1", "own.cedar#2"]
