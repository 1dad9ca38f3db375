"""docs/approvals.md says what the code says: states, bounds, fields, what is signed and what may differ."""

from __future__ import annotations

import json
import re

from proxy.approval.card import MAX_REVIEW_BYTES
from proxy.approval.channels.slack_incoming import MAX_AGE_S, PATH
from proxy.approval.channels.slack_message import MAX_SHOWN
from proxy.approval.fingerprint import VOLATILE
from proxy.approval.grants import MAX_S, MAX_USES
from proxy.approval.statement import MAX_AGE_MS, statement
from proxy.approval.states import FOLLOWING, State
from proxy.approval_settings import FIELDS
from proxy.receipts.entries import decision_entry
from tests.docs import pages

PAGE = pages.text("approvals.md")


def test_the_diagram_is_the_table_of_the_code() -> None:
    (diagram,) = pages.blocks(PAGE, "mermaid")
    drawn = re.findall(r"^ +(\S+) --> (\S+)$", diagram, re.MULTILINE)
    known = sorted((one.value, after.value) for one, following in FOLLOWING.items() for after in following)
    assert drawn[0] == ("[*]", State.PENDING.value)
    assert sorted(drawn[1:]) == known
    assert [row[0].strip("`") for row in pages.table(PAGE, "state")] == [state.value for state in State]


def test_the_members_that_are_signed_are_named() -> None:
    text = statement(approval="a", fingerprint="f", card={}, yes=True, approver="ann", at_ms=1, nonce="n")
    named = [span for row in pages.table(PAGE, "member") for span in pages.SPAN.findall(row[0])]
    assert sorted(named) == sorted(json.loads(text))


def test_fields_of_templates_and_headers_that_may_differ_are_named() -> None:
    (fields,) = re.findall(r"Fields: (.*)\.$", PAGE, re.MULTILINE)
    assert set(pages.SPAN.findall(fields)) == FIELDS
    (volatile,) = re.findall(r"Headers that may differ: (.*), and those", PAGE)
    assert set(pages.SPAN.findall(volatile)) == VOLATILE


def test_bounds_are_right() -> None:
    assert f"at most {MAX_S // 3600} hours and {MAX_USES:,} uses" in PAGE
    assert f"{MAX_REVIEW_BYTES // 1024} KiB of head and body" in PAGE
    assert f"({MAX_SHOWN:,} characters)" in PAGE
    assert MAX_AGE_S * 1000 == MAX_AGE_MS == 5 * 60 * 1000
    assert f"`{PATH}team`" in PAGE


def test_fields_of_receipts_exist() -> None:
    code = decision_entry.__code__.co_consts
    keys = {name for const in code for name in (const if isinstance(const, tuple) else (const,))}
    for row in pages.table(PAGE, "field"):
        assert row[0].strip("`") in keys
