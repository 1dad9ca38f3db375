"""The pages say what the code says: errors, modes, hygiene, engine, run, stand-ins, dependencies, links."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from proxy.canonical import head
from proxy.catalog.modes import GA_REFUSES
from proxy.catalog.schema import StandInShape
from proxy.cli.variables import proxy_variables
from proxy.credentials import strip
from proxy.credentials.standin import ALPHABETS
from proxy.engine.pins import OPTIONS, SEAMS
from proxy.errors import KINDS
from tests.docs import pages

SEAM = re.compile(r"`([A-Za-z_]\w*(?:\.\w+)?)`")


def test_every_refusal_has_a_section_with_its_status_and_no_section_is_left_over():
    sections = pages.sections(pages.text("errors.md"))
    assert set(sections) == set(KINDS)
    for slug, section in sections.items():
        assert section.startswith(f"\n**{KINDS[slug].status}** "), slug
        assert "\nAgent: " in section, slug
        assert " Operator: " in section, slug


def test_slugs_that_pages_link_to_exist():
    for path in pages.pages():
        linked = re.findall(r"errors\.md#([a-z_]+)", path.read_text("utf-8"))
        assert set(linked) <= set(KINDS), path


def test_every_rule_of_ga_has_its_row():
    rows = pages.table(pages.text("modes.md"), "rule")
    assert [row[0].strip("`") for row in rows] == list(GA_REFUSES)


def test_every_option_of_the_engine_has_its_row_and_value():
    rows = pages.table(pages.text("engine.md"), "option")
    shown = {row[0].strip("`"): row[1].strip("`") for row in rows}
    assert shown == {name: str(value) for name, value in OPTIONS.items()}
    assert all(row[2] for row in rows)


def test_every_seam_of_the_engine_is_named():
    named = {seam for row in pages.table(pages.text("engine.md"), "seam") for seam in SEAM.findall(row[0])}
    assert named == set(SEAMS)


def test_the_engine_page_names_the_pinned_version():
    required = tomllib.loads((pages.ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (mitmproxy,) = [line for line in required if line.startswith("mitmproxy")]
    locked = re.search(r"^mitmproxy==([\d.]+)", (pages.ROOT / "requirements/runtime.txt").read_text(), re.MULTILINE)
    assert f"`{mitmproxy}`" in pages.text("engine.md")
    assert locked is not None
    assert f"locked with hashes to {locked[1]}." in pages.text("engine.md")


def test_every_runtime_dependency_has_its_line():
    required = tomllib.loads((pages.ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [re.split(r"[<>=\[]", line)[0] for line in required]
    rows = pages.table(pages.text("dependencies.md"), "dependency")
    assert sorted(row[0].strip("`") for row in rows) == sorted(names)
    assert all(len(row[1]) > 10 for row in rows)


@pytest.mark.parametrize(
    "names",
    [
        head.HOP_BY_HOP,
        head.OVERRIDES,
        head.SINGLE,
        {method.decode() for method in head.METHODS},
        strip.ALWAYS_HEADERS,
        strip.ALWAYS_QUERY,
    ],
    ids=["hop by hop", "overrides", "single", "methods", "stripped headers", "stripped parameters"],
)
def test_every_name_that_is_dropped_or_refused_is_on_the_hygiene_page(names):
    assert set(names) - pages.spans(pages.text("hygiene.md")) == set()


def test_the_hygiene_page_drops_no_header_that_the_code_keeps():
    by_rule = {"x-forwarded-*", "proxy-*", "briefcased-*", "_", "-", "transfer_encoding", "content_length"}
    rows = pages.table(pages.text("hygiene.md"), "dropped")
    named = {span for row in rows for cell in row for span in pages.SPAN.findall(cell)}
    assert named - by_rule == head.HOP_BY_HOP | head.OVERRIDES | {"sec-websocket-extensions"}


def test_every_variable_that_run_sets_is_named():
    spans = pages.spans(pages.text("run.md"))
    upper = {name for name in proxy_variables("http://proxy", Path("/bundle")) if name.upper() not in spans}
    assert upper - spans == set()
    rows = pages.table(pages.text("run.md"), "variables")
    named = {span for row in rows for span in pages.SPAN.findall(row[0])}
    assert named <= set(proxy_variables("http://proxy", Path("/bundle")))


def test_the_shape_of_stand_ins_is_described_field_by_field():
    rows = {row[0].strip("`"): row for row in pages.table(pages.text("stand-ins.md"), "field")}
    assert set(rows) == set(StandInShape.model_fields)
    assert rows["length"][1] == str(StandInShape().length)
    assert set(pages.SPAN.findall(rows["alphabet"][2])) == set(ALPHABETS)


@pytest.mark.parametrize("path", pages.pages(), ids=lambda path: str(path.relative_to(pages.ROOT)))
def test_every_relative_link_resolves(path):
    assert pages.broken_links(path) == []


def test_a_broken_link_and_a_broken_anchor_are_found(tmp_path):
    (tmp_path / "there.md").write_text("# Of here\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md#of-here) [b](gone.md) [c](there.md#gone) [d](https://example.com/x)\n    [e](code.md)\n"
    )
    assert pages.broken_links(page) == ["gone.md", "there.md#gone"]


def test_pages_that_the_code_points_at_exist():
    code = {
        path: path.read_text("utf-8")
        for folder in ("proxy", "addons", "certs")
        for path in (pages.ROOT / folder).rglob("*.py")
    }
    named = {(path, page) for path, text in code.items() for page in re.findall(r"docs/[\w./-]+\.(?:md|json)", text)}
    assert len(named) > 10
    assert {(path, page) for path, page in named if not (pages.ROOT / page).exists()} == set()
