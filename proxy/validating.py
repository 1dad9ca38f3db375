"""validate: what a call is where its head alone does not say, and whether it is what its operation takes. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.catalog.validation import Checked, Received, check, check_early, chosen
from proxy.errors import Denial
from proxy.model import Action

if TYPE_CHECKING:
    from proxy.catalog.matcher import Catalog, Match
    from proxy.catalog.schema import Operation
    from proxy.model import RequestHead

_TOO_LARGE: Final = Denial("request_too_large", "The body is larger than this operation allows.", by="validate")


def settled(match: Match, head: RequestHead, body: bytes | None) -> Match | Denial | None:
    """What the call is, its operation certain; None: the body has to be read first."""
    operation = match.operation
    if operation is None or (head.websocket and not operation.websocket):
        return Denial("operation_not_allowed", "The profile does not list this operation.", by="match")
    unread = head.has_body and body is None
    if operation.told_by_content:
        if unread:
            return check_early(operation, head)
        told_match = _told_by_content(match, operation, head, body or b"")
        if isinstance(told_match, Denial) or told_match.parts:
            return told_match
        match, operation = told_match, told_match.operation or operation
    if operation.batch is not None:
        detail = "This endpoint makes several calls in one. Send them one by one, each to its own path."
        return Denial("operation_not_allowed", detail, by="validate")
    if unread and (operation.reads_body or operation.needs_body):
        return check_early(operation, head)
    return match


def _told_by_content(match: Match, operation: Operation, head: RequestHead, body: bytes) -> Match | Denial:
    """What the body says that it is; of a batch, each of its calls."""
    operations = (operation, *(other.operation for other in match.others if other.operation))
    found = chosen(operations, Received(head, body))
    if isinstance(found, Denial):
        return found
    if found is None:
        return Denial("operation_not_allowed", "The profile does not list what this body asks for.", by="match")
    matches = [match.narrowed(one.operation, one.times) for one in found]
    parts = tuple((one, text.body) for one, text in zip(matches, found, strict=True) if text.body is not None)
    if not parts:
        return matches[0]
    for one in (one.operation for one in found):
        if one.batch is not None or one.reads_body:
            return Denial("operation_not_allowed", "This call cannot be one of several in a batch.", by="validate")
        if _too_large(one, head, body):
            return _TOO_LARGE
    return replace(max(matches, key=_weight), parts=parts)


def _weight(match: Match) -> int:
    assert match.operation is not None
    return tuple(Action).index(match.operation.action)


def told(match: Match | None, head: RequestHead, body: bytes | None) -> Match | None:
    """For receipts: `match` with its operation where that is certain."""
    found = None if match is None else settled(match, head, body)
    return match if found is None or isinstance(found, Denial) else found


def checked(catalog: Catalog, match: Match, head: RequestHead, body: bytes | None) -> Checked | Denial:
    """Whether the call, as it leaves (P8), is what its operation takes; the values of it that policies may speak of."""
    operation = match.operation
    assert operation is not None
    if _too_large(operation, head, body):
        return _TOO_LARGE
    rules = catalog.rules(match)
    return Checked() if rules is None else check(rules, head, body or b"")


def _too_large(operation: Operation, head: RequestHead, body: bytes | None) -> bool:
    limits, size = operation.limits, len(body) if body is not None else head.content_length or 0
    if body is not None and operation.needs_body and size > limits.max_held_bytes:
        return True
    return limits.max_body_bytes is not None and size > limits.max_body_bytes
