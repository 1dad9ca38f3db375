"""I-14: what is wrong in a file is told by its place; no value of it, and no secret that it refers to, is printed."""

from __future__ import annotations

import copy

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.catalog.configuration import load_configuration
from proxy.catalog.loader import load_profile
from proxy.errors import ConfigError
from tests.rig.sidecar import EXAMPLE

CANARY = "sk-Canary9f8E7d6C5b4A3210=secret"  # not a name: a name that is not known is told
CONFIG = {
    "version": 1,
    "mode": "ga",
    "listeners": {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0"},
    "profiles": ["profiles"],
    "providers": {"example": {"accounts": {"main": {"secrets": {"api_key": "file:/run/secrets/key"}, "actions": ["read"]}}}},
    "agents": {"coder": {"accounts": ["example/*"], "groups": ["builders"]}},
    "egress": {"connect_timeout_s": 5, "allow_private": [{"host": "api.example.test", "addresses": ["127.0.0.1/32"]}]},
    "state": {"shared": {"host": "db.example", "password": "file:/run/secrets/db"}, "seal_key": "file:/run/secrets/seal"},
    "risk": {"classifier": {"url": "https://risk.example.test/", "token": "file:/run/secrets/risk"}},
    "policies": {"preset": "strict", "observe": False},
    "confinement": {"required": False},
    "logs": {"level": "info"},
}  # fmt: skip


def scalars(data, place=()):
    if isinstance(data, dict):
        for name, below in data.items():
            yield from scalars(below, (*place, name))
    elif isinstance(data, list):
        for index, below in enumerate(data):
            yield from scalars(below, (*place, index))
    else:
        yield place


def with_value(data, place, value):
    changed = copy.deepcopy(data)
    at = changed
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    return changed


def told(text, folder):
    (folder / "profiles").mkdir(exist_ok=True)
    (folder / "profiles" / "example.yaml").write_text(EXAMPLE.format(port=443))
    file = folder / "briefcased.yaml"
    file.write_text(text)
    return said(load_configuration, file)


def said(load, file):
    try:
        load(file)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "value", [CANARY, [CANARY], {"x": CANARY}, f"env:{CANARY} {CANARY}"], ids=["text", "list", "map", "ref"]
)
def test_a_value_at_any_place_of_a_configuration(tmp_path, value):
    refused = 0
    for place in scalars(CONFIG):
        if place[0] == "profiles":  # the names of directories are told
            continue
        found = told(yaml.safe_dump(with_value(CONFIG, place, value)), tmp_path)
        refused += bool(found)
        assert CANARY not in found, place
    assert refused > 15


def test_a_value_at_any_place_of_a_profile(tmp_path):
    data = yaml.safe_load(EXAMPLE.format(port=443))
    for place in scalars(data):
        if place == ("name",):  # files are called after it, and that is said
            continue
        file = tmp_path / "example.yaml"
        file.write_text(yaml.safe_dump(with_value(data, place, CANARY)))
        assert CANARY not in said(load_profile, file), place


@settings(max_examples=60, deadline=None)
@given(
    start=st.integers(0, 900),
    size=st.integers(0, 40),
    junk=st.sampled_from([b"", b"\t", b"{", b"\xff", b": :", b"\n- ", b"!!x "]),
)
def test_a_file_that_is_broken_anywhere(tmp_path_factory, start, size, junk):
    folder = tmp_path_factory.mktemp("broken")
    whole = yaml.safe_dump(
        with_value(CONFIG, ("providers", "example", "accounts", "main", "secrets", "api_key"), CANARY)
    ).encode()
    (folder / "profiles").mkdir()
    (folder / "profiles" / "example.yaml").write_text(EXAMPLE.format(port=443))
    file = folder / "briefcased.yaml"
    file.write_bytes(whole[:start] + junk + whole[start + size :])
    assert CANARY not in said(load_configuration, file)


async def test_the_command_prints_no_secret_that_a_broken_file_refers_to(cli):
    (cli.folder / "key").write_text(CANARY)
    broken = with_value(
        CONFIG, ("providers", "example", "accounts", "main", "secrets", "api_key"), "env:EXAMPLE_API_KEY"
    )
    broken = with_value(broken, ("state", "seal_key"), f"file:{cli.folder}/key")
    broken = with_value(broken, ("agents", "coder", "groups"), [CANARY, 7])
    (cli.folder / "briefcased.yaml").write_text(yaml.safe_dump(broken) + f"oops: {CANARY}\n")
    ended = await cli.run("check", "--config", str(cli.folder / "briefcased.yaml"), EXAMPLE_API_KEY=CANARY)
    assert ended.code == 2
    assert "oops" in ended.err
    assert CANARY not in ended.err + ended.out
