"""validate: what a call is where its head alone does not say, and whether it is what its operation takes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.catalog.validation import Checked, Received, check, check_early, chosen
from proxy.errors import Denial

if TYPE_CHECKING:
    from proxy.catalog.matcher import Catalog, Match
    from proxy.catalog.schema import Operation
    from proxy.model import RequestHead


def settled(match: Match, head: RequestHead, body: bytes | None) -> Match | Denial | None:
    """What the call is, its operation certain; None: the body has to be read first."""
    operation = match.operation
    if operation is None or (head.websocket and not operation.websocket):
        return Denial("operation_not_allowed", "The profile does not list this operation.", by="match")
    unread = head.has_body and body is None
    if operation.told_by_content:
        if unread:
            return check_early(operation, head)
        found = chosen((operation, *(o.operation for o in match.others if o.operation)), Received(head, body or b""))
        if isinstance(found, Denial):
            return found
        if found is None:
            return Denial("operation_not_allowed", "The profile does not list what this body asks for.", by="match")
        match, operation = match.narrowed(found), found
    if operation.batch is not None:
        detail = "This endpoint makes several calls in one. Send them one by one, each to its own path."
        return Denial("operation_not_allowed", detail, by="validate")
    if unread and (operation.reads_body or operation.needs_body):
        return check_early(operation, head)
    return match


def told(match: Match | None, head: RequestHead, body: bytes | None) -> Match | None:
    """For receipts: `match` with its operation where that is certain."""
    found = None if match is None else settled(match, head, body)
    return match if found is None or isinstance(found, Denial) else found


def checked(catalog: Catalog, match: Match, head: RequestHead, body: bytes | None) -> Checked | Denial:
    """Whether the call, as it leaves (P8), is what its operation takes; the values of it that policies may speak of."""
    operation = match.operation
    assert operation is not None
    if _too_large(operation, head, body):
        return Denial("request_too_large", "The body is larger than this operation allows.", by="validate")
    rules = catalog.rules(match)
    return Checked() if rules is None else check(rules, head, body or b"")


def _too_large(operation: Operation, head: RequestHead, body: bytes | None) -> bool:
    limits, size = operation.limits, len(body) if body is not None else head.content_length or 0
    if body is not None and operation.needs_body and size > limits.max_held_bytes:
        return True
    return limits.max_body_bytes is not None and size > limits.max_body_bytes
