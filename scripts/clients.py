"""Measure every client with `briefcased doctor`, in every mode, and write docs/clients.md.

Usage: clients.py [--output FILE] [--also NAMES=DIRECTORY]… Clients are looked for on PATH. With `--also node=/opt/node`
these clients are tried once more with that directory first, so that a second version gets its row.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "clients.md"
MODES: Final = ("variables", "base_url", "confined")
LIMIT_S: Final = "60"
ABSENT: Final = "not installed"

HEAD: Final = """\
# Clients, as measured

Written by `make clients`, which runs `briefcased doctor --json` in each mode ([doctor.md](doctor.md)).
"Works" means: the client made a call, and the provider saw that call with the real key, which only the sidecar has. Run
`briefcased doctor` to see what holds for the versions on your machine.

| column | the client is started with |
|---|---|
| variables | the variables that `briefcased run` sets: proxy and trust bundle |
| base URL | a path of a `base_url` listener in the place of the API's address ([listeners.md](listeners.md)) |
| confined | the trust bundle alone, as `briefcased run --confine` does it: the sidecar is the only way out |

A dash: the row shows how to use a proxy from code, or the client takes no base URL. `BUNDLE` is the trust bundle, the
file in `SSL_CERT_FILE`.

"""

type Row = dict[str, Any]
type Key = tuple[str, str]
"""A client's name and version."""


def measured(path: str, mode: str, only: str = "") -> list[Row]:
    """The clients of one run of the doctor. Its exit code says nothing about them: it judges the machine too."""
    chosen = ("--only", only) if only else ()
    command = (sys.executable, "-m", "proxy", "doctor", "--json", "--mode", mode, "--timeout", LIMIT_S, *chosen)
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
    rows: list[Row] = json.loads(ended.stdout)["clients"]
    return rows


def by_client(runs: Iterable[tuple[str, Sequence[Row]]]) -> dict[Key, dict[str, Row]]:
    """Rows by client and mode, in the doctor's order; clients that are not installed are left out."""
    table: dict[Key, dict[str, Row]] = {}
    for mode, rows in runs:
        for row in rows:
            if row["verdict"] != ABSENT:
                table.setdefault((row["client"], row["version"]), {})[mode] = row
    return table


def page(table: Mapping[Key, Mapping[str, Row]], names: Sequence[str]) -> str:
    """The whole page. `names` are all the clients there are, in their order."""
    found = sorted(table, key=lambda key: names.index(key[0]))
    lines = ["| client | version | variables | base URL | confined |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {version} | {cells(table[name, version])} |" for name, version in found]
    missing = [name for name in names if all(name != known for known, _ in table)]
    rest = f"\nKnown to the doctor, but not measured here, because they could not be installed: {', '.join(missing)}.\n"
    return HEAD + "\n".join(lines) + "\n" + (rest if missing else "")


def cells(modes: Mapping[str, Row]) -> str:
    """The cells of the modes."""
    return " | ".join(cell(modes[mode]) if mode in modes else "-" for mode in MODES)


def cell(row: Row) -> str:
    """One verdict."""
    match row["verdict"]:
        case "works":
            return "works"
        case "works with":
            return f"works with {row['needs']}"
        case "needs confined mode":
            return f"no: {row['why']}"
        case verdict:
            return f"{verdict}: {row['why']}"


def main() -> None:
    """Measure, and write."""
    from proxy.cli.doctor.clients import CLIENTS  # noqa: PLC0415  # a second that --help need not wait for

    parser = argparse.ArgumentParser(description="Measure every client and write docs/clients.md.")
    parser.add_argument("--output", type=Path, default=PAGE)
    parser.add_argument("--also", action="append", default=[], metavar="NAMES=DIRECTORY", help="a second version")
    given = parser.parse_args()
    usual = os.environ["PATH"]
    runs = [(mode, measured(usual, mode)) for mode in MODES]
    for names, _, directory in (more.partition("=") for more in given.also):
        runs += [(mode, measured(f"{directory}:{usual}", mode, names)) for mode in MODES]
    given.output.write_text(page(by_client(runs), [client.name for client in CLIENTS]), "utf-8")


if __name__ == "__main__":
    main()
