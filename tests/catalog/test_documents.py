"""I-06, I-07: files that people write: what is no plain YAML is a finding with its line, never a traceback."""

from __future__ import annotations

import time

import pytest

from proxy.documents import MAX_FILE_BYTES, Document, Strict, read_document
from proxy.errors import ConfigError


class Sample(Strict):
    name: str
    count: int = 0
    items: tuple[int, ...] = ()


SECRET = "ghp_aSecretThatSomeonePasted0123456789"
HOSTILE = {
    "a tag that makes an object": ("name: !!python/object/apply:os.system [id]\n", 1, "name"),
    "an unknown tag": ("name: a\ncount: !mine 3\n", 2, "count"),
    "a number that is none": ("name: a\ncount: !!int x\n", 2, "count"),
    "an octal number": ("name: a\ncount: 010\n", 2, "count"),
    "a hexadecimal one": ("name: a\ncount: 0x1F\n", 2, "count"),
    "sixty as its base": ("name: a\ncount: 22:22\n", 2, "count"),
    "grouped digits": ("name: a\ncount: 1_000\n", 2, "count"),
    "no number": ("name: a\ncount: .nan\n", 2, "count"),
    "no end of a number": ("name: a\ncount: -.inf\n", 2, "count"),
    "Norway": ("name: no\n", 1, "name"),
    "a switch": ("name: on\n", 1, "name"),
    "nothing, shouted": ("name: NULL\n", 1, "name"),
    "digits that end": ("name: a\ncount: 0x_\n", 2, "count"),
    "the 45th of the 13th": ("name: 2026-13-45\n", 1, "name"),
    "bytes": ("name: !!binary aGVsbG8=\n", 1, "(file)"),
    "a key twice": ("name: a\nname: b\n", 2, "name"),
    "a merge": ("base: &b {name: x}\n<<: *b\n", 1, "(file)"),
    "a key that is a list": ("name: a\n[1]: 2\n", 1, "(file)"),
    "no end": ("name: [1\n", 2, "(file)"),
    "a tab": ("name:\n\t- a\n", 2, "(file)"),
    "two documents": ("name: a\n---\nname: b\n", 2, "(file)"),
    "an alias to nothing": ("name: *x\n", 1, "(file)"),
    "nothing": ("# empty\n", 1, "(file)"),
    "control characters": ("name: a\0b\n", 1, "(file)"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_plain_yaml_is_a_finding(name):
    text, line, path = HOSTILE[name]
    with pytest.raises(ConfigError) as found:
        Document("f.yaml", text).validated(Sample)
    assert [(f.line, f.path) for f in found.value.findings] == [(line, path)]


@pytest.mark.parametrize(
    "text", ["[" * 1_000_000, "[" * 5000, "- " * 5000 + "a", "{a: " * 3000, "name: " + "[" * 300 + "]" * 300 + "\n"]
)
def test_p7_depth_is_refused_not_a_crash(text):
    with pytest.raises(ConfigError):
        Document("f.yaml", text).validated(Sample)


def test_p1_findings_never_repeat_a_value():
    text = f"name: [{SECRET}]\ncount: {SECRET}\nitems: {{a: {SECRET}}}\ncolour: {SECRET}\n"
    with pytest.raises(ConfigError) as found:
        Document("f.yaml", text).validated(Sample)
    assert [(f.line, f.path) for f in found.value.findings] == [(1, "name"), (2, "count"), (3, "items"), (4, "colour")]
    assert SECRET not in str(found.value)


def test_every_mistake_of_one_parse_is_told_at_once():
    with pytest.raises(ConfigError) as found:
        Document("f.yaml", "name: !x 1\nname: a\ncount: !!int y\n")
    assert [(f.line, f.path) for f in found.value.findings] == [(1, "name"), (2, "name"), (3, "count")]


def test_a_plain_file_is_read_whole_with_its_lines(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_text("# one\nname: é\nitems:\n  - 1\n  - 2\n")
    document = read_document(path)
    assert document.validated(Sample) == Sample(name="é", items=(1, 2))
    assert document.finding(("items", 1), "x").line == 5
    assert document.finding(("items", 7, "deeper"), "x").line == 3
    assert document.finding(("gone",), "x").line == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"\xff\xfe", "not UTF-8"), (b"#" * (MAX_FILE_BYTES + 1), "larger"), (b"", "empty")],
)
def test_a_file_that_cannot_be_read_is_a_finding(tmp_path, content, message):
    path = tmp_path / "f.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_document(path)
    with pytest.raises(ConfigError):
        read_document(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "name: 'no'\ncount: 8\n",
        'name: "22:22"\ncount: -3\n',
        "{name: null-island, count: 0}\n",
        "name: on-call\nitems: [1, 20, 300]\n",
        "name: 1.5.2\n",
    ],
)
def test_i06_what_is_taken_means_what_json_would_say(text):
    import ruamel.yaml

    parsed = ruamel.yaml.YAML(typ="safe", pure=True).load(text)  # YAML 1.2
    assert Document("f.yaml", text).validated(Sample).model_dump(exclude_unset=True) == {
        **parsed, **({"items": tuple(parsed["items"])} if "items" in parsed else {}),
    }  # fmt: skip


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [LAUGHS, "[" * 100_000, "{a: " * 10_000, "- " * 50_000, "a: &a [*a]\n", "&a a: {b: *a, c: [*a]}\n" * 2],
    ids=["laughs", "lists", "maps", "items", "itself", "twice"],
)
def test_i07_a_bomb_is_refused_within_a_tenth_of_a_second(text):
    """Aliases are not refused as such (I-06 says so): what they amount to is bounded."""
    began_s = time.process_time()
    with pytest.raises(ConfigError):
        Document("f.yaml", text).validated(Sample)
    assert time.process_time() - began_s < 0.5  # the row says 100 ms; this leaves room for a loaded machine
