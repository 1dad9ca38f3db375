"""P6, H-12: what crosses tenants is a mistake of the configuration, with its line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.catalog.configuration import load_configuration
from proxy.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
version: 1
tenants: [acme, globex]
users:
  alice: {tenant: acme, accounts: [github/work]}
  bob: {tenant: globex, accounts: ["*"]}
agents:
  coder: {tenant: acme, accounts: ["github/*"], users: [alice]}
  rival: {tenant: globex, accounts: [github/theirs], users: [bob]}
providers:
  github:
    accounts:
      work: {tenant: acme, secrets: {token: "env:WORK"}}
      theirs: {tenant: globex, secrets: {token: "env:THEIRS"}}
"""


def mistakes(folder: Path, text: str) -> list[str]:
    file = folder / "briefcased.yaml"
    file.write_text(text)
    try:
        load_configuration(file)
    except ConfigError as error:
        return [str(finding).removeprefix(f"{file}:") for finding in error.findings]
    return []


def test_each_with_its_tenant_is_fine(tmp_path: Path) -> None:
    assert mistakes(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("tenants: [acme, globex]", "tenants: [acme, acme, globex]", "2: tenants[1]: this tenant stands here twice"),
        ("tenants: [acme, globex]", "tenants: [globex]", "4: users.alice.tenant: there is no such tenant"),
        ("coder: {tenant: acme, ", "coder: {", "7: agents.coder.tenant: tenants are declared, and there is no default"),
        ("work: {tenant: acme, ", "work: {", "12: providers.github.accounts.work.tenant: tenants are declared"),
        ("alice: {tenant: acme, ", "alice: {", "4: users.alice.tenant: tenants are declared"),
        ("users: [bob]", "users: [alice]", "8: agents.rival.users[0]: this user is another tenant's"),
        ("users: [bob]", "users: [carl]", "8: agents.rival.users[0]: there is no such user under users"),
        ("[github/theirs]", "[github/work]", "8: agents.rival.accounts[0]: this account is another tenant's"),
        ("[github/work]", "[github/theirs]", "4: users.alice.accounts[0]: this account is another tenant's"),
        ("[github/work]", "[github/none]", "4: users.alice.accounts[0]: there is no such account"),
        ("env:THEIRS", "env:WORK", "13: providers.github.accounts.theirs.secrets.token: an account of another tenant"),
        ("tenants: [acme, globex]\n", "", "users.alice.tenant: no tenants are declared"),
    ],
)
def test_p6_h_12_whatever_crosses_tenants_is_named_with_its_line(
    tmp_path: Path, before: str, after: str, found: str
) -> None:
    assert before in GOOD
    told = mistakes(tmp_path, GOOD.replace(before, after, 1))
    assert any(found in one for one in told), told


ISSUER = """\
identity:
  tokens:
    - {issuer: "https://idp.test", audience: briefcased, jwks_url: "https://idp.test/jwks",
       agent: {match: "{agent}"}, user: RULE}
"""


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("{claim: email, map: {a@x: alice}}", None),
        ('{claim: email, match: "{user}@example.test"}', None),
        ("{claim: email, map: {a@x: carl}}", "there is no such user under users"),
        ("{claim: email}", "give map, or match, or both"),
        ('{claim: email, match: "{agent}"}', "the pattern has {user} exactly once"),
        ("{map: {a@x: alice}}", "claim"),
    ],
)
def test_on_whose_behalf_by_a_claim(tmp_path: Path, rule: str, found: str | None) -> None:
    told = mistakes(tmp_path, GOOD + ISSUER.replace("RULE", rule))
    assert (told == []) if found is None else any(found in one for one in told), told
