"""docs/cli.md has every command and option, and no page shows a command or option that does not exist."""

from __future__ import annotations

import re
import shlex

import pytest
import typer.main

from proxy.cli import application
from tests.docs import pages

ROOT = typer.main.get_command(application())
HELP = {"-h", "--help"}
STEP = re.compile(r"[a-z][a-z-]*")


def commands(command=ROOT, way=("briefcased",)):
    """Every command that does something, by its words; the root is among them for its own options."""
    children = getattr(command, "commands", None)
    found = {way: command} if children is None or command is ROOT else {}
    for name, child in (children or {}).items():
        found |= commands(child, (*way, name))
    return found


COMMANDS = commands()


def options(command):
    return {text for parameter in command.params if parameter.param_type_name == "option" for text in parameter.opts}


def test_every_command_has_its_section_and_no_section_is_left_over():
    sections = pages.sections(pages.text("cli.md"))
    assert {heading.strip("`") for heading in sections} == {" ".join(way) for way in COMMANDS}


@pytest.mark.parametrize("way", COMMANDS, ids=" ".join)
def test_a_section_lists_exactly_the_options_of_its_command(way):
    section = pages.sections(pages.text("cli.md"))[f"`{' '.join(way)}`"]
    items = "\n".join(re.findall(r"^- (`-.*?):", section, flags=re.MULTILINE))
    assert set(pages.SPAN.findall(items)) == options(COMMANDS[way])


def mistakes(line):
    """What is wrong with a command line that a page shows."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        words = line.split()
    command, way = ROOT, []
    while words and STEP.fullmatch(words[0]) and words[0] in getattr(command, "commands", {}):
        way.append(words[0])
        command = command.commands[words.pop(0)]
    children = getattr(command, "commands", None)
    if children and words and STEP.fullmatch(words[0]):
        return [f"no command {' '.join([*way, words[0]])}"]
    given = words[: words.index("--")] if "--" in words else words
    known = (options(command) | HELP) if children is None else (options(ROOT) | HELP)
    written = {re.split(r"[=…]", word)[0].strip("\"')") for word in given if re.match(r"--?[a-z]", word)}
    return sorted(written - known)


def shown(page):
    """Every command line in code: spans, and lines of blocks that begin with a prompt or the command."""
    spans = [span for span in pages.SPAN.findall(page) if span.startswith("briefcased ")]
    lines = re.findall(r"^\s*(?:\$ .*?)?\b(briefcased [a-z-].*?)(?:\)\"|\||;|&&|$)", page, flags=re.MULTILINE)
    prompts = [line for line in lines if not line.endswith("`")]
    return [line.removeprefix("briefcased ").split(" # ")[0] for line in [*spans, *prompts]]


@pytest.mark.parametrize("path", pages.pages(), ids=lambda path: str(path.relative_to(pages.ROOT)))
def test_every_command_line_that_a_page_shows_exists(path):
    page = path.read_text("utf-8")
    code = "\n".join([*(line for line in page.splitlines() if re.match(r" {4}\S", line)), *pages.blocks(page, "console"),
                      *pages.blocks(page, "sh"), *pages.blocks(page, "bash"), *pages.blocks(page, "")])  # fmt: skip
    spans = "\n".join(f"`{span}`" for span in pages.SPAN.findall(pages.without_blocks(page)))
    found = {line: bad for line in shown(code + "\n" + spans) if (bad := mistakes(line))}
    assert found == {}


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("run --dry-run -- claude --verbose", []),
        ("run --wet-run -- claude", ["--wet-run"]),
        ("agents add coder --account 'github/*' -a x", []),
        ("agents invent coder", ["no command agents invent"]),
        ("secrets set github/token --show", ["--show"]),
        ("dance", ["no command dance"]),
        ("ca bundle --merged -o /etc/x.pem", []),
    ],
)
def test_a_command_line_is_judged(line, bad):
    assert mistakes(line) == bad


def test_command_lines_are_found_in_spans_and_blocks():
    page = '`briefcased up` and\n    $ eval "$(briefcased run --env)"   # x\n    $ briefcased ca show  # why\n'
    assert [line.strip() for line in shown(page)] == ["up", "run --env", "ca show"]
