"""I-09: a key of a shipped profile that is misspelt is refused; one that is left out is refused, or what it lets through
is named (I-05), or nobody decides by it."""

from __future__ import annotations

import copy
import random
from pathlib import Path

import orjson
import pytest
import yaml
from pydantic import ValidationError

from proxy.catalog.checks import profile_mistakes
from proxy.catalog.schema import Profile
from proxy.catalog.validation.loading import with_files
from proxy.trial.profile_changes import wider
from tests.profiles.conftest import FILES, FOLDER

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DESCRIBES = {"title", "docs", "checked", "notes", "examples", "prices_checked", "prices_docs"}
FREE = {
    "secrets",
    "credentials",
    "variables",
    "usage",
    "environment",
    "headers",
    "query",
    "fields",
    "examples",
    "per_million",
    "long_per_million",
    "body",
}
"""Below these, keys are names that the profile chooses."""


def keys(data, place=()):
    """Every place of a key in `data`."""
    if isinstance(data, dict):
        for name, below in data.items():
            yield (*place, name)
            yield from keys(below, (*place, name))
    elif isinstance(data, list):
        for index, below in enumerate(data):
            yield from keys(below, (*place, index))


def loaded(data) -> Profile | None:
    """None where it is refused."""
    try:
        profile, missing = with_files(Profile.model_validate_json(orjson.dumps(data)), Path(FOLDER))
    except ValidationError:
        return None
    return None if missing or list(profile_mistakes(profile)) else profile


def without(data, place, new=None):
    changed = copy.deepcopy(data)
    at = changed
    for step in place[:-1]:
        at = at[step]
    value = at.pop(place[-1])
    if new is not None:
        at[new] = value
    return changed


def fuzz(file, count):
    data = yaml.load(file.read_text(), Loader=LOADER)
    whole = loaded(data)
    assert whole is not None
    every = list(keys(data))
    for place in random.Random(9).sample(every, min(count, len(every))):
        renamed = loaded(without(data, place, f"{place[-1]}s"))
        chosen = bool(FREE & set(map(str, place[:-1])))
        assert renamed is None or chosen, place
        if renamed is not None and place[0] != "examples":
            assert renamed == whole or list(wider(whole, renamed)), place
        left = loaded(without(data, place))
        if left is not None and left != whole and not list(wider(whole, left)):
            assert {*DESCRIBES} & set(place) or place[-1] == "hosts", place


@pytest.mark.parametrize("name", ["telegram", "stripe"])
def test_some_keys_of_some_profiles(name):
    fuzz(FOLDER / f"{name}.yaml", 12)


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_many_keys_of_every_profile(file):
    fuzz(file, 150)
