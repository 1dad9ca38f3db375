"""docs/clients.md knows every client, docs/doctor.md every check, verdict and mode; the page is made from rows."""

from __future__ import annotations

import importlib
import sys

import pytest

from proxy.cli.doctor import checks
from proxy.cli.doctor.client import Mode
from proxy.cli.doctor.clients import CLIENTS
from proxy.cli.doctor.report import Verdict
from tests.docs import pages

NAMES = [client.name for client in CLIENTS]


@pytest.fixture(scope="module")
def writer():
    sys.path.insert(0, str(pages.ROOT / "scripts"))
    try:
        yield importlib.import_module("clients")
    finally:
        sys.path.remove(str(pages.ROOT / "scripts"))


def test_every_client_is_in_the_table_or_named_as_not_measured():
    page = pages.text("clients.md")
    measured = {row[0] for row in pages.table(page, "client")}
    rest = page.rpartition("could not be installed: ")[2].rstrip(".\n").split(", ")
    missing = set(rest) if "could not be installed" in page else set()
    assert measured | missing == set(NAMES)
    assert not measured & missing


def test_every_check_verdict_and_mode_has_its_row():
    page = pages.text("doctor.md")
    named = {check.CHECK for check in map(sys.modules.get, (f"{checks.__name__}.{n}" for n in CHECK_FILES))}
    assert {row[0].strip("`") for row in pages.table(page, "check")} == named | {"system trust", "disk"}
    assert [row[0].strip("`") for row in pages.table(page, "verdict")] == [str(verdict) for verdict in Verdict]
    assert {str(mode) for mode in Mode} <= pages.spans(page)


CHECK_FILES = ("configuration", "clock", "trust", "state", "ports", "variables", "owners", "kernel")


def row(client, verdict, *, version="1.2", needs="", why=""):
    return {"client": client, "version": version, "verdict": verdict, "needs": needs, "why": why}


def test_a_page_is_made_from_rows(writer):
    runs = [
        ("variables", [row("wget", "works with", needs="X"), row("curl", "works"), row("go", "not installed")]),
        ("confined", [row("curl", "cannot", why="so it is")]),
        ("variables", [row("curl", "needs confined mode", version="0.9", why="goes around")]),
    ]
    page = writer.page(writer.by_client(runs), ["curl", "wget", "go"])
    assert pages.table(page, "client") == [
        ["curl", "1.2", "works", "-", "cannot: so it is"],
        ["curl", "0.9", "no: goes around", "-", "-"],
        ["wget", "1.2", "works with X", "-", "-"],
    ]
    assert page.endswith("could not be installed: go.\n")
