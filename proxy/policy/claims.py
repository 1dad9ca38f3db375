"""Permits that rest on nothing but what the agent writes itself (I-11). Pure.

What is verified: who the agent is and for whom it acts, the operation, the account, the host that is dialled, the time,
what the call may cost. What is only claimed: the method, the path and its parameters, and whatever the body says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from proxy.policy.statement import Policy

CLAIMED: Final = frozenset({"method", "path", "params", "fields", "websocket", "body_bytes"})
"""Attributes of the context that the agent chooses."""
_CONTEXT: Final = {"Var": "context"}


def claims(policies: Iterable[Policy]) -> Iterator[Finding]:
    """Each such permit. One that anybody may use for anything, but that says something verified, is none."""
    for policy in policies:
        if not policy.permits or not _for_all(policy):
            continue
        read = frozenset(_read(policy.compiled["conditions"]))
        if read and read <= CLAIMED:
            named = ", ".join(sorted(read))
            message = f"rests only on what the agent says ({named}): name the principal, action or resource too"
            yield Finding(policy.file, policy.line, policy.id, message)


def _for_all(policy: Policy) -> bool:
    """Whether its scope leaves out nobody and nothing."""
    return all(policy.compiled[part]["op"] == "All" for part in ("principal", "action", "resource"))


def _read(tree: Any) -> Iterator[str]:
    """Attributes of the context, and other variables, that a condition looks at."""
    if isinstance(tree, list):
        for one in tree:
            yield from _read(one)
    elif isinstance(tree, dict):
        if tree.get("left") == _CONTEXT and "attr" in tree:
            yield tree["attr"]
        elif "Var" in tree:
            yield tree["Var"]
        else:
            for one in tree.values():
                yield from _read(one)
