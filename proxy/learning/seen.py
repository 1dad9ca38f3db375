"""One call as its receipts tell it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from proxy.model import Authority, RequestHead

if TYPE_CHECKING:
    from collections.abc import Mapping

BYTES_AHEAD: Final = 32 * 1024 * 1024
"""The most that a budget of bytes reserves for a call of which nothing is known: a body and an answer."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A call of a listed operation.

    Attributes:
        path: as receipts hold it: what could be a credential is a name in braces.
        waited: a person was asked, or would have been, were policies not only observed.
        total_bytes: of both bodies.
        calls: as how many it counts.
        ended_at_ms: when it had used what it used; `at_ms` where that is not known.
        reserved, used: by unit, where budgets counted it.
        repeated: of a batch, another of its operations: what it took is told with the first.
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
    calls: int = 1
    ended_at_ms: int = 0
    reserved: Mapping[str, int] = field(default_factory=dict, hash=False)
    used: Mapping[str, int] = field(default_factory=dict, hash=False)
    repeated: bool = False

    @property
    def resource(self) -> str:
        """As policies name the operation."""
        return f"{self.profile}:{self.operation}"

    @property
    def head(self) -> RequestHead:
        """The head, as far as receipts know it."""
        segments = tuple(self.path[1:].split("/"))
        return RequestHead(self.method, self.scheme, self.authority, self.path, segments, None, (), has_body=False)

    def reserve(self, unit: str) -> int:
        """How much of `unit` a budget would have reserved for it."""
        if unit == "requests":
            return self.calls
        if self.repeated:
            return 0
        if unit == "bytes":
            return max(self.reserved.get(unit, BYTES_AHEAD), self.total_bytes)
        return self.reserved.get(unit, self.used.get(unit, 0))

    def use(self, unit: str) -> int:
        """How much of `unit` it has used in the end."""
        if unit == "bytes" and not self.repeated:
            return self.total_bytes
        return self.reserve(unit) if self.repeated else self.used.get(unit, self.reserve(unit))


def seen_of(decision: Mapping[str, Any], outcome: Mapping[str, Any] | None) -> tuple[Seen, ...]:
    """The call of these receipts, of a batch one for each operation; none where it was refused, or has no operation."""
    named = all(decision.get(name) for name in ("profile", "operation", "account", "method", "host", "path"))
    if decision["decision"] != "allow" or not named:
        return ()
    end = outcome or {}
    calls = _amounts(decision.get("calls")) or {decision["operation"]: 1}
    first = Seen(
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
        calls=calls.get(decision["operation"], 1),
        ended_at_ms=decision["at_ms"] + end.get("duration_ms", 0),
        reserved=_amounts(decision.get("reserved")),
        used=_amounts(end.get("used")),
    )
    others = (name for name in calls if name != first.operation)
    return (first, *(replace(first, operation=name, calls=calls[name], repeated=True) for name in others))


def _amounts(text: str | None) -> dict[str, int]:
    """As receipts write them: `requests=1 usd=1200`."""
    return {name: int(amount) for name, _, amount in (pair.partition("=") for pair in (text or "").split())}
