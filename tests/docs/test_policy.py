"""docs/policy.md says what the schema, the presets and the annotations of the code say; its examples load."""

from __future__ import annotations

import re
from dataclasses import replace

import orjson
import pytest
import yaml

from proxy.catalog.setting_table import ROWS
from proxy.model import Action, Agent, Mode
from proxy.policy import Policies, Vocabulary, drawing
from proxy.policy.presets import PRESETS, preset
from proxy.policy.statement import ANNOTATIONS, APPROVALS
from proxy.policy.vocabulary import GROUPS, WITHOUT_APPROVAL, WITHOUT_STRONG
from proxy.policy_settings import Candidate, PolicySettings
from proxy.trial.fixtures import Fixture, read_fixtures
from proxy.trial.replay import NOT_HELD
from tests.docs import pages
from tests.policy.questions import question

PAGE = pages.text("policy.md")
VOCABULARY = Vocabulary(
    params=frozenset({"owner"}), operations={"github:pulls.merge": "write", "github:git.receive-pack": "write"}
)


def test_the_diagrams_are_drawn_from_what_decides():
    assert pages.blocks(PAGE, "mermaid") == [drawing.questions(), drawing.entities()]


def names(first):
    return [row[0].strip("`") for row in pages.table(PAGE, first)]


def test_every_attribute_of_the_context_has_its_row_and_type():
    context = re.search(r"type Context = \{(.*?)\};", VOCABULARY.schema(), re.DOTALL)[1]
    declared = re.findall(r"(\w+)(\??): ([\w<>]+)", context)
    record = {"Params": "record", "Fields": "record", "Set<String>": "Set of String"}
    wanted = {name: record.get(kind, kind) + (", optional" if mark else "") for name, mark, kind in declared}
    assert {row[0].strip("`"): row[1] for row in pages.table(PAGE, "attribute")} == wanted


def test_every_attribute_of_the_context_is_one_that_a_call_brings():
    assert set(question().context()) <= set(names("attribute"))


def test_every_entity_has_its_row_with_parents_and_attributes():
    declared = re.findall(r"entity (\w+)(?: in \[(.*?)\])?(?: \{ (.*?) \})?;", VOCABULARY.schema())
    wanted = {
        name: (set(re.findall(r"\w+", parents)), set(re.findall(r"(\w+):", attributes)))
        for name, parents, attributes in declared
    }
    shown = {
        row[0].strip("`"): (set(pages.SPAN.findall(row[1])), set(pages.SPAN.findall(row[2])))
        for row in pages.table(PAGE, "entity")
    }
    assert shown == wanted


def test_every_action_annotation_and_preset_has_its_row():
    assert names("action") == [*GROUPS, WITHOUT_APPROVAL, WITHOUT_STRONG]
    assert {name.removeprefix("@") for name in names("annotation")} == ANNOTATIONS
    assert tuple(names("preset")) == PRESETS
    (row,) = (row for row in pages.table(PAGE, "annotation") if row[0] == "`@approval`")
    assert set(pages.SPAN.findall(row[1])) == set(APPROVALS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_lets_be_called_what_its_row_says(name):
    (row,) = (row for row in pages.table(PAGE, "preset") if row[0] == f"`{name}`")
    vocabulary = Vocabulary(operations={f"github:{action}": action for action in GROUPS[1:]})
    loaded = Policies.load([preset(name)], vocabulary)
    called = [a for a in GROUPS[1:] if _judged(loaded, a).allowed]
    assert row[1] == ("everything" if called == list(GROUPS[1:]) else ", ".join(called))


def _judged(loaded, action):
    return loaded.judge(replace(question(), operation=action, action=Action(action)))


def test_the_default_presets_are_the_ones_that_the_page_names():
    chosen = {mode: PolicySettings().chosen(mode) for mode in Mode}
    assert "`open` in mode `reference` and\n`standard` in `staging` and `ga`" in PAGE
    assert chosen == {Mode.REFERENCE: "open", Mode.STAGING: "standard", Mode.GA: "standard"}


def test_the_settings_that_allow_more_are_those_of_the_table():
    named = {span for row in pages.table(PAGE, "keys") for span in pages.SPAN.findall(row[0])}
    deciding = {key for key, row in ROWS.items() if not isinstance(row, str)}
    assert all(any(key.removesuffix("[]").startswith(name) for key in deciding) for name in named)
    told_apart = {"egress", "policies", "prices"}  # said in the text around the table
    assert {key.split(".")[0].removesuffix("[]") for key in deciding} <= {
        name.split(".")[0] for name in named
    } | told_apart


def test_every_example_loads():
    examples = re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE, re.MULTILINE)
    cedar = [
        re.sub(r"^    ", "", text, flags=re.MULTILINE)
        for text in examples
        if re.search(r"^(permit|forbid)", re.sub(r"^    ", "", text, flags=re.MULTILINE), re.MULTILINE)
    ]
    assert len(cedar) == 3
    for number, text in enumerate(cedar):
        assert Policies.load([(f"{number}.cedar", text)], VOCABULARY).policies


def test_every_field_of_a_fixture_has_its_row_and_the_example_is_good(tmp_path):
    assert names("field") == list(Fixture.model_fields)
    example, staged = pages.blocks(PAGE, "yaml")
    assert Candidate.model_validate_json(orjson.dumps(yaml.safe_load(staged)["policies"]["candidate"])).percent
    (tmp_path / "tests.yaml").write_text(example)
    _, tests = read_fixtures(tmp_path / "tests.yaml", lambda name: Agent(name, (), "-"))
    assert [test.expect for test, _ in tests] == ["allow", "deny"]


def test_what_receipts_do_not_hold_is_on_the_page():
    section = pages.sections(PAGE)["Simulation"]
    said = {"body_bytes": "body", "headers": "header", "fields": "field"}
    assert [name for name in NOT_HELD if said.get(name, name) not in section] == []
