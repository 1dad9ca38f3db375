"""docs/schema is what the code says, and the generator's check can fail."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys

import pytest

from tests.docs.pages import DOCS, ROOT

SCRIPT = ROOT / "scripts" / "generate_schemas.py"


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("generate_schemas", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_schemas_equal_the_generated_ones(generator):
    assert generator.outdated(DOCS / "schema") == []
    assert {path.stem for path in (DOCS / "schema").iterdir()} == set(generator.NAMES)


def test_a_schema_that_is_missing_or_differs_is_out_of_date(generator, tmp_path):
    generator.write(tmp_path)
    assert generator.outdated(tmp_path) == []
    (tmp_path / "profile.json").unlink()
    (tmp_path / "briefcased.json").write_text("{}\n")
    assert {path.name for path in generator.outdated(tmp_path)} == {"profile.json", "briefcased.json"}


def test_the_command_checks_without_writing():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["profile", "briefcased"])
def test_a_schema_names_its_dialect_and_every_reference_resolves(name):
    text = (DOCS / "schema" / f"{name}.json").read_text("utf-8")
    schema = json.loads(text)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:briefcased:schema:{name}"
    referred = set(re.findall(r'"\$ref": "#/\$defs/(\w+)"', text))
    assert referred <= set(schema["$defs"])
    assert schema["additionalProperties"] is False


def test_the_profile_schema_speaks_the_names_of_the_file():
    schema = json.loads((DOCS / "schema" / "profile.json").read_text("utf-8"))
    assert "schema" in schema["properties"]
    assert "schema_version" not in schema["properties"]
