"""Every command explains itself; `demo` shows the main job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from proxy import __version__
from proxy.cli import application

if TYPE_CHECKING:
    from click import Command


def every_command() -> dict[tuple[str, ...], Command]:
    """All commands and groups by their path, the root included."""
    found: dict[tuple[str, ...], Command] = {}

    def walk(command: Command, path: tuple[str, ...]) -> None:
        found[path] = command
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, (*path, name))

    walk(get_command(application()), ())
    return found


def words(text: str) -> str:
    return " ".join(text.replace("\n", " ").split())


@pytest.mark.parametrize(
    ("path", "command"), every_command().items(), ids=lambda v: " ".join(v) if v and isinstance(v, tuple) else ""
)
def test_help_says_what_a_command_and_its_options_are_for(path, command):
    said = CliRunner().invoke(application(), [*path, "--help"])
    assert said.exit_code == 0, said.output
    assert len(words(command.help or "").split()) > 2
    assert words(command.help or "") in words(said.output)
    assert [option.name for option in command.params if not getattr(option, "help", None)] == []


async def test_the_process_says_its_help_and_version(cli):
    said = await cli.run("--help")
    assert said.code == 0, said.err
    assert all(name in said.out for name in ("run", "up", "init", "check", "reload", "secrets", "agents", "receipts"))
    assert (await cli.run("--version")).out == f"briefcased {__version__}\n"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("--no-such-option",), ("no-such-command",), ("receipts", "list", "-n", "0")])
async def test_bad_input_ends_with_2(cli, arguments):
    said = await cli.run(*arguments)
    assert said.code == 2
    assert "Traceback" not in said.err


async def test_the_demonstration_keeps_its_word(cli):
    said = await cli.run("demo")
    assert said.code == 0, said.err
    assert any(line.startswith("receipts verify: ok") for line in said.lines), said.out
    assert "policy_denied" in said.out
    assert "(scrubbed: the stand-in)" in said.out
    assert not cli.state.exists()
