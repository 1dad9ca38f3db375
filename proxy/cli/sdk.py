"""What profiles say that SDKs need to find the sidecar's answers: variables, and the files that some of them name."""

from __future__ import annotations

import os
from itertools import chain
from typing import TYPE_CHECKING

from proxy.catalog.sdk_environment import sdk_environment

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.decision import Generation


def sdk_variables(generation: Generation, agent: str, *, base_url: str | None, folder: Path) -> dict[str, str]:
    """The variables for `agent`; files are written to `folder`, for their owner alone. They hold stand-ins, no secrets.

    `base_url` is that of a base-URL listener, without a path; None where there is none.
    """
    accounts = chain.from_iterable(generation.accounts.values())
    found = sdk_environment(accounts, agent, generation.stand_ins, base_url=base_url)
    for name, content in found.files.items():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{name.lower()}.json"
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        draft.replace(path)
        found.variables[name] = str(path)
    return found.variables
