"""How the readers say no; the edges of this package turn it into a denial."""

from __future__ import annotations

from proxy.errors import Denial


class UnclearError(Exception):
    """Something can be read in two ways, or not at all: which one is the provider's is unknown (C-12 to C-15).

    `detail` is one sentence of ours.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def denial(self) -> Denial:
        """What the agent is told."""
        detail = self.detail
        return Denial("ambiguous_request", detail, by="validate")


MAX_PATHS = 16


def invalid(detail: str, paths: tuple[str, ...] = ()) -> Denial:
    """A request that is clear and not what the operation takes; `paths` are JSON pointers into the request."""
    return Denial("invalid_request", detail, by="validate", extra={"paths": list(paths[:MAX_PATHS])} if paths else {})
