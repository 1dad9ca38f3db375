"""What a call is, noted for its receipts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.catalog.binding import BoundAccount
    from proxy.catalog.matcher import Match
    from proxy.exchange import Exchange


def describe(exchange: Exchange, match: Match | None, account: BoundAccount | None = None) -> None:
    """Note for the receipts what the call is, and whose account it uses."""
    if account is not None:
        exchange.account = str(account.id)
    if match is not None:
        exchange.profile = match.profile.name
        if match.operation is not None:
            exchange.operation, exchange.action = match.operation.id, match.operation.action.value
