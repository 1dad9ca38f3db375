"""A client behind the rig's sidecar: the proxy's variables and a stand-in, nothing else."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig.program import assert_unseen, clean_environment, ended, started

if TYPE_CHECKING:
    from tests.rig import Rig
    from tests.rig.program import Ended

PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True)
class Client:
    """Runs programs behind the rig's sidecar. `secrets` must never be seen by any of them."""

    rig: Rig
    home: Path
    secrets: tuple[str, ...]

    async def run(self, *command: str, **variables: str) -> Ended:
        """`command` to its end, with `variables` beside those of the proxy. It held no secret, or this fails."""
        env = {**clean_environment(self.home), **self.rig.env(), **variables}
        result = await ended(await started(*command, env=env, cwd=self.home))
        assert_unseen("\n".join((result.out, result.err, *env.values(), *command)), *self.secrets)
        return result

    async def python(self, program: str, *arguments: str, **variables: str) -> Ended:
        """One of `programs/`."""
        return await self.run(sys.executable, str(PROGRAMS / program), *arguments, **variables)
