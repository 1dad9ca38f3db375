"""As much of a GitHub runner as a composite action needs: its `run` steps in bash, the files, the expressions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.cli.test_shells import workflow_file
from tests.rig.program import Ended, ended, started


@dataclass
class Runner:
    """One job. `environment` is what GITHUB_ENV has made of it."""

    folder: Path
    environment: dict[str, str]
    log: str = ""
    outputs: dict[str, str] = field(default_factory=dict)

    async def use(self, action: Path, inputs: dict[str, str], **env: str) -> list[str]:
        """Every step of the action; returns what the steps with `uses` would upload."""
        described = yaml.safe_load(action.read_text("utf-8"))
        values = {name: entry["default"] for name, entry in described["inputs"].items()} | inputs
        assert set(values) == set(described["inputs"])
        kept = []
        for step in described["runs"]["steps"]:
            if "uses" in step:
                kept.append(self._filled(step["with"]["path"], values))
                continue
            assert step["shell"] == "bash"
            own = {name: self._filled(text, values) for name, text in step.get("env", {}).items()}
            done = await self.run(step["run"], **{**env, **own})
            assert done.code == 0, done.out + done.err
        return kept

    async def run(self, script: str, **env: str) -> Ended:
        """A step, as the runner starts it: bash with -e and pipefail."""
        files = {name: self.folder / name for name in ("GITHUB_ENV", "GITHUB_OUTPUT")}
        for file in files.values():
            file.write_text("")
        paths = {name: str(path) for name, path in files.items()}
        variables = {**self.environment, **env, **paths, "RUNNER_TEMP": str(self.folder)}
        process = await started("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script, env=variables, cwd=self.folder)  # fmt: skip
        done = await ended(process)
        self.log += done.out + done.err
        self.environment |= read(files["GITHUB_ENV"].read_text())
        self.outputs |= read(files["GITHUB_OUTPUT"].read_text())
        return done

    def _filled(self, text: Any, inputs: dict[str, str]) -> str:
        known = {
            "runner.temp": str(self.folder),
            **{f"inputs.{name}": value for name, value in inputs.items()},
            **{f"steps.install.outputs.{name}": value for name, value in self.outputs.items()},
        }
        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda found: known[found[1]], text)


def read(text: str) -> dict[str, str]:
    """NAME=VALUE lines and those with a delimiter."""
    short = (
        {} if "<<" not in text else workflow_file("".join(re.findall(r"^\w+<<(?:.*\n)+?END_\w+\n", text, re.MULTILINE)))
    )
    rest = re.sub(r"^\w+<<(END_\w+)\n(?:.*\n)*?\1\n", "", text, flags=re.MULTILINE)
    return short | dict(line.split("=", 1) for line in rest.splitlines())
