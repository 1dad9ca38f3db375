"""What is signed about keys and grants: that a key is one's own, that it counts, that one stands behind. Pure.

Form: as in `statement`. Each names its purpose, so that none is ever good for another.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import rfc8785

if TYPE_CHECKING:
    from proxy.approval.grants import Scope, Terms

REGISTRATION: Final = "credential-briefcase approver key registration"
CONFIRMATION: Final = "credential-briefcase approver key confirmation"
SECONDING: Final = "credential-briefcase grant seconding"


def registration(*, key: str, approver: str, at_ms: int, nonce: str) -> bytes:
    """`approver` holds the private half of `key`, signed with it; `key` is its thumbprint (RFC 7638)."""
    return _text(REGISTRATION, key=key, approver=approver, at_ms=at_ms, nonce=nonce)


def confirmation(*, key: str, approver: str, by: str, at_ms: int, nonce: str) -> bytes:
    """The admin `by` has made sure that `key` is `approver`'s; signed with a key of the admin's own."""
    return _text(CONFIRMATION, key=key, approver=approver, by=by, at_ms=at_ms, nonce=nonce)


def seconding(*, grant: str, scope: Scope, terms: Terms, approver: str, at_ms: int, nonce: str) -> bytes:
    """`approver` stands behind the standing grant `grant` as they were shown it."""
    shown = {**asdict(scope), "for_s": terms.for_s, "max_uses": terms.max_uses}
    shown["max_cost_microusd"] = str(terms.max_cost_microusd)  # RFC 8785 numbers end at 2**53
    return _text(SECONDING, grant=grant, shown=shown, approver=approver, at_ms=at_ms, nonce=nonce)


def _text(purpose: str, **said: object) -> bytes:
    return rfc8785.dumps({"purpose": purpose, "version": 1, **said})  # type: ignore[dict-item]  # JSON
