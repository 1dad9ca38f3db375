"""One call as its receipts tell it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proxy.model import Authority, RequestHead

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Seen:
    """A call of a listed operation.

    Attributes:
        path: as receipts hold it: what could be a credential is a name in braces.
        waited: a person was asked, or would have been, were policies not only observed.
        total_bytes: of both bodies.
    """

    at_ms: int
    agent: str
    profile: str
    operation: str
    account: str
    method: str
    scheme: str
    authority: Authority
    path: str
    waited: bool
    total_bytes: int

    @property
    def resource(self) -> str:
        """As policies name the operation."""
        return f"{self.profile}:{self.operation}"

    @property
    def head(self) -> RequestHead:
        """The head, as far as receipts know it."""
        segments = tuple(self.path[1:].split("/"))
        return RequestHead(self.method, self.scheme, self.authority, self.path, segments, None, (), has_body=False)


def seen_of(decision: Mapping[str, Any], outcome: Mapping[str, Any] | None) -> Seen | None:
    """The call of these receipts; None where it was refused, or is of no operation of a profile."""
    named = all(decision.get(name) for name in ("profile", "operation", "account", "method", "host", "path"))
    if decision["decision"] != "allow" or not named:
        return None
    end = outcome or {}
    return Seen(
        at_ms=decision["at_ms"],
        agent=decision["agent"],
        profile=decision["profile"],
        operation=decision["operation"],
        account=decision["account"],
        method=decision["method"],
        scheme=decision["scheme"],
        authority=Authority(decision["host"], decision["port"]),
        path=decision["path"],
        waited=decision.get("approval") is not None or decision.get("observed") == "approval_required",
        total_bytes=end.get("request_bytes", 0) + end.get("response_bytes", 0),
    )
