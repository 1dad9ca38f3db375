"""I-05: every key of the settings has a row that says how more is told, or why the key has no say; and no row is left over."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from proxy.catalog.configuration import load_configuration
from proxy.catalog.pinning import owners
from proxy.catalog.setting_keys import keys
from proxy.catalog.setting_rules import Entries, Rule
from proxy.catalog.setting_table import ROWS
from proxy.settings import Settings
from tests.docs.test_configuration import keys as shown

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = {key for key, row in ROWS.items() if isinstance(row, str | Rule)}
"""What has one row for all that is below it."""


def above(key: str) -> list[str]:
    steps = key.split(".")
    return [".".join(steps[:count]).removesuffix("[]") for count in range(1, len(steps))]


def test_every_key_has_a_row() -> None:
    missing = [key for key in shown(Settings) if key not in ROWS and WHOLE.isdisjoint(above(key))]
    blocks = {key for key in missing if any(row.startswith((f"{key}.", f"{key}[]")) for row in ROWS)}
    assert set(missing) - blocks == set()


def test_no_row_is_left_over_and_none_is_below_another() -> None:
    known = {key for key, _ in keys(Settings)}
    entries = {row for row in ROWS if row.endswith((".NAME", "[]"))}
    assert {row.removesuffix(".NAME").removesuffix("[]") for row in ROWS} <= known
    assert all(isinstance(ROWS[row], Entries) for row in entries)
    assert [row for row in ROWS if not WHOLE.isdisjoint(above(row))] == []


def test_what_has_one_row_for_all_of_it_decides_nothing_or_is_compared_whole() -> None:
    """A key that is new below one of these needs no row of its own, so they are named here."""
    known = [key for key, _ in keys(Settings)]
    assert {row for row in WHOLE if any(key.startswith((f"{row}.", f"{row}[]")) for key in known)} == {
        "approvals.channels.webhooks",
        "budgets[].soft",
        "certificates",
        "egress.allow_private",
        "identity.tokens[].agent",
        "identity.tokens[].user",
        "keys",
        "logs",
        "operators.oidc[].roles",
        "operators.oidc[].user",
        "policies",
        "prices",
        "risk.working_hours",
        "secret_stores",
        "state",
    }


def test_whoever_owns_the_file_of_the_settings_stands_behind_them(tmp_path: Path) -> None:
    file = tmp_path / "briefcased.yaml"
    file.write_text("version: 1\n")
    configuration = load_configuration(file)
    assert configuration.file == file
    assert f"uid:{os.getuid()}" in owners(configuration.file, configuration.settings)
    assert list(owners(None, configuration.settings)) == []
