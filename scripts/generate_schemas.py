"""Write `docs/schema/*.json` from the code: JSON Schemas (2020-12) of a profile and of `briefcased.yaml`, and the API.

Usage: generate_schemas.py [--check]. With `--check` nothing is written; exit code 1 says that a file is out of date.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.api.openapi import document
from proxy.catalog.schema import Profile
from proxy.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

FOLDER: Final = Path(__file__).resolve().parents[1] / "docs" / "schema"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MODELS: Final[Mapping[str, type[BaseModel]]] = {"profile": Profile, "briefcased": Settings}
OPENAPI: Final = "openapi"
NAMES: Final = (*MODELS, OPENAPI)


def schema_text(name: str) -> str:
    """The file `docs/schema/NAME.json` as it should be: keys sorted, two spaces, one line end at the end."""
    if name == OPENAPI:
        return document().decode()
    schema = MODELS[name].model_json_schema(by_alias=True)
    schema |= {"$schema": DIALECT, "$id": f"urn:briefcased:schema:{name}"}
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def outdated(folder: Path) -> list[Path]:
    """The files in `folder` that are missing or differ from the code."""
    wanted = {folder / f"{name}.json": schema_text(name) for name in NAMES}
    return [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]


def write(folder: Path) -> None:
    """Write every schema into `folder`, which is made when it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (folder / f"{name}.json").write_text(schema_text(name), "utf-8")


def main() -> int:
    """The exit code: 0 done or up to date, 1 out of date."""
    parser = argparse.ArgumentParser(description="Generate docs/schema from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is out of date")
    if not parser.parse_args().check:
        write(FOLDER)
        return 0
    stale = outdated(FOLDER)
    for path in stale:
        print(f"{path.relative_to(FOLDER.parents[1])}: out of date; run: make schemas", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
