"""What a confined start is told by `briefcased run`. It goes through a pipe of memory, never through arguments."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Plan:
    """One confined program.

    Attributes:
        command: the program and its arguments.
        environment: all that it gets.
        sidecar: path of the unix socket on which the sidecar takes PROXY headers.
        hidden: directories and files that it must not see. Those that do not exist are left out.
        parent: process id of the sidecar; when that is gone, nothing is started.
    """

    command: list[str]
    environment: dict[str, str]
    sidecar: str
    hidden: list[str]
    parent: int

    def offered(self) -> int:
        """A descriptor from which a child reads it; the caller closes it."""
        descriptor = os.memfd_create("plan")
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(json.dumps(asdict(self)).encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor

    @classmethod
    def taken(cls, descriptor: int) -> Self:
        """The plan of our parent. Raises ValueError for anything else."""
        with os.fdopen(descriptor, "rb") as file:
            return cls(**json.loads(file.read()))
