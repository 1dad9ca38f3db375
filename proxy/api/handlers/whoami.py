"""GET /whoami."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.models import Whoami

if TYPE_CHECKING:
    from proxy.api.call import Call


async def show(call: Call) -> Whoami:
    """Who the API takes the caller for."""
    one = call.operator
    return Whoami(name=one.name, role=one.role, token_role=one.ceiling, tenant=one.tenant, via=one.via)
