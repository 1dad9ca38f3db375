"""Whether a policy could allow more as the risk rises: advisory parts only ever tighten (P12). Pure.

Walks the conditions in Cedar's JSON form and keeps which way each part counts: whether its turning true makes the call
more allowed, or less. The risk may stand only in comparisons with a number that turn true as the call becomes less
allowed. Wherever this cannot be told, the answer is that it loosens.

Source: https://docs.cedarpolicy.com/policies/json-format.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ADVISORY: Final = frozenset({"risk", "risk_reasons"})
_RISING: Final = {"<": False, "<=": False, ">": True, ">=": True}
"""`risk OP number`: whether it turns true as the risk rises."""


def loosening(conditions: Iterable[Mapping[str, Any]], *, permits: bool) -> bool:
    """Whether a rising risk could turn one of `conditions` so that more is allowed."""
    return any(_loosens(one["body"], allows=permits == (one["kind"] == "when")) for one in conditions)


def speaks_of_risk(conditions: Iterable[Mapping[str, Any]]) -> bool:
    """Whether one of `conditions` looks at the risk at all.

    What a permit obliges to must not hang on it: as the risk rises another permit alone would decide, which asks less.
    """
    return any(_mentions(one["body"]) for one in conditions)


def _loosens(part: Mapping[str, Any], *, allows: bool) -> bool:
    """`allows`: the call is more allowed when `part` is true."""
    if not _mentions(part):
        return False
    (operator, operands), *_ = part.items()
    match operator:
        case "&&" | "||":
            return _loosens(operands["left"], allows=allows) or _loosens(operands["right"], allows=allows)
        case "!":
            return _loosens(operands["arg"], allows=not allows)
        case "<" | "<=" | ">" | ">=":
            return _compares(operator, operands["left"], operands["right"], allows=allows)
        case "contains" | "containsAny" | "containsAll":
            # A reason more never makes these false; what is looked for must not itself be the reasons.
            return allows or not _is_reasons(operands["left"]) or _mentions(operands["right"])
        case _:
            return True


def _compares(operator: str, left: Mapping[str, Any], right: Mapping[str, Any], *, allows: bool) -> bool:
    rising = _RISING[operator]
    if _is_risk(left) and not _mentions(right):
        return rising == allows
    if _is_risk(right) and not _mentions(left):
        return rising != allows
    return True


def _is_risk(part: Mapping[str, Any]) -> bool:
    return part == {".": {"left": {"Var": "context"}, "attr": "risk"}}


def _is_reasons(part: Mapping[str, Any]) -> bool:
    return part == {".": {"left": {"Var": "context"}, "attr": "risk_reasons"}}


def _mentions(part: object) -> bool:
    """Whether an advisory value stands anywhere in it, or the whole context, which holds one."""
    if isinstance(part, dict):
        inner = part.get(".")
        if isinstance(inner, dict) and inner.get("left") == {"Var": "context"}:
            return inner.get("attr") in _ADVISORY
        if part == {"Var": "context"}:
            return True
        if "has" in part and isinstance(part["has"], dict) and part["has"].get("left") == {"Var": "context"}:
            return False  # which attributes there are does not depend on the risk
        return any(_mentions(value) for value in part.values())
    if isinstance(part, list):
        return any(_mentions(value) for value in part)
    return False
